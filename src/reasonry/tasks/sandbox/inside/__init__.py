"""What runs outside the parent's process: a supervisor in a fresh interpreter, and the confined program it forks.

Invariant: this package imports the standard library and itself alone, so that it starts quickly and brings nothing of the parent's along.
`supervise` is the process the parent starts; it holds the limits and stays unconfined. `confine` takes every right from its child.
`program` is what the child then runs. `syscalls`, `bpf`, `landlock` and `mounts` are the kernel's mechanisms, one a file.
"""
