"""`python -m reasonry.cli`: what `accelerate launch -m` and `torchrun -m` start."""

from reasonry.cli import main

main()
