// SPDX-License-Identifier: Apache-2.0
#include "base/isolate.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/openat2.h>
#include <linux/securebits.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/util.h"

#define CAPABILITIES_MAX 64  /* in the masks of capset(2) */
#define POLL_BATCH	 64u /* no more than RLIMIT_NOFILE allows at once */

/*
 * By stages; what a process has left behind it cannot do again for want of capabilities.
 * #syscalls launch: openat write close
 * #syscalls spawn: setresgid setresuid getresgid getresuid unshare(CLONE_NEWCGROUP) sethostname
 *	setdomainname fsopen fsconfig fsmount mount(_, _, _, MS_REC|MS_PRIVATE)
 *	mount(_, _, _, MS_NOSUID|MS_NODEV|MS_NOEXEC) move_mount(_, _, _, _, MOVE_MOUNT_F_EMPTY_PATH)
 *	fchdir chdir pivot_root umount2(_, MNT_DETACH) prlimit64 prctl(PR_SCHED_CORE) capset
 *	prctl(PR_CAPBSET_READ) prctl(PR_CAPBSET_DROP) prctl(PR_CAP_AMBIENT)
 *	prctl(PR_SET_SECUREBITS) prctl(PR_SET_NO_NEW_PRIVS) exit_group
 * #syscalls runner: prctl(PR_GET_SECUREBITS) prctl(PR_GET_NO_NEW_PRIVS) prctl(PR_CAPBSET_READ)
 *	prctl(PR_SET_DUMPABLE, 0) capget geteuid getuid openat fstatfs getdents64 poll close_range
 */
static int write_proc(int proc, const char *name, const char *text)
{
	_cleanup_(close_fdp) int fd = openat(proc, name, O_WRONLY | O_CLOEXEC);

	return fd < 0 ? -errno : io_write_full(fd, text, strlen(text));
}

static int write_map(int proc, const char *name, unsigned id)
{
	char text[48];

	snprintf(text, sizeof(text), "%u %u 1\n", id, id);
	return write_proc(proc, name, text);
}

int isolate_map(pid_t pid, uid_t uid, gid_t gid)
{
	_cleanup_(close_fdp) int proc = -1;
	char path[32] = "/proc/self";
	int r;

	if (pid)
		snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	proc = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (proc < 0)
		return -errno;
	r = write_proc(proc, "setgroups", "deny");
	if (r == 0)
		r = write_map(proc, "gid_map", gid);
	return r < 0 ? r : write_map(proc, "uid_map", uid);
}

int isolate_become(uid_t uid, gid_t gid)
{
	uid_t u[3];
	gid_t g[3];

	if (setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0 ||
	    getresuid(&u[0], &u[1], &u[2]) < 0 || getresgid(&g[0], &g[1], &g[2]) < 0)
		return -errno;
	/* A setuid that failed and only warned has broken others: look at what we are now. */
	for (unsigned i = 0; i < ARRAY_SIZE(u); i++)
		if (u[i] != uid || g[i] != gid)
			return -EPERM;
	return 0;
}

int isolate_names(void)
{
	static const char name[] = ISOLATE_HOST_NAME;

	if (unshare(CLONE_NEWCGROUP) < 0 || sethostname(name, sizeof(name) - 1) < 0 ||
	    setdomainname("", 0) < 0)
		return -errno;
	return 0;
}

/* A mount of a new tmpfs that holds nothing and can hold nothing; in no place yet. */
static int make_empty_root(void)
{
	_cleanup_(close_fdp) int fs = fsopen("tmpfs", FSOPEN_CLOEXEC);
	int mount;

	if (fs < 0 || fsconfig(fs, FSCONFIG_SET_STRING, "mode", "0555", 0) < 0 ||
	    fsconfig(fs, FSCONFIG_SET_STRING, "nr_inodes", "1", 0) < 0 ||
	    fsconfig(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0) < 0 ||
	    fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	mount = fsmount(fs, FSMOUNT_CLOEXEC,
			MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
				MOUNT_ATTR_NOEXEC);
	return mount < 0 ? -errno : mount;
}

/*
 * It is laid over the root, since no other folder is sure to be there, and reached by its
 * descriptor. pivot_root(2) in the same place then stacks the old root on top of it ("."), from
 * where it is detached.
 */
int isolate_root_at(int root)
{
	/* In a user namespace of its own it is a slave already; not so for root without one. */
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    move_mount(root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0 || fchdir(root) < 0 ||
	    syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return -errno;
	return 0;
}

int isolate_root(void)
{
	_cleanup_(close_fdp) int root = make_empty_root();

	return root < 0 ? root : isolate_root_at(root);
}

/* #syscalls spawn: openat2 newfstatat(_, _, _, AT_EMPTY_PATH) mount_setattr close
 *	open_tree(_, _, AT_EMPTY_PATH|AT_RECURSIVE|OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC) */
int isolate_open_folder(const char *path, const struct stat *known, bool read_only)
{
	const struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
				     .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
					      MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOSYMFOLLOW |
					      (read_only ? MOUNT_ATTR_RDONLY : 0),
				  .propagation = MS_PRIVATE};
	_cleanup_(close_fdp) int folder =
		(int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
	_cleanup_(close_fdp) int tree = -1;
	struct stat st;

	if (folder < 0 || fstat(folder, &st) < 0)
		return -errno;
	if (st.st_dev != known->st_dev || st.st_ino != known->st_ino)
		return -ESTALE;
	tree = open_tree(folder, "",
			 AT_EMPTY_PATH | AT_RECURSIVE | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (tree < 0 ||
	    mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)) < 0)
		return -errno;
	return steal_fd(&tree);
}

int isolate_proc(void)
{
	if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0 ||
	    chdir("/") < 0)
		return -errno;
	return 0;
}

static const struct {
	__rlimit_resource_t resource;
	rlim_t value;
} limits[] = {
	{RLIMIT_CORE, 0},   /* a core would be the guest's memory in a file of the host's */
	{RLIMIT_NOFILE, 0}, /* what it is asked for */
	/* Counted in this user namespace only. */
	{RLIMIT_NPROC, ISOLATE_TASKS_MAX},
	/* Since Linux 6.14 the rings of io_uring count, all of a user's together; no more of what
	 * cannot be reclaimed. */
	{RLIMIT_MEMLOCK, 8 * MIB},
	{RLIMIT_MSGQUEUE, 0}, /* memory of the kernel for queues that nobody needs */
	{RLIMIT_NICE, 0},     /* no way to more than the cgroup's share */
	{RLIMIT_RTPRIO, 0},
	/* FSIZE would bound disks, AS and DATA the guest's memory: the cgroup does that. */
};

int isolate_limits(unsigned n_files)
{
	for (unsigned i = 0; i < ARRAY_SIZE(limits); i++) {
		struct rlimit limit;
		rlim_t value;

		if (getrlimit(limits[i].resource, &limit) < 0)
			return -errno;
		value = limits[i].resource == RLIMIT_NOFILE ? n_files : limits[i].value;
		if (limit.rlim_max > value)
			limit.rlim_max = value;
		limit.rlim_cur = limit.rlim_max;
		if (setrlimit(limits[i].resource, &limit) < 0)
			return -errno;
	}
	return 0;
}

bool isolate_has_core(void)
{
	unsigned long cookie;

	return prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, 0, PR_SCHED_CORE_SCOPE_THREAD, &cookie) == 0;
}

int isolate_core(void)
{
	if (prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE, 0, PR_SCHED_CORE_SCOPE_THREAD_GROUP, 0) == 0)
		return 0;
	return errno == ENODEV || errno == EINVAL ? 1 : -errno;
}

static int keep_capabilities(uint64_t keep)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};
	int held;

	for (unsigned long cap = 0; (held = prctl(PR_CAPBSET_READ, cap, 0, 0, 0)) >= 0; cap++)
		if (held && !(keep >> cap & 1) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return -errno;
	for (unsigned i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
		data[i].permitted = data[i].effective = (uint32_t)(keep >> 32 * i);
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ||
	    syscall(SYS_capset, &header, data) < 0)
		return -errno;
	return 0;
}

int isolate_drop(uint64_t keep)
{
	if (prctl(PR_SET_SECUREBITS, ISOLATE_SECUREBITS, 0, 0, 0) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return keep_capabilities(keep);
}

bool isolate_is_started(void)
{
	return getpid() == 1 && prctl(PR_GET_SECUREBITS, 0, 0, 0, 0) == ISOLATE_SECUREBITS;
}

static bool has_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, data) < 0)
		return true;
	for (unsigned i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
		if (data[i].permitted || data[i].effective || data[i].inheritable)
			return true;
	/* Ambient ones are a part of the permitted. */
	for (unsigned long cap = 0; cap < CAPABILITIES_MAX; cap++)
		if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1)
			return true;
	return false;
}

static bool root_is_empty(void)
{
	_cleanup_(close_fdp) int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char entries[256]; /* "." and ".." are 24 bytes each */
	struct statvfs fs;

	return root >= 0 && fstatvfs(root, &fs) == 0 && (fs.f_flag & ST_RDONLY) &&
	       syscall(SYS_getdents64, root, entries, sizeof(entries)) == 48 &&
	       syscall(SYS_getdents64, root, entries, sizeof(entries)) == 0;
}

int isolate_check(bool empty_root, struct error *err)
{
	if (prctl(PR_GET_SECUREBITS, 0, 0, 0, 0) != ISOLATE_SECUREBITS)
		return error_set(err, -EPERM, "the sandbox's securebits are not set");
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return error_set(err, -EPERM, "no_new_privs is not set");
	if (has_capabilities())
		return error_set(err, -EPERM, "a capability is left");
	if (geteuid() == 0 || getuid() == 0)
		return error_set(err, -EPERM, "this is root");
	if (empty_root && !root_is_empty())
		return error_set(err, -EPERM, "the root is not an empty, read-only tmpfs");
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return error_set_errno(err, -errno, "this process would be dumpable");
	return 0;
}

/* Of `count` descriptors from `first`: the lowest open one that is not expected, or -1. */
static int stray_among(int first, unsigned count, const int *expected, unsigned n)
{
	struct pollfd fds[POLL_BATCH];

	for (unsigned i = 0; i < count; i++)
		fds[i] = (struct pollfd){.fd = first + (int)i};
	for (unsigned i = 0; i < n; i++)
		if (expected[i] >= first && expected[i] < first + (int)count)
			fds[expected[i] - first].fd = -1;
	/* Asks for no event; of those that are not open it says POLLNVAL. */
	if (poll(fds, count, 0) < 0)
		return first;
	for (unsigned i = 0; i < count; i++)
		if (fds[i].fd >= 0 && !(fds[i].revents & POLLNVAL))
			return fds[i].fd;
	return -1;
}

int isolate_stray_fd(const int *expected, unsigned n)
{
	int stray = -1;

	syscall(SYS_close_range, ISOLATE_FILES_MAX, ~0u, 0);
	for (int first = 0; stray < 0 && first < (int)ISOLATE_FILES_MAX; first += (int)POLL_BATCH)
		stray = stray_among(first, POLL_BATCH, expected, n);
	return stray;
}
