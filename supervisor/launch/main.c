// SPDX-License-Identifier: Apache-2.0
/*
 * protect-launch: the only privileged process. It hears fixed-size requests (launch.h) from the
 * daemon's user, one at a time, in one thread, and starts, signals and reaps runners. It reads no
 * file that another user wrote.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/capability.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/denied.h"
#include "base/io.h"
#include "base/isolate.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/options.h"
#include "base/util.h"
#include "supervisor/launch/cgroup.h"
#include "supervisor/launch/filters.h"
#include "supervisor/launch/launch.h"
#include "supervisor/launch/runners.h"

/*
 * What this process keeps: zones have ids of their own, which only these two map. It owns the
 * namespaces it makes, and so needs no more to set them up, to signal what runs in them or to move
 * it; cgroups, /proc and /dev/kvm are files of root's, whose uid it keeps.
 */
#define KEPT (UINT64_C(1) << CAP_SETUID | UINT64_C(1) << CAP_SETGID)

#define CLIENTS_MAX 16u
#define FILES_MIN   (ISOLATE_FILES_MAX + 64) /* see spawn.c: a child arranges them above */
#define RETRY_MS                                                                                   \
	100 /* a cgroup that is not empty yet, a listener without descriptors is looked at again   \
	     */

struct options {
	const char *socket, *cgroup_root, *cgroup_driver;
	bool require_cgroup;
	uid_t allow_uid;
	const char *config_file;
	struct runners_config config;
};

struct launch {
	struct runners runners;
	uid_t allow_uid;
	int listener, signals, notify;
	int reserve;	 /* see io_accept() */
	bool is_stuck;	 /* nobody can be accepted for a moment */
	int watchdog_ms; /* how often systemd wants to hear of us, -1 = never */
	int clients[CLIENTS_MAX];
	unsigned n_clients;
};

#define AT(field) offsetof(struct options, field)

static const struct option_entry option_table[] = {
	{"socket", OPTION_TEXT, AT(socket), "PATH", "where the daemon connects (" LAUNCH_SOCKET ")",
	 0, 0},
	{"runner", OPTION_TEXT, AT(config.runner), "PATH",
	 "the program that is one zone (/usr/local/bin/zone-vmm)", 0, 0},
	{"xen-runner", OPTION_TEXT, AT(config.xen_runner), "PATH",
	 "the same on Xen (/usr/local/bin/zone-xen)", 0, 0},
	{"folder-server", OPTION_TEXT, AT(config.folder_server), "PATH",
	 "the program that serves a folder to a zone (/usr/local/bin/zone-fs)", 0, 0},
	{"config", OPTION_TEXT, AT(config_file), "PATH",
	 "which folders may be shared (" CONFIG_DEFAULT_PATH ")", 0, 0},
	{"cgroup-root", OPTION_TEXT, AT(cgroup_root), "DIR",
	 "cgroup directory of all zones (" CGROUP_ROOT ")", 0, 0},
	{"cgroup-driver", OPTION_TEXT, AT(cgroup_driver), "NAME",
	 "auto, unified (v2), legacy (v1) or systemd (auto: v2, else v1)", 0, 0},
	{"require-cgroup", OPTION_SET, AT(require_cgroup), NULL,
	 "fail where zones cannot be limited", 0, 0},
	{"kvm", OPTION_TEXT, AT(config.kvm), "PATH", "the KVM device (/dev/kvm)", 0, 0},
	{"uid-base", OPTION_U32, AT(config.uid_base), "N", "first uid of zones (200000)", 1000,
	 INT32_MAX},
	{"uid-count", OPTION_U32, AT(config.uid_count), "N",
	 "how many uids, and so how many zones (4096)", 1, 65536},
	{"allow-uid", OPTION_U32, AT(allow_uid), "N", "who may ask, beside root (the user protect)",
	 0, INT32_MAX},
	{"no-uid", OPTION_CLEAR, AT(config.change_ids), NULL,
	 "run zones as the present user; not as root", 0, 0},
};

static int parse_options(int argc, char **argv, struct options *o)
{
	const struct passwd *user = getpwnam("protect");

	o->allow_uid = user ? user->pw_uid : 0;
	if (options_parse("protect-launch", option_table, ARRAY_SIZE(option_table), argc, argv, o) <
	    0)
		return -EINVAL;
	if (!o->config.change_ids && geteuid() == 0) {
		fprintf(stderr, "protect-launch: --no-uid would run zones as root; leave it out\n");
		return -EINVAL;
	}
	if (o->config.change_ids && geteuid() != 0) {
		fprintf(stderr, "protect-launch: needs root (or --no-uid, for tests)\n");
		return -EPERM;
	}
	return 0;
}

static int parse_driver(const char *name, enum cgroup_kind *kind)
{
	static const char *const names[] = {[CGROUP_AUTO] = "auto",
					    [CGROUP_UNIFIED] = "unified",
					    [CGROUP_LEGACY] = "legacy",
					    [CGROUP_SYSTEMD] = "systemd"};

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(name, names[i]) == 0) {
			*kind = (enum cgroup_kind)i;
			return 0;
		}
	log_error("cgroup_driver=%s err=\"auto, unified, legacy and systemd are known\"", name);
	return -EINVAL;
}

static int open_cgroups(const struct options *o, struct cgroups **cgroups)
{
	struct cgroup_config config = {.root = o->cgroup_root};
	struct error err = ERROR_NULL;
	int r = parse_driver(o->cgroup_driver, &config.kind);

	*cgroups = NULL;
	if (r < 0 || cgroups_open(cgroups, &config, &err) == 0)
		return r;
	if (o->require_cgroup || config.kind != CGROUP_AUTO) {
		log_error("err=\"%s\"", err.text);
		return err.code;
	}
	log_warning("zones run without limits: %s", err.text);
	return 0;
}

static int read_config(const struct options *o, struct folders *folders)
{
	struct error err = ERROR_NULL;
	int r = folders_read(folders, o->config_file ? o->config_file : CONFIG_DEFAULT_PATH,
			     o->config_file != NULL, &err);

	if (r < 0)
		log_error("err=\"%s\"", err.text);
	return r;
}

static int open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* What a client is told whose request cannot be read: without descriptors, of what comes with it
 * there is nothing. */
static void answer_unheard(int client)
{
	struct launch_reply reply = {
		.version = LAUNCH_VERSION,
		.error = -EMFILE,
		.text = "protect-launch has no descriptor left for this; try again later",
	};

	io_refuse(client, &reply, sizeof(reply));
}

/* #syscalls launch: poll read close */
static void accept_client(struct launch *launch)
{
	_cleanup_(close_fdp) int fd = io_accept(launch->listener, SOCK_NONBLOCK, &launch->reserve);
	uid_t uid;

	launch->is_stuck = fd < 0 && io_accept_is_stuck(fd);
	if (fd < 0)
		return;
	if (io_peer_uid(fd, &uid) < 0 || (uid != 0 && uid != launch->allow_uid)) {
		log_warning("uid=%u refused", uid);
		return;
	}
	if (launch->reserve < 0) {
		answer_unheard(fd);
		return;
	}
	launch->clients[launch->n_clients++] = steal_fd(&fd);
}

/* One packet of a client. Returns false when the client is gone. */
static bool serve_client(struct launch *launch, int client)
{
	union {
		struct launch_request request;
		char room[sizeof(struct launch_request) + 1];
	} packet;
	_cleanup_(close_fdp) int pidfd = -1;
	struct launch_reply reply;
	int fds[LAUNCH_FDS_MAX];
	unsigned n_fds = LAUNCH_FDS_MAX;
	ssize_t n = io_recv_fds(client, &packet, sizeof(packet), fds, &n_fds, MSG_DONTWAIT);

	if (n == -EAGAIN)
		return true;
	if (n == -EMSGSIZE)
		answer_unheard(client);
	if (n <= 0) {
		while (n == 0 && n_fds)
			close(fds[--n_fds]);
		return false;
	}
	runners_request(&launch->runners, &packet, (size_t)n, fds, n_fds, &reply, &pidfd);
	return io_send_fds(client, &reply, sizeof(reply), &pidfd, pidfd >= 0, MSG_DONTWAIT) ==
	       (ssize_t)sizeof(reply);
}

/*
 * In the order in which they came: what a daemon that was killed has still asked for is done before
 * its successor asks whether it was.
 */
static void serve_clients(struct launch *launch, const struct pollfd *polls)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < launch->n_clients; i++) {
		if (polls[i].revents && !serve_client(launch, launch->clients[i]))
			close(launch->clients[i]);
		else
			launch->clients[kept++] = launch->clients[i];
	}
	launch->n_clients = kept;
}

/* Reads what signals came. Returns true when one of them asks us to end. */
static bool take_signals(int fd)
{
	struct signalfd_siginfo info;
	bool stop = false;

	while (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		stop |= info.ssi_signo != SIGCHLD;
	return stop;
}

static int listen_at(const char *path)
{
	int fd = notify_listener(SOCK_SEQPACKET);

	/* Everybody may reach the socket; the folder's mode and the peer's uid decide. */
	return fd == -ENOENT ? io_unix_listen(path, SOCK_SEQPACKET, 0666) : fd;
}

static int run(struct launch *launch)
{
	bool groups_left = false;

	for (;;) {
		bool may_enter = launch->n_clients < CLIENTS_MAX && !launch->is_stuck;
		struct pollfd polls[CLIENTS_MAX + 2] = {
			{.fd = launch->signals, .events = POLLIN},
			/* A full house lets newcomers wait in the listener's queue. */
			{.fd = may_enter ? launch->listener : -1, .events = POLLIN}};

		for (unsigned i = 0; i < launch->n_clients; i++)
			polls[i + 2] = (struct pollfd){.fd = launch->clients[i], .events = POLLIN};
		if (poll(polls, launch->n_clients + 2,
			 groups_left || launch->is_stuck ? RETRY_MS : launch->watchdog_ms) < 0 &&
		    errno != EINTR)
			return -errno;
		if (launch->watchdog_ms >= 0)
			notify_send(launch->notify, "WATCHDOG=1");
		if (polls[0].revents && take_signals(launch->signals))
			return 0;
		serve_clients(launch, polls + 2);
		groups_left = runners_collect(&launch->runners);
		launch->is_stuck = false;
		if (polls[1].revents)
			accept_client(launch);
		io_reserve(&launch->reserve);
	}
}

/* As many descriptors as we may have: each runner has one here until it is reaped. Runners get
 * fewer (isolate_limits()), and its program lies open above them. Returns 0 or a negative errno. */
static int raise_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	if (limit.rlim_max < FILES_MIN) {
		log_error("err=\"%llu open files are too few; raise the hard limit above %u\"",
			  (unsigned long long)limit.rlim_max, FILES_MIN - 1);
		return -EMFILE;
	}
	limit.rlim_cur = limit.rlim_max;
	return setrlimit(RLIMIT_NOFILE, &limit) < 0 ? -errno : 0;
}

/* Some hosts let nobody without CAP_SYS_ADMIN make user namespaces, or use them. */
static bool needs_sys_admin(void)
{
	int wait_status = -1;
	pid_t pid = fork();

	if (pid == 0)
		_exit(isolate_drop(KEPT) < 0 || unshare(CLONE_NEWUSER | CLONE_NEWUTS) < 0 ||
		      sethostname("", 0) < 0);
	return pid < 0 || waitpid(pid, &wait_status, 0) < 0 || wait_status != 0;
}

/* All that root's start needed is open. */
static int give_up_rights(const struct options *o)
{
	uint64_t keep = KEPT;
	int r;

	if (!o->config.change_ids) /* and so nothing to lose */
		return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
	if (needs_sys_admin())
		keep |= UINT64_C(1) << CAP_SYS_ADMIN;
	r = setgroups(0, NULL) < 0 ? -errno : isolate_drop(keep);
	if (r < 0)
		log_error("err=\"groups and capabilities cannot be dropped: %s\"", strerror(-r));
	else
		log_info("capabilities=%#llx core_scheduling=%s msg=\"rights given up\"",
			 (unsigned long long)keep, isolate_has_core() ? "yes" : "no");
	return r;
}

int main(int argc, char **argv)
{
	struct options o = {.socket = LAUNCH_SOCKET,
			    .cgroup_root = CGROUP_ROOT,
			    .cgroup_driver = "auto",
			    .config = {.runner = "/usr/local/bin/zone-vmm",
				       .folder_server = "/usr/local/bin/zone-fs",
				       .xen_runner = "/usr/local/bin/zone-xen",
				       .kvm = "/dev/kvm",
				       .change_ids = true,
				       .uid_base = LAUNCH_UID_BASE,
				       .uid_count = LAUNCH_UID_COUNT}};
	static struct launch launch;
	static struct folders folders;
	uint64_t watchdog_ns;
	int r;

	log_open();
	r = parse_options(argc, argv, &o);
	if (r < 0 || raise_limits() < 0 || read_config(&o, &folders) < 0)
		return EXIT_FAILURE;
	o.config.folders = &folders;
	o.config.null = open("/dev/null", O_RDWR | O_CLOEXEC);
	r = o.config.null < 0 ? -errno : open_cgroups(&o, &o.config.cgroups);
	if (r == 0)
		r = runners_init(&launch.runners, &o.config);
	if (r < 0)
		return EXIT_FAILURE;
	launch.allow_uid = o.allow_uid;
	launch.signals = open_signals();
	launch.listener = listen_at(o.socket);
	launch.reserve = -1;
	io_reserve(&launch.reserve);
	if (launch.signals < 0 || launch.listener < 0) {
		log_error("socket=%s err=\"%s\"", o.socket,
			  strerror(launch.listener < 0 ? -launch.listener : -launch.signals));
		return EXIT_FAILURE;
	}
	if (give_up_rights(&o) < 0)
		return EXIT_FAILURE;
	denied_watch("protect-launch", o.socket);
	r = filters_confine_launch();
	if (r < 0) {
		log_error("err=\"no seccomp filter can be taken on: %s\"", strerror(-r));
		return EXIT_FAILURE;
	}
	log_info("socket=%s runner=%s cgroups=\"%s\" ready", o.socket, o.config.runner,
		 o.config.cgroups ? cgroups_describe(o.config.cgroups) : "none");
	launch.notify = notify_open();
	watchdog_ns = notify_watchdog_ns();
	launch.watchdog_ms = watchdog_ns ? (int)MIN(watchdog_ns / NS_PER_MS, INT32_MAX) : -1;
	notify_send(launch.notify, "READY=1");
	r = run(&launch);
	runners_deinit(&launch.runners);
	cgroups_close(o.config.cgroups);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
