// SPDX-License-Identifier: Apache-2.0
/*
 * Workloads: OCI images that run in zones. The files: workload.c the list and what happens to a
 * running one, workload_launch.c from the request to running, workload_runs.c the runs after the
 * first (by a policy or a request) and the end of each, workload_attach.c, workload_stop.c,
 * workload_disk.c the image's disk, workload_volumes.c the others, workload_end.c from a failure or
 * destroy to nothing left.
 *
 * Both streams of a workload are always open and its last output is kept; an attached client gets
 * the bytes as well, and then the zone gets credit only for what the client took. A workload never
 * outlives its zone.
 */
#pragma once

#include "proto/agent.pb-c.h"
#include "proto/control.pb-c.h"
#include "proto/storage.pb-c.h"
#include "supervisor/daemon/daemon.h"
#include "supervisor/daemon/follow.h"
#include "supervisor/daemon/server.h"
#include "supervisor/daemon/splice.h"
#include "supervisor/daemon/storage_client.h"
#include "supervisor/daemon/workload_volumes.h"

#define WORKLOAD_QUICK_MS	10000u /* a run that lasted so long was a good one */
#define WORKLOAD_BACKOFF_MS	100u   /* after the first short run; then twice as long each time */
#define WORKLOAD_BACKOFF_MAX_MS 60000u

enum workload_phase {
	WORKLOAD_PHASE_IMAGE,	/* storage is asked for the image, then for volumes */
	WORKLOAD_PHASE_ZONE,	/* its zone is not ready yet */
	WORKLOAD_PHASE_ATTACH,	/* the runner is asked to attach the image */
	WORKLOAD_PHASE_VOLUMES, /* the runner is asked to attach its volumes */
	WORKLOAD_PHASE_START,	/* the agent is asked to start it */
	WORKLOAD_PHASE_RUNNING,
	WORKLOAD_PHASE_BACKOFF, /* its main process ended; it will be started again */
	WORKLOAD_PHASE_STOPPED, /* its main process ended, or it failed */
	WORKLOAD_PHASE_ADOPT,	/* an earlier daemon left it half made: ended as soon as the agent
				   answers */
	WORKLOAD_PHASE_REMOVE,	/* the agent is asked to forget it */
	WORKLOAD_PHASE_RELEASE, /* the runner is asked to detach the volumes */
	WORKLOAD_PHASE_DETACH,	/* the runner is asked to detach the image */
};

struct workload;
typedef void workload_disk_fn(struct workload *w, int error, const char *text);

struct workload {
	struct workload *next;
	struct daemon *daemon;
	struct zone *zone;
	struct workload_row row;
	enum workload_phase phase;

	struct ticket launcher; /* is owed an answer */
	bool launcher_waits, pulled;
	Protect__Control__WorkloadLaunch *request; /* ours, until it runs */
	Protect__Storage__Image *image;		   /* ours, until it runs */
	int disk;				   /* the image's file, until it is attached */
	struct storage_call *storage;
	struct zone_disk image_disk;
	workload_disk_fn *disk_fn; /* while the runner is asked */
	uint64_t call;		   /* to the agent, while calling */
	bool calling;
	bool agent_knows, disk_attached;
	struct workload_volumes volumes; /* those of the row */
	struct error failure;

	struct ticket attached; /* the launch whose streams are joined */
	struct splice out, err;
	uint64_t output_turn; /* the last in which its output went on: output_pace.c */
	struct ring *log;
	struct followers followers;
	struct timer stop_timer, restart_timer;
	unsigned put_off; /* times that a restart waited for a reader of the last run's output */
	struct waiters ended; /* wait, stop */
	struct waiters gone;  /* destroy with wait */
	bool destroy_wanted;
};

/* workload.c */

/* A fresh workload in the list, without a row in the state. Returns NULL without memory. */
struct workload *workload_new(struct zone *zone, const struct workload_row *row);

/* Takes it out of the list, deletes its row, answers who waits for that, and frees it. */
void workload_remove(struct workload *w);

/* Finds by UUID or name. NULL with text. */
struct workload *workload_find(struct daemon *d, const char *ref, struct error *err);

/* Sets what others see and puts the row. */
void workload_set_state(struct workload *w, Protect__Control__WorkloadStateKind state);

/* Fills a message with what it is now; strings are borrowed from it and its zone. */
void workload_message(const struct workload *w, Protect__Control__Workload *out);

/* Answers a ticket with it. */
void workload_reply(struct workload *w, struct ticket ticket);

/* How many run or are being made in a zone. */
uint32_t workloads_in_zone(const struct zone *zone);

/* What the agent says it has, after a new connection. */
void workloads_listed(struct zone *zone, const Protect__Agent__ZoneState *state);

/* Answers the ticket once its main process has ended and its output was handed over. */
void workload_wait(struct workload *w, struct ticket ticket);

/* Opens both streams in its zone's session. Returns 0 or a negative errno. */
int workload_open_streams(struct workload *w);

/* Tells those who wait for the end, if all was handed over. */
void workload_settle(struct workload *w);

/* Makes its splices anew, for the streams of another run. Streams that are left are reset. */
void workload_reset_streams(struct workload *w);

/* Takes the streams that a client opened for its standard streams. Returns 0 or a negative errno.
 */
int workload_accept_streams(struct workload *w, struct ticket ticket, uint64_t stdio_stream,
			    uint64_t stderr_stream);

/* Joins one that ran on while there was no connection. */
void workload_attach_again(struct workload *w);

/* What a request of a client launched and is attached to. Returns false if there is none. */
bool workload_of_request(struct daemon *d, uint64_t client, uint64_t request,
			 struct workload **out);

/* Frees all at the daemon's own end. */
void workloads_free(struct daemon *d);

/* workload_launch.c */

/* The request METHOD_WORKLOAD_LAUNCH. Answers the ticket, now or later. */
void workload_launch(struct daemon *d, struct ticket ticket,
		     const Protect__Control__WorkloadLaunch *request);

/* A zone became ready: those that waited for it go on. */
void workloads_zone_ready(struct zone *zone);

/* Frees what only the launch needed. */
void workload_drop_launch(struct workload *w);

/* workload_runs.c */

/* The policy's word on a run that has ended; the row says which run and how. Pure. */
bool restart_is_due(const struct workload_row *row);

/* How long to wait after so many short runs in a row, in ms. Pure. */
uint32_t restart_delay_ms(uint32_t quick_ends);

/* A run has begun: the state, and who waits for it. */
void workload_set_started(struct workload *w, uint32_t run);

/* Its main process ended; the output is complete. It may be started again later. */
void workload_set_exited(struct workload *w, const Protect__Agent__Exited *exited);

/* An event of a zone: finds the workload and does the above. */
void workload_exited(struct zone *zone, const Protect__Agent__Exited *exited);

/* Brings one that waits to be started again in line with what the agent says of it. */
void workload_backoff_listed(struct workload *w, const Protect__Agent__WorkloadState *state);

/*
 * The request METHOD_WORKLOAD_START; answers the ticket once it runs. With attach: of
 * METHOD_WORKLOAD_ATTACH, whose streams it gets, answered as workload_wait().
 */
void workload_start(struct workload *w, struct ticket ticket,
		    const Protect__Control__WorkloadAttach *attach);

/* It will not be started again: as it ended. */
void workload_rest(struct workload *w);

/* The connection was lost while it was being started again. */
void workload_start_lost(struct workload *w);

/* workload_attach.c: the request METHOD_WORKLOAD_ATTACH; answers the ticket as workload_wait(). */
void workload_attach(struct workload *w, struct ticket ticket,
		     const Protect__Control__WorkloadAttach *request);

/* workload_stop.c */

/* The stop signal, and SIGKILL for all of it after the grace time (0 = as launched). Answers the
 * ticket as workload_wait(). */
void workload_stop(struct workload *w, struct ticket ticket, uint32_t grace_ms);

/* The part of it that needs a workload that runs: for one that was being started meanwhile. */
void workload_send_stop(struct workload *w, uint32_t grace_ms);

/* The number of a signal from its name or number as in an image's configuration; 0 if it means
 * nothing. */
uint32_t workload_signal_number(const char *text);

/* workload_disk.c: workloads of one image in one zone share its disk. */

/* Attaches it for this workload, which is in WORKLOAD_PHASE_ATTACH meanwhile. Returns 0, and fn
 * follows, or a negative errno. */
int workload_attach_disk(struct workload *w, workload_disk_fn *fn);

/* Lets go of it, and detaches it if nobody else in the zone has it: workload_disk_detached()
 * (workload_end.c) follows, now or later. */
void workload_detach_disk(struct workload *w);
void workload_disk_detached(struct workload *w);

/* Names it by the image's digest. */
void workload_name_disk(struct workload *w);

/* workload_end.c */

/* Ends one that cannot go on. Who launched it is told, and then it is gone; otherwise it stays in
 * the list as failed. */
void workload_fail(struct workload *w, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Destroys it. Answers the ticket, at once or (wait) when nothing of it is left. */
void workload_destroy(struct workload *w, struct ticket ticket, bool wait);

/* Its zone's runner has gone: nothing can be asked any more. */
void workloads_zone_ended(struct zone *zone);

/* Its zone goes: so do they. */
void workloads_remove_in_zone(struct zone *zone);
