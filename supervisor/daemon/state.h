// SPDX-License-Identifier: Apache-2.0
/*
 * What must outlive the daemon: one row a zone, a workload, a reservation, in SQLite (write-ahead
 * log, synchronous=FULL), so that a row that was put is there after any kill. Every put writes the
 * whole row, in one transaction. One thread. The file is ours alone: one of an older daemon is
 * brought up to date, one of a newer daemon or a damaged one is refused rather than believed, and
 * left alone.
 *
 * A disk can be full. What is new is refused then; what changes or ends is true all the same, so it
 * is kept in memory, in its order, and written before anything else is: see state_retry().
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"
#include "supervisor/daemon/state_network.h"
#include "supervisor/daemon/state_volumes.h"
#include "supervisor/launch/launch.h"

#define NAME_SIZE    64	 /* of a zone or workload, with its NUL: it is also a host name */
#define IMAGE_SIZE   256 /* of a reference */
#define DIGEST_SIZE  128
#define REASON_SIZE  256
#define RELEASE_SIZE 96
#define SIGNAL_SIZE  32
#define CGROUP_SIZE  256
#define SLOT_NONE    UINT32_MAX

/* What clients asked for; 0 and empty: nothing. */
struct zone_limits {
	uint32_t cpu_weight;
	uint32_t cpu_percent; /* of one CPU */
	char cpus[LAUNCH_CPUS_SIZE];
	struct launch_io io;
};

struct zone_row {
	char uuid[UUID_TEXT_SIZE];
	char name[NAME_SIZE];
	uint32_t state; /* protect.control.ZoneStateKind */
	char reason[REASON_SIZE];
	char kernel[IMAGE_SIZE];
	char kernel_digest[DIGEST_SIZE];
	uint64_t memory_mib, target_memory_mib; /* the maximum, and what it is meant to have now */
	uint32_t vcpus, target_vcpus;		/* the same */
	uint32_t policy;			/* protect.control.ResourcePolicy */
	uint64_t min_memory_mib; /* that a policy leaves it; 0 = what zones need at least */
	bool squeezed;		 /* the runner was told of less than the target (policy_driver.h) */
	struct zone_limits limits;
	char cgroup[CGROUP_SIZE]; /* as launch named it; empty = not known */
	int32_t pid;		  /* of its runner, for people; 0 = not known */
	uint32_t slot;		  /* uid slot; SLOT_NONE once its resources are given back */
	char *guest_json; /* of guest_settings.h; owned by whoever has the row; NULL = none */
	char kernel_release[RELEASE_SIZE];
	uint64_t created_unix_ms, create_ms, ready_ms;
	struct zone_network network;
	struct volume_mounts volumes; /* of the zone itself */
};

struct workload_row {
	char uuid[UUID_TEXT_SIZE];
	char name[NAME_SIZE];
	char zone[UUID_TEXT_SIZE];
	uint32_t state; /* protect.control.WorkloadStateKind */
	char reason[REASON_SIZE];
	char image[IMAGE_SIZE];
	char image_digest[DIGEST_SIZE];
	char stop_signal[SIGNAL_SIZE];
	bool terminal;
	bool has_exit_code;
	int32_t exit_code;
	uint64_t created_unix_ms;
	uint32_t restart; /* protect.control.RestartPolicy */
	uint32_t restart_max;
	uint32_t restarts;	  /* by the policy */
	uint32_t quick_ends;	  /* runs in a row that were short: how long the next one waits */
	uint32_t run;		  /* the last one that is known, as the agent counts them */
	bool stop_wanted;	  /* somebody stopped it: the policy rests */
	bool stdin_open;	  /* who leaves does not end its input */
	bool oom_killed;	  /* the last run */
	uint32_t stop_timeout_ms; /* 0 = the default */
	uint64_t started_unix_ms, ended_unix_ms; /* the last time; 0 = never */
	struct volume_mounts volumes;
	uint64_t scratch_bytes; /* of a disk for what it writes; 0 = none */
};

/* Addresses that one link of a zone has, or will have. */
struct reservation_row {
	char uuid[UUID_TEXT_SIZE];
	char name[NAME_SIZE];	   /* empty: it was made for its zone, and goes with it */
	char zone[UUID_TEXT_SIZE]; /* that has it; empty = none */
	uint32_t link;		   /* which of the zone's */
	char mac[NETWORK_MAC_SIZE];
	char ipv4[NETWORK_ADDRESS_SIZE]; /* empty = none, as the other */
	char ipv6[NETWORK_ADDRESS_SIZE];
	uint64_t created_unix_ms;
};

struct state;

/* Whether nothing was ever written to the file, or it is not there. */
bool state_is_new(const char *path);

/* Opens or makes the file. Returns 0 or a negative errno with text. state_close() takes NULL and
 * returns NULL. */
int state_open(const char *path, struct state **out, struct error *err);
struct state *state_close(struct state *state);

/* behind(user) is called whenever a first change could not be written: state_retry() is due. */
typedef void state_behind_fn(void *user);
void state_watch(struct state *state, state_behind_fn *behind, void *user);

/* Make a new row. Return 0, or a negative errno with text, and then the row is not there. */
int state_add_zone(struct state *state, const struct zone_row *row, struct error *err);
int state_add_workload(struct state *state, const struct workload_row *row, struct error *err);

int state_add_reservation(struct state *state, const struct reservation_row *row,
			  struct error *err);

/* Replace a row. Return 0, or a negative errno that says why it is kept for later; the caller goes
 * on, memory is right. */
int state_put_zone(struct state *state, const struct zone_row *row);
int state_put_workload(struct state *state, const struct workload_row *row);
int state_put_reservation(struct state *state, const struct reservation_row *row);

/* Delete a row, if there is one. Same returns. */
int state_delete_zone(struct state *state, const char *uuid);
int state_delete_workload(struct state *state, const char *uuid);
int state_delete_reservation(struct state *state, const char *uuid);

/* Writes what was kept. Returns 0 when nothing is left of it, else a negative errno. */
int state_retry(struct state *state);

/*
 * Call fn for each row in the order of creation. guest_json is handed over to fn; the rest of the
 * row is borrowed. Return 0, a negative value of fn at once, or -EIO.
 */
int state_each_zone(struct state *state, int (*fn)(void *user, struct zone_row *row), void *user);
int state_each_workload(struct state *state, int (*fn)(void *user, struct workload_row *row),
			void *user);
int state_each_reservation(struct state *state, int (*fn)(void *user, struct reservation_row *row),
			   void *user);
