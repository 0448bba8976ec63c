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
 * mksquashfs and unsquashfs: one file, pipes, threads, and a thread that waits for signals.
 * #syscalls program: openat read write pread64 pwrite64 lseek ftruncate close unlink pipe2 pipe dup
 *	newfstatat(_, _, _, AT_SYMLINK_NOFOLLOW) readlink getuid getgid geteuid getegid getpid
 *	gettid tgkill(SELF) rt_sigaction rt_sigprocmask rt_sigtimedwait sysinfo sched_getaffinity
 *	sched_yield nanosleep clock_nanosleep umask fcntl(_, F_GETFL) ioctl(_, TCGETS)
 *	ioctl(_, TIOCGWINSZ) setitimer alarm poll writev getdents64 uname
 *
 * mkfs.ext4, on a file.
 * #syscalls program: fsync fallocate fadvise64 getppid prctl(PR_GET_DUMPABLE)
 *	mmap(_, _, PROT_READ, MAP_SHARED) ioctl(_, BLKGETSIZE) ioctl(_, BLKGETSIZE64)
 *	ioctl(_, BLKSSZGET) ioctl(_, BLKPBSZGET) ioctl(_, BLKROGET)
 *	ioctl(_, BLKDISCARDZEROES) ioctl(_, FDGETPRM) copy_file_range
 *
 * #syscalls program.exec: execveat(256, _, _, _, AT_EMPTY_PATH) exit
 */
int filters_confine_program(void)
{
	return filter_load(&filter_storage_program);
}
