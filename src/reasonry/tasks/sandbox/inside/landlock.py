"""Landlock: which files the process may open, held by the kernel at the time of opening, for it and all it starts.

Invariant: what no rule names cannot be read, listed, written, made or removed. Landlock does not hold whether a guessed path exists, its
size and times, nor its mode and owner (changing those is refused by the filter in `bpf`). Files that are open already stay open.
"""

from __future__ import annotations

import ctypes
import os
import struct

from .kernel import system_call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = (1 << i for i in range(6))
MAKE_DIR, MAKE_REG, MAKE_SYM, REFER, TRUNCATE = (1 << i for i in (7, 8, 12, 13, 14))
READ = READ_FILE | READ_DIR
OWN = READ | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_SYM | REFER | TRUNCATE
DEVICE = READ_FILE | WRITE_FILE | TRUNCATE
_OF_A_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE
LEAST = 3
"""The oldest interface we take: before it (Linux 6.2) a file outside could be truncated."""


def interface() -> int:
    """The version of the kernel's interface; 0 where it has none."""
    try:
        return system_call("landlock_create_ruleset", 444, None, 0, 1)
    except OSError:
        return 0


def restrict(rights: Iterable[tuple[str, int]]) -> None:
    """Leaves this process the rights given under each path, and nothing else; paths that are not there are left out.

    Needs no_new_privs. Raises OSError where the kernel refuses.
    """
    version = interface()
    handled = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)) - 1
    scoped = 3 if version >= 6 else 0  # abstract sockets and signals, to outside
    network = 3 if version >= 4 else 0  # bind and connect
    attributes = struct.pack("=QQQ", handled, network, scoped)[: 24 if version >= 6 else 16 if version >= 4 else 8]
    rules = system_call("landlock_create_ruleset", 444, attributes, len(attributes), 0)
    for path, right in rights:
        try:
            opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        kept = right if os.path.isdir(path) else right & _OF_A_FILE
        rule = ctypes.create_string_buffer(struct.pack("=Qi", kept, opened))
        system_call("landlock_add_rule", 445, rules, 1, rule, 0)
        os.close(opened)
    system_call("landlock_restrict_self", 446, rules, 0)
    os.close(rules)
