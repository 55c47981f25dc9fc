package main

import "syscall"

// row is a call with the kinds of its arguments, and what to do with what it returned.
type row struct {
	name      string
	number    uintptr
	arguments []kind
	after     func(*worker, uintptr)
	// It rightly never succeeds.
	refused bool
}

type kinds = []kind

var (
	openFlags = bits(syscall.O_WRONLY, syscall.O_RDWR, syscall.O_CREAT, syscall.O_CREAT, syscall.O_EXCL, syscall.O_TRUNC,
		syscall.O_APPEND, syscall.O_NONBLOCK, syscall.O_DIRECTORY, syscall.O_NOFOLLOW, 0x200000 /* PATH */, 0x410000 /* TMPFILE */)
	mode     = below(01000)
	fileFlag = bits(0x100 /* SYMLINK_NOFOLLOW */, 0x1000 /* EMPTY_PATH */, 0x400 /* SYMLINK_FOLLOW */)
	pipeFlag = with(syscall.O_NONBLOCK, bits(syscall.O_CLOEXEC, syscall.O_DIRECT))
	noWait   = with(syscall.MSG_DONTWAIT, bits(syscall.MSG_PEEK, syscall.MSG_TRUNC, syscall.MSG_OOB, syscall.MSG_WAITALL, syscall.MSG_NOSIGNAL))
	anyWait  = bits(syscall.MSG_DONTWAIT, syscall.MSG_DONTWAIT, syscall.MSG_PEEK, syscall.MSG_NOSIGNAL, 0x8000 /* MORE */)
	access   = below(8)
	timeout  = anyOf(0, 0, 1, 1, 2, ^uintptr(0))
	clock    = below(14)
	spliced  = bits(1, 2, 2, 2, 4)
	family   = anyOf(syscall.AF_UNIX, syscall.AF_INET, syscall.AF_INET, syscall.AF_INET6, syscall.AF_NETLINK)
	sockType = with(syscall.SOCK_NONBLOCK, anyOf(syscall.SOCK_STREAM, syscall.SOCK_STREAM, syscall.SOCK_STREAM, syscall.SOCK_DGRAM, syscall.SOCK_SEQPACKET, syscall.SOCK_RAW))
	optLevel = anyOf(syscall.SOL_SOCKET, syscall.IPPROTO_TCP, syscall.IPPROTO_IP, syscall.IPPROTO_IPV6, syscall.IPPROTO_UDP)
	option   = below(80)
	mapFlag  = bits(syscall.MAP_SHARED, syscall.MAP_PRIVATE, syscall.MAP_PRIVATE, syscall.MAP_ANON, syscall.MAP_ANON, syscall.MAP_POPULATE, mapNoSwap)
	futexAt  = oneOf(out, constant(arenaBase), constant(arenaBase+4), constant(arenaBase+pageSize))
	seals    = below(32)
)

var rows = []row{
	{"getpid", syscall.SYS_GETPID, nil, nil, false},
	{"read", syscall.SYS_READ, kinds{fd, out, length}, nil, false},
	{"write", syscall.SYS_WRITE, kinds{fd, out, length}, nil, false},
	{"readv", syscall.SYS_READV, kinds{fd, vectors, count}, nil, false},
	{"writev", syscall.SYS_WRITEV, kinds{fd, vectors, count}, nil, false},
	{"pread64", syscall.SYS_PREAD64, kinds{of(file), out, length, offset}, nil, false},
	{"pwrite64", syscall.SYS_PWRITE64, kinds{of(file), out, length, offset}, nil, false},
	{"preadv2", 327, kinds{of(file), vectors, count, offset, constant(0), bits(1, 2, 4, 8)}, nil, false},
	{"pwritev2", 328, kinds{of(file), vectors, count, offset, constant(0), bits(1, 2, 4, 8, 16)}, nil, false},
	{"lseek", syscall.SYS_LSEEK, kinds{of(file), offset, below(6)}, nil, false},
	{"sendfile", syscall.SYS_SENDFILE, kinds{fd, fd, offsetAt, length}, nil, false},
	{"splice", syscall.SYS_SPLICE, kinds{oneOf(fd, of(pipe)), offsetAt, oneOf(fd, of(pipe)), offsetAt, length, spliced}, nil, false},
	{"tee", syscall.SYS_TEE, kinds{of(pipe), of(pipe), length, spliced}, nil, false},
	{"vmsplice", syscall.SYS_VMSPLICE, kinds{of(pipe), vectors, count, spliced}, nil, false},
	{"copy_file_range", 326, kinds{of(file), offsetAt, of(file), offsetAt, length, constant(0)}, nil, false},

	{"openat", syscall.SYS_OPENAT, kinds{folderFD, path, openFlags, mode}, adopt(file), false},
	{"open own", syscall.SYS_OPENAT, kinds{folderFD, own, with(syscall.O_RDWR|syscall.O_CREAT, openFlags), mode}, adopt(file), false},
	{"openat2", 437, kinds{folderFD, path, how, constant(24)}, adopt(file), false},
	{"close", syscall.SYS_CLOSE, kinds{fd}, nil, false},
	{"close_range", 436, kinds{oneOf(constant(maximumFD), fd), constant(maximumFD + 8), bits(4)}, nil, false},
	{"dup", syscall.SYS_DUP, kinds{fd}, adopt(none), false},
	{"dup3", syscall.SYS_DUP3, kinds{fd, fd, bits(syscall.O_CLOEXEC)}, nil, false},
	{"dup2", syscall.SYS_DUP2, kinds{fd, fd}, nil, false},
	{"fcntl", syscall.SYS_FCNTL, kinds{fd, anyOf(1, 2, 3, 9, 11, 15, 16, 1024, 1025, 1032, 1034, 1036), small}, nil, false},
	{"F_SETPIPE_SZ", syscall.SYS_FCNTL, kinds{of(pipe), constant(1031), oneOf(length, constant(1<<16))}, nil, false},
	{"F_ADD_SEALS", syscall.SYS_FCNTL, kinds{fd, constant(1033), seals}, nil, false},
	{"F_SETFL", syscall.SYS_FCNTL, kinds{fd, constant(4), bits(syscall.O_NONBLOCK, syscall.O_NONBLOCK, syscall.O_APPEND)}, nil, false},
	{"F_SETOWN", syscall.SYS_FCNTL, kinds{fd, constant(8), oneOf(process, small)}, nil, false},
	{"F_SETSIG", syscall.SYS_FCNTL, kinds{fd, constant(10), anyOf(0, uintptr(syscall.SIGIO), uintptr(syscall.SIGURG), uintptr(syscall.SIGUSR1), 65)}, nil, false},
	{"O_ASYNC", syscall.SYS_FCNTL, kinds{fd, constant(4), with(syscall.O_NONBLOCK, bits(syscall.O_ASYNC))}, nil, false},
	{"F_DUPFD", syscall.SYS_FCNTL, kinds{fd, anyOf(0, 1030), constant(firstFD)}, nil, false},
	{"locks", syscall.SYS_FCNTL, kinds{of(file), anyOf(5, 6, 7, 36, 37, 38), out}, nil, false},
	{"flock", syscall.SYS_FLOCK, kinds{of(file), anyOf(1, 2, 5, 6, 8)}, nil, false},
	{"ioctl", syscall.SYS_IOCTL, kinds{fd, anyOf(0x5401, 0x5413, 0x541b, 0x5421, 0x5450, 0x5451, 0x8912, 0x8913), out}, nil, false},
	{"fsync", syscall.SYS_FSYNC, kinds{fd}, nil, false},

	{"newfstatat", syscall.SYS_NEWFSTATAT, kinds{folderFD, path, out, fileFlag}, nil, false},
	{"fstat", syscall.SYS_FSTAT, kinds{fd, out}, nil, false},
	{"statx", 332, kinds{folderFD, path, fileFlag, below(0x1000), out}, nil, false},
	{"faccessat2", 439, kinds{folderFD, path, access, fileFlag}, nil, false},
	{"fstatfs", syscall.SYS_FSTATFS, kinds{fd, out}, nil, false},
	{"ftruncate", syscall.SYS_FTRUNCATE, kinds{of(file), offset}, nil, false},
	{"truncate", syscall.SYS_TRUNCATE, kinds{own, offset}, nil, false},
	{"fallocate", syscall.SYS_FALLOCATE, kinds{of(file), bits(1, 2, 8, 16), offset, below(1 << 18)}, nil, false},
	{"fchmodat", syscall.SYS_FCHMODAT, kinds{folderFD, own, mode}, nil, false},
	{"fchownat", syscall.SYS_FCHOWNAT, kinds{folderFD, own, minusOne, minusOne, fileFlag}, nil, false},
	{"utimensat", syscall.SYS_UTIMENSAT, kinds{folderFD, own, oneOf(constant(0), out), fileFlag}, nil, false},
	{"fgetxattr", syscall.SYS_FGETXATTR, kinds{fd, own, out, length}, nil, true},
	{"flistxattr", syscall.SYS_FLISTXATTR, kinds{fd, out, length}, nil, false},

	{"getdents64", syscall.SYS_GETDENTS64, kinds{of(file), out, length}, nil, false},
	{"getcwd", syscall.SYS_GETCWD, kinds{private, below(256)}, nil, false},
	{"chdir", syscall.SYS_CHDIR, kinds{own}, nil, false},
	{"fchdir", syscall.SYS_FCHDIR, kinds{fd}, nil, false},
	{"mkdirat", syscall.SYS_MKDIRAT, kinds{folderFD, own, with(0700, mode)}, nil, false},
	{"unlinkat", syscall.SYS_UNLINKAT, kinds{folderFD, own, bits(0x200, 0x200)}, nil, false},
	{"renameat2", 316, kinds{folderFD, own, folderFD, own, bits(1, 2)}, nil, false},
	{"linkat", syscall.SYS_LINKAT, kinds{folderFD, own, folderFD, own, fileFlag}, nil, false},
	{"symlinkat", syscall.SYS_SYMLINKAT, kinds{own, folderFD, oneOf(own, constantName("link"))}, nil, false},
	{"readlinkat", syscall.SYS_READLINKAT, kinds{folderFD, oneOf(own, constantName("link")), out, length}, nil, false},
	{"mknodat", syscall.SYS_MKNODAT, kinds{folderFD, own, anyOf(0, syscall.S_IFREG|0600, syscall.S_IFIFO|0600), constant(0)}, nil, false},

	{"pipe2", syscall.SYS_PIPE2, kinds{descriptors, pipeFlag}, adoptPair(pipe), false},
	{"blocking pipe", syscall.SYS_PIPE2, kinds{descriptors, constant(0)}, adoptPair(pipe), false},
	{"eventfd2", syscall.SYS_EVENTFD2, kinds{small, with(syscall.O_NONBLOCK, bits(1))}, adopt(none), false},
	{"timerfd_create", syscall.SYS_TIMERFD_CREATE, kinds{below(8), bits(syscall.O_NONBLOCK)}, adopt(timer), false},
	{"timerfd_settime", syscall.SYS_TIMERFD_SETTIME, kinds{of(timer), bits(1, 2), interval, out}, nil, false},
	{"timerfd_gettime", syscall.SYS_TIMERFD_GETTIME, kinds{of(timer), out}, nil, false},
	{"memfd_create", 319, kinds{own, bits(1, 2, 2)}, adopt(file), false},
	{"inotify_init1", syscall.SYS_INOTIFY_INIT1, kinds{bits(syscall.O_NONBLOCK, syscall.O_NONBLOCK)}, adopt(notifier), false},
	{"inotify_add_watch", syscall.SYS_INOTIFY_ADD_WATCH, kinds{of(notifier), own, with(2, anything)}, nil, false},
	{"inotify_rm_watch", syscall.SYS_INOTIFY_RM_WATCH, kinds{of(notifier), below(4)}, nil, false},
	{"signalfd4", syscall.SYS_SIGNALFD4, kinds{oneOf(minusOne, fd), signals, constant(8), bits(syscall.O_NONBLOCK)}, adopt(signalled), false},
	{"epoll_create1", syscall.SYS_EPOLL_CREATE1, kinds{constant(0)}, adopt(epoll), false},
	{"epoll_ctl", syscall.SYS_EPOLL_CTL, kinds{of(epoll), below(4), fd, epollEvent}, nil, false},
	{"epoll_wait", syscall.SYS_EPOLL_WAIT, kinds{of(epoll), out, small, timeout}, nil, false},
	{"epoll_pwait", syscall.SYS_EPOLL_PWAIT, kinds{of(epoll), out, small, timeout, signals, constant(8)}, nil, false},
	{"poll", syscall.SYS_POLL, kinds{polls, count, timeout}, nil, false},
	{"ppoll", syscall.SYS_PPOLL, kinds{polls, count, timespec, signals, constant(8)}, nil, false},
	{"select", syscall.SYS_SELECT, kinds{below(1100), fdSet, fdSet, fdSet, timespec}, nil, false},
	{"pselect6", syscall.SYS_PSELECT6, kinds{below(200), fdSet, fdSet, fdSet, timespec, pairSignals}, nil, false},

	{"socket", syscall.SYS_SOCKET, kinds{family, sockType, anyOf(0, 0, 0, 1, 6, 17, 58)}, adoptSocket, false},
	{"socketpair", syscall.SYS_SOCKETPAIR, kinds{constant(syscall.AF_UNIX), sockType, constant(0), descriptors}, adoptPair(socket), false},
	{"bind", syscall.SYS_BIND, kinds{oneOf(of(socket), of(stream)), socketAddress, size}, binds, false},
	{"listen", syscall.SYS_LISTEN, kinds{of(stream), small}, listens, false},
	{"accept4", syscall.SYS_ACCEPT4, kinds{of(listener), out, sizeAt, bits(syscall.O_NONBLOCK)}, adopt(socket), false},
	{"connect", syscall.SYS_CONNECT, kinds{oneOf(of(socket), of(stream)), knownAddress, size}, nil, false},
	{"getsockname", syscall.SYS_GETSOCKNAME, kinds{of(socket), out, sizeAt}, nil, false},
	{"getpeername", syscall.SYS_GETPEERNAME, kinds{of(socket), out, sizeAt}, nil, false},
	{"shutdown", syscall.SYS_SHUTDOWN, kinds{of(socket), below(4)}, nil, false},
	{"sendto", syscall.SYS_SENDTO, kinds{of(socket), out, length, noWait, socketAddress, size}, nil, false},
	{"send", syscall.SYS_SENDTO, kinds{of(socket), out, length, anyWait, constant(0), constant(0)}, nil, false},
	{"recvfrom", syscall.SYS_RECVFROM, kinds{of(socket), out, length, noWait, out, sizeAt}, nil, false},
	{"sendmsg", syscall.SYS_SENDMSG, kinds{of(socket), message, noWait}, nil, false},
	{"recvmsg", syscall.SYS_RECVMSG, kinds{of(socket), message, noWait}, nil, false},
	{"sendmmsg", 307, kinds{of(socket), messages, count, noWait}, nil, false},
	{"recvmmsg", syscall.SYS_RECVMMSG, kinds{of(socket), messages, count, noWait, oneOf(constant(0), timespec)}, nil, false},
	{"setsockopt", syscall.SYS_SETSOCKOPT, kinds{of(socket), optLevel, option, out, anyOf(1, 4, 8, 16)}, nil, false},
	{"getsockopt", syscall.SYS_GETSOCKOPT, kinds{of(socket), optLevel, option, out, sizeAt}, nil, false},

	{"mmap in place", syscall.SYS_MMAP, kinds{arena, extent, access, with(mapFixed, mapFlag), oneOf(minusOne, fd), constant(0)}, nil, false},
	{"mmap", syscall.SYS_MMAP, kinds{arena, extent, access, mapFlag, oneOf(minusOne, fd), constant(0)}, unmap, false},
	{"mmap anonymous", syscall.SYS_MMAP, kinds{arena, extent, access, constant(mapFixed | syscall.MAP_PRIVATE | syscall.MAP_ANON), minusOne, constant(0)}, nil, false},
	{"munmap", syscall.SYS_MUNMAP, kinds{arena, extent}, nil, false},
	{"mprotect", syscall.SYS_MPROTECT, kinds{arena, extent, access}, nil, false},
	{"mprotect open", syscall.SYS_MPROTECT, kinds{arena, extent, constant(syscall.PROT_READ | syscall.PROT_WRITE)}, nil, false},
	{"mremap", syscall.SYS_MREMAP, kinds{arena, extent, extent, bits(1)}, unmap, false},
	{"mremap fixed", syscall.SYS_MREMAP, kinds{arena, extent, below(4 * pageSize), constant(3), constant(arenaBase + arenaSize/2)}, unmap, false},
	{"madvise", syscall.SYS_MADVISE, kinds{arena, extent, below(26)}, nil, false},
	{"guards", syscall.SYS_MADVISE, kinds{arena, extent, anyOf(102, 103)}, nil, false},
	{"process_madvise", 440, kinds{of(pidfd), vectors, count, below(26), constant(0)}, nil, false},
	{"mincore", syscall.SYS_MINCORE, kinds{arena, extent, out}, nil, false},
	{"msync", syscall.SYS_MSYNC, kinds{arena, extent, below(8)}, nil, false},
	{"mlock", syscall.SYS_MLOCK, kinds{arena, extent}, nil, false},
	{"munlock", syscall.SYS_MUNLOCK, kinds{arena, extent}, nil, false},
	{"brk", syscall.SYS_BRK, kinds{anyOf(0, arenaBase, ^uintptr(0))}, nil, false},
	{"process_vm_readv", 310, kinds{constant(0), vectors, count, vectors, count, constant(0)}, nil, true},
	{"membarrier", 324, kinds{anyOf(0, 1, 2, 4, 8, 16), bits(1), constant(0)}, nil, false},

	{"futex wait", syscall.SYS_FUTEX, kinds{futexAt, with(128, anyOf(0, 9)), anyOf(0, 0, 1), timespec, constant(0), anything}, nil, false},
	{"futex wake", syscall.SYS_FUTEX, kinds{futexAt, anyOf(1, 10, 129, 138), small, constant(0), constant(0), anything}, nil, false},
	{"futex move", syscall.SYS_FUTEX, kinds{futexAt, anyOf(3, 4, 5, 131, 132, 133), small, small, futexAt, anything}, nil, false},
	{"futex wake op", syscall.SYS_FUTEX, kinds{futexAt, anyOf(5, 133), small, small, futexAt, anything}, nil, false},
	{"futex_wake", 454, kinds{futexAt, with(1, bits(2, 4, 0x80000000)), small, anyOf(2, 130, 4)}, nil, false},
	{"futex_wait", 455, kinds{futexAt, anyOf(0, 0, 1), constant(1), anyOf(2, 130), timespec, below(2)}, nil, false},
	{"sched_yield", syscall.SYS_SCHED_YIELD, nil, nil, false},
	{"sched_getaffinity", syscall.SYS_SCHED_GETAFFINITY, kinds{thread, length, out}, nil, false},
	{"sched_setaffinity", syscall.SYS_SCHED_SETAFFINITY, kinds{constant(0), constant(8), private}, nil, true},
	{"getcpu", 309, kinds{out, out, constant(0)}, nil, false},
	{"nanosleep", syscall.SYS_NANOSLEEP, kinds{timespec, out}, nil, false},
	{"clock_nanosleep", syscall.SYS_CLOCK_NANOSLEEP, kinds{clock, below(2), timespec, out}, nil, false},
	{"clock_gettime", syscall.SYS_CLOCK_GETTIME, kinds{clock, out}, nil, false},
	{"setitimer", syscall.SYS_SETITIMER, kinds{below(4), interval, out}, nil, false},
	{"getitimer", syscall.SYS_GETITIMER, kinds{below(4), out}, nil, false},
	{"alarm", syscall.SYS_ALARM, kinds{below(2)}, nil, false},
	{"getrusage", syscall.SYS_GETRUSAGE, kinds{anyOf(0, 1, ^uintptr(0)), out}, nil, false},
	{"times", syscall.SYS_TIMES, kinds{out}, nil, false},

	{"rt_sigprocmask", syscall.SYS_RT_SIGPROCMASK, kinds{below(4), signals, out, constant(8)}, nil, false},
	{"rt_sigpending", syscall.SYS_RT_SIGPENDING, kinds{out, constant(8)}, nil, false},
	{"rt_sigtimedwait", syscall.SYS_RT_SIGTIMEDWAIT, kinds{signals, out, timespec, constant(8)}, nil, false},
	{"rt_sigsuspend", syscall.SYS_RT_SIGSUSPEND, kinds{signals, constant(8)}, nil, true},
	{"sigaltstack", syscall.SYS_SIGALTSTACK, kinds{constant(0), private}, nil, false},
	{"tkill", syscall.SYS_TKILL, kinds{thread, quiet}, nil, false},
	{"kill", syscall.SYS_KILL, kinds{process, quiet}, nil, false},

	{"pidfd_open", 434, kinds{oneOf(process, thread), with(syscall.O_NONBLOCK, bits(syscall.O_EXCL))}, adopt(pidfd), false},
	{"pidfd_send_signal", 424, kinds{of(pidfd), quiet, constant(0), bits(1, 2, 4)}, nil, false},
	{"pidfd_getfd", 438, kinds{of(pidfd), fd, constant(0)}, adopt(none), false},

	{"uname", syscall.SYS_UNAME, kinds{out}, nil, false},
	{"sysinfo", syscall.SYS_SYSINFO, kinds{out}, nil, false},
	{"getrandom", 318, kinds{out, length, bits(1, 2)}, nil, false},
	{"prlimit64", syscall.SYS_PRLIMIT64, kinds{constant(0), below(17), constant(0), out}, nil, false},
	{"getgroups", syscall.SYS_GETGROUPS, kinds{small, out}, nil, false},
	{"getresuid", syscall.SYS_GETRESUID, kinds{out, out, out}, nil, false},
	{"capget", syscall.SYS_CAPGET, kinds{out, out}, nil, false},
	{"umask", syscall.SYS_UMASK, kinds{mode}, nil, false},
}

// denied are calls that byNumber must not make: they end the program or a thread, change memory,
// signals or descriptors that are Go's, write to where a structure in the arena says, or take away
// what the test needs afterwards.
var denied = numbers(
	syscall.SYS_EXIT, syscall.SYS_EXIT_GROUP, syscall.SYS_CLONE, syscall.SYS_RT_SIGRETURN, syscall.SYS_RT_SIGACTION,
	syscall.SYS_RT_SIGPROCMASK, syscall.SYS_RT_SIGSUSPEND, syscall.SYS_SIGALTSTACK, syscall.SYS_PAUSE,
	syscall.SYS_KILL, 424 /* pidfd_send_signal */, syscall.SYS_TKILL, syscall.SYS_TGKILL, syscall.SYS_RT_SIGQUEUEINFO, syscall.SYS_RT_TGSIGQUEUEINFO,
	syscall.SYS_PPOLL, syscall.SYS_PSELECT6, syscall.SYS_EPOLL_PWAIT, 441, /* epoll_pwait2 */
	syscall.SYS_MMAP, syscall.SYS_MUNMAP, syscall.SYS_MPROTECT, syscall.SYS_MREMAP, syscall.SYS_MADVISE, syscall.SYS_BRK,
	// These bring in what Go has reserved and never touched, tens of MiB.
	syscall.SYS_MLOCK, 325 /* mlock2 */, syscall.SYS_MLOCKALL, syscall.SYS_SHMAT, syscall.SYS_REMAP_FILE_PAGES, 329 /* pkey_mprotect */, 440, /* process_madvise */
	453 /* map_shadow_stack */, 462 /* mseal */, 311, /* process_vm_writev */
	syscall.SYS_ARCH_PRCTL, syscall.SYS_PRCTL, syscall.SYS_TIMER_CREATE, 317, /* seccomp */
	syscall.SYS_CLOSE, 436 /* close_range */, syscall.SYS_FCNTL, /* F_DUPFD to a number that tidy does not look at */
	syscall.SYS_DUP2, syscall.SYS_DUP3, syscall.SYS_SPLICE, syscall.SYS_TEE,
	syscall.SYS_SENDFILE, 326, /* copy_file_range */
	syscall.SYS_READV, syscall.SYS_PREADV, 327 /* preadv2 */, syscall.SYS_RECVMSG, syscall.SYS_RECVMMSG, 310, /* process_vm_readv */
	syscall.SYS_MKNOD, syscall.SYS_MKNODAT, /* a device with the number of the console's, on which bytes would be written */
	syscall.SYS_VMSPLICE, syscall.SYS_IOCTL, syscall.SYS_GETSOCKOPT, syscall.SYS_SET_ROBUST_LIST,
	syscall.SYS_SETRLIMIT, syscall.SYS_PRLIMIT64, syscall.SYS_CHROOT, syscall.SYS_PIVOT_ROOT, syscall.SYS_MOUNT,
	syscall.SYS_UMOUNT2, syscall.SYS_REBOOT, syscall.SYS_SETTIMEOFDAY, syscall.SYS_CLOCK_SETTIME, syscall.SYS_ADJTIMEX, 305, /* clock_adjtime */
	syscall.SYS_SETUID, syscall.SYS_SETGID, syscall.SYS_SETREUID, syscall.SYS_SETREGID, syscall.SYS_SETRESUID,
	syscall.SYS_SETRESGID, syscall.SYS_SETFSUID, syscall.SYS_SETFSGID, syscall.SYS_SETGROUPS, syscall.SYS_CAPSET,
)

func numbers(of ...uintptr) map[uintptr]bool {
	set := map[uintptr]bool{}
	for _, number := range of {
		set[number] = true
	}
	return set
}
