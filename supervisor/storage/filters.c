// SPDX-License-Identifier: Apache-2.0
#include "supervisor/storage/filters.h"

#include "base/filter.h"
#include "storage_filters.h"

int filters_confine_start(void)
{
	return filter_load(&filter_storage_start);
}

int filters_confine_running(void)
{
	return filter_load(&filter_storage_running);
}

int filters_confine_helper(void)
{
	return filter_load(&filter_storage_helper);
}

/*
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
 * mksquashfs and unsquashfs: one file, pipes, threads, and a thread that waits for signals.
 * #syscalls program: openat read write pread64 pwrite64 lseek ftruncate close unlink pipe2 pipe dup
 *	newfstatat(_, _, _, AT_SYMLINK_NOFOLLOW) readlink getuid getgid geteuid getegid getpid
 *	gettid tgkill(SELF) rt_sigaction rt_sigprocmask rt_sigtimedwait sysinfo sched_getaffinity
 *	sched_yield nanosleep clock_nanosleep umask fcntl(_, F_GETFL) ioctl(_, TCGETS)
 *	ioctl(_, TIOCGWINSZ) setitimer alarm poll writev getdents64 uname
 * #syscalls program.exec: execveat(256, _, _, _, AT_EMPTY_PATH) exit
 */
int filters_confine_program(void)
{
	return filter_load(&filter_storage_program);
}
