// SPDX-License-Identifier: Apache-2.0
/*
 * Zones: what the daemon knows of each, and the life of its runner. The files: zone.c the list,
 * zone_launch.c from the request to ready, zone_agent.c the connections to a running one,
 * zone_update.c its targets and limits, pause and resume, zone_end.c from whatever ends it to
 * nothing left. A zone, its runner included, is not trusted: what comes from either is text to be
 * cleaned or a number to be checked.
 *
 * phase says what is under way, row.state what others see. Resources (ledger, uid slot) are held
 * exactly while row.slot is not SLOT_NONE: from before anything exists until the runner is reaped.
 */
#pragma once

#include <sys/types.h>

#include "proto/control.pb-c.h"
#include "supervisor/daemon/daemon.h"
#include "supervisor/daemon/follow.h"
#include "supervisor/daemon/launch_client.h"
#include "supervisor/daemon/backend.h"
#include "supervisor/daemon/limits.h"
#include "supervisor/daemon/link.h"
#include "supervisor/daemon/output_pace.h"
#include "supervisor/daemon/policy.h"
#include "supervisor/daemon/runner_client.h"
#include "supervisor/daemon/server.h"
#include "supervisor/daemon/storage_client.h"
#include "supervisor/daemon/zone_network.h"
#include "supervisor/daemon/zone_volumes.h"

#define ZONE_KERNEL_FDS 3u /* kernel, initrd, addons: the order of OpenKernel's descriptors */
#define ZONE_TAPS_MAX	8u

struct held;
struct nic_op;
struct volume_move;

enum zone_phase {
	ZONE_PHASE_KERNEL, /* storage and protect-network are asked; there is no runner */
	ZONE_PHASE_SPAWN,  /* launch is asked for a runner */
	ZONE_PHASE_BOOT,   /* the runner runs, its zone has not reported ready */
	ZONE_PHASE_READY,
	ZONE_PHASE_ENDING, /* the runner was told to end */
	ZONE_PHASE_REAP,   /* the runner ended; launch is asked how */
	ZONE_PHASE_ENDED,  /* nothing is held any more */
};

struct zone {
	struct zone *next;
	struct daemon *daemon;
	struct zone_row row;
	enum backend backend; /* for the start only: a later daemon does not know it */
	enum zone_phase phase;
	uint64_t requested_ns; /* 0: launched by an earlier daemon */

	struct ticket launcher; /* is owed an answer, once started or (waits) once ready */
	bool launcher_waits;
	struct waiters gone; /* of Destroy with wait */
	bool destroy_wanted, removed, pulled;
	bool no_addons; /* the kernel has no modules beside it; unknown, so false, after a restart
			 */
	bool was_ready;
	bool paused;			/* as the runner said last */
	char kernel_variant[NAME_SIZE]; /* that was asked for; empty = none */
	struct zone_op *ops;		/* that the runner has not answered */
	struct error failure;		/* why we ended it, if we did */

	/* For the runner, while there is none: what came from storage and protect-network. */
	int kernel_fds[ZONE_KERNEL_FDS];
	bool kernel_ready, network_ready;
	int taps[ZONE_TAPS_MAX]; /* one a queue pair */
	unsigned n_taps;
	char reservation[NAME_SIZE]; /* that was asked for; empty = none */
	struct zone_network_shown network_shown;
	struct nic_op *nic_op;		 /* a NIC that comes or goes */
	struct volume_list volumes;	 /* of its own: zone_volumes.c */
	unsigned n_volumes_brought;	 /* of a launch, to their places */
	struct volume_move *volume_move; /* a volume that comes or goes */

	struct storage_call *storage;
	struct launch_call *launch;
	struct timer timer; /* of the phase */
	uint64_t reap_since_ns;
	bool kill_sent;

	int pidfd;
	struct watch *death;
	struct runner_client *control;
	struct runner_client *disks; /* a guest may hold on to a disk: nothing else waits for it */
	struct link *agent;
	bool agent_usable; /* bootstrapped over the present link, or found so */
	struct timer reconnect;
	bool holds; /* hold.h: an earlier daemon left it, and it has not answered this one yet */
	struct held *held;
	struct timer hold_timer;
	unsigned reconnects;   /* one soon after another */
	uint64_t time_sent_ns; /* wall_clock.h */
	unsigned time_tries;
	uint64_t connected_ns; /* the present connection to the agent, or the last one */
	int console_fd;
	struct watch *console;
	struct output_pace output_pace;
	struct timer console_pause;
	uint64_t console_slice_ns; /* when the present slice of time began */
	size_t console_bytes;	   /* that came in it */
	struct ring *log;
	struct followers followers;

	struct limits_shown shown;
	uint64_t high_events; /* of memory.events, that were seen */

	bool has_status;	  /* its runner has said what it was told of before this daemon */
	struct zone_stats *stats; /* NULL: its runner was never asked */
	struct policy_memory policy;
	uint64_t told_mib, told_ns; /* memory, that the policy told its runner; 0 = nothing yet */
};

/* zone.c */

/* A fresh zone in the list, without a row in the state. Takes guest_json in row over. Returns NULL
 * without memory. */
struct zone *zone_new(struct daemon *d, const struct zone_row *row);

/* Finds by UUID or name. NULL with text. */
struct zone *zone_find(struct daemon *d, const char *ref, struct error *err);

/* As zone_find(), but its runner must be there with a zone that has become ready, paused or not. */
struct zone *zone_find_running(struct daemon *d, const char *ref, struct error *err);

/* As zone_find_running(), but it must be ready to be talked to. */
struct zone *zone_find_ready(struct daemon *d, const char *ref, struct error *err);

/* Says that a zone is paused, if it is. Returns 0 or -EAGAIN with text. */
int zone_check_paused(const struct zone *zone, struct error *err);

/* Sets what others see and puts the row. */
void zone_set_state(struct zone *zone, Protect__Control__ZoneStateKind state);

/* Fills a message with what the zone is now; strings are borrowed from it. */
void zone_message(const struct zone *zone, Protect__Control__Zone *out);

/* The path of a file in the zone's own folder. Returns 0 or -ENAMETOOLONG. */
int zone_path(const struct zone *zone, const char *file, char *out, size_t size);

/* Takes a uid slot (-ENOSPC with text) and gives it back. */
int zone_slot_take(struct daemon *d, uint32_t *slot, struct error *err);
void zone_slot_release(struct daemon *d, uint32_t slot);

/* Takes it out of the list and deletes its row, its folder and its workloads; frees it now or when
 * its link has closed. */
void zone_remove(struct zone *zone);

/* Frees a removed zone if its link has closed. */
void zone_try_free(struct zone *zone);

/* Empties the logs of runners that have grown too long (in between, what they write counts as their
 * zone's memory), now and from time to time. user: the daemon. */
void zones_trim_logs(void *user);

/* Whether a zone has a folder, known or not. */
bool zones_any_folder(const struct daemon *d);

/* Frees all at the daemon's own end; runners are left alone. */
void zones_free(struct daemon *d);

/* zone_launch.c */

/* The request METHOD_ZONE_LAUNCH. Answers the ticket, now or later. */
void zone_launch(struct daemon *d, struct ticket ticket,
		 const Protect__Control__ZoneLaunch *request);

/* Spawns the runner once kernel, network and volumes are there. */
void zone_launch_go_on(struct zone *zone);

/* Closes what the runner was to get. */
void zone_launch_close(struct zone *zone);

/* The zone has had its bootstrap: what it has itself is brought to its place. */
void zone_set_up(struct zone *zone, const char *kernel_release);

/* Now it is ready. */
void zone_ready(struct zone *zone);

/* Waits for the zone to report ready, for so long as the options say. */
void zone_start_boot_timer(struct zone *zone);

/* zone_agent.c */

/* Connects control, IDM and console of a running runner. Returns 0 or a negative errno. */
int zone_connect(struct zone *zone);

/*
 * Asks the runner to attach or detach a disk: in their order, apart from all other requests; as
 * runner_request().
 */
int zone_request_disk(struct zone *zone, const Protect__Runner__Request *request, int fd,
		      runner_fn *fn, void *user);

/* Closes what zone_connect() opened, after reading what is left of the console. */
void zone_disconnect(struct zone *zone);

/* The session with the zone's agent, NULL while there is none or it is not bootstrapped. */
struct idm *zone_session(const struct zone *zone);

/* A zone that an earlier daemon left: takes it up again, or finds that it ended. One that cannot be
 * reached for want of descriptors, memory or a place in its queue is tried again every second. */
void zone_adopt(struct zone *zone);

/* Connects to the agent at once, if the connection was lost. */
void zone_reconnect(struct zone *zone);

/* zone_update.c */

/* Whether targets fit a zone's maximum. Returns 0 or -EINVAL with text. */
int zone_check_targets(const struct zone_row *row, uint64_t memory_mib, uint32_t vcpus,
		       struct error *err);

/* The requests METHOD_ZONE_UPDATE, _PAUSE and _RESUME: each answers the ticket, when the runner has
 * answered. */
void zone_update(struct daemon *d, struct ticket ticket,
		 const Protect__Control__ZoneUpdate *request);
void zone_pause(struct daemon *d, struct ticket ticket, const char *ref);
void zone_resume(struct daemon *d, struct ticket ticket, const char *ref);

/* The runner will not answer any more: those who wait for it are told. */
void zone_ops_fail(struct zone *zone);

/* zone_end.c */

/* Ends a zone that cannot go on; code is a negative errno. The first reason counts. */
void zone_fail(struct zone *zone, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Destroys it: ends it if need be, then removes it. Answers the ticket when the request says so. */
void zone_destroy(struct zone *zone, struct ticket ticket, bool wait);

/* Its runner has gone, by the look of a connection or its pidfd. */
void zone_runner_gone(struct zone *zone);

/* There never was a runner: gives back what it held and removes it, the launcher being told why. */
void zone_undo(struct zone *zone);

/* Asks launch for the end of the runner until it is there. */
void zone_reap(struct zone *zone);
