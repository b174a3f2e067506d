"""From a model to a cheaper one behind the same interface."""
