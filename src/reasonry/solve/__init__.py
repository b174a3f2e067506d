"""Test-time methods, one file each: (LM, problem, budget) to a trajectory."""
