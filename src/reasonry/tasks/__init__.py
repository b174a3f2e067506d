"""Problems, judges, environments, loaders."""
