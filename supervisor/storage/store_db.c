// SPDX-License-Identifier: Apache-2.0
#include "supervisor/storage/store_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"

#define BUSY_TIMEOUT_MS 10000
#define HEX_PREFIX_MIN	12
#define SCHEMA_VERSION	1
#define LINE_SIZE	128
#define COLUMNS                                                                                    \
	"images.manifest, images.config, images.kernel, images.size_bytes, images.created_ms"

int store_db_failed(struct store *store, struct error *err)
{
	int primary = sqlite3_errcode(store->db) & 0xff;

	/* A full disk can also hit the write-ahead log's index, which SQLite calls an I/O error. */
	if (primary == SQLITE_FULL ||
	    (primary == SQLITE_IOERR && sqlite3_system_errno(store->db) == ENOSPC))
		return store_failed(store, -ENOSPC, "write its database", err);
	return error_set(err, primary == SQLITE_NOMEM ? -ENOMEM : -EIO, "store %s: database: %s",
			 store->path, sqlite3_errmsg(store->db));
}

static void finalizep(sqlite3_stmt **statement)
{
	sqlite3_finalize(*statement);
}

static void unlockp(pthread_mutex_t **lock)
{
	pthread_mutex_unlock(*lock);
}

/* The first line of quick_check, which is "ok" or what is wrong. */
static int read_line(void *user, int n, char **values, char **names)
{
	(void)n;
	(void)names;
	snprintf(user, LINE_SIZE, "%s", values[0] ? values[0] : "");
	return 0;
}

static int say_damaged(const struct store *store, const char *what, struct error *err)
{
	return error_set(err, -EUCLEAN,
			 "store %s: its database is damaged (%s) and was left as it is: put a good "
			 "copy of store.db in its place, or empty the store",
			 store->path, what);
}

/* SQLite finds damage only where it looks. What is damaged is not written to, and nothing is
 * removed for what it says. */
static int check_damage(struct store *store, struct error *err)
{
	char line[LINE_SIZE] = "";
	int r = sqlite3_exec(store->db, "PRAGMA quick_check(1)", read_line, line, NULL) & 0xff;

	if (r == SQLITE_CORRUPT || r == SQLITE_NOTADB)
		return say_damaged(store, sqlite3_errmsg(store->db), err);
	if (r != SQLITE_OK)
		return store_db_failed(store, err);
	return strcmp(line, "ok") == 0 ? 0 : say_damaged(store, line, err);
}

static int check_version(struct store *store, struct error *err)
{
	char line[LINE_SIZE] = "", tables[LINE_SIZE] = "";

	if (sqlite3_exec(store->db, "PRAGMA user_version", read_line, line, NULL) != SQLITE_OK ||
	    sqlite3_exec(store->db, "SELECT count(*) FROM sqlite_schema", read_line, tables,
			 NULL) != SQLITE_OK)
		return store_db_failed(store, err);
	if (strtol(line, NULL, 10) > SCHEMA_VERSION)
		return error_set(err, -EPROTONOSUPPORT,
				 "store %s was written by a newer protect-storage", store->path);
	/* An empty database, believed, would have all images removed. */
	if (strcmp(tables, "0") == 0 && !store_is_empty(store))
		return say_damaged(store, "it is empty, but there are images", err);
	return 0;
}

int store_db_open(struct store *store, struct error *err)
{
	char path[STORE_PATH_MAX];
	/* synchronous=FULL: a name that was reported must survive a crash. */
	static const char schema[] =
		"PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
		"BEGIN IMMEDIATE;"
		"CREATE TABLE IF NOT EXISTS images (manifest TEXT PRIMARY KEY, config TEXT NOT "
		"NULL,"
		" kernel INTEGER NOT NULL, size_bytes INTEGER NOT NULL, created_ms INTEGER NOT "
		"NULL) STRICT;"
		"CREATE TABLE IF NOT EXISTS names (name TEXT PRIMARY KEY, manifest TEXT NOT NULL"
		" REFERENCES images (manifest) ON DELETE CASCADE) STRICT;"
		"CREATE INDEX IF NOT EXISTS names_of ON names (manifest);"
		"PRAGMA user_version=1;"
		"COMMIT;";
	int r;

	if (snprintf(path, sizeof(path), "%s/store.db", store->path) >= (int)sizeof(path))
		return store_failed(store, -ENAMETOOLONG, "open its database", err);
	if (sqlite3_open_v2(path, &store->db,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX,
			    NULL) != SQLITE_OK)
		return store_db_failed(store, err);
	sqlite3_extended_result_codes(store->db, 1);
	sqlite3_busy_timeout(store->db, BUSY_TIMEOUT_MS);
	r = check_damage(store, err);
	if (r == 0)
		r = check_version(store, err);
	if (r < 0)
		return r;
	return sqlite3_exec(store->db, schema, NULL, NULL, NULL) == SQLITE_OK
		       ? 0
		       : store_db_failed(store, err);
}

/* Prepares sql and binds the texts a and b (NULL = not there) to ?1 and ?2. */
static sqlite3_stmt *prepare(struct store *store, const char *sql, const char *a, const char *b)
{
	sqlite3_stmt *statement = NULL;

	if (sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL) != SQLITE_OK)
		return NULL;
	if (a)
		sqlite3_bind_text(statement, 1, a, -1, SQLITE_TRANSIENT);
	if (b)
		sqlite3_bind_text(statement, 2, b, -1, SQLITE_TRANSIENT);
	return statement;
}

/* Runs a statement that yields no rows. */
static int run(struct store *store, const char *sql, const char *a, const char *b,
	       struct error *err)
{
	_cleanup_(finalizep) sqlite3_stmt *statement = prepare(store, sql, a, b);

	return statement && sqlite3_step(statement) == SQLITE_DONE ? 0
								   : store_db_failed(store, err);
}

/* Whether a query has a row. */
static int exists(struct store *store, const char *sql, const char *a)
{
	_cleanup_(finalizep) sqlite3_stmt *statement = prepare(store, sql, a, NULL);
	int r = statement ? sqlite3_step(statement) : SQLITE_ERROR;

	return r == SQLITE_ROW ? 1 : r == SQLITE_DONE ? 0 : -EIO;
}

int store_db_needs_blob(struct store *store, const char *hex)
{
	return exists(
		store,
		"SELECT 1 FROM images WHERE manifest = 'sha256:' || ?1 OR config = 'sha256:' || ?1",
		hex);
}

int store_db_needs_image(struct store *store, const char *hex, bool kernel)
{
	return exists(
		store,
		kernel ? "SELECT 1 FROM images WHERE manifest = 'sha256:' || ?1 AND kernel = 1"
		       : "SELECT 1 FROM images WHERE manifest = 'sha256:' || ?1 AND kernel = 0",
		hex);
}

/* Reads a row of COLUMNS and, in column 5, a name or NULL. */
static int read_row(struct store *store, sqlite3_stmt *row, struct store_image *image,
		    struct error *err)
{
	const char *manifest = (const char *)sqlite3_column_text(row, 0);
	const char *config = (const char *)sqlite3_column_text(row, 1);
	const char *name = (const char *)sqlite3_column_text(row, 5);

	if (!manifest || !config || digest_parse(manifest, &image->manifest) < 0 ||
	    digest_parse(config, &image->config) < 0)
		return error_set(err, -EIO, "store %s: the database holds a bad digest",
				 store->path);
	image->kernel = sqlite3_column_int(row, 2);
	image->size_bytes = (uint64_t)sqlite3_column_int64(row, 3);
	image->created_unix_ms = (uint64_t)sqlite3_column_int64(row, 4);
	snprintf(image->name, sizeof(image->name), "%s", name ? name : "");
	return 0;
}

/* The first row of a query. Returns 1, 0 if there is none, or a negative errno. *more tells of a
 * second row. */
static int query(struct store *store, const char *sql, const char *a, struct store_image *image,
		 bool *more, struct error *err)
{
	_cleanup_(finalizep) sqlite3_stmt *statement = prepare(store, sql, a, NULL);
	int r = statement ? sqlite3_step(statement) : SQLITE_ERROR;

	if (r == SQLITE_DONE)
		return 0;
	if (r != SQLITE_ROW)
		return store_db_failed(store, err);
	r = read_row(store, statement, image, err);
	if (more)
		*more = sqlite3_step(statement) == SQLITE_ROW;
	return r < 0 ? r : 1;
}

static int insert_image(struct store *store, const struct store_image *image, struct error *err)
{
	char manifest[DIGEST_TEXT_SIZE], config[DIGEST_TEXT_SIZE];
	_cleanup_(finalizep) sqlite3_stmt *statement = NULL;

	digest_text(&image->manifest, manifest);
	digest_text(&image->config, config);
	statement = prepare(store, "INSERT OR IGNORE INTO images VALUES (?1, ?2, ?3, ?4, ?5)",
			    manifest, config);
	if (!statement)
		return store_db_failed(store, err);
	sqlite3_bind_int(statement, 3, image->kernel);
	sqlite3_bind_int64(statement, 4, (sqlite3_int64)image->size_bytes);
	sqlite3_bind_int64(statement, 5, (sqlite3_int64)image->created_unix_ms);
	return sqlite3_step(statement) == SQLITE_DONE ? 0 : store_db_failed(store, err);
}

static int begin(struct store *store, struct error *err)
{
	return run(store, "BEGIN IMMEDIATE", NULL, NULL, err);
}

/* Ends what begin() started: keeps it if r is 0. Returns r, or why it could not be kept. */
static int end(struct store *store, int r, struct error *err)
{
	if (r == 0)
		r = run(store, "COMMIT", NULL, NULL, err);
	if (r < 0)
		sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
	return r;
}

int store_add(struct store *store, const struct store_image *image, struct error *err)
{
	_cleanup_(unlockp) pthread_mutex_t *lock = &store->db_lock;
	char manifest[DIGEST_TEXT_SIZE];
	int r;

	pthread_mutex_lock(lock);
	digest_text(&image->manifest, manifest);
	r = begin(store, err);
	if (r < 0)
		return r;
	r = insert_image(store, image, err);
	if (r == 0 && image->name[0])
		r = run(store, "INSERT OR REPLACE INTO names VALUES (?1, ?2)", image->name,
			manifest, err);
	return end(store, r, err);
}

void store_set_limit(struct store *store, uint64_t max_total_bytes)
{
	store->max_total_bytes = max_total_bytes;
}

/* How many bytes all images have. 0 or a negative errno. */
static int sum_sizes(struct store *store, uint64_t *sum, struct error *err)
{
	_cleanup_(finalizep) sqlite3_stmt *statement =
		prepare(store, "SELECT coalesce(sum(size_bytes), 0) FROM images", NULL, NULL);

	if (!statement || sqlite3_step(statement) != SQLITE_ROW)
		return store_db_failed(store, err);
	*sum = (uint64_t)sqlite3_column_int64(statement, 0);
	return 0;
}

int store_admit(struct store *store, const struct store_image *image, struct error *err)
{
	_cleanup_(unlockp) pthread_mutex_t *lock = &store->db_lock;
	uint64_t sum = 0;
	int r;

	pthread_mutex_lock(lock);
	if (!store->max_total_bytes)
		return 0;
	r = sum_sizes(store, &sum, err);
	if (r == 0 && !range_fits(sum, image->size_bytes, store->max_total_bytes))
		r = error_set(
			err, -EDQUOT,
			"the image needs %llu MiB and the store holds %llu of the %llu MiB "
			"that max-store-size allows; remove images ('protect image list' shows "
			"which nothing uses)",
			(unsigned long long)(image->size_bytes / MIB),
			(unsigned long long)(sum / MIB),
			(unsigned long long)(store->max_total_bytes / MIB));
	if (r < 0)
		store_sweep_image(store, image);
	return r;
}

int store_has(struct store *store, const struct digest *manifest, struct store_image *image,
	      struct error *err)
{
	_cleanup_(unlockp) pthread_mutex_t *lock = &store->db_lock;
	char text[DIGEST_TEXT_SIZE];

	pthread_mutex_lock(lock);
	digest_text(manifest, text);
	return query(store, "SELECT " COLUMNS ", NULL FROM images WHERE manifest = ?1", text, image,
		     NULL, err);
}

static bool is_hex(const char *text)
{
	size_t len = strlen(text);

	return len >= HEX_PREFIX_MIN && len < DIGEST_HEX_SIZE &&
	       strspn(text, "0123456789abcdef") == len;
}

/* By sha256:HEX or a prefix of HEX. 1, 0 or a negative errno. */
static int find_digest(struct store *store, const char *ref, struct store_image *image,
		       struct error *err)
{
	char pattern[DIGEST_TEXT_SIZE + 1];
	const char *hex = strncmp(ref, "sha256:", 7) == 0 ? ref + 7 : ref;
	bool more = false;
	int r;

	if (!is_hex(hex))
		return 0;
	snprintf(pattern, sizeof(pattern), "sha256:%s*", hex);
	r = query(store, "SELECT " COLUMNS ", NULL FROM images WHERE manifest GLOB ?1", pattern,
		  image, &more, err);
	if (r == 1 && more)
		return error_set(err, -EINVAL,
				 "several images start with '%s'; give more of the digest", ref);
	return r;
}

static int find_name(struct store *store, const char *name, struct store_image *image,
		     struct error *err)
{
	return query(store,
		     "SELECT " COLUMNS
		     ", name FROM names JOIN images USING (manifest) WHERE name = ?1",
		     name, image, NULL, err);
}

static int find(struct store *store, const char *ref, struct store_image *image, struct error *err)
{
	char local[REFERENCE_MAX];
	struct reference parsed;
	int r = 0;

	if (reference_local(ref, local, NULL) == 0)
		r = find_name(store, local, image, err);
	if (r == 0 && reference_parse(ref, &parsed, NULL) == 0)
		r = find_name(store, parsed.canonical, image, err);
	if (r == 0)
		r = find_digest(store, ref, image, err);
	if (r == 0)
		return error_set(
			err, -ENOENT,
			"image '%.200s' is not in the store; get it with 'protect image pull' or "
			"'protect image import'",
			ref);
	return r < 0 ? r : 0;
}

int store_find(struct store *store, const char *ref, struct store_image *image, struct error *err)
{
	_cleanup_(unlockp) pthread_mutex_t *lock = &store->db_lock;

	pthread_mutex_lock(lock);
	return find(store, ref, image, err);
}

int store_list(struct store *store, int (*fn)(void *context, const struct store_image *image),
	       void *context, struct error *err)
{
	_cleanup_(unlockp) pthread_mutex_t *lock = &store->db_lock;
	_cleanup_(finalizep) sqlite3_stmt *statement = NULL;
	int r = SQLITE_DONE, stop = 0;

	pthread_mutex_lock(lock);
	statement = prepare(store,
			    "SELECT " COLUMNS ", name FROM images LEFT JOIN names USING (manifest)"
			    " ORDER BY name IS NULL, name, manifest",
			    NULL, NULL);
	if (!statement)
		return store_db_failed(store, err);
	while (!stop && (r = sqlite3_step(statement)) == SQLITE_ROW) {
		struct store_image image;

		r = read_row(store, statement, &image, err);
		if (r < 0)
			return r;
		stop = fn(context, &image);
	}
	return stop < 0 ? stop : stop || r == SQLITE_DONE ? 0 : store_db_failed(store, err);
}

/* Removes the name (if the image was found by one), then the image unless another name is left.
 * *gone: it was removed. */
static int remove_found(struct store *store, const struct store_image *image, bool *gone,
			struct error *err)
{
	char manifest[DIGEST_TEXT_SIZE];
	int r = 0;

	digest_text(&image->manifest, manifest);
	if (image->name[0]) {
		r = run(store, "DELETE FROM names WHERE name = ?1", image->name, NULL, err);
		if (r == 0 && exists(store, "SELECT 1 FROM names WHERE manifest = ?1", manifest))
			return 0;
	}
	*gone = r == 0;
	return r < 0 ? r
		     : run(store, "DELETE FROM images WHERE manifest = ?1", manifest, NULL, err);
}

static bool is_used(const struct store_image *image, char *const *in_use, size_t n)
{
	char digest[DIGEST_TEXT_SIZE];

	digest_text(&image->manifest, digest);
	for (size_t i = 0; i < n; i++)
		if (strcmp(in_use[i], digest) == 0)
			return true;
	return false;
}

static int remove_claimed(struct store *store, const char *ref, char *const *in_use, size_t n,
			  struct error *err)
{
	_cleanup_(unlockp) pthread_mutex_t *lock = &store->db_lock;
	struct store_image image = {.kernel = false};
	bool gone = false;
	int r;

	pthread_mutex_lock(lock);
	r = begin(store, err);
	if (r < 0)
		return r;
	r = find(store, ref, &image, err);
	if (r == 0)
		r = remove_found(store, &image, &gone, err);
	if (r == 0 && gone && is_used(&image, in_use, n))
		r = error_set(err, -EBUSY,
			      "image '%.200s' is in use; destroy what runs from it first ('protect "
			      "workload list', 'protect zone list')",
			      ref);
	r = end(store, r, err);
	if (r == 0 && gone)
		store_sweep_image(store, &image);
	return r;
}

int store_remove(struct store *store, const char *ref, char *const *in_use, size_t n,
		 struct error *err)
{
	struct store_image image;
	int r = store_find(store, ref, &image, err);

	if (r < 0)
		return r;
	/* So that a pull of the same image cannot name files that are just going away. */
	store_claim(store, &image.manifest);
	r = remove_claimed(store, ref, in_use, n, err);
	store_release(store, &image.manifest);
	return r;
}
