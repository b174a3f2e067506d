"""Tests share the machine: one thread each, which at the size of their models is also the fastest."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
