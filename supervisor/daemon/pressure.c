// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/pressure.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"

#define TEXT_MAX 512u

/* The number behind a word; NULL without either. The kernel writes a point whatever the locale, and
 * ours is "C". */
static const char *find_number(const char *text, const char *word)
{
	const char *found = text ? strstr(text, word) : NULL;

	if (!found)
		return NULL;
	found += strlen(word);
	return isdigit((unsigned char)*found) ? found : NULL;
}

int pressure_parse(const char *text, double *percent, uint64_t *stalled_us)
{
	const char *average = find_number(text, "some avg10=");
	const char *total = find_number(average, " total=");
	double value;

	if (!average || !total)
		return -EBADMSG;
	value = strtod(average, NULL);
	if (!(value >= 0.0 && value <= 100.0))
		return -EBADMSG;
	*percent = value;
	*stalled_us = strtoull(total, NULL, 10);
	return 0;
}

void pressure_step(struct pressure *pressure, bool known, double percent, uint64_t now_ns)
{
	pressure->known = known;
	pressure->percent = known ? percent : 0.0;
	if (pressure->percent >= PRESSURE_HIGH_PERCENT)
		pressure->is_short = true;
	if (pressure->percent >= PRESSURE_LOW_PERCENT) {
		pressure->low_since_ns = 0;
		return;
	}
	pressure->is_short = false;
	if (!pressure->low_since_ns)
		pressure->low_since_ns = now_ns;
}

void pressure_poll(struct pressure *pressure, const char *path, uint64_t now_ns)
{
	_cleanup_(close_fdp) int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[TEXT_MAX];
	ssize_t n = fd < 0 ? -errno : io_pread_full(fd, text, sizeof(text) - 1, 0);
	double percent = 0.0;
	bool known;

	text[n > 0 ? n : 0] = '\0';
	known = n > 0 && pressure_parse(text, &percent, &pressure->stalled_us) == 0;
	pressure_step(pressure, known, percent, now_ns);
}

bool pressure_is_over(const struct pressure *pressure, uint64_t now_ns)
{
	return pressure->low_since_ns && now_ns - pressure->low_since_ns >= PRESSURE_CALM_NS;
}
