// SPDX-License-Identifier: Apache-2.0
/*
 * The state of the zone's agent: its workloads, its execs, the session with the host. One thread
 * owns all of it.
 *
 * zone.c holds what runs in the zone and answers by UUID and pid; workload.c and exec.c are the two
 * kinds; agent.c is the session. Nothing here depends on being PID 1 or on vsock: main.c adds that,
 * and tests drive it over a socket pair.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"
#include "idm-vsock/session.h"
#include "proto/agent.pb-c.h"
#include "zone-guest/env.h"
#include "zone-guest/process.h"
#include "zone-guest/reactor.h"

#define ZONE_WORKLOADS_MAX 64u
#define ZONE_EXECS_MAX	   256u
#define ZONE_HOSTNAME_MAX  64u
#define ZONE_TEXT_MAX	   4096u
#define ZONE_DISK_WAIT_NS  (UINT64_C(30) * 1000000000u)

struct workload;
struct exec;
struct volume_job;
struct agent;

struct zone {
	struct reactor reactor;
	struct agent *agent; /* NULL = no session */
	struct workload *workloads[ZONE_WORKLOADS_MAX];
	struct exec *execs[ZONE_EXECS_MAX];
	unsigned n_forwards;
	struct volumes volumes; /* the zone's own */
	struct volume_job *volume_jobs;
	struct strings env; /* for everything that runs in the zone */
	char hostname[ZONE_HOSTNAME_MAX + 1];
	char resolv[ZONE_TEXT_MAX]; /* text of /etc/resolv.conf */
	bool bootstrapped;
	const char *cgroup_root;				       /* NULL = no cgroups */
	int (*find_disk)(const char *serial, char *path, size_t size); /* as disk_find() */
	/*
	 * What touches the system as a whole, set by main.c; NULL = left out. The first runs before
	 * the reply to BOOTSTRAP, the second after it, before any other request.
	 */
	int (*apply)(struct zone *zone, const Protect__Agent__Bootstrap *message,
		     struct error *err);
	void (*apply_later)(struct zone *zone, const Protect__Agent__Bootstrap *message);
	void (*shutdown)(struct zone *zone, bool reboot);
	/* As net_apply(): a link that came while the zone runs. */
	int (*add_link)(const Protect__Agent__Link *link, struct error *err);
	int (*set_time)(uint64_t time_ns); /* 0 or a negative errno */
};

/*
 * Prepares *zone, with disk_find(). cgroup_root is borrowed; NULL = without. Returns 0 or a
 * negative errno.
 */
int zone_init(struct zone *zone, const char *cgroup_root);

/* Frees everything; what still runs is left alone. */
void zone_deinit(struct zone *zone);

/* Collects every child that has ended and tells those who own it. Call it after SIGCHLD. */
void zone_reap(struct zone *zone);

/* A device has come: launches that wait for their disk look again. */
void zone_disks_changed(struct zone *zone);

/* The session is gone: execs are killed, workloads run on. */
void zone_session_lost(struct zone *zone);

/* Kills everything that was started here. */
void zone_kill_all(struct zone *zone);

/* By the text of a UUID; NULL if unknown. */
struct workload *zone_workload(const struct zone *zone, const struct uuid *uuid);
struct exec *zone_exec(const struct zone *zone, const struct uuid *uuid);

/*
 * Tells the host that an exec has ended; without a session nothing happens: execs that
 * somebody waits for end with it.
 */
void zone_tell_exited(struct zone *zone, const struct uuid *uuid, int wait_status);

/*
 * The parts of a Process message, checked and copied: lengths, the number of strings, K=V, an
 * absolute working directory.
 */
struct program {
	struct strings argv, env;
	char *working_directory, *user;
	bool terminal;
	uint16_t rows, columns;
	uint64_t stdio_stream, stderr_stream;
};

/* Returns 0, or -EINVAL, -E2BIG, -ENOMEM with the text. *out is then empty. */
int program_read(const Protect__Agent__Process *message, struct program *out, struct error *err);
void program_deinit(struct program *program);

/* A terminal's side: 0 to 65535. */
uint16_t program_side(uint32_t value);
