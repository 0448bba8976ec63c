// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

#define RECORD_MAX 1024

static const char *const level_name[] = {"error", "warning", "info", "debug"};

static const char *const level_priority[] = {"<3>", "<4>", "<6>", "<7>"};

static bool to_journal; /* set before the first thread, then only read */

void log_open(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char ours[48];
	struct stat st;

	if (!stream || fstat(STDERR_FILENO, &st) < 0)
		return;
	snprintf(ours, sizeof(ours), "%lu:%lu", (unsigned long)st.st_dev, (unsigned long)st.st_ino);
	to_journal = strcmp(stream, ours) == 0;
}

/* #syscalls log: write */
void log_write(enum log_level level, const char *format, ...)
{
	char line[RECORD_MAX];
	va_list args;
	int head, body;
	size_t len;

	if (level == LOG_LEVEL_DEBUG && !getenv("PROTECT_DEBUG"))
		return;
	head = snprintf(line, sizeof(line), "%s%s ", to_journal ? level_priority[level] : "",
			level_name[level]);
	va_start(args, format);
	body = vsnprintf(line + head, sizeof(line) - (size_t)head - 1, format, args);
	va_end(args);
	if (body < 0)
		return;
	len = (size_t)head + (size_t)body;
	if (len > sizeof(line) - 2)
		len = sizeof(line) - 2;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			line[i] = '?';
	line[len++] = '\n';
	if (write(STDERR_FILENO, line, len) < 0)
		return; /* nowhere left to say so */
}

bool log_allowed(struct log_limit *limit, uint32_t burst, uint32_t *suppressed)
{
	uint64_t now = clock_now_ns(), elapsed_s;

	if (limit->last_ns == 0)
		limit->last_ns = now;
	elapsed_s = (now - limit->last_ns) / NS_PER_S;
	if (elapsed_s) {
		limit->used = elapsed_s >= limit->used ? 0 : limit->used - (uint32_t)elapsed_s;
		limit->last_ns += elapsed_s * NS_PER_S;
	}
	if (limit->used >= burst) {
		limit->suppressed++;
		return false;
	}
	limit->used++;
	if (suppressed)
		*suppressed = limit->suppressed;
	limit->suppressed = 0;
	return true;
}
