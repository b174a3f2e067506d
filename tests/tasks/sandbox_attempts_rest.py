"""Attempts on the network, other processes, the kernel and secrets."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import resource
import socket
import struct
import subprocess
import sys
import threading

from sandbox_attempts import ATTEMPTS, COLUMN, LIBC, WORLD, attempt, call, held, works

# Network


reach = socket.socket


@works
def open_an_internet_socket():
    return str(reach(socket.AF_INET, socket.SOCK_STREAM))


@works
def open_an_internet_socket_of_version_6():
    return str(reach(socket.AF_INET6, socket.SOCK_STREAM))


@works
def open_a_datagram_socket():
    return str(reach(socket.AF_INET, socket.SOCK_DGRAM))


@attempt
def open_a_raw_socket():
    return str(reach(socket.AF_INET, socket.SOCK_RAW, 1))


@works
def open_a_unix_socket():
    return str(reach(socket.AF_UNIX, socket.SOCK_STREAM))


@works
def open_a_netlink_socket():
    return str(reach(socket.AF_NETLINK, socket.SOCK_RAW))


@attempt
def open_a_packet_socket():
    return str(reach(socket.AF_PACKET, socket.SOCK_RAW))


@attempt
def open_a_socket_to_the_hypervisor():
    return str(reach(40, socket.SOCK_STREAM))


@attempt
def open_a_socket_to_the_kernels_ciphers():
    return str(reach(38, socket.SOCK_SEQPACKET))


@works
def connect_to_a_local_server():
    return str(socket.create_connection(("127.0.0.1", WORLD["port"]), 1))


@works
def connect_to_an_abstract_name():
    there = reach(socket.AF_UNIX, socket.SOCK_DGRAM)
    there.sendto(b"x", WORLD["abstract"])
    return "sent"


@works
def send_to_a_path_from_a_pair():
    ours, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    return ours.sendto(b"from a pair", WORLD["canary"] + "/datagrams")


@attempt
def resolve_a_name():
    return socket.getaddrinfo("example.org", 80)


@attempt
def set_up_io_uring():
    return call("io_uring_setup", 4, ctypes.create_string_buffer(120))


# Other processes


@works
def signal_a_process():
    os.kill(WORLD["victim"], 0)
    return "there"


@attempt
def end_a_process():
    os.kill(WORLD["victim"], 15)
    return "ended"


@attempt
def end_the_group_of_a_process():
    os.killpg(WORLD["victim"], 15)
    return "ended"


@attempt
def end_the_parent():
    os.kill(os.getppid(), 9)
    return "ended"


@attempt
def end_the_first_process():
    os.kill(1, 9)
    return "ended"


@attempt
def end_all_processes():
    os.kill(-1, 9)
    return "ended"


@attempt
def end_its_own_group():
    os.kill(0, 9)
    return "ended"


@works
def signal_a_thread():
    return call("tkill", WORLD["victim"], 0)


@works
def signal_a_thread_of_a_group():
    return call("tgkill", WORLD["victim"], WORLD["victim"], 0)


@attempt
def queue_a_signal():
    return call("rt_sigqueueinfo", WORLD["victim"], 15, struct.pack("iii", 15, 0, -1) + bytes(116))


@works
def open_a_process():
    return call("pidfd_open", WORLD["victim"], 0)


@attempt
def signal_through_a_process_file():
    return call("pidfd_send_signal", 0, 15, None, 0)


@attempt
def take_a_file_of_a_process():
    return call("pidfd_getfd", 0, 0, 0)


@works
def have_the_kernel_signal_the_owner_of_a_file():
    reads, _ = os.pipe()
    fcntl.fcntl(reads, fcntl.F_SETOWN, WORLD["victim"])
    return "set"


@works
def choose_the_signal_of_a_file():
    return fcntl.fcntl(0, 10, 0)  # F_SETSIG


@works
def set_the_owner_of_a_file_by_ioctl():
    pair = socket.socketpair()
    return fcntl.ioctl(pair[0], 0x8901, struct.pack("i", WORLD["victim"]))  # FIOSETOWN


@works
def set_the_owner_with_noise_in_the_high_half():
    reads, _ = os.pipe()
    return call("fcntl", reads, 8 | 1 << 40, WORLD["victim"])


@attempt
def make_a_timer_that_signals():
    return call("timer_create", 1, struct.pack("qiii", 0, 15, 4, WORLD["victim"]) + bytes(44), ctypes.create_string_buffer(8))


@attempt
def trace_a_process():
    return call("ptrace", 16, WORLD["victim"], 0, 0)


@attempt
def read_the_memory_of_a_process_by_vector():
    there = ctypes.create_string_buffer(16)
    vector = struct.pack("QQ", ctypes.addressof(there), 16)
    return call("process_vm_readv", WORLD["victim"], vector, 1, vector, 1, 0)


@attempt
def write_the_memory_of_a_process_by_vector():
    there = ctypes.create_string_buffer(16)
    vector = struct.pack("QQ", ctypes.addressof(there), 16)
    return call("process_vm_writev", WORLD["victim"], vector, 1, vector, 1, 0)


@attempt
def compare_processes():
    return call("kcmp", WORLD["victim"], os.getpid(), 1, 0, 0)


@attempt
def advise_on_the_memory_of_a_process():
    return call("process_madvise", 0, b"", 0, 0, 0)


@attempt
def move_the_memory_of_a_process():
    return call("move_pages", WORLD["victim"], 0, None, None, None, 0)


@works
def bind_a_process_to_a_processor():
    return call("sched_setaffinity", WORLD["victim"], 8, struct.pack("Q", 1))


@works
def slow_a_process_down():
    return call("setpriority", 0, WORLD["victim"], 19)


@attempt
def make_itself_urgent():
    os.setpriority(os.PRIO_PROCESS, 0, -10)
    return "urgent"


@attempt
def run_in_real_time():
    return call("sched_setscheduler", 0, 1, struct.pack("i", 1))


@works
def change_the_disk_priority_of_a_process():
    return call("ioprio_set", 1, WORLD["victim"], 3 << 13)


@works
def limit_a_process():
    return call("prlimit64", WORLD["victim"], 7, struct.pack("QQ", 4, 4), None)


@works
def ask_for_the_limits_of_a_process():
    return call("prlimit64", WORLD["victim"], 7, None, ctypes.create_string_buffer(16))


# More processes


@works
def fork():
    if os.fork() == 0:
        os._exit(0)
    return "forked"


@works
def start_a_thread():
    threading.Thread(target=print).start()
    return "started"


@works
def clone_without_the_library():
    if call("clone", 17, 0, 0, 0, 0) == 0:
        os._exit(0)
    return "cloned"


@attempt
def clone_into_a_user_namespace():
    if call("clone", 17 | 0x10000000, 0, 0, 0, 0) == 0:
        os._exit(0)
    return "cloned"


@attempt
def clone_with_flags_in_memory():
    if call("clone3", struct.pack("QQQQQQQQ", 0x10000000, 0, 0, 0, 17, 0, 0, 0), 64) == 0:
        os._exit(0)
    return "cloned"


@works
def run_a_command():
    return subprocess.run(["/bin/true"], check=True)


@works
def run_a_shell():
    return "ran" if os.system("exit 0") == 0 else held()


@works
def spawn_another_interpreter():
    return os.posix_spawn(WORLD["python"], ["python", "-c", ""], {})


@attempt
def become_another_program():
    os.execv("/bin/true", ["true"])


@attempt
def become_another_interpreter():
    os.execv(sys.executable, ["python", "-c", "print('escaped')"])


@attempt
def become_a_program_that_runs_as_root():
    for path in ("/usr/bin/su", "/bin/su", "/usr/bin/passwd", "/usr/bin/mount", "/usr/bin/sudo"):
        with contextlib.suppress(OSError):
            os.execv(path, [path, "--version"])
    return held()


@attempt
def become_a_program_by_its_file():
    with open(os.__file__) as file:
        return call("execveat", file.fileno(), b"", None, None, 0x1000)


# The kernel


def refused(name: str, *arguments: int | bytes | None) -> None:
    """Adds an attempt that is one system call, named for it."""
    ATTEMPTS[name] = lambda: call(name.removeprefix("call_"), *arguments)


for name in (
    "keyctl add_key request_key bpf perf_event_open userfaultfd init_module finit_module delete_module kexec_load kexec_file_load swapon "
    "acct syslog quotactl fanotify_init inotify_init1 vmsplice splice tee vhangup settimeofday clock_settime adjtimex shmget msgget semget "
    "mq_open mlock landlock_create_ruleset seccomp setgroups capset sched_setattr rt_tgsigqueueinfo"
).split():
    refused(f"call_{name}", 0, 0, 0, 0, 0)
refused("call_reboot", 0xFEE1DEAD, 672274793, 0x89ABCDEF, None)  # CAD_ON: harmless should it pass
refused("call_personality", 0x0040000)
refused("call_sethostname", b"sandbox", 7)
refused("call_setuid", 0)


@attempt
def make_every_call_that_is_not_allowed():
    passed = []
    for number in range(600):
        if number not in WORLD["allowed"] and number not in (335, 336):  # the kernel's own, for probes: no filter sees them
            try:
                call(number, -1, -1, -1, -1, -1, -1)
                passed.append(number)
            except OSError as error:
                if error.errno not in (1, 38):
                    passed.append(number)
    return passed or held()


@works
def type_on_the_terminal():
    for file in (0, 1, 2):
        try:
            return fcntl.ioctl(file, 0x5412, b"x")  # TIOCSTI
        except OSError as error:
            if error.errno != 1:
                return "the kernel was asked"
    return held()


@works
def type_with_noise_in_the_high_half():
    try:
        return call("ioctl", 1, 0x5412 | 1 << 32, b"x")
    except OSError as error:
        return held() if error.errno == 1 else "the kernel was asked"


@works
def raise_its_limits():
    for limit in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE):
        call("prlimit64", 0, limit, struct.pack("qq", *resource.getrlimit(limit)), None)
    return "set"


@works
def dump_core():
    call("prlimit64", 0, resource.RLIMIT_CORE, struct.pack("qq", *resource.getrlimit(resource.RLIMIT_CORE)), None)
    return "set"


@works
def outlive_its_parent():
    return call("prctl", 1, 0, 0, 0, 0)


@works
def change_whether_it_can_be_traced():
    return call("prctl", 4, 0, 0, 0, 0)


@attempt
def have_a_capability():
    header, data = struct.pack("Ii", 0x20080522, 0), ctypes.create_string_buffer(24)
    capget = {1: 125, 2: 90}[COLUMN]
    call(capget, header, data)
    return data.raw if any(data.raw) else held()


@works
def open_a_shared_memory_block():
    from multiprocessing import shared_memory

    block = shared_memory.SharedMemory(create=True, size=10)
    block.unlink()
    return "opened"


# Secrets


@works
def find_a_secret_in_the_environment():
    known = {"PATH", "LANG", "PYTHONHASHSEED", "PYTHONUTF8", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "HOME", "TMPDIR"}
    environ, found = ctypes.POINTER(ctypes.c_char_p).in_dll(LIBC, "environ"), []
    while environ and environ[len(found)]:
        found.append((environ[len(found)] or b"").split(b"=")[0].decode())
    return sorted(set(found) - known) or held()
