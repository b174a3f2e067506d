"""Ways out of a sandbox, one function each, in the two files that add to this one. All three run inside: the standard library is enough.

An attempt that works returns what it got. One that is refused raises OSError (or what stands for it: a thread that cannot start); `held`
says the same where no exception does. Any other exception means that the attempt itself is broken.
"""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Callable
from typing import Any, NoReturn

NUMBERS = """
ptrace:101:117 process_vm_readv:310:270 process_vm_writev:311:271 kcmp:312:272 keyctl:250:219 add_key:248:217 request_key:249:218
bpf:321:280 perf_event_open:298:241 userfaultfd:323:282 unshare:272:97 setns:308:268 clone:56:220 clone3:435:435 mount:165:40
umount2:166:39 pivot_root:155:41 init_module:175:105 finit_module:313:273 delete_module:176:106 reboot:169:142 kexec_load:246:104
kexec_file_load:320:294 personality:135:92 io_uring_setup:425:425 memfd_create:319:279 memfd_secret:447:447 shmget:29:194 msgget:68:186
semget:64:190 mq_open:240:180 pidfd_open:434:434 pidfd_getfd:438:438 pidfd_send_signal:424:424 openat2:437:437 open_by_handle_at:304:265
name_to_handle_at:303:264 fallocate:285:47 setuid:105:146 setgroups:116:159 capset:126:91 sched_setaffinity:203:122
sched_setscheduler:144:119 sched_setattr:314:274 setpriority:141:140 ioprio_set:251:30 prlimit64:302:261 settimeofday:164:170
clock_settime:227:112 adjtimex:159:171 swapon:167:224 acct:163:89 syslog:103:116 quotactl:179:60 fanotify_init:300:262
inotify_init1:294:26 vmsplice:278:75 splice:275:76 tee:276:77 process_madvise:440:440 move_pages:279:239 mlock:149:228 execveat:322:281
vhangup:153:58 sethostname:170:161 fsopen:430:430 move_mount:429:429 open_tree:428:428 mount_setattr:442:442 rt_sigqueueinfo:129:138
rt_tgsigqueueinfo:297:240 tkill:200:130 tgkill:234:131 timer_create:222:107 fchownat:260:54 landlock_create_ruleset:444:444 fcntl:72:25
ioctl:16:29 prctl:157:167 seccomp:317:277
"""
COLUMN = {"x86_64": 1, "aarch64": 2}[os.uname().machine]
NUMBER = {item.split(":")[0]: int(item.split(":")[COLUMN]) for item in NUMBERS.split()}
LIBC = ctypes.CDLL(None, use_errno=True)
WORLD: dict[str, Any] = {}
"""What there is outside: `canary` (a folder all may write to), `victim` (a process of the same user), `port`, `home`, `repository`, ..."""


class HeldError(Exception):
    """The attempt came to nothing without an error."""


def held(why: str = "") -> NoReturn:
    raise HeldError(why)


def call(name: str | int, *arguments: Any) -> int:
    """A system call by name or number."""
    passed = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    answer = LIBC.syscall(ctypes.c_long(NUMBER[name] if isinstance(name, str) else name), *passed)
    if answer == -1:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
    return answer


def text(path: str) -> str:
    with open(path, errors="replace") as file:
        return file.read(100)


ATTEMPTS: dict[str, Callable[[], Any]] = {}
UNCONFINED: set[str] = set()
"""Attempts that work, and harm nothing, where nothing confines them; tried so as well, to know that they are attempts."""


def attempt(function: Callable[[], Any]) -> Callable[[], Any]:
    ATTEMPTS[function.__name__] = function
    return function


def works(function: Callable[[], Any]) -> Callable[[], Any]:
    UNCONFINED.add(function.__name__)
    return attempt(function)


def main(names: list[str]) -> None:
    """Runs attempts one after the other; prints a line of JSON for each."""
    for name in names:
        try:
            outcome, said = "worked", repr(ATTEMPTS[name]())[:200]
        except (OSError, HeldError) as error:
            outcome, said = "refused", repr(error)
        except RuntimeError as error:
            outcome, said = ("refused" if "start new thread" in str(error) else "broken"), repr(error)
        except BaseException as error:
            outcome, said = "broken", repr(error)
        print(json.dumps({"name": name, "outcome": outcome, "said": said}))
