"""Statistics and measurements on trajectories."""
