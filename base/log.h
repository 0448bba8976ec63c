// SPDX-License-Identifier: Apache-2.0
/*
 * Logging: one line a record to stderr, `<level> key=value …`, written with a single write(2) so
 * that lines of several threads never mix. What comes from outside cannot forge lines or move a
 * terminal: control bytes are replaced. Safe from any thread. A struct log_limit bounds how often
 * one place may speak.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/*
 * Writes one record. Format and arguments make the `key=value` part; control bytes in it are
 * replaced by '?'. Records longer than 1 KiB are cut. Debug records appear only if PROTECT_DEBUG is
 * set in the environment.
 */
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)	 log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)	 log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)	 log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

/*
 * To be called first in main() of a service, if at all. Where stderr is systemd's journal
 * (JOURNAL_STREAM, systemd.exec(5)) each record begins with its priority, as <3> (sd-daemon(3)).
 */
void log_open(void);

/* A token bucket: `burst` records at once, then one a second. Owned by one thread; zero-initialise.
 */
struct log_limit {
	uint64_t last_ns;
	uint32_t used;
	uint32_t suppressed;
};

/* Whether a record may be written now. When true, *suppressed (may be NULL) tells how many were
 * held back since. */
bool log_allowed(struct log_limit *limit, uint32_t burst, uint32_t *suppressed);
