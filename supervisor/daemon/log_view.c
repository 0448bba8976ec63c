// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/log_view.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static unsigned index_of(unsigned tag)
{
	return tag >= 1 && tag <= LOG_VIEW_TAGS ? tag - 1 : 0;
}

static size_t count_lines(const uint8_t *data, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += data[i] == '\n';
	return n;
}

/* How many bytes of data hold so many ends of lines. */
static size_t behind_lines(const uint8_t *data, size_t len, uint64_t lines)
{
	size_t i = 0;

	for (; i < len && lines; i++)
		lines -= data[i] == '\n';
	return i;
}

static struct ring_cursor find_since(const struct ring *ring, uint64_t since_ms)
{
	struct ring_cursor at = {0};
	const void *data;
	unsigned tag;
	size_t len;

	while (ring_peek(ring, &at, &tag, &data, &len) && ring_time_ms(ring, &at) < since_ms)
		ring_skip(ring, &at);
	return at;
}

/* Lines from the cursor on; bytes of an output behind its last end of a line are one more. */
static uint64_t lines_from(const struct ring *ring, struct ring_cursor at)
{
	const void *data;
	uint64_t lines = 0;
	bool open[LOG_VIEW_TAGS] = {false};
	unsigned tag;
	size_t len;

	while (ring_peek(ring, &at, &tag, &data, &len)) {
		lines += count_lines(data, len);
		open[index_of(tag)] = ((const uint8_t *)data)[len - 1] != '\n';
		ring_advance(ring, &at, len);
	}
	return lines + open[0] + open[1];
}

struct ring_cursor log_view_start(const struct ring *ring, uint64_t since_ms, bool has_tail,
				  uint32_t wanted)
{
	struct ring_cursor at = find_since(ring, since_ms);
	uint64_t lines = has_tail ? lines_from(ring, at) : 0, skip;
	const void *data;
	unsigned tag;
	size_t len;

	if (lines <= wanted)
		return at;
	if (has_tail && !wanted)
		return (struct ring_cursor){.record = ring_end(ring)};
	for (skip = lines - wanted; skip && ring_peek(ring, &at, &tag, &data, &len);) {
		size_t n = behind_lines(data, len, skip);

		skip -= count_lines(data, n);
		ring_advance(ring, &at, n);
	}
	return at;
}

static void format_time(uint64_t ms, char text[static LOG_VIEW_PREFIX])
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm;
	size_t n = gmtime_r(&seconds, &tm)
			   ? strftime(text, LOG_VIEW_PREFIX, "%Y-%m-%dT%H:%M:%S", &tm)
			   : 0;

	snprintf(text + n, LOG_VIEW_PREFIX - n, ".%03uZ ", (unsigned)(ms % 1000));
}

void log_view_next(const struct log_view *view, unsigned tag, uint64_t time_ms, const void *data,
		   size_t len, char prefix[static LOG_VIEW_PREFIX], size_t *n)
{
	const uint8_t *end = view->timestamps ? memchr(data, '\n', len) : NULL;

	prefix[0] = '\0';
	*n = end ? (size_t)(end - (const uint8_t *)data) + 1 : len;
	if (view->timestamps && !view->in_line[index_of(tag)])
		format_time(time_ms, prefix);
}

void log_view_shown(struct log_view *view, unsigned tag, const void *data, size_t n)
{
	if (n)
		view->in_line[index_of(tag)] = ((const uint8_t *)data)[n - 1] != '\n';
}
