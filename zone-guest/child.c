// SPDX-License-Identifier: Apache-2.0
/*
 * What a process does between clone(2) and execve(2). It is alone in its address space (a copy of
 * zone-init's), so it may allocate and need not clean up. Rights are given up last, and a step that
 * fails ends it: nothing is skipped with a warning.
 */
#include "zone-guest/process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "base/util.h"
#include "zone-guest/mounts.h"
#include "zone-guest/rights.h"
#include "zone-guest/user.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define PATH_SIZE    4096u

static void reset_signals(void)
{
	struct sigaction action = {.sa_handler = SIG_DFL};
	sigset_t none;

	for (int s = 1; s < NSIG; s++)
		sigaction(s, &action, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static int enter_place(const struct process_spec *spec, struct error *err)
{
	if (spec->place == PROCESS_IN_ZONE)
		return 0;
	if (spec->place == PROCESS_IN_WORKLOAD) {
		prctl(PR_SET_DUMPABLE, 0); /* those inside must not trace us; exec sets it again */
		if (setns(spec->join, CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP) <
		    0)
			return error_set_errno(err, -errno, "join the workload's namespaces");
		if (setns(spec->join, CLONE_NEWTIME) < 0 && errno != EINVAL)
			return error_set_errno(err, -errno, "join the workload's time");
		return 0;
	}
	/*
	 * Not with clone(): the namespace's root is the group of the one who asks, and that is
	 * right only now.
	 */
	if (unshare(CLONE_NEWCGROUP) < 0)
		return error_set_errno(err, -errno, "make a cgroup namespace");
	if (sethostname(spec->rootfs->hostname, strlen(spec->rootfs->hostname)) < 0)
		return error_set_errno(err, -errno, "set the host name");
	return rootfs_enter(spec->rootfs, err);
}

/*
 * Its streams go with it. What needs a right in the zone has been done.
 */
static int enter_userns(const struct process_spec *spec, const struct child_pipes *pipes,
			struct error *err)
{
	const int fds[] = {pipes->in, pipes->out, pipes->err};
	struct stat st;

	if (!spec->userns || !spec->userns->first_id)
		return 0;
	for (unsigned i = 0; i < ARRAY_SIZE(fds) && !spec->terminal; i++)
		if (fstat(fds[i], &st) == 0 && S_ISFIFO(st.st_mode) &&
		    fchown(fds[i], spec->userns->first_id, spec->userns->first_id) < 0)
			return error_set_errno(err, -errno, "give it its streams");
	return userns_enter(spec->userns, err);
}

static void report(int socket, enum child_report_kind kind, const struct error *failure, int fd)
{
	struct child_report message = {.kind = kind};

	if (failure)
		message.failure = *failure;
	io_send_fds(socket, &message, sizeof(message), &fd, fd >= 0, 0);
}

/* /dev/console is the workload's terminal, for programs that insist on it. */
static void bind_console(int master)
{
	char path[64];
	unsigned number;
	int fd;

	if (ioctl(master, TIOCGPTN, &number) < 0)
		return;
	snprintf(path, sizeof(path), "/dev/pts/%u", number);
	fd = open("/dev/console", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	close(fd);
	/* Not with users of its own: its mounts are the zone's. A plain file would swallow words.
	 */
	if (mount(path, "/dev/console", NULL, MS_BIND, NULL) < 0)
		unlink("/dev/console");
}

static int open_terminal(const struct process_spec *spec, int socket, struct error *err)
{
	struct winsize size = {.ws_row = spec->rows, .ws_col = spec->columns};
	int master = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC), unlock = 0, peer;

	if (master < 0)
		return error_set_errno(err, -errno, "open /dev/pts/ptmx");
	if (ioctl(master, TIOCSPTLCK, &unlock) < 0)
		return error_set_errno(err, -errno, "unlock the terminal");
	/* Not by its path, which those in the workload could have changed. */
	peer = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (peer < 0)
		return error_set_errno(err, -errno, "open the terminal");
	if (spec->rows && spec->columns)
		ioctl(master, TIOCSWINSZ, &size);
	if (spec->place == PROCESS_IN_NEW_WORKLOAD)
		bind_console(master);
	report(socket, CHILD_TERMINAL, NULL, master);
	close(master);
	return peer;
}

static int set_stdio(const struct process_spec *spec, const struct child_pipes *pipes,
		     struct error *err)
{
	int fd[3] = {pipes->in, pipes->out, pipes->err};

	if (setsid() < 0)
		return error_set_errno(err, -errno, "setsid");
	if (spec->terminal) {
		fd[0] = fd[1] = fd[2] = open_terminal(spec, pipes->report, err);
		if (fd[0] < 0)
			return fd[0];
		if (ioctl(fd[0], TIOCSCTTY, 0) < 0)
			return error_set_errno(err, -errno, "take the terminal");
	}
	for (int i = 0; i < 3; i++)
		if (dup2(fd[i], i) < 0)
			return error_set_errno(err, -errno, "set up standard streams");
	if (close_range(3, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
		return error_set_errno(err, -errno, "close_range");
	return 0;
}

static int enter_directory(const struct process_spec *spec, struct error *err)
{
	const char *path = *spec->working_directory ? spec->working_directory : "/";
	int r = 0;

	if (chdir(path) == 0)
		return 0;
	if (errno == ENOENT && spec->place == PROCESS_IN_NEW_WORKLOAD)
		r = mounts_make_dirs(path);
	if (r == 0 && chdir(path) < 0)
		r = -errno;
	return r < 0 ? error_set_errno(err, r, "working directory %s", path) : 0;
}

static int fill_env(const struct process_spec *spec, const struct user *user, struct strings *env,
		    struct error *err)
{
	int r = env_set_all(env, spec->env->items, spec->env->count);

	if (r == 0)
		r = env_default(env, "PATH", DEFAULT_PATH);
	if (r == 0)
		r = env_default(env, "HOME", user->home);
	if (r == 0 && spec->terminal)
		r = env_default(env, "TERM", "xterm");
	return r < 0 ? error_set_errno(err, r, "environment") : 0;
}

/*
 * Tries PATH in order, as a shell does; a file that may not be executed counts only if none can be.
 */
static int execute(char *const *argv, const struct strings *env, struct error *err)
{
	const char *name = argv[0], *path = env_get(env, "PATH");
	char candidate[PATH_SIZE];
	int worst = ENOENT;

	if (strchr(name, '/')) {
		execve(name, argv, env->items);
		return error_set_errno(err, -errno, "exec %s", name);
	}
	while (*name && path) {
		const char *end = strchrnul(path, ':');
		int len = (int)(end - path);
		int n = snprintf(candidate, sizeof(candidate), "%.*s/%s", len, path, name);

		if (len && n > 0 && (size_t)n < sizeof(candidate)) {
			execve(candidate, argv, env->items);
			if (errno != ENOENT && errno != ENOTDIR && worst == ENOENT)
				worst = errno;
			if (errno != ENOENT && errno != ENOTDIR && errno != EACCES)
				break;
		}
		path = *end ? end + 1 : NULL;
	}
	return error_set_errno(err, -worst, "exec %s", name);
}

static int prepare_and_execute(const struct process_spec *spec, const struct child_pipes *pipes,
			       struct error *err)
{
	struct strings env = STRINGS_NULL;
	struct user user;
	int r;

	reset_signals();
	r = enter_place(spec, err);
	if (r == 0)
		r = rights_limit(spec->settings, err);
	if (r == 0)
		r = enter_userns(spec, pipes, err);
	if (r == 0)
		r = set_stdio(spec, pipes, err);
	if (r == 0)
		r = user_lookup(spec->user, &user, err);
	if (r == 0)
		r = enter_directory(spec, err);
	if (r == 0)
		r = fill_env(spec, &user, &env, err);
	if (r == 0)
		r = rights_drop(spec->settings, &user, err);
	if (r == 0)
		r = execute(spec->argv, &env, err);
	return r;
}

_Noreturn void child_run(const struct process_spec *spec, const struct child_pipes *pipes)
{
	struct error err = ERROR_NULL;

	prepare_and_execute(spec, pipes, &err);
	report(pipes->report, CHILD_FAILED, &err, -1);
	_exit(127);
}
