// SPDX-License-Identifier: Apache-2.0
#include "supervisor/launch/spawn.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/param.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <linux/close_range.h>
#include <linux/sched.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/isolate.h"
#include "base/log.h"
#include "base/util.h"
#include "supervisor/launch/launch.h"

#define PARK_FD                                                                                    \
	(ISOLATE_FILES_MAX + 1) /* above every number of the convention, and of the program */
/*
 * Where the program lies open: above all descriptors that a runner may ever have, so that this
 * number is over with its exec, and with it execveat(2), which the filter allows for it alone.
 */
#define PROGRAM_FD   ISOLATE_FILES_MAX
#define SEGMENTS_MAX 64u

/* Descriptors of a folder's server; how many it may have: what it knows and has open
 * (zone-fs/fs.h). */
#define FOLDER_FD_SOCKET 3
#define FOLDER_FD_ROOT	 4
#define FOLDER_FILES_MAX 16384u

#ifdef NDEBUG
#define LOADER_ALLOWED false
#else
#define LOADER_ALLOWED true
#endif

/* What the child works with. */
struct child {
	const struct spawn *spawn;
	int folder; /* the mount that becomes the root of a folder's server */
	int runner;
	bool keep_root;
	bool own_ids; /* others than the parent's */
	int parent;   /* reads when to go on, writes a struct failure */
};

struct failure {
	int32_t step; /* in steps[] */
	int32_t error;
};

static int wait_for_parent(struct child *child)
{
	char go;

	return io_read_full(child->parent, &go, 1) == 1 ? 0 : -EPIPE;
}

/* As long as it has the ids of protect-launch, which sees what was allowed. */
static int open_folder(struct child *child)
{
	const struct spawn_folder *folder = child->spawn->folder;

	if (!folder)
		return 0;
	child->folder = isolate_open_folder(folder->path, folder->known, folder->read_only);
	return child->folder < 0 ? child->folder : 0;
}

/* #syscalls spawn: getgroups setsid umask read close dup2 close_range fcntl(_, F_DUPFD_CLOEXEC) */
static int become(struct child *child)
{
	/* Whoever maps ids of others has dropped its groups before; here it is too late. */
	if (child->own_ids && getgroups(0, NULL) != 0)
		return -EPERM;
	setsid();
	umask(077);
	return isolate_become(child->spawn->uid, child->spawn->gid);
}

static int park(int *fd)
{
	*fd = fcntl(*fd, F_DUPFD_CLOEXEC, PARK_FD);
	return *fd < 0 ? -errno : 0;
}

/* After all others, which lie above: whatever of launch's own is at its number is not needed here.
 */
static int park_program(int *fd)
{
	*fd = dup2(*fd, (int)PROGRAM_FD);
	return *fd < 0 ? -errno : 0;
}

/* Close-on-exec rather than closed: the way to the parent must outlive a failing exec. */
static int close_from(int first)
{
	return syscall(SYS_close_range, (unsigned)first, ~0u, CLOSE_RANGE_CLOEXEC) < 0 ? -errno : 0;
}

/* Of a folder's server, which has no log: what it has to say its zone would have said. */
static int arrange_for_folder(struct child *child)
{
	int null = child->spawn->null, socket = child->spawn->folder->socket, r;

	r = park(&null);
	if (r == 0)
		r = park(&child->parent);
	if (r == 0)
		r = park(&child->runner);
	if (r == 0)
		r = park(&socket);
	if (r == 0)
		r = park(&child->folder);
	if (r == 0)
		r = park_program(&child->runner);
	if (r < 0)
		return r;
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		if (dup2(null, fd) < 0)
			return -errno;
	if (dup2(socket, FOLDER_FD_SOCKET) < 0 || dup2(child->folder, FOLDER_FD_ROOT) < 0)
		return -errno;
	child->folder = FOLDER_FD_ROOT;
	return close_from(FOLDER_FD_ROOT + 1);
}

/* Puts every descriptor at its number. First all are copied upwards, so that no target is a source
 * still needed. */
static int arrange_files(struct child *child)
{
	const struct spawn *spawn = child->spawn;
	int fds[LAUNCH_FDS_MAX] = {-1}, kvm = spawn->kvm, null = spawn->null,
	    target = LAUNCH_FD_SPEC, r;

	if (spawn->folder)
		return arrange_for_folder(child);
	r = park(&kvm);
	if (r == 0)
		r = park(&null);
	if (r == 0)
		r = park(&child->parent);
	if (r == 0)
		r = park(&child->runner);
	for (unsigned i = 0; i < spawn->n_fds && r == 0; i++) {
		fds[i] = spawn->fds[i];
		r = park(&fds[i]);
	}
	if (r == 0)
		r = park_program(&child->runner);
	if (r < 0)
		return r;
	if (dup2(null, 0) < 0 || dup2(fds[LAUNCH_PLACE_LOG], 1) < 0 ||
	    dup2(fds[LAUNCH_PLACE_LOG], 2) < 0 || dup2(kvm, LAUNCH_FD_KVM) < 0)
		return -errno;
	for (unsigned i = 0; i < spawn->n_fds; i++)
		if (i != LAUNCH_PLACE_LOG && dup2(fds[i], target++) < 0)
			return -errno;
	return close_from(target);
}

static int name(struct child *child)
{
	return child->spawn->on_host ? 0 : isolate_names();
}

static int empty_root(struct child *child)
{
	if (child->spawn->on_host)
		return 0;
	if (child->keep_root)
		return isolate_proc();
	return child->spawn->folder ? isolate_root_at(child->folder) : isolate_root();
}

static int limit(struct child *child)
{
	int r = isolate_limits(child->spawn->folder ? FOLDER_FILES_MAX : ISOLATE_FILES_MAX);

	return r == 0 ? MIN(isolate_core(), 0) : r;
}

/* On the host the caller's own few go with the exec: it has given up all others, and root's power
 * over an exec (isolate_drop()). */
static int drop(struct child *child)
{
	return child->spawn->on_host ? 0 : isolate_drop(0);
}

/* PID 1 does not get a signal that it neither handles nor blocks: one that comes before the runner
 * listens would be lost. */
static void reset_signals(void)
{
	sigset_t set;

	for (int s = 1; s < NSIG; s++)
		signal(s, SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_SETMASK, &set, NULL);
}

/* #syscalls spawn: execveat(1024, _, _, _, AT_EMPTY_PATH) rt_sigaction(_, _, _, 8) rt_sigprocmask
 */
/* Returns only when it fails. */
static int execute(struct child *child)
{
	char server[] = "zone-fs", socket[] = "3", root[] = "4", read_only[] = "--read-only";
	char *server_argv[] = {server, socket, root, NULL, NULL};
	char *environment[] = {NULL};
	const struct spawn_folder *folder = child->spawn->folder;

	if (folder && folder->read_only)
		server_argv[3] = read_only;
	reset_signals();
	syscall(SYS_execveat, child->runner, "",
		folder ? (const char *const *)server_argv : child->spawn->arguments, environment,
		AT_EMPTY_PATH);
	return -errno;
}

static const struct {
	int (*take)(struct child *child);
	const char *failed;
} steps[] = {
	{wait_for_parent, "the runner's process was left alone"},
	{open_folder, "the folder cannot be taken as a root"},
	{become, "the runner's uid, gid and groups cannot be set"},
	{arrange_files, "descriptors of the runner cannot be arranged"},
	{name, "the runner's cgroup namespace and host name cannot be made"},
	{empty_root, "the runner's empty root cannot be made"},
	{limit, "resource limits of the runner cannot be set"},
	{drop, "capabilities of the runner cannot be dropped"},
	{execute, "the runner cannot be executed"},
};

_Noreturn static void run_child(struct child *child)
{
	for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
		struct failure failure = {.step = (int32_t)i, .error = steps[i].take(child)};

		if (failure.error < 0) {
			io_write_full(child->parent, &failure, sizeof(failure));
			break;
		}
	}
	_exit(127);
}

/*
 * #syscalls launch: clone3 socketpair(AF_UNIX) sendto(_, _, _, MSG_NOSIGNAL, 0, 0) wait4
 *	pidfd_send_signal close
 */
static pid_t clone_child(const struct spawn *spawn, int *pidfd, struct error *err)
{
	int cgroup = spawn->cgroup;
	struct clone_args args = {
		.flags = (spawn->on_host ? 0 : ISOLATE_NAMESPACES) | CLONE_PIDFD |
			 (cgroup >= 0 ? CLONE_INTO_CGROUP : 0),
		.pidfd = (uint64_t)(uintptr_t)pidfd,
		.exit_signal = SIGCHLD,
		.cgroup = (unsigned)MAX(cgroup, 0),
	};
	long pid = syscall(SYS_clone3, &args, sizeof(args));

	if (pid >= 0)
		return (pid_t)pid;
	if (errno == ENOSPC || errno == EPERM)
		return error_set_errno(
			err, -errno,
			"no process in namespaces of its own for the runner (see the "
			"sysctls user.max_*_namespaces)");
	return error_set_errno(err, -errno, "no process for the runner");
}

/* Whether the program names another one that has to load it. Returns 0 or -ENOEXEC. */
static int find_loader(int fd, bool *found)
{
	Elf64_Ehdr header;
	Elf64_Phdr segments[SEGMENTS_MAX];
	size_t len;

	*found = false;
	if (io_pread_full(fd, &header, sizeof(header), 0) != (ssize_t)sizeof(header) ||
	    memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
	    header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_phentsize != sizeof(*segments) ||
	    header.e_phnum > SEGMENTS_MAX)
		return -ENOEXEC;
	len = header.e_phnum * sizeof(*segments);
	if (io_pread_full(fd, segments, len, header.e_phoff) != (ssize_t)len)
		return -ENOEXEC;
	for (unsigned i = 0; i < header.e_phnum; i++)
		*found |= segments[i].p_type == PT_INTERP;
	return 0;
}

static int open_runner(const char *path, bool on_host, bool *keep_root, struct error *err)
{
	_cleanup_(close_fdp) int fd = open(path, O_RDONLY | O_CLOEXEC);
	int r = fd < 0 ? -errno : find_loader(fd, keep_root);

	if (r < 0)
		return error_set_errno(err, r, "the runner cannot be executed (%s)", path);
	if (*keep_root && !on_host && !LOADER_ALLOWED)
		return error_set(err, -ENOEXEC,
				 "the runner %s needs a loader, which an empty root has not; build "
				 "it with PROTECT_STATIC",
				 path);
	if (*keep_root && !on_host)
		log_warning("runner=%s msg=\"not static: it keeps the host's root; no release "
			    "does this\"",
			    path);
	return steal_fd(&fd);
}

/* The parent's half, while the child waits; then the child goes on. */
static int settle_child(const struct spawn *spawn, pid_t pid, int child, struct error *err)
{
	int r = spawn->on_host ? 0 : isolate_map(pid, spawn->uid, spawn->gid);

	if (r < 0)
		return error_set_errno(err, r, "the runner's uid and gid cannot be mapped");
	r = spawn->enter ? spawn->enter(spawn->user, pid, err) : 0;
	if (r < 0)
		return r;
	return send(child, "", 1, MSG_NOSIGNAL) == 1
		       ? 0
		       : error_set_errno(err, -errno, "the runner's process ended at once");
}

/* Waits until the child has become the runner. */
static int await_exec(const struct spawn *spawn, int child, struct error *err)
{
	struct failure failure;
	ssize_t n = io_read_full(child, &failure, sizeof(failure));

	if (n == 0)
		return 0;
	if (n != (ssize_t)sizeof(failure) || failure.step < 0 ||
	    failure.step >= (int32_t)ARRAY_SIZE(steps) || failure.error >= 0)
		return error_set(err, -EIO, "the runner's process ended before it was executed");
	return error_set_errno(err, failure.error, "%s (%s)", steps[failure.step].failed,
			       spawn->runner);
}

pid_t spawn_runner(const struct spawn *spawn, int *pidfd, struct error *err)
{
	_cleanup_(close_fdp) int ours = -1;
	_cleanup_(close_fdp) int theirs = -1;
	_cleanup_(close_fdp) int runner = -1;
	_cleanup_(close_fdp) int child_fd = -1;
	struct child child = {.spawn = spawn, .own_ids = spawn->uid != geteuid(), .folder = -1};
	int ends[2], r;
	pid_t pid;

	if (!spawn->folder && (spawn->n_fds < LAUNCH_PLACE_FILES || spawn->n_fds > LAUNCH_FDS_MAX))
		return error_set(err, -EINVAL, "%u descriptors for a runner", spawn->n_fds);
	runner = open_runner(spawn->runner, spawn->on_host, &child.keep_root, err);
	if (runner < 0)
		return runner;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return error_set_errno(err, -errno, "socketpair");
	ours = ends[0];
	theirs = ends[1];
	pid = clone_child(spawn, &child_fd, err);
	if (pid < 0)
		return pid;
	if (pid == 0) {
		child.runner = runner;
		child.parent = theirs;
		close(ours); /* or its end would never be seen */
		run_child(&child);
	}
	close_fdp(&theirs);
	r = settle_child(spawn, pid, ours, err);
	if (r == 0)
		r = await_exec(spawn, ours, err);
	if (r == 0) {
		*pidfd = steal_fd(&child_fd);
		return pid;
	}
	syscall(SYS_pidfd_send_signal, child_fd, SIGKILL, NULL, 0);
	waitpid(pid, NULL, 0);
	return r;
}
