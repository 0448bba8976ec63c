// SPDX-License-Identifier: Apache-2.0
/*
 * What the parts of the daemon share. Everything here belongs to the one loop thread.
 *
 * Who may point to whom: the daemon owns zones, workloads, execs, clients. A workload and an exec
 * point to their zone, which outlives them. Nothing points to a client: what is owed to one is a
 * ticket (numbers), so that a client can vanish at any moment. Calls and streams that point to an
 * object are forgotten or reset before it is freed; a zone is freed only after its link has closed.
 */
#pragma once

#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "supervisor/daemon/hub.h"
#include "supervisor/daemon/ledger.h"
#include "supervisor/daemon/metrics_times.h"
#include "supervisor/daemon/pressure.h"
#include "supervisor/daemon/state.h"

struct client;
struct exec;
struct forward;
struct hv_debug;
struct hv_reader;
struct image_op;
struct metrics;
struct network;
struct snooper;
struct volume_op;
struct workload;
struct zone;

#define WORKLOADS_MAX 1024u
#define EXECS_MAX     512u
#define ZONES_MAX     2048u /* in the list, those that ended included */

/* For the zone's agent to answer: longer than anything that it waits for itself (a disk, 30 s). */
#define AGENT_ANSWER_NS (120 * NS_PER_S)

struct daemon_options {
	const char *socket, *state_dir, *run_dir, *launch_socket, *storage_socket;
	const char *network_socket; /* "off": zones have no network of ours */
	const char *metrics;	    /* where /metrics is: ADDRESS:PORT, or "off" */
	const char *pressure_file;  /* as PRESSURE_FILE */
	const char *overcommit;	    /* of memory: a factor, as text */
	const char *kernel_cmdline; /* added to the default one; may be NULL */
	uint64_t default_memory_mib;
	uint32_t default_cpus;
	uint32_t uid_count;
	uint32_t boot_timeout_s;
};

/* A request of a client that is owed an answer; client 0 = none. */
struct ticket {
	uint64_t client;
	uint64_t request;
};

/* Clients that wait for the same thing. */
struct waiters {
	struct ticket *tickets;
	unsigned n;
};

struct daemon {
	struct hub hub;
	struct daemon_options options;
	struct state *state;
	struct ledger ledger;
	uint8_t *slots;		 /* uid slots in use, one byte each */
	struct network *network; /* network.h */
	struct zone *zones;
	unsigned n_zones; /* in the list */
	struct workload *workloads;
	unsigned n_workloads;
	struct exec *execs;
	unsigned n_execs;
	struct forward *forwards;
	unsigned n_forwards;
	struct image_op *image_ops;
	struct volume_op *volume_ops;
	struct hv_reader *hv_readers;
	struct snooper *snoopers;
	struct hv_debug *hv_debugs;
	unsigned n_hv_asked; /* runners that are just asked what they know */
	struct client *clients;
	unsigned n_clients;
	uint64_t next_client;
	gid_t socket_gid;	   /* who may connect besides root and ourselves */
	struct log_limit refusals; /* of clients */
	int listener;
	struct watch *listener_watch;
	struct timer listener_pause;
	struct timer trim; /* of runners' logs */
	struct timer high_look;
	struct timer state_retry;
	int wall_clock_fd;
	struct watch *wall_clock_watch;
	struct pressure pressure;
	struct timer policy_tick;
	struct log_limit policy_limit;
	struct metrics *metrics; /* NULL: off */
	struct times create_times, ready_times;
	uint64_t read_ns; /* when somebody last read figures; 0 = nobody did */
};

/* The wall clock in milliseconds since 1970. */
uint64_t daemon_unix_ms(void);

/* Writes what the state's file did not take, again and again until it does. user: the daemon. */
void daemon_retry_state(void *user);

/* Whether text can name a zone or workload: a letter or digit, then letters, digits, '.', '_', '-',
 * at most 63; not a UUID. */
bool daemon_name_is_good(const char *name);

/* Copies text that comes from a zone, a runner or a service for showing: control bytes become '?',
 * what is too long is cut. */
void daemon_copy_text(char *out, size_t size, const char *text);

/* Tears down what hangs on a client of this id, which has gone. */
void daemon_client_gone(struct daemon *d, uint64_t client);
