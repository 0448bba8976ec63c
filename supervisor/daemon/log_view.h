// SPDX-License-Identifier: Apache-2.0
/*
 * What of a log a reader wants to see, and how: only what came since some time, only the last
 * lines, each line with its time in front. Pure, but for the ring it reads. A line's time is that
 * of its first byte; lines of the two outputs are told apart.
 */
#pragma once

#include "supervisor/daemon/ring.h"

#define LOG_VIEW_TAGS	2u  /* FOLLOW_TAG_OUT and FOLLOW_TAG_ERR, from 1 on */
#define LOG_VIEW_PREFIX 32u /* "2026-11-27T19:20:21.123Z " and its NUL */

struct log_view {
	bool timestamps;
	bool in_line[LOG_VIEW_TAGS]; /* something of it was shown, but not its end */
};

/* Where a reader begins: at the first record since (0 = the oldest), and of what there is from
 * there with the last lines only, if has_tail. */
struct ring_cursor log_view_start(const struct ring *ring, uint64_t since_ms, bool has_tail,
				  uint32_t lines);

/*
 * The next piece to show of data, which came at time_ms: *n of its bytes with prefix before them
 * ("" = nothing). What was shown is told with log_view_shown().
 */
void log_view_next(const struct log_view *view, unsigned tag, uint64_t time_ms, const void *data,
		   size_t len, char prefix[static LOG_VIEW_PREFIX], size_t *n);
void log_view_shown(struct log_view *view, unsigned tag, const void *data, size_t n);
