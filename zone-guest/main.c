// SPDX-License-Identifier: Apache-2.0
/*
 * zone-init: PID 1 of a zone. It boots what user space needs, connects to the host and then is the
 * zone's agent; it collects every orphan, and ends the zone in order. It never returns: the end of
 * PID 1 is a kernel panic.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "zone-guest/agent.h"
#include "zone-guest/boot.h"
#include "zone-guest/bootstrap.h"
#include "zone-guest/button.h"
#include "zone-guest/disk.h"
#include "zone-guest/hotplug.h"
#include "zone-guest/link.h"
#include "zone-guest/net.h"
#include "zone-guest/xen.h"
#include "zone-guest/zone.h"

#define CGROUP_ROOT "/sys/fs/cgroup"
#define LOG_WAIT_NS (2 * NS_PER_S)

/* The whole program's state; large, and it lives as long as the zone. */
struct init {
	struct zone zone;
	struct link link;
	struct reactor_watch signals;
	struct reactor_watch disks;
	struct reactor_watch hotplug;
	struct reactor_watch button;
	struct reactor_timer log; /* when to show the kernel's log */
	bool has_log_port;
};

/* Everything is killed and written back, then the machine goes. */
static void shut_down(struct zone *zone, bool reboot_zone)
{
	(void)zone;
	log_info("what=%s", reboot_zone ? "reboot" : "poweroff");
	kill(-1, SIGKILL);
	sync();
	if (!reboot_zone && xen_is_here() && xen_is_pvh()) {
		xen_store_write(XEN_END_NODE, "poweroff");
		reboot_zone = true;
	}
	reboot(reboot_zone ? RB_AUTOBOOT : RB_POWER_OFF);
	log_error("what=reboot err=%s", strerror(errno));
}

static void on_signal(struct reactor_watch *watch, uint32_t events)
{
	struct init *init = container_of(watch, struct init, signals);
	struct signalfd_siginfo info;

	(void)events;
	if (read(watch->fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGCHLD)
		zone_reap(&init->zone);
	else
		shut_down(&init->zone, false);
}

static void on_disk(struct reactor_watch *watch, uint32_t events)
{
	struct init *init = container_of(watch, struct init, disks);

	(void)events;
	disk_events_drain(watch->fd);
	zone_disks_changed(&init->zone);
}

static int watch_signals(struct init *init)
{
	/* The last three are what Ctrl-Alt-Del, and busybox's poweroff and halt send. */
	static const int wanted[] = {SIGCHLD, SIGTERM, SIGINT, SIGUSR2, SIGUSR1};
	sigset_t set;
	int fd;

	sigemptyset(&set);
	for (unsigned i = 0; i < ARRAY_SIZE(wanted); i++)
		sigaddset(&set, wanted[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	init->signals.ready = on_signal;
	return fd < 0 ? -errno : reactor_watch(&init->zone.reactor, &init->signals, fd, EPOLLIN);
}

static void watch_disks(struct init *init)
{
	int fd = disk_events_open();

	init->disks.ready = on_disk;
	if (fd < 0 || reactor_watch(&init->zone.reactor, &init->disks, fd, EPOLLIN) < 0)
		log_warning("what=device-events next=\"disks are looked for by time\"");
}

static void on_hotplug(struct reactor_watch *watch, uint32_t events)
{
	(void)events;
	hotplug_events_read(watch->fd);
}

/* Listening first: what comes between is seen twice, which does no harm. */
static void watch_hotplug(struct init *init)
{
	int fd = hotplug_events_open();

	init->hotplug.ready = on_hotplug;
	if (fd < 0 || reactor_watch(&init->zone.reactor, &init->hotplug, fd, EPOLLIN) < 0)
		log_warning("what=hotplug next=\"processors that are plugged stay unused\"");
	hotplug_prepare();
}

static void on_button(struct reactor_watch *watch, uint32_t events)
{
	struct init *init = container_of(watch, struct init, button);

	(void)events;
	if (button_was_pressed(watch->fd))
		shut_down(&init->zone, false);
}

static void watch_button(struct init *init)
{
	int fd;

	if (xen_is_here()) /* whose kernel calls poweroff itself */
		return;
	fd = button_open();
	init->button.ready = on_button;
	if (fd < 0 || reactor_watch(&init->zone.reactor, &init->button, fd, EPOLLIN) < 0)
		log_warning("what=button next=\"the power button is not heard\"");
}

static void show_log(struct reactor_timer *timer)
{
	struct init *init = container_of(timer, struct init, log);

	if (!init->has_log_port)
		init->has_log_port = boot_log_to_port();
	boot_show_kernel_log();
}

/* Behind the bootstrap, or soon if there is none. */
static void show_log_later(struct init *init)
{
	init->log.fired = show_log;
	reactor_timer_start(&init->zone.reactor, &init->log, clock_now_ns() + LOG_WAIT_NS);
}

static void apply_later(struct zone *zone, const Protect__Agent__Bootstrap *message)
{
	struct init *init = container_of(zone, struct init, zone);

	system_apply_later(zone, message);
	if (init->log.deadline_ns)
		reactor_timer_start(&zone->reactor, &init->log, clock_now_ns());
}

static void pause_ms(long ms)
{
	const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	nanosleep(&pause, NULL);
}

int main(void)
{
	static struct init init;
	int r;

	if (getpid() != 1) {
		fputs("zone-init: is the first process of a zone; it does nothing else\n", stderr);
		return 2;
	}
	boot_root();
	boot_modules_and_hello();
	r = zone_init(&init.zone, CGROUP_ROOT);
	if (r == 0)
		r = watch_signals(&init);
	if (r < 0)
		log_error("what=start err=%s", strerror(-r));
	init.zone.apply = system_apply;
	init.zone.apply_later = apply_later;
	init.zone.shutdown = shut_down;
	init.zone.set_time = system_set_time;
	init.zone.add_link = net_apply;
	/* The connection is made while the rest is; nothing is answered before it is done. */
	link_start(&init.link, &init.zone);
	boot_finish();
	init.has_log_port = boot_log_to_port();
	reboot(RB_DISABLE_CAD);
	watch_disks(&init);
	watch_hotplug(&init);
	watch_button(&init);
	show_log_later(&init);
	for (;;) {
		agent_flush(&init.zone);
		r = reactor_turn(&init.zone.reactor, -1);
		if (r < 0) {
			log_error("what=wait err=%s", strerror(-r));
			pause_ms(1000); /* PID 1 neither ends nor spins */
		}
	}
}
