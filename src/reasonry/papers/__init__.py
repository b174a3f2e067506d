"""One file per paper: the experiment, its arms, its claims. Composition only."""
