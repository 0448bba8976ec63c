// SPDX-License-Identifier: Apache-2.0
#include "supervisor/launch/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/param.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/sched.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/util.h"
#include "supervisor/launch/launch.h"

#define FILES_MAX     1024u /* descriptors of a runner */
#define PROCESSES_MAX 1024u /* tasks under a runner's uid */
#define PARK_FD	      64    /* above every number of the convention */

enum step { STEP_NONE, STEP_LIMITS, STEP_FILES, STEP_CAPABILITIES, STEP_IDS, STEP_EXEC };

static const char *const step_text[] = {
	[STEP_LIMITS] = "resource limits of the runner cannot be set",
	[STEP_FILES] = "descriptors of the runner cannot be arranged",
	[STEP_CAPABILITIES] = "capabilities of the runner cannot be dropped",
	[STEP_IDS] = "the runner's uid and gid cannot be set",
	[STEP_EXEC] = "the runner cannot be executed",
};

struct failure {
	int32_t step;
	int32_t error;
};

/* Puts every descriptor at its number. First all are copied upwards, so that no target is a source
 * still needed. */
static int arrange_files(const struct spawn *spawn, int *report)
{
	int parked[LAUNCH_FDS_MAX], kvm, null, target = LAUNCH_FD_SPEC;

	for (unsigned i = 0; i < spawn->n_fds; i++) {
		parked[i] = fcntl(spawn->fds[i], F_DUPFD_CLOEXEC, PARK_FD);
		if (parked[i] < 0)
			return -errno;
	}
	kvm = fcntl(spawn->kvm, F_DUPFD_CLOEXEC, PARK_FD);
	null = fcntl(spawn->null, F_DUPFD_CLOEXEC, PARK_FD);
	*report = fcntl(*report, F_DUPFD_CLOEXEC, PARK_FD);
	if (kvm < 0 || null < 0 || *report < 0)
		return -errno;
	if (dup2(null, 0) < 0 || dup2(parked[LAUNCH_PLACE_LOG], 1) < 0 ||
	    dup2(parked[LAUNCH_PLACE_LOG], 2) < 0 || dup2(kvm, LAUNCH_FD_KVM) < 0)
		return -errno;
	for (unsigned i = 0; i < spawn->n_fds; i++)
		if (i != LAUNCH_PLACE_LOG && dup2(parked[i], target++) < 0)
			return -errno;
	/* Close-on-exec rather than closed: the report must outlive a failing exec. */
	if (syscall(SYS_close_range, (unsigned)target, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
		return -errno;
	return 0;
}

static int set_limit(int resource, rlim_t value)
{
	struct rlimit limit;

	if (getrlimit((__rlimit_resource_t)resource, &limit) < 0)
		return -errno;
	if (limit.rlim_max < value)
		value = limit.rlim_max;
	limit.rlim_cur = limit.rlim_max = value;
	return setrlimit((__rlimit_resource_t)resource, &limit) < 0 ? -errno : 0;
}

static int set_limits(const struct spawn *spawn)
{
	int r = set_limit(RLIMIT_CORE, 0);

	if (r == 0)
		r = set_limit(RLIMIT_NOFILE, FILES_MAX);
	/* Counted for the whole uid, which without a change of ids is not the runner's alone. */
	if (r == 0 && spawn->change_ids)
		r = set_limit(RLIMIT_NPROC, PROCESSES_MAX);
	return r;
}

static int drop_bounding_set(void)
{
	for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return -errno;
	return 0;
}

static int drop_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ||
	    syscall(SYS_capset, &header, none) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return 0;
}

static int change_ids(uid_t id)
{
	uid_t real, effective, saved;

	if (setgroups(0, NULL) < 0 || setresgid(id, id, id) < 0 || setresuid(id, id, id) < 0)
		return -errno;
	/* A setuid that failed and only warned has broken others: look at what we are now. */
	if (getresuid(&real, &effective, &saved) < 0 || real != id || effective != id ||
	    saved != id)
		return -EPERM;
	return 0;
}

static void reset_signals(void)
{
	sigset_t none;

	for (int s = 1; s < NSIG; s++)
		signal(s, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

_Noreturn static void fail(int report, enum step step, int r)
{
	struct failure failure = {.step = (int32_t)step, .error = r};

	io_write_full(report, &failure, sizeof(failure));
	_exit(127);
}

_Noreturn static void run_child(const struct spawn *spawn, int report)
{
	char name[] = "zone-vmm", kvm_option[] = "--kvm-fd", kvm[] = "3",
	     spec_option[] = "--spec-fd", spec[] = "4";
	char *argv[] = {name, kvm_option, kvm, spec_option, spec, NULL};
	char *environment[] = {NULL};
	int r;

	setsid();
	umask(077);
	r = set_limits(spawn);
	if (r < 0)
		fail(report, STEP_LIMITS, r);
	r = arrange_files(spawn, &report);
	if (r < 0)
		fail(report, STEP_FILES, r);
	r = spawn->change_ids ? drop_bounding_set() : 0;
	if (r < 0)
		fail(report, STEP_CAPABILITIES, r);
	r = spawn->change_ids ? change_ids(spawn->id) : 0;
	if (r < 0)
		fail(report, STEP_IDS, r);
	r = drop_capabilities();
	if (r < 0)
		fail(report, STEP_CAPABILITIES, r);
	reset_signals();
	if (chdir("/") < 0)
		fail(report, STEP_FILES, -errno);
	execve(spawn->runner, argv, environment);
	fail(report, STEP_EXEC, -errno);
}

static pid_t clone_child(int cgroup, int *pidfd)
{
	struct clone_args args = {
		.flags = CLONE_PIDFD | (cgroup >= 0 ? CLONE_INTO_CGROUP : 0),
		.pidfd = (uint64_t)(uintptr_t)pidfd,
		.exit_signal = SIGCHLD,
		.cgroup = (unsigned)MAX(cgroup, 0),
	};
	long pid = syscall(SYS_clone3, &args, sizeof(args));

	return pid < 0 ? -errno : (pid_t)pid;
}

pid_t spawn_runner(const struct spawn *spawn, int *pidfd, struct error *err)
{
	_cleanup_(close_fdp) int in = -1;
	_cleanup_(close_fdp) int out = -1;
	_cleanup_(close_fdp) int child_fd = -1;
	struct failure failure = {0};
	int ends[2];
	ssize_t n;
	pid_t pid;

	if (spawn->n_fds < LAUNCH_PLACE_FILES || spawn->n_fds > LAUNCH_FDS_MAX)
		return error_set(err, -EINVAL, "%u descriptors for a runner", spawn->n_fds);
	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_set_errno(err, -errno, "pipe");
	in = ends[0];
	out = ends[1];
	pid = clone_child(spawn->cgroup, &child_fd);
	if (pid < 0)
		return error_set_errno(err, pid, "no process for the runner");
	if (pid == 0)
		run_child(spawn, out);
	close_fdp(&out);
	n = io_read_full(in, &failure, sizeof(failure));
	if (n == 0) {
		*pidfd = steal_fd(&child_fd);
		return pid;
	}
	waitpid(pid, NULL, 0);
	if (n != (ssize_t)sizeof(failure) || failure.step <= STEP_NONE || failure.step > STEP_EXEC)
		return error_set(err, -EIO, "the runner's process ended before it was executed");
	return error_set_errno(err, failure.error, "%s (%s)", step_text[failure.step],
			       spawn->runner);
}
