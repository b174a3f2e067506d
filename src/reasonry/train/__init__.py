"""From a model to a better model: supervised training and the making of the pocket models."""
