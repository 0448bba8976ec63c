// SPDX-License-Identifier: Apache-2.0
#include "vmm/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/param.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/capability.h>

#include "base/cleanup.h"
#include "base/isolate.h"
#include "base/notify.h"
#include "base/util.h"
#include "vmm/filters.h"

#define OWN_FDS	    8u /* beside the spec's */
#define MESSAGE_MAX 256
#define RELAYED_MAX 16u /* messages of a zone: it has a handful to say in its life */

/* Sanitizers look at /proc, the host's, while and after the program runs. */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED true
#endif
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

/* Whether a loader brought us here: then the launcher of a debug build left us the host's root. */
static bool is_loaded(void)
{
#ifdef NDEBUG
	return false;
#else
	return getauxval(AT_BASE) != 0;
#endif
}

/* All descriptors that this process may have. Returns their number. */
static unsigned list_fds(const struct confine *confine, int fds[static SPEC_FDS_MAX + OWN_FDS])
{
	const struct zone_spec *spec = confine->spec;
	const int own[OWN_FDS] = {STDIN_FILENO,	   STDOUT_FILENO,   STDERR_FILENO,
				  confine->kvm_fd, confine->notify, spec->kernel_fd,
				  spec->initrd_fd, spec->socket_fd};
	unsigned n = 0;

	for (unsigned i = 0; i < OWN_FDS; i++)
		fds[n++] = own[i];
	fds[n++] = spec->exit_fd;
	fds[n++] = spec->console_fd;
	for (unsigned i = 0; i < spec->n_disks; i++)
		fds[n++] = spec->disks[i].fd;
	for (unsigned i = 0; i < spec->n_nics; i++)
		for (unsigned j = 0; j < spec->nics[i].n_taps; j++)
			fds[n++] = spec->nics[i].taps[j];
	return n;
}

static int check_fds(const struct confine *confine, struct error *err)
{
	int fds[SPEC_FDS_MAX + OWN_FDS];
	int stray = isolate_stray_fd(fds, list_fds(confine, fds));

	if (stray < 0)
		return 0;
	return error_set(err, -EPERM, "descriptor %d is open, and nothing names it", stray);
}

/* A shell may have left some open; whoever names none has lost it. */
static void close_strays(const int *expected, unsigned n)
{
	int fd;

	while ((fd = isolate_stray_fd(expected, n)) >= 0)
		close(fd);
}

/* Hosts that keep user namespaces from users want CAP_SYS_ADMIN, which is kept that far. Where it
 * cannot be had, unshare() tells. */
static void raise_sys_admin(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, data) < 0)
		return;
	data[CAP_TO_INDEX(CAP_SYS_ADMIN)].effective |=
		data[CAP_TO_INDEX(CAP_SYS_ADMIN)].permitted & CAP_TO_MASK(CAP_SYS_ADMIN);
	syscall(SYS_capset, &header, data);
}

static int leave_root(const struct confine *confine, struct error *err)
{
	int r;

	if (geteuid() != 0)
		return 0;
	r = prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || setgroups(0, NULL) < 0 ? -errno : 0;
	if (r == 0)
		r = isolate_become(confine->uid, confine->gid);
	if (r < 0)
		return error_set_errno(err, r,
				       "cannot become uid %u and gid %u; name others with --user",
				       (unsigned)confine->uid, (unsigned)confine->gid);
	raise_sys_admin();
	/* Or /proc/self, where the ids are mapped, would be root's. */
	return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0 ? -errno : 0;
}

static int unshare_all(struct error *err)
{
	if (unshare(ISOLATE_NAMESPACES & ~(SANITIZED ? CLONE_NEWPID : 0)) == 0)
		return 0;
	if (errno == EPERM)
		return error_set(err, -EPERM,
				 "this host keeps user namespaces from uid %u (the sysctls "
				 "kernel.unprivileged_userns_clone and "
				 "kernel.apparmor_restrict_unprivileged_userns, a container's "
				 "seccomp filter, or a chroot); start zone-vmm as root or through "
				 "protect-launch",
				 (unsigned)geteuid());
	if (errno == ENOSPC)
		return error_set(err, -ENOSPC,
				 "this host has no namespaces left; raise the sysctls "
				 "user.max_*_namespaces");
	return error_set_errno(err, -errno, "cannot make namespaces");
}

static int map(const struct confine *confine)
{
	return isolate_map(0, confine->uid, confine->gid);
}

static int become(const struct confine *confine)
{
	return isolate_become(confine->uid, confine->gid);
}

static int name(const struct confine *confine)
{
	(void)confine;
	return isolate_names();
}

static int empty_root(const struct confine *confine)
{
	(void)confine;
	return SANITIZED ? 0 : isolate_root();
}

static int limit(const struct confine *confine)
{
	int r = isolate_limits(ISOLATE_FILES_MAX);

	(void)confine;
	return r == 0 ? MIN(isolate_core(), 0) : r;
}

static int drop(const struct confine *confine)
{
	(void)confine;
	return isolate_drop(0);
}

static const struct {
	int (*take)(const struct confine *confine);
	const char *failed;
} steps[] = {
	{map, "cannot map the zone's uid and gid"},
	{become, "cannot set the zone's uid and gid"},
	{name, "cannot make a cgroup namespace and a host name"},
	{empty_root, "cannot make an empty root"},
	{limit, "cannot set resource limits"},
	{drop, "cannot drop capabilities"},
};

/* From here on this process has what the zone's may have, but for the pid namespace, which its next
 * child is the first in. */
static int isolate_self(const struct confine *confine, struct error *err)
{
	int r = leave_root(confine, err);

	if (r == 0)
		r = unshare_all(err);
	for (unsigned i = 0; i < ARRAY_SIZE(steps) && r == 0; i++) {
		r = steps[i].take(confine);
		if (r < 0)
			error_set_errno(err, r, "%s", steps[i].failed);
	}
	return r == 0 ? isolate_check(!SANITIZED, err) : r;
}

/* Passes on what the zone may tell systemd. It is not trusted with the rest (MAINPID, descriptors).
 * Returns false once nothing more can come. */
static bool relay(int zone, int notify)
{
	static const char *const allowed[] = {"READY=1", "STOPPING=1", "STATUS="};
	char message[MESSAGE_MAX], *rest = message, *line;
	ssize_t n = recv(zone, message, sizeof(message) - 1, MSG_DONTWAIT);

	message[MAX(n, 0)] = '\0';
	while ((line = strsep(&rest, "\n")))
		for (unsigned i = 0; i < ARRAY_SIZE(allowed); i++)
			if (strncmp(line, allowed[i], strlen(allowed[i])) == 0)
				notify_send(notify, line);
	return n != 0;
}

/* Ends as the zone's process did. */
_Noreturn static void end_alike(int wait_status)
{
	sigset_t set;

	if (WIFEXITED(wait_status))
		_exit(WEXITSTATUS(wait_status));
	signal(WTERMSIG(wait_status), SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, WTERMSIG(wait_status));
	kill(getpid(), WTERMSIG(wait_status));
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	_exit(128 + WTERMSIG(wait_status));
}

static void take_signal(int signals, pid_t zone)
{
	struct signalfd_siginfo info;
	int wait_status;

	if (read(signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	if (info.ssi_signo != SIGCHLD)
		kill(zone, (int)info.ssi_signo);
	else if (waitpid(zone, &wait_status, WNOHANG) == zone)
		end_alike(wait_status);
}

/*
 * The process that stays outside the zone's pid namespace.
 * #syscalls minder: poll recvfrom sendto(_, _, _, MSG_NOSIGNAL|MSG_DONTWAIT, 0, 0) read wait4
 *	kill(_, SIGTERM) kill(_, SIGINT) kill(SELF) rt_sigaction rt_sigprocmask getpid
 */
_Noreturn static void mind_zone(pid_t zone, int channel, int notify, int signals)
{
	const int kept[] = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, channel, notify, signals};
	struct pollfd polls[] = {{.fd = channel, .events = POLLIN},
				 {.fd = signals, .events = POLLIN}};
	unsigned n_relayed = 0;

	close_strays(kept, ARRAY_SIZE(kept));
	if (filters_confine_minder() < 0)
		_exit(EXIT_FAILURE); /* and the zone with us */
	while (poll(polls, ARRAY_SIZE(polls), -1) > 0 || errno == EINTR) {
		/* One that says more keeps systemd from hearing others. */
		if (polls[0].revents && (!relay(channel, notify) || ++n_relayed == RELAYED_MAX))
			polls[0].fd = -1;
		if (polls[1].revents)
			take_signal(signals, zone);
	}
	_exit(EXIT_FAILURE);
}

/* Whether the other process is there. From now on its end is ours. */
static bool bind_to_parent(int channel)
{
	struct pollfd poll_channel = {.fd = channel};

	return prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0 && poll(&poll_channel, 1, 0) == 0;
}

static int start_zone(struct confine *confine, int channel, int null)
{
	int fds[SPEC_FDS_MAX + OWN_FDS];

	/* Without a terminal to send keys to, and with no input. */
	if (!bind_to_parent(channel) || setsid() < 0 || dup2(null, STDIN_FILENO) < 0)
		return -errno;
	confine->notify = channel;
	close_strays(fds, list_fds(confine, fds));
	return 0;
}

static int watch_signals(sigset_t *old)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, old);
	/* Those two stay blocked in the zone: PID 1 would not get what comes before it listens. */
	sigaddset(old, SIGTERM);
	sigaddset(old, SIGINT);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

static int become_two(struct confine *confine, int null, struct error *err)
{
	sigset_t old;
	int signals = watch_signals(&old), ends[2];
	pid_t pid;

	if (signals < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return error_set_errno(err, -errno, "cannot watch the zone's process");
	pid = fork();
	if (pid < 0)
		return error_set_errno(err, -errno, "no process for the zone");
	if (pid > 0)
		mind_zone(pid, ends[0], confine->notify, signals);
	close(ends[0]);
	sigprocmask(SIG_SETMASK, &old, NULL);
	return start_zone(confine, ends[1], null);
}

/* Now, for inside the namespace nobody has an id until they are mapped. */
static void choose_ids(struct confine *confine)
{
	if (geteuid() != 0) {
		confine->uid = geteuid();
		confine->gid = getegid();
	} else if (confine->uid == CONFINE_ID_NONE) {
		confine->uid = confine->gid = CONFINE_ID_BASE + (uid_t)getpid();
	}
}

int confine(struct confine *confine, struct error *err)
{
	_cleanup_(close_fdp) int null = -1;
	int r;

	if (isolate_is_started()) {
		r = isolate_check(!is_loaded(), err);
		return r == 0 ? check_fds(confine, err) : r;
	}
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return error_set_errno(err, -errno, "/dev/null");
	choose_ids(confine);
	r = isolate_self(confine, err);
	if (r == 0)
		r = become_two(confine, null, err);
	return r;
}
