// SPDX-License-Identifier: Apache-2.0
#include "base/filter.h"

#include <assert.h>
#include <errno.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * What the C library does by itself.
 *
 * Any thread: to go on after a stop, to come back from a signal's handler, to tell the time where
 * the vDSO cannot, to end the process.
 * #syscalls libc: restart_syscall rt_sigreturn clock_gettime(CLOCK_MONOTONIC) exit_group
 *
 * abort(), of assert() and of the compiler's checks, with its last words.
 * #syscalls libc.abort: write writev rt_sigprocmask rt_sigaction(SIGABRT) getpid gettid
 *	tgkill(SELF, _, SIGABRT)
 *
 * malloc() of the first thread; others would need mprotect for their heaps.
 * #syscalls libc.heap: brk mmap(_, _, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS) munmap
 *	mremap(_, _, _, MREMAP_MAYMOVE)
 *
 * Mutexes and condition variables, and pthread_join().
 * #syscalls libc.mutex: futex(_, FUTEX_WAIT_PRIVATE) futex(_, FUTEX_WAKE_PRIVATE)
 * #syscalls libc.cond: futex(_, FUTEX_WAIT_BITSET_PRIVATE|FUTEX_CLOCK_REALTIME)
 * #syscalls libc.join: futex(_, FUTEX_WAIT_BITSET|FUTEX_CLOCK_REALTIME) munmap
 *
 * The end of a thread: its stack's pages go back, and it waits for a pthread_kill() that is late.
 * #syscalls libc.thread: exit madvise(_, _, MADV_DONTNEED) futex(_, FUTEX_WAIT_PRIVATE)
 *	futex(_, FUTEX_WAKE_PRIVATE)
 *
 * Time by other clocks, where the vDSO cannot tell it.
 * #syscalls libc.time: clock_gettime(CLOCK_REALTIME) clock_gettime(CLOCK_BOOTTIME)
 *	clock_gettime(CLOCK_REALTIME_COARSE) clock_gettime(CLOCK_MONOTONIC_COARSE) gettimeofday time
 *
 * What a service does that loads its next filter.
 * #syscalls filter: prctl(PR_SET_NO_NEW_PRIVS, 1) seccomp(SECCOMP_SET_MODE_FILTER, 0)
 *
 * Threads that come and go. clone3(2) keeps what it makes in memory, where no filter sees it:
 * glibc takes its answer for that of an older kernel, and uses clone(2).
 * #syscalls libc.threads: clone3=ENOSYS clone(CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|
 *	CLONE_THREAD|CLONE_SYSVSEM|CLONE_SETTLS|CLONE_PARENT_SETTID|CLONE_CHILD_CLEARTID)
 *
 * Their stacks, and the heaps of all threads but the first.
 * #syscalls libc.stacks: mmap(_, _, PROT_NONE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_STACK)
 *	mmap(_, _, PROT_NONE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE)
 *	mmap(_, _, PROT_NONE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED)
 *	mmap(_, _, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_STACK)
 *	mprotect(_, _, PROT_READ|PROT_WRITE) mprotect(_, _, PROT_NONE) munmap rseq set_robust_list
 *	rt_sigprocmask sched_getaffinity
 *
 * What the first pthread_create() sets up for setuid(2) of all threads (SIGSETXID).
 * #syscalls libc.setxid: rt_sigaction(33)
 *
 * No library is loaded any more: dlopen() is told so at its first step.
 * #syscalls libc.noload: mmap(_, _, PROT_READ, MAP_PRIVATE|MAP_DENYWRITE)=EACCES
 *
 * ld.so, for programs of which we know only that they are Debian's. Code comes from files alone.
 * #syscalls loader: openat read pread64 newfstatat(_, _, _, AT_EMPTY_PATH) newfstatat(_, _, _, 0)
 *	access arch_prctl set_tid_address set_robust_list rseq prlimit64 close getrandom
 *	mprotect(_, _, PROT_READ) mmap(_, _, PROT_READ, MAP_PRIVATE)
 *	mmap(_, _, PROT_READ, MAP_PRIVATE|MAP_DENYWRITE)
 *	mmap(_, _, PROT_READ|PROT_EXEC, MAP_PRIVATE|MAP_DENYWRITE)
 *	mmap(_, _, PROT_READ, MAP_PRIVATE|MAP_FIXED|MAP_DENYWRITE)
 *	mmap(_, _, PROT_READ|PROT_EXEC, MAP_PRIVATE|MAP_FIXED|MAP_DENYWRITE)
 *	mmap(_, _, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_FIXED|MAP_DENYWRITE)
 *	mmap(_, _, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_FIXED|MAP_ANONYMOUS)
 *
 * SQLite with its write-ahead log. It gives the log the database's owner if it is root, and waits
 * for others' locks.
 * #syscalls sqlite: openat newfstatat(_, _, _, 0) newfstatat(_, _, _, AT_EMPTY_PATH)
 *	newfstatat(_, _, _, AT_SYMLINK_NOFOLLOW) access pread64 pwrite64 read write lseek
 *	fsync fdatasync ftruncate fcntl(_, F_GETLK) fcntl(_, F_SETLK) fcntl(_, F_GETFD)
 *	fcntl(_, F_SETFD) mmap(_, _, PROT_READ|PROT_WRITE, MAP_SHARED) munmap unlink geteuid
 *	fchown fchmod getpid readlink getcwd close clock_nanosleep
 *
 * AddressSanitizer, UndefinedBehaviorSanitizer and LeakSanitizer, in builds for tests only: shadow
 * memory, stacks for signals, and a thread that stops all others to look for leaks at the end.
 * #syscalls sanitizer: mmap(_, _, !PROT_EXEC) munmap mremap(_, _, _, MREMAP_MAYMOVE)
 *	mprotect(_, _, !PROT_EXEC) madvise(_, _, MADV_DONTNEED)
 *	madvise(_, _, MADV_NOHUGEPAGE) madvise(_, _, MADV_DONTDUMP) sigaltstack rt_sigaction
 *	rt_sigprocmask open openat read close stat lstat fstat
 *	newfstatat(_, _, _, !AT_NO_AUTOMOUNT) readlink readlinkat getdents getdents64 lseek
 *	sched_yield getpid getppid gettid getuid getrlimit prlimit64 sched_getaffinity
 *	sysinfo uname prctl(PR_GET_DUMPABLE) prctl(PR_SET_DUMPABLE) prctl(PR_SET_PTRACER)
 *	prctl(PR_SET_NAME) prctl(PR_SET_PDEATHSIG)
 *	clone(CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_UNTRACED) ptrace wait4 exit
 *	futex(_, FUTEX_WAIT_PRIVATE) futex(_, FUTEX_WAKE_PRIVATE) futex(_, FUTEX_WAIT)
 *	futex(_, FUTEX_WAKE) nanosleep clock_nanosleep set_robust_list rseq tgkill(SELF)
 *	kill(SELF) ioctl(_, TCGETS) pipe pipe2 process_vm_readv
 */

static int load(const struct sock_filter *code, uint16_t n_code)
{
	/* The kernel only reads it. */
	const struct sock_fprog program = {.len = n_code,
					   .filter = (struct sock_filter *)(uintptr_t)code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
		return -errno;
	return 0;
}

int filter_load(const struct filter *filter)
{
	struct sock_filter code[FILTER_CODE_MAX];

	if (filter->n_self == 0)
		return load(filter->code, filter->n_code);
	assert(filter->n_code <= FILTER_CODE_MAX);
	memcpy(code, filter->code, filter->n_code * sizeof(code[0]));
	for (unsigned i = 0; i < filter->n_self; i++)
		code[filter->self[i]].k = (uint32_t)getpid();
	return load(code, filter->n_code);
}
