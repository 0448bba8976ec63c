// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/state.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "supervisor/daemon/state_migrations.h"

enum statement {
	PUT_ZONE,
	PUT_WORKLOAD,
	PUT_RESERVATION,
	DELETE_ZONE,
	DELETE_WORKLOAD,
	DELETE_RESERVATION,
	EACH_ZONE,
	EACH_WORKLOAD,
	EACH_RESERVATION,
	N_STATEMENTS,
};

#define ZONE_COLUMNS                                                                               \
	"uuid, name, state, reason, kernel, kernel_digest, memory_mib, vcpus, slot, env, "         \
	"kernel_release, created_unix_ms, create_ms, ready_ms, target_memory_mib, target_vcpus, "  \
	"policy, min_memory_mib, squeezed, cgroup, cpu_weight, cpu_percent, cpus, "                \
	"io_read_bps, io_write_bps, io_read_iops, io_write_iops, pid, network, volumes"
#define WORKLOAD_COLUMNS                                                                           \
	"uuid, name, zone, state, reason, image, image_digest, stop_signal, terminal, exit_code, " \
	"created_unix_ms, restart, restart_max, restarts, quick_ends, run, stop_wanted, "          \
	"stdin_open, oom_killed, stop_timeout_ms, started_unix_ms, ended_unix_ms, volumes, "       \
	"scratch_bytes"
#define RESERVATION_COLUMNS "uuid, name, zone, link, mac, ipv4, ipv6, created_unix_ms"

static const char *const sql[N_STATEMENTS] = {
	[PUT_ZONE] =
		"INSERT INTO zones (" ZONE_COLUMNS
		") VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,"
		"?21,?22,?23,?24,?25,?26,?27,?28,?29,?30)"
		" ON CONFLICT (uuid) DO UPDATE SET name=?2, state=?3, reason=?4, kernel=?5,"
		" kernel_digest=?6, memory_mib=?7, vcpus=?8, slot=?9, env=?10, kernel_release=?11,"
		" created_unix_ms=?12, create_ms=?13, ready_ms=?14,"
		" target_memory_mib=?15, target_vcpus=?16, policy=?17, min_memory_mib=?18,"
		" squeezed=?19, cgroup=?20, cpu_weight=?21, cpu_percent=?22, cpus=?23,"
		" io_read_bps=?24, io_write_bps=?25, io_read_iops=?26, io_write_iops=?27, pid=?28,"
		" network=?29, volumes=?30",
	[PUT_WORKLOAD] =
		"INSERT INTO workloads (" WORKLOAD_COLUMNS
		") VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,"
		"?21,?22,?23,?24)"
		" ON CONFLICT (uuid) DO UPDATE SET name=?2, zone=?3, state=?4, reason=?5, image=?6,"
		" image_digest=?7, stop_signal=?8, terminal=?9, exit_code=?10, created_unix_ms=?11,"
		" restart=?12, restart_max=?13, restarts=?14, quick_ends=?15, run=?16,"
		" stop_wanted=?17, stdin_open=?18, oom_killed=?19, stop_timeout_ms=?20,"
		" started_unix_ms=?21, ended_unix_ms=?22, volumes=?23, scratch_bytes=?24",
	[PUT_RESERVATION] =
		"INSERT INTO reservations (" RESERVATION_COLUMNS
		") VALUES (?1,?2,?3,?4,?5,?6,?7,?8)"
		" ON CONFLICT (uuid) DO UPDATE SET name=?2, zone=?3, link=?4, mac=?5, ipv4=?6,"
		" ipv6=?7, created_unix_ms=?8",
	[DELETE_ZONE] = "DELETE FROM zones WHERE uuid = ?1",
	[DELETE_WORKLOAD] = "DELETE FROM workloads WHERE uuid = ?1",
	[DELETE_RESERVATION] = "DELETE FROM reservations WHERE uuid = ?1",
	[EACH_ZONE] = "SELECT " ZONE_COLUMNS " FROM zones ORDER BY rowid",
	[EACH_WORKLOAD] = "SELECT " WORKLOAD_COLUMNS " FROM workloads ORDER BY rowid",
	[EACH_RESERVATION] = "SELECT " RESERVATION_COLUMNS " FROM reservations ORDER BY rowid",
};

/* What the file did not take yet. */
struct change {
	struct change *next;
	enum statement statement;
	union {
		struct zone_row zone; /* guest_json is its own */
		struct workload_row workload;
		struct reservation_row reservation;
		char uuid[UUID_TEXT_SIZE]; /* of all four: a row begins with it */
	};
};

struct state {
	sqlite3 *db;
	sqlite3_stmt *statements[N_STATEMENTS];
	struct change *changes; /* in their order, one a UUID */
	state_behind_fn *behind;
	void *user;
	struct log_limit complaints;
};

static void change_free(struct change *change)
{
	if (change->statement == PUT_ZONE)
		free(change->zone.guest_json);
	free(change);
}

struct state *state_close(struct state *state)
{
	if (!state)
		return NULL;
	while (state->changes) {
		struct change *change = state->changes;

		state->changes = change->next;
		change_free(change);
	}
	for (unsigned i = 0; i < N_STATEMENTS; i++)
		sqlite3_finalize(state->statements[i]);
	sqlite3_close(state->db);
	free(state);
	return NULL;
}

static int read_version(void *user, int n, char **values, char **names)
{
	(void)n;
	(void)names;
	*(int *)user = (int)strtol(values[0], NULL, 10);
	return 0;
}

/* The first line of the check is "ok" or what is wrong. */
static int read_check(void *user, int n, char **values, char **names)
{
	(void)n;
	(void)names;
	snprintf(user, REASON_SIZE, "%s", values[0] ? values[0] : "");
	return 0;
}

/* SQLite finds damage only where it looks, so all is looked at: it is some thousand rows at most.
 */
static int check(struct state *state, char said[static REASON_SIZE])
{
	int r = sqlite3_exec(state->db, "PRAGMA quick_check(1)", read_check, said, NULL);

	if (r == SQLITE_OK)
		return strcmp(said, "ok") == 0 ? 0 : -EUCLEAN;
	snprintf(said, REASON_SIZE, "%s", sqlite3_errmsg(state->db));
	return r == SQLITE_CORRUPT || r == SQLITE_NOTADB ? -EUCLEAN : -EIO;
}

/* A newer daemon's file is left as it is, down to the last byte. */
static int prepare(struct state *state)
{
	int version = 0, r;

	r = sqlite3_exec(state->db, "PRAGMA user_version", read_version, &version, NULL);
	if (r == SQLITE_OK && (version < 0 || (unsigned)version > STATE_VERSION))
		return -EPROTONOSUPPORT;
	if (r == SQLITE_OK)
		r = sqlite3_exec(state->db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;",
				 NULL, NULL, NULL);
	for (; r == SQLITE_OK && (unsigned)version < STATE_VERSION; version++)
		r = sqlite3_exec(state->db, state_migrations[version], NULL, NULL, NULL);
	for (unsigned i = 0; r == SQLITE_OK && i < N_STATEMENTS; i++)
		r = sqlite3_prepare_v3(state->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT,
				       &state->statements[i], NULL);
	return r == SQLITE_OK ? 0 : -EIO;
}

static int say_damaged(const char *path, const char *what, struct error *err)
{
	return error_set(err, -EUCLEAN,
			 "%s is damaged (%s) and was left as it is: put a good copy in its place; "
			 "zones go on meanwhile",
			 path, what);
}

bool state_is_new(const char *path)
{
	struct stat st;

	return stat(path, &st) < 0 ? errno == ENOENT : st.st_size == 0;
}

/* #syscalls daemon: newfstatat(_, _, _, 0) */
int state_open(const char *path, struct state **out, struct error *err)
{
	struct state *state = calloc(1, sizeof(*state));
	char said[REASON_SIZE] = "";
	int r;

	if (!state)
		return error_set(err, -ENOMEM, "out of memory");
	r = sqlite3_open_v2(path, &state->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
	r = r == SQLITE_OK ? check(state, said) : -EIO;
	if (r == 0)
		r = prepare(state);
	if (r == -EUCLEAN)
		say_damaged(path, said, err);
	else if (r == -EPROTONOSUPPORT)
		error_set(err, r, "%s was written by a newer protect-daemon", path);
	else if (r < 0)
		error_set(err, r, "%s: %s", path,
			  state->db ? sqlite3_errmsg(state->db) : "out of memory");
	if (r < 0) {
		state_close(state);
		return r;
	}
	*out = state;
	return 0;
}

void state_watch(struct state *state, state_behind_fn *behind, void *user)
{
	state->behind = behind;
	state->user = user;
}

static void bind_text(sqlite3_stmt *s, int place, const char *text)
{
	sqlite3_bind_text(s, place, text, -1, SQLITE_STATIC);
}

static int last_error(const struct state *state)
{
	int primary = sqlite3_errcode(state->db) & 0xff;

	/* A full disk can also hit the write-ahead log's index, which SQLite calls an I/O error. */
	if (primary == SQLITE_FULL ||
	    (primary == SQLITE_IOERR && sqlite3_system_errno(state->db) == ENOSPC))
		return -ENOSPC;
	return primary == SQLITE_NOMEM ? -ENOMEM : -EIO;
}

/* Runs a statement that gives no rows, and makes it ready for the next time. */
static int run(struct state *state, sqlite3_stmt *s)
{
	int r = sqlite3_step(s) == SQLITE_DONE ? 0 : last_error(state);

	if (r < 0 && log_allowed(&state->complaints, 1, NULL))
		log_error("state=\"%s\" err=\"%s\"", sqlite3_sql(s), sqlite3_errmsg(state->db));
	sqlite3_reset(s);
	sqlite3_clear_bindings(s);
	return r;
}

static void bind_limits(sqlite3_stmt *s, const struct zone_limits *limits)
{
	sqlite3_bind_int64(s, 21, limits->cpu_weight);
	sqlite3_bind_int64(s, 22, limits->cpu_percent);
	bind_text(s, 23, limits->cpus);
	sqlite3_bind_int64(s, 24, (sqlite3_int64)limits->io.read_bytes_per_s);
	sqlite3_bind_int64(s, 25, (sqlite3_int64)limits->io.write_bytes_per_s);
	sqlite3_bind_int64(s, 26, (sqlite3_int64)limits->io.read_ops_per_s);
	sqlite3_bind_int64(s, 27, (sqlite3_int64)limits->io.write_ops_per_s);
}

static int put_zone(struct state *state, const struct zone_row *row)
{
	_cleanup_(freep) char *network = zone_network_print(&row->network);
	sqlite3_stmt *s = state->statements[PUT_ZONE];
	char volumes[VOLUME_MOUNTS_TEXT_SIZE];

	if (!network)
		return -ENOMEM;
	bind_text(s, 1, row->uuid);
	bind_text(s, 2, row->name);
	sqlite3_bind_int64(s, 3, row->state);
	bind_text(s, 4, row->reason);
	bind_text(s, 5, row->kernel);
	bind_text(s, 6, row->kernel_digest);
	sqlite3_bind_int64(s, 7, (sqlite3_int64)row->memory_mib);
	sqlite3_bind_int64(s, 8, row->vcpus);
	if (row->slot != SLOT_NONE)
		sqlite3_bind_int64(s, 9, row->slot);
	if (row->guest_json)
		bind_text(s, 10, row->guest_json);
	bind_text(s, 11, row->kernel_release);
	sqlite3_bind_int64(s, 12, (sqlite3_int64)row->created_unix_ms);
	sqlite3_bind_int64(s, 13, (sqlite3_int64)row->create_ms);
	sqlite3_bind_int64(s, 14, (sqlite3_int64)row->ready_ms);
	sqlite3_bind_int64(s, 15, (sqlite3_int64)row->target_memory_mib);
	sqlite3_bind_int64(s, 16, row->target_vcpus);
	sqlite3_bind_int64(s, 17, row->policy);
	sqlite3_bind_int64(s, 18, (sqlite3_int64)row->min_memory_mib);
	sqlite3_bind_int64(s, 19, row->squeezed);
	bind_text(s, 20, row->cgroup);
	bind_limits(s, &row->limits);
	sqlite3_bind_int64(s, 28, row->pid);
	bind_text(s, 29, network);
	volume_mounts_print(&row->volumes, volumes);
	bind_text(s, 30, volumes);
	return run(state, s);
}

static void bind_runs(sqlite3_stmt *s, const struct workload_row *row)
{
	sqlite3_bind_int64(s, 12, row->restart);
	sqlite3_bind_int64(s, 13, row->restart_max);
	sqlite3_bind_int64(s, 14, row->restarts);
	sqlite3_bind_int64(s, 15, row->quick_ends);
	sqlite3_bind_int64(s, 16, row->run);
	sqlite3_bind_int64(s, 17, row->stop_wanted);
	sqlite3_bind_int64(s, 18, row->stdin_open);
	sqlite3_bind_int64(s, 19, row->oom_killed);
	sqlite3_bind_int64(s, 20, row->stop_timeout_ms);
	sqlite3_bind_int64(s, 21, (sqlite3_int64)row->started_unix_ms);
	sqlite3_bind_int64(s, 22, (sqlite3_int64)row->ended_unix_ms);
}

static int put_workload(struct state *state, const struct workload_row *row)
{
	sqlite3_stmt *s = state->statements[PUT_WORKLOAD];
	char volumes[VOLUME_MOUNTS_TEXT_SIZE];

	bind_text(s, 1, row->uuid);
	bind_text(s, 2, row->name);
	bind_text(s, 3, row->zone);
	sqlite3_bind_int64(s, 4, row->state);
	bind_text(s, 5, row->reason);
	bind_text(s, 6, row->image);
	bind_text(s, 7, row->image_digest);
	bind_text(s, 8, row->stop_signal);
	sqlite3_bind_int64(s, 9, row->terminal);
	if (row->has_exit_code)
		sqlite3_bind_int64(s, 10, row->exit_code);
	sqlite3_bind_int64(s, 11, (sqlite3_int64)row->created_unix_ms);
	bind_runs(s, row);
	volume_mounts_print(&row->volumes, volumes);
	bind_text(s, 23, volumes);
	sqlite3_bind_int64(s, 24, (sqlite3_int64)row->scratch_bytes);
	return run(state, s);
}

static int put_reservation(struct state *state, const struct reservation_row *row)
{
	sqlite3_stmt *s = state->statements[PUT_RESERVATION];

	bind_text(s, 1, row->uuid);
	bind_text(s, 2, row->name);
	bind_text(s, 3, row->zone);
	sqlite3_bind_int64(s, 4, row->link);
	bind_text(s, 5, row->mac);
	bind_text(s, 6, row->ipv4);
	bind_text(s, 7, row->ipv6);
	sqlite3_bind_int64(s, 8, (sqlite3_int64)row->created_unix_ms);
	return run(state, s);
}

static int delete_row(struct state *state, enum statement statement, const char *uuid)
{
	sqlite3_stmt *s = state->statements[statement];

	bind_text(s, 1, uuid);
	return run(state, s);
}

static int apply(struct state *state, enum statement statement, const void *row)
{
	if (statement == PUT_ZONE)
		return put_zone(state, row);
	if (statement == PUT_WORKLOAD)
		return put_workload(state, row);
	if (statement == PUT_RESERVATION)
		return put_reservation(state, row);
	return delete_row(state, statement, row);
}

int state_retry(struct state *state)
{
	int r = 0;

	while (state->changes && r == 0) {
		struct change *change = state->changes;

		r = apply(state, change->statement, &change->zone);
		if (r == 0) {
			state->changes = change->next;
			change_free(change);
		}
	}
	return r;
}

static struct change *change_new(enum statement statement, const void *row)
{
	struct change *change = calloc(1, sizeof(*change));

	if (!change)
		return NULL;
	change->statement = statement;
	if (statement == PUT_WORKLOAD)
		change->workload = *(const struct workload_row *)row;
	else if (statement == PUT_RESERVATION)
		change->reservation = *(const struct reservation_row *)row;
	else if (statement != PUT_ZONE)
		snprintf(change->uuid, sizeof(change->uuid), "%s", (const char *)row);
	else
		change->zone = *(const struct zone_row *)row;
	if (statement != PUT_ZONE || !change->zone.guest_json)
		return change;
	change->zone.guest_json = strdup(change->zone.guest_json);
	if (change->zone.guest_json)
		return change;
	free(change);
	return NULL;
}

/* The newest word about a UUID takes the place of an older one. */
static void keep(struct state *state, enum statement statement, const void *row)
{
	struct change *change = change_new(statement, row), **place = &state->changes;
	bool first = !state->changes;

	if (!change) {
		log_error("state=\"%s\" err=\"out of memory\" a change is lost", (const char *)row);
		return;
	}
	while (*place) {
		struct change *old = *place;

		if (strcmp(old->uuid, change->uuid) == 0) {
			*place = old->next;
			change_free(old);
		} else {
			place = &old->next;
		}
	}
	*place = change;
	if (first && state->behind)
		state->behind(state->user);
}

static int change_row(struct state *state, enum statement statement, const void *row)
{
	int r = state_retry(state);

	if (r == 0)
		r = apply(state, statement, row);
	if (r < 0)
		keep(state, statement, row);
	return r;
}

static int add_row(struct state *state, enum statement statement, const void *row,
		   struct error *err)
{
	int r = state_retry(state);

	if (r == 0)
		r = apply(state, statement, row);
	if (r == -ENOSPC)
		error_set(err, r, "no space left on the disk of %s; make room and try again",
			  sqlite3_db_filename(state->db, "main"));
	else if (r < 0)
		error_set(err, r, "%s cannot be written: %s",
			  sqlite3_db_filename(state->db, "main"), sqlite3_errmsg(state->db));
	return r;
}

int state_add_zone(struct state *state, const struct zone_row *row, struct error *err)
{
	return add_row(state, PUT_ZONE, row, err);
}

int state_add_workload(struct state *state, const struct workload_row *row, struct error *err)
{
	return add_row(state, PUT_WORKLOAD, row, err);
}

int state_add_reservation(struct state *state, const struct reservation_row *row, struct error *err)
{
	return add_row(state, PUT_RESERVATION, row, err);
}

int state_put_zone(struct state *state, const struct zone_row *row)
{
	return change_row(state, PUT_ZONE, row);
}

int state_put_workload(struct state *state, const struct workload_row *row)
{
	return change_row(state, PUT_WORKLOAD, row);
}

int state_put_reservation(struct state *state, const struct reservation_row *row)
{
	return change_row(state, PUT_RESERVATION, row);
}

int state_delete_zone(struct state *state, const char *uuid)
{
	return change_row(state, DELETE_ZONE, uuid);
}

int state_delete_workload(struct state *state, const char *uuid)
{
	return change_row(state, DELETE_WORKLOAD, uuid);
}

int state_delete_reservation(struct state *state, const char *uuid)
{
	return change_row(state, DELETE_RESERVATION, uuid);
}

static void get_text(sqlite3_stmt *s, int place, char *out, size_t size)
{
	const unsigned char *text = sqlite3_column_text(s, place);

	snprintf(out, size, "%s", text ? (const char *)text : "");
}

static uint64_t get_u64(sqlite3_stmt *s, int place)
{
	return (uint64_t)sqlite3_column_int64(s, place);
}

static void read_zone(sqlite3_stmt *s, struct zone_row *row)
{
	*row = (struct zone_row){.slot = SLOT_NONE};
	get_text(s, 0, row->uuid, sizeof(row->uuid));
	get_text(s, 1, row->name, sizeof(row->name));
	row->state = (uint32_t)get_u64(s, 2);
	get_text(s, 3, row->reason, sizeof(row->reason));
	get_text(s, 4, row->kernel, sizeof(row->kernel));
	get_text(s, 5, row->kernel_digest, sizeof(row->kernel_digest));
	row->memory_mib = get_u64(s, 6);
	row->vcpus = (uint32_t)get_u64(s, 7);
	if (sqlite3_column_type(s, 8) != SQLITE_NULL)
		row->slot = (uint32_t)get_u64(s, 8);
	if (sqlite3_column_type(s, 9) != SQLITE_NULL)
		row->guest_json = strdup((const char *)sqlite3_column_text(s, 9));
	get_text(s, 10, row->kernel_release, sizeof(row->kernel_release));
	row->created_unix_ms = get_u64(s, 11);
	row->create_ms = get_u64(s, 12);
	row->ready_ms = get_u64(s, 13);
	row->target_memory_mib = get_u64(s, 14);
	row->target_vcpus = (uint32_t)get_u64(s, 15);
	row->policy = (uint32_t)get_u64(s, 16);
	row->min_memory_mib = get_u64(s, 17);
	row->squeezed = get_u64(s, 18) != 0;
	get_text(s, 19, row->cgroup, sizeof(row->cgroup));
	row->limits.cpu_weight = (uint32_t)get_u64(s, 20);
	row->limits.cpu_percent = (uint32_t)get_u64(s, 21);
	get_text(s, 22, row->limits.cpus, sizeof(row->limits.cpus));
	row->limits.io.read_bytes_per_s = get_u64(s, 23);
	row->limits.io.write_bytes_per_s = get_u64(s, 24);
	row->limits.io.read_ops_per_s = get_u64(s, 25);
	row->limits.io.write_ops_per_s = get_u64(s, 26);
	row->pid = (int32_t)sqlite3_column_int64(s, 27);
	zone_network_parse((const char *)sqlite3_column_text(s, 28), &row->network);
	volume_mounts_parse((const char *)sqlite3_column_text(s, 29), &row->volumes);
}

static void read_runs(sqlite3_stmt *s, struct workload_row *row)
{
	row->restart = (uint32_t)get_u64(s, 11);
	row->restart_max = (uint32_t)get_u64(s, 12);
	row->restarts = (uint32_t)get_u64(s, 13);
	row->quick_ends = (uint32_t)get_u64(s, 14);
	row->run = (uint32_t)get_u64(s, 15);
	row->stop_wanted = get_u64(s, 16) != 0;
	row->stdin_open = get_u64(s, 17) != 0;
	row->oom_killed = get_u64(s, 18) != 0;
	row->stop_timeout_ms = (uint32_t)get_u64(s, 19);
	row->started_unix_ms = get_u64(s, 20);
	row->ended_unix_ms = get_u64(s, 21);
}

static void read_workload(sqlite3_stmt *s, struct workload_row *row)
{
	*row = (struct workload_row){0};
	get_text(s, 0, row->uuid, sizeof(row->uuid));
	get_text(s, 1, row->name, sizeof(row->name));
	get_text(s, 2, row->zone, sizeof(row->zone));
	row->state = (uint32_t)get_u64(s, 3);
	get_text(s, 4, row->reason, sizeof(row->reason));
	get_text(s, 5, row->image, sizeof(row->image));
	get_text(s, 6, row->image_digest, sizeof(row->image_digest));
	get_text(s, 7, row->stop_signal, sizeof(row->stop_signal));
	row->terminal = get_u64(s, 8) != 0;
	row->has_exit_code = sqlite3_column_type(s, 9) != SQLITE_NULL;
	row->exit_code = sqlite3_column_int(s, 9);
	row->created_unix_ms = get_u64(s, 10);
	read_runs(s, row);
	volume_mounts_parse((const char *)sqlite3_column_text(s, 22), &row->volumes);
	row->scratch_bytes = get_u64(s, 23);
}

static void read_reservation(sqlite3_stmt *s, struct reservation_row *row)
{
	*row = (struct reservation_row){.link = (uint32_t)get_u64(s, 3),
					.created_unix_ms = get_u64(s, 7)};
	get_text(s, 0, row->uuid, sizeof(row->uuid));
	get_text(s, 1, row->name, sizeof(row->name));
	get_text(s, 2, row->zone, sizeof(row->zone));
	get_text(s, 4, row->mac, sizeof(row->mac));
	get_text(s, 5, row->ipv4, sizeof(row->ipv4));
	get_text(s, 6, row->ipv6, sizeof(row->ipv6));
}

static int finish_each(struct state *state, sqlite3_stmt *s, int step, int r)
{
	sqlite3_reset(s);
	if (r < 0)
		return r;
	if (step == SQLITE_DONE)
		return 0;
	log_error("state=\"%s\" err=\"%s\"", sqlite3_sql(s), sqlite3_errmsg(state->db));
	return -EIO;
}

int state_each_zone(struct state *state, int (*fn)(void *user, struct zone_row *row), void *user)
{
	sqlite3_stmt *s = state->statements[EACH_ZONE];
	int step, r = 0;

	while ((step = sqlite3_step(s)) == SQLITE_ROW && r >= 0) {
		struct zone_row row;

		read_zone(s, &row);
		r = fn(user, &row);
	}
	return finish_each(state, s, step, r);
}

int state_each_workload(struct state *state, int (*fn)(void *user, struct workload_row *row),
			void *user)
{
	sqlite3_stmt *s = state->statements[EACH_WORKLOAD];
	int step, r = 0;

	while ((step = sqlite3_step(s)) == SQLITE_ROW && r >= 0) {
		struct workload_row row;

		read_workload(s, &row);
		r = fn(user, &row);
	}
	return finish_each(state, s, step, r);
}

int state_each_reservation(struct state *state, int (*fn)(void *user, struct reservation_row *row),
			   void *user)
{
	sqlite3_stmt *s = state->statements[EACH_RESERVATION];
	int step, r = 0;

	while ((step = sqlite3_step(s)) == SQLITE_ROW && r >= 0) {
		struct reservation_row row;

		read_reservation(s, &row);
		r = fn(user, &row);
	}
	return finish_each(state, s, step, r);
}
