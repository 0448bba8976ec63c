// SPDX-License-Identifier: Apache-2.0
/*
 * protect-daemon: zones and workloads of this host. It runs as user protect without any capability,
 * in one thread. It can be killed at any moment: zones go on, and the next one takes them up again
 * from the state file and the runners' sockets.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/denied.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/options.h"
#include "base/util.h"
#include "supervisor/daemon/exec.h"
#include "supervisor/daemon/filters.h"
#include "supervisor/daemon/forward.h"
#include "supervisor/daemon/keep.h"
#include "supervisor/daemon/memory_high.h"
#include "supervisor/daemon/metrics.h"
#include "supervisor/daemon/policy_driver.h"
#include "supervisor/daemon/server.h"
#include "supervisor/daemon/wall_clock.h"
#include "supervisor/daemon/workload.h"
#include "supervisor/daemon/zone.h"

#define AT(field) offsetof(struct daemon, field)

static const struct option_entry option_table[] = {
	{"socket", OPTION_TEXT, AT(options.socket), "PATH",
	 "control socket (/run/protect/daemon.sock)", 0, 0},
	{"state", OPTION_TEXT, AT(options.state_dir), "DIR",
	 "what outlives a restart (/var/lib/protect)", 0, 0},
	{"run", OPTION_TEXT, AT(options.run_dir), "DIR", "folders of zones (/run/protect)", 0, 0},
	{"launch-socket", OPTION_TEXT, AT(options.launch_socket), "PATH",
	 "protect-launch (" LAUNCH_SOCKET ")", 0, 0},
	{"storage-socket", OPTION_TEXT, AT(options.storage_socket), "PATH",
	 "protect-storage (/run/protect-storage/storage.sock)", 0, 0},
	{"network-socket", OPTION_TEXT, AT(options.network_socket), "PATH",
	 "protect-network (/run/protect-network/network.sock), or off: zones have no network", 0,
	 0},
	{"default-memory", OPTION_U64, AT(options.default_memory_mib), "MIB",
	 "of a zone that asks for none (256)", 1, INT32_MAX},
	{"default-cpus", OPTION_U32, AT(options.default_cpus), "N",
	 "of a zone that asks for none (1)", 1, LEDGER_ZONE_VCPUS_MAX},
	{"memory-budget", OPTION_U64, AT(ledger.memory_total_mib), "MIB",
	 "what all zones may have together (MemTotal less 512 MiB or 10 %)", 1, INT32_MAX},
	{"memory-overcommit", OPTION_TEXT, AT(options.overcommit), "FACTOR",
	 "how often that budget is given out: 1 (never more than there is) to 16", 0, 0},
	{"vcpu-budget", OPTION_U32, AT(ledger.vcpus_total), "N",
	 "what all zones may have together (4 for each CPU)", 1, 65536},
	{"kernel-cmdline", OPTION_TEXT, AT(options.kernel_cmdline), "TEXT",
	 "added to the kernel command line of zones", 0, 0},
	{"uid-count", OPTION_U32, AT(options.uid_count), "N", "user ids of protect-launch (4096)",
	 1, 65536},
	{"metrics", OPTION_TEXT, AT(options.metrics), "ADDRESS:PORT",
	 "where /metrics is to be read, or off (" METRICS_ADDRESS ")", 0, 0},
	{"pressure-file", OPTION_TEXT, AT(options.pressure_file), "PATH",
	 "the host's memory pressure (" PRESSURE_FILE ")", 0, 0},
	{"boot-timeout", OPTION_U32, AT(options.boot_timeout_s), "SEC",
	 "for a zone to report ready (300)", 1, 86400},
};

/* As many descriptors as we may have: each zone takes several. */
static void raise_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int load_zone(void *user, struct zone_row *row)
{
	struct daemon *d = user;
	struct zone *zone = zone_new(d, row);

	if (!zone)
		return -ENOMEM;
	zone->phase = ZONE_PHASE_ENDED;
	if (row->slot == SLOT_NONE) {
		keep_load(d, row->uuid, zone->log);
		return 0;
	}
	keep_start(d, row->uuid, zone->log);
	if (row->slot < d->options.uid_count)
		d->slots[row->slot] = 1;
	ledger_adopt(&d->ledger, row->memory_mib, row->vcpus);
	return 0;
}

static int load_workload(void *user, struct workload_row *row)
{
	struct daemon *d = user;
	struct error err = ERROR_NULL;
	struct zone *zone = zone_find(d, row->zone, &err);
	struct workload *w;

	if (!zone) {
		state_delete_workload(d->state, row->uuid); /* now or later */
		return 0;
	}
	w = workload_new(zone, row);
	if (!w)
		return -ENOMEM;
	w->agent_knows = w->disk_attached = true;
	workload_volumes_adopt(w);
	w->destroy_wanted =
		row->state == PROTECT__CONTROL__WORKLOAD_STATE_KIND__WORKLOAD_DESTROYING;
	if (row->state == PROTECT__CONTROL__WORKLOAD_STATE_KIND__WORKLOAD_RUNNING)
		w->phase = WORKLOAD_PHASE_RUNNING;
	else if (row->state == PROTECT__CONTROL__WORKLOAD_STATE_KIND__WORKLOAD_RESTARTING)
		w->phase = WORKLOAD_PHASE_BACKOFF;
	else if (row->state == PROTECT__CONTROL__WORKLOAD_STATE_KIND__WORKLOAD_CREATING ||
		 w->destroy_wanted)
		w->phase = WORKLOAD_PHASE_ADOPT;
	else
		w->phase = WORKLOAD_PHASE_STOPPED;
	if (w->phase == WORKLOAD_PHASE_STOPPED)
		keep_load(d, row->uuid, w->log);
	else
		keep_start(d, row->uuid, w->log);
	return 0;
}

static int load_state(struct daemon *d, struct error *err)
{
	char path[256];
	int r;

	snprintf(path, sizeof(path), "%s/daemon.db", d->options.state_dir);
	if (state_is_new(path) && zones_any_folder(d))
		return error_set(err, -EUCLEAN,
				 "%s has gone or is empty, but there are zones in %s/zones: put a "
				 "good copy in its place, or end these zones and remove their "
				 "folders",
				 path, d->options.run_dir);
	r = state_open(path, &d->state, err);
	if (r < 0)
		return r;
	state_watch(d->state, daemon_retry_state, d);
	r = state_each_zone(d->state, load_zone, d);
	if (r == 0)
		r = state_each_workload(d->state, load_workload, d);
	if (r == 0)
		r = network_new(d, &d->network);
	if (r < 0)
		return error_set_errno(err, r, "%s cannot be read", path);
	for (struct zone *z = d->zones; z; z = z->next)
		zone_network_show(z);
	for (struct zone *z = d->zones, *next; z; z = next) {
		next = z->next;
		if (z->row.slot == SLOT_NONE)
			workloads_zone_ended(z);
		zone_adopt(z);
	}
	return 0;
}

static void got_signal(void *user, uint32_t events)
{
	struct daemon *d = user;

	(void)events;
	loop_stop(d->hub.loop);
}

/* #syscalls daemon.start: rt_sigaction(SIGPIPE) rt_sigprocmask signalfd4 mkdir umask */
static int watch_signals(struct daemon *d, int *fd, struct watch **watch)
{
	sigset_t set;
	int r;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	*fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (*fd < 0)
		return -errno;
	r = watch_new(&d->hub, *fd, got_signal, d, watch);
	if (r == 0)
		watch_set(*watch, POLLIN);
	return r;
}

/* How systemd learns that the loop still turns. */
struct watchdog {
	struct daemon *daemon;
	struct timer timer;
	int notify;
	uint64_t interval_ns;
};

static void feed_watchdog(void *user)
{
	struct watchdog *watchdog = user;

	notify_send(watchdog->notify, "WATCHDOG=1");
	timer_set(&watchdog->daemon->hub, &watchdog->timer, clock_now_ns() + watchdog->interval_ns,
		  feed_watchdog, watchdog);
}

static int start(struct daemon *d, struct error *err)
{
	char zones[256];

	d->slots = calloc(d->options.uid_count, 1);
	if (!d->slots)
		return error_set(err, -ENOMEM, "out of memory");
	snprintf(zones, sizeof(zones), "%s/zones", d->options.run_dir);
	if (mkdir(zones, 0750) < 0 && errno != EEXIST)
		return error_set_errno(err, -errno, "folder %s", zones);
	if (keep_init(d, err) < 0 || load_state(d, err) < 0 || wall_clock_start(d, err) < 0)
		return err->code;
	if (metrics_start(d, err) < 0)
		return err->code;
	return server_start(d, err);
}

static void stop(struct daemon *d)
{
	server_stop(d);
	metrics_stop(d);
	wall_clock_stop(d);
	execs_free(d);
	forwards_free(d);
	hv_debugs_free(d);
	volume_ops_free(d);
	workloads_free(d);
	zones_free(d);
	/* Twice: what ends in the first sweep may have written to others. */
	links_sweep(&d->hub);
	links_sweep(&d->hub);
	d->network = network_free(d->network);
	d->state = state_close(d->state);
	free(d->slots);
}

int main(int argc, char **argv)
{
	static struct daemon d = {.options = {.socket = "/run/protect/daemon.sock",
					      .state_dir = "/var/lib/protect",
					      .run_dir = "/run/protect",
					      .launch_socket = LAUNCH_SOCKET,
					      .storage_socket = "/run/protect-storage/storage.sock",
					      .network_socket = "/run/protect-network/network.sock",
					      .metrics = METRICS_ADDRESS,
					      .pressure_file = PRESSURE_FILE,
					      .overcommit = "1",
					      .default_memory_mib = 256,
					      .default_cpus = 1,
					      .uid_count = LAUNCH_UID_COUNT,
					      .boot_timeout_s = 300},
				  .listener = -1,
				  .wall_clock_fd = -1};
	_cleanup_(close_fdp) int signals = -1;
	_cleanup_(close_fdp) int notify = notify_open();
	struct watchdog watchdog = {
		.daemon = &d, .notify = notify, .interval_ns = notify_watchdog_ns()};
	struct error err = ERROR_NULL;
	struct watch *signal_watch = NULL;
	int r;

	log_open();
	ledger_init(&d.ledger);
	if (options_parse("protect-daemon", option_table, ARRAY_SIZE(option_table), argc, argv,
			  &d) < 0 ||
	    ledger_set_overcommit(&d.ledger, d.options.overcommit) < 0)
		return EXIT_FAILURE;
	umask(077);
	raise_limits();
	r = hub_init(&d.hub);
	if (r < 0) {
		error_set_errno(&err, r,
				"io_uring cannot be used (see sysctl kernel.io_uring_disabled)");
	} else {
		denied_watch("protect-daemon", d.options.socket);
		r = filters_confine_start();
		if (r < 0)
			error_set_errno(&err, r, "no seccomp filter can be taken on");
	}
	if (r == 0) {
		r = watch_signals(&d, &signals, &signal_watch);
		if (r == 0)
			r = start(&d, &err);
	}
	if (r == 0) {
		zones_trim_logs(&d);
		memory_high_look(&d);
		policy_start(&d);
		network_start(d.network);
		log_info("socket=%s memory_mib=%llu vcpus=%u ready", d.options.socket,
			 (unsigned long long)d.ledger.memory_total_mib, d.ledger.vcpus_total);
		r = filters_confine_running();
	}
	if (r == 0) {
		notify_send(notify, "READY=1");
		if (watchdog.interval_ns)
			feed_watchdog(&watchdog);
		r = loop_run(d.hub.loop);
	}
	timer_stop(&watchdog.timer);
	if (r < 0)
		log_error("err=\"%s\"", err.code ? err.text : strerror(-r));
	stop(&d);
	watch_free(signal_watch);
	if (d.hub.loop)
		hub_deinit(&d.hub);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
