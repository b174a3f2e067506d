"""System calls by number on the two machines we know, grouped by what they are for.

Invariant: a call that is not in a group allowed by `bpf` is refused. Calls from number 424 on have the same number everywhere.
A number of -1 says that the machine has no such call (newer machines left out the oldest ones).
"""

import os

_TABLE = """
[FILES]
read:0:63 write:1:64 readv:19:65 writev:20:66 pread64:17:67 pwrite64:18:68 preadv:295:69 pwritev:296:70 preadv2:327:286 pwritev2:328:287
lseek:8:62 close:3:57 close_range:436:436 dup:32:23 dup2:33:-1 dup3:292:24 pipe:22:-1 pipe2:293:59 open:2:-1 openat:257:56 creat:85:-1
stat:4:-1 lstat:6:-1 fstat:5:80 newfstatat:262:79 statx:332:291 access:21:-1 faccessat:269:48 faccessat2:439:439 readlink:89:-1
readlinkat:267:78 getdents64:217:61 getcwd:79:17 chdir:80:49 fchdir:81:50 statfs:137:43 fstatfs:138:44 mkdir:83:-1 mkdirat:258:34
rmdir:84:-1 unlink:87:-1 unlinkat:263:35 rename:82:-1 renameat:264:38 renameat2:316:276 symlink:88:-1 symlinkat:266:36 truncate:76:45
ftruncate:77:46 fsync:74:82 fdatasync:75:83 flock:73:32 umask:95:166 
fadvise64:221:223 sendfile:40:71
[MEMORY]
mmap:9:222 munmap:11:215 mprotect:10:226 mremap:25:216 madvise:28:233 msync:26:227 brk:12:214
[WAITING]
rt_sigaction:13:134 rt_sigprocmask:14:135 rt_sigreturn:15:139 rt_sigpending:127:136 rt_sigsuspend:130:133 rt_sigtimedwait:128:137
sigaltstack:131:132 signalfd4:289:74 select:23:-1 pselect6:270:72 poll:7:-1 ppoll:271:73 epoll_create:213:-1 epoll_create1:291:20
epoll_ctl:233:21 epoll_wait:232:-1 epoll_pwait:281:22 epoll_pwait2:441:441 eventfd2:290:19 timerfd_create:283:85 timerfd_settime:286:86
timerfd_gettime:287:87 pause:34:-1 nanosleep:35:101 clock_nanosleep:230:115 getitimer:36:102 setitimer:38:103 alarm:37:-1 futex:202:98
restart_syscall:219:128 wait4:61:260 waitid:247:95
[ASKING]
clock_gettime:228:113 clock_getres:229:114 gettimeofday:96:169 time:201:-1 times:100:153 getrusage:98:165 sched_yield:24:124
sched_getaffinity:204:123 getcpu:309:168 getpid:39:172 getppid:110:173 gettid:186:178 getuid:102:174 geteuid:107:175 getgid:104:176
getegid:108:177 getgroups:115:158 getresuid:118:148 getresgid:120:150 getpgid:121:155 getpgrp:111:-1 getsid:124:156 uname:63:160
sysinfo:99:179 getrandom:318:278 getrlimit:97:163
[RUNNING]
set_tid_address:218:96 set_robust_list:273:99 rseq:334:293 membarrier:324:283 exit:60:93 exit_group:231:94 arch_prctl:158:-1
[PAIRS]
sendto:44:206 recvfrom:45:207 shutdown:48:210 getsockopt:55:209 getsockname:51:204 getpeername:52:205
[TREE]
fork:57:-1 vfork:58:-1 execve:59:221 kill:62:129 tgkill:234:131 tkill:200:130 setsid:112:157 setpgid:109:154
[MODES]
getxattr:191:8 lgetxattr:192:9 fgetxattr:193:10 listxattr:194:11 llistxattr:195:12 flistxattr:196:13
chmod:90:-1 fchmod:91:52 fchmodat:268:53 utimensat:280:88 utime:132:-1 utimes:235:-1
[CHECKED]
fcntl:72:25 ioctl:16:29 prctl:157:167 prlimit64:302:261 socketpair:53:199 clone:56:220
[OURS]
clone3:435:435 pivot_root:155:41 capset:126:91
"""
"""`name:x86_64:aarch64`, from the kernel's `unistd_64.h` and `asm-generic/unistd.h`."""

MACHINES = {"x86_64": (1, 0xC000003E), "aarch64": (2, 0xC00000B7)}
"""Machine -> its column in the table, and the architecture as seccomp names it (`AUDIT_ARCH_...`)."""


def table(machine: str = "") -> dict[str, dict[str, int]]:
    """Group -> call -> number on the machine; this one by default. Raises KeyError for a machine we do not know."""
    column = MACHINES[machine or os.uname().machine][0]
    groups: dict[str, dict[str, int]] = {}
    found: dict[str, int] = {}
    for line in _TABLE.split("\n"):
        if line.startswith("["):
            found = groups.setdefault(line.strip("[]"), {})
        else:
            rows = [item.split(":") for item in line.split()]
            found.update((row[0], int(row[column])) for row in rows if row[column] != "-1")
    return groups
