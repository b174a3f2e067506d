"""Removing a folder that a hostile program filled: any depth, any names, folders it closed to reading, links to elsewhere.

Invariant: no link is followed, and the depth of the recursion is one: inner folders are first moved to the top.
"""

from __future__ import annotations

import os


def remove_tree(folder: str) -> None:
    """Removes a folder and all in it. Nothing may be writing to it any more."""
    root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    moved = 0
    try:
        while names := os.listdir(root):
            for name in names:
                try:
                    os.unlink(name, dir_fd=root)
                    continue
                except (IsADirectoryError, PermissionError):
                    pass
                os.chmod(name, 0o700, dir_fd=root)  # it is a folder, not a link: unlink would have removed that
                inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=root)
                for below in os.listdir(inner):
                    try:
                        os.unlink(below, dir_fd=inner)
                    except (IsADirectoryError, PermissionError):
                        moved += 1
                        os.chmod(below, 0o700, dir_fd=inner)  # a folder is moved by writing its `..`
                        os.rename(below, f"{folder_name(moved)}", src_dir_fd=inner, dst_dir_fd=root)
                os.close(inner)
                os.rmdir(name, dir_fd=root)
    finally:
        os.close(root)
    os.rmdir(folder)


def folder_name(number: int) -> str:
    """A name for a folder on its way out, too long and too odd to be there already."""
    return f".removing-{number}-" + "x" * 100
