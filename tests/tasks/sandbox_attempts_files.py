"""Attempts to read and write what is outside."""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

from sandbox_attempts import WORLD, attempt, call, held, text, works

# Reading


@works
def read_the_users():
    return text("/etc/passwd")


@attempt
def read_the_passwords():
    return text("/etc/shadow")


@attempt
def list_the_home():
    on_the_way = os.path.relpath(os.__file__, WORLD["home"]).split("/")[0]  # an interpreter that is installed there
    return [name for name in os.listdir(WORLD["home"]) if name != on_the_way] or held()


@works
def read_the_repository():
    return text(WORLD["repository"] + "/pyproject.toml")


@works
def read_the_sandbox_itself():
    return text(WORLD["repository"] + "/src/reasonry/tasks/sandbox/run.py")


@works
def read_a_file_that_all_may_read():
    return text(WORLD["canary"] + "/secret")


@works
def list_a_folder_that_all_may_list():
    return os.listdir(WORLD["canary"])


@attempt
def read_the_packages_of_the_interpreter():
    return text(WORLD["package"])


@attempt
def read_the_environment_of_the_first_process():
    return text("/proc/1/environ")


@works
def read_the_environment_of_a_process():
    return text(f"/proc/{WORLD['victim']}/environ")


@attempt
def read_the_memory_of_a_process():
    return os.open(f"/proc/{WORLD['victim']}/mem", os.O_RDWR)


@works
def read_the_command_line_of_a_process():
    return text(f"/proc/{WORLD['victim']}/cmdline")


@works
def read_the_map_of_its_own_memory():
    return text("/proc/self/maps")


@works
def list_the_processes():
    return os.listdir("/proc")


@works
def read_sys():
    return os.listdir("/sys")


@attempt
def open_a_disk_or_the_memory():
    for name in ("vda", "sda", "nvme0n1", "mem", "kmem", "port", "kmsg", "loop0", "fuse", "kvm"):
        try:
            return os.open(f"/dev/{name}", os.O_RDONLY)
        except OSError:
            pass
    return held()


@attempt
def open_a_terminal():
    for path in ("/dev/tty", "/dev/console", "/dev/pts/0", "/dev/ptmx"):
        try:
            return os.open(path, os.O_RDWR | os.O_NOCTTY)
        except OSError:
            pass
    return held()


# Roundabout paths


@works
def read_through_a_symbolic_link():
    os.symlink("/etc/passwd", "a-link")
    return text("a-link")


@works
def read_through_a_linked_folder():
    os.symlink("/", "a-root")
    return text("a-root/etc/passwd")


@works
def read_upwards():
    return text("../" * 20 + "etc/passwd")


@attempt
def link_a_file_into_the_folder():
    os.link(WORLD["canary"] + "/secret", "a-hard-link")
    return text("a-hard-link")


@attempt
def move_a_file_into_the_folder():
    os.rename(WORLD["canary"] + "/secret", "stolen")
    return text("stolen")


@works
def read_through_the_root_of_a_process():
    return text("/proc/self/root/etc/passwd")


@works
def list_open_files():
    return os.listdir("/proc/self/fd")


@attempt
def use_an_inherited_file():
    found = []
    for file in range(3, 4096):
        try:
            os.fstat(file)
            found.append(file)
        except OSError:
            pass
    return found or held()


@works
def read_below_a_path_handle():
    return text_at(os.open("/", os.O_PATH), "etc/passwd")


def text_at(folder: int, name: str) -> bytes:
    return os.read(os.open(name, os.O_RDONLY, dir_fd=folder), 10)


@works
def read_after_going_there():
    here = os.open(".", os.O_PATH)
    try:
        os.chdir(WORLD["canary"])
        return text("secret")
    finally:
        os.fchdir(here)


@works
def open_by_openat2():
    return call("openat2", -100, b"/etc/passwd", struct.pack("QQQ", 0, 0, 0), 24)


@works
def make_a_file_handle():
    handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0) + bytes(128))
    return call("name_to_handle_at", -100, b"/etc/passwd", handle, ctypes.create_string_buffer(8), 0)


@attempt
def open_by_file_handle():
    return call("open_by_handle_at", -100, ctypes.create_string_buffer(struct.pack("Iiq", 8, 1, 2)), 0)


@attempt
def mount_over():
    return call("mount", b"/", b".", None, 4096, None)


@attempt
def unmount():
    return call("umount2", b".", 2)


@attempt
def make_a_filesystem():
    return call("fsopen", b"proc", 0)


@attempt
def copy_a_mount():
    return call("open_tree", -100, b"/", 1)


@attempt
def move_a_mount():
    return call("move_mount", 0, b"", -100, b".", 4)


@attempt
def make_a_mount_writable():
    return call("mount_setattr", -100, b"/", 0, struct.pack("QQQQ", 0, 1, 0, 0), 32)


@attempt
def change_the_root():
    os.chroot(".")
    return "changed"


@attempt
def pivot_the_root():
    return call("pivot_root", b".", b".")


@attempt
def make_a_user_namespace():
    return call("unshare", 0x10000000)


@attempt
def enter_a_namespace():
    return call("setns", 0, 0)


# Writing


@works
def write_to_a_file_all_may_write_to():
    with open(WORLD["canary"] + "/writable", "a") as file:
        return file.write("x")


@works
def make_a_file_elsewhere():
    return os.open(WORLD["canary"] + f"/made-{os.getpid()}", os.O_CREAT | os.O_WRONLY)


@works
def make_a_folder_elsewhere():
    os.mkdir(WORLD["canary"] + f"/folder-{os.getpid()}")
    return "made"


@works
def make_a_link_elsewhere():
    os.symlink("/", WORLD["canary"] + f"/link-{os.getpid()}")
    return "made"


@attempt
def remove_a_file_elsewhere():
    os.unlink(WORLD["canary"] + "/secret")
    return "removed"


@attempt
def remove_a_folder_elsewhere():
    os.rmdir(WORLD["canary"] + "/empty")
    return "removed"


@attempt
def cut_a_file_elsewhere():
    os.truncate(WORLD["canary"] + "/writable", 0)
    return "cut"


@attempt
def cut_a_file_by_opening_it_to_read():
    return os.open(WORLD["canary"] + "/writable", os.O_RDONLY | os.O_TRUNC)


@attempt
def move_a_file_out():
    Path("mine").write_text("x")
    os.rename("mine", WORLD["canary"] + "/mine")
    return "moved"


@attempt
def change_the_library():
    with open(os.__file__, "a") as file:
        return file.write("#")


@attempt
def make_a_module_in_the_library():
    return os.open(os.path.dirname(os.__file__) + "/sitecustomize.py", os.O_CREAT | os.O_WRONLY)


@attempt
def open_a_file_of_another_to_all():
    os.chmod(WORLD["canary"] + "/secret", 0o4777)
    return "changed"


@attempt
def open_the_library_to_all():
    with open(os.__file__) as file:
        os.fchmod(file.fileno(), 0o777)
    return "changed"


@attempt
def give_a_file_away():
    return call("fchownat", -100, (WORLD["canary"] + "/secret").encode(), 1, 1, 0)


@attempt
def change_times_elsewhere():
    os.utime(WORLD["canary"] + "/secret", (1, 1))
    return "changed"


@attempt
def read_an_attribute_elsewhere():
    return os.getxattr(WORLD["canary"] + "/secret", "user.note")


@attempt
def set_an_attribute_elsewhere():
    os.setxattr(WORLD["canary"] + "/secret", "user.x", b"1")
    return "set"


@works
def make_a_file_that_runs_as_its_owner():
    return os.open("set-user", os.O_CREAT | os.O_WRONLY, 0o4755)


@attempt
def make_a_device():
    os.mknod("device", 0o60666, os.makedev(8, 0))
    return "made"


@works
def reserve_disk_beyond_the_limit():
    with open("reserved", "wb") as file:
        return call("fallocate", file.fileno(), 1, 0, 1 << 26)  # FALLOC_FL_KEEP_SIZE passes by the limit on a file's size


@works
def write_to_shared_memory_files():
    return os.open(f"/dev/shm/made-{os.getpid()}", os.O_CREAT | os.O_RDWR)


@works
def make_a_memory_file():
    return call("memfd_create", b"x", 0)


@attempt
def make_a_secret_memory_file():
    return call("memfd_secret", 0)


@attempt
def grow_standard_input():
    return os.ftruncate(0, 1 << 20), os.write(0, b"x")
