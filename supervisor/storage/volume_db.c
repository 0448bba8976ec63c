// SPDX-License-Identifier: Apache-2.0
#include "supervisor/storage/volume_db.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "supervisor/storage/store_internal.h"

#define COLUMNS "name, file, format, created_ms, state"

static void finalizep(sqlite3_stmt **statement)
{
	sqlite3_finalize(*statement);
}

static void unlockp(pthread_mutex_t **lock)
{
	pthread_mutex_unlock(*lock);
}

static sqlite3_stmt *prepare(struct store *store, const char *sql, const char *text)
{
	sqlite3_stmt *statement = NULL;

	if (sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL) != SQLITE_OK)
		return NULL;
	if (text)
		sqlite3_bind_text(statement, 1, text, -1, SQLITE_TRANSIENT);
	return statement;
}

int volume_db_open(struct store *store, struct error *err)
{
	_cleanup_(unlockp) pthread_mutex_t *lock = &store->db_lock;
	static const char schema[] = "CREATE TABLE IF NOT EXISTS volumes (name TEXT PRIMARY KEY, "
				     "file TEXT NOT NULL UNIQUE,"
				     " format INTEGER NOT NULL, created_ms INTEGER NOT NULL, state "
				     "INTEGER NOT NULL) STRICT;";

	pthread_mutex_lock(lock);
	return sqlite3_exec(store->db, schema, NULL, NULL, NULL) == SQLITE_OK
		       ? 0
		       : store_db_failed(store, err);
}

static int add(struct store *store, const struct volume *volume, struct error *err)
{
	_cleanup_(finalizep) sqlite3_stmt *statement = prepare(
		store, "INSERT OR IGNORE INTO volumes (" COLUMNS ") VALUES (?1,?2,?3,?4,?5)",
		volume->name);

	if (!statement)
		return store_db_failed(store, err);
	sqlite3_bind_text(statement, 2, volume->file, -1, SQLITE_TRANSIENT);
	sqlite3_bind_int(statement, 3, (int)volume->format);
	sqlite3_bind_int64(statement, 4, (sqlite3_int64)volume->created_unix_ms);
	sqlite3_bind_int(statement, 5, VOLUME_MAKING);
	if (sqlite3_step(statement) != SQLITE_DONE)
		return store_db_failed(store, err);
	if (sqlite3_changes(store->db) == 0)
		return error_set(err, -EEXIST,
				 "a volume '%s' exists already; choose another name or remove it",
				 volume->name);
	return 0;
}

int volume_db_add(struct store *store, const struct volume *volume, struct error *err)
{
	_cleanup_(unlockp) pthread_mutex_t *lock = &store->db_lock;
	_cleanup_(finalizep) sqlite3_stmt *statement = NULL;

	pthread_mutex_lock(lock);
	statement = prepare(store, "SELECT count(*) FROM volumes", NULL);
	if (!statement || sqlite3_step(statement) != SQLITE_ROW)
		return store_db_failed(store, err);
	if (sqlite3_column_int(statement, 0) >= (int)VOLUMES_MAX)
		return error_set(err, -ENOSPC, "there are %u volumes already; remove one",
				 VOLUMES_MAX);
	return add(store, volume, err);
}

/* A row of COLUMNS; its state is returned. */
static enum volume_state read_row(sqlite3_stmt *row, struct volume *volume)
{
	*volume = (struct volume){.format = sqlite3_column_int(row, 2) == VOLUME_RAW ? VOLUME_RAW
										     : VOLUME_EXT4,
				  .created_unix_ms = (uint64_t)sqlite3_column_int64(row, 3)};
	snprintf(volume->name, sizeof(volume->name), "%s", sqlite3_column_text(row, 0));
	snprintf(volume->file, sizeof(volume->file), "%s", sqlite3_column_text(row, 1));
	return (enum volume_state)sqlite3_column_int(row, 4);
}

int volume_db_find(struct store *store, const char *name, struct volume *out, struct error *err)
{
	_cleanup_(unlockp) pthread_mutex_t *lock = &store->db_lock;
	_cleanup_(finalizep) sqlite3_stmt *statement = NULL;
	enum volume_state state;
	int r;

	pthread_mutex_lock(lock);
	statement = prepare(store, "SELECT " COLUMNS " FROM volumes WHERE name = ?1", name);
	r = statement ? sqlite3_step(statement) : SQLITE_ERROR;
	if (r == SQLITE_DONE)
		return error_set(err, -ENOENT,
				 "no volume '%.63s'; 'protect volume list' shows them, "
				 "'protect volume create' makes one",
				 name);
	if (r != SQLITE_ROW)
		return store_db_failed(store, err);
	state = read_row(statement, out);
	if (state != VOLUME_READY)
		return error_set(err, -EBUSY, "volume '%s' is just being %s", out->name,
				 state == VOLUME_MAKING ? "made" : "removed");
	return 0;
}

int volume_db_list(struct store *store, enum volume_state state, struct volume **out, unsigned *n,
		   struct error *err)
{
	_cleanup_(unlockp) pthread_mutex_t *lock = &store->db_lock;
	_cleanup_(freep) struct volume *all = calloc(VOLUMES_MAX, sizeof(*all));
	_cleanup_(finalizep) sqlite3_stmt *statement = NULL;
	int r = SQLITE_ERROR;

	pthread_mutex_lock(lock);
	if (!all)
		return error_set(err, -ENOMEM, "out of memory");
	*n = 0;
	statement = prepare(store, "SELECT " COLUMNS " FROM volumes WHERE state = ?1 ORDER BY name",
			    NULL);
	if (statement)
		sqlite3_bind_int(statement, 1, (int)state);
	while (statement && (r = sqlite3_step(statement)) == SQLITE_ROW && *n < VOLUMES_MAX)
		read_row(statement, &all[(*n)++]);
	if (r != SQLITE_DONE && r != SQLITE_ROW)
		return store_db_failed(store, err);
	*out = steal_ptr(&all);
	return 0;
}

int volume_db_set(struct store *store, const char *file, enum volume_state state, struct error *err)
{
	_cleanup_(unlockp) pthread_mutex_t *lock = &store->db_lock;
	_cleanup_(finalizep) sqlite3_stmt *statement = NULL;

	pthread_mutex_lock(lock);
	statement = prepare(store, "UPDATE volumes SET state = ?2 WHERE file = ?1", file);
	if (statement)
		sqlite3_bind_int(statement, 2, (int)state);
	return statement && sqlite3_step(statement) == SQLITE_DONE ? 0
								   : store_db_failed(store, err);
}

int volume_db_delete(struct store *store, const char *file, struct error *err)
{
	_cleanup_(unlockp) pthread_mutex_t *lock = &store->db_lock;
	_cleanup_(finalizep) sqlite3_stmt *statement = NULL;

	pthread_mutex_lock(lock);
	statement = prepare(store, "DELETE FROM volumes WHERE file = ?1", file);
	return statement && sqlite3_step(statement) == SQLITE_DONE ? 0
								   : store_db_failed(store, err);
}
