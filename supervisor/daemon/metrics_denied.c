// SPDX-License-Identifier: Apache-2.0
/* Calls that services' filters denied, for /metrics: from the files that they leave
 * (base/denied.h).
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/denied.h"
#include "base/io.h"
#include "supervisor/daemon/metrics.h"
#include "supervisor/daemon/metrics_text.h"
#include "supervisor/daemon/network.h"

#define CALLS_MAX 1024u /* more numbers than x86-64 has calls */

static const char family[] = "protect_service_denied_calls_total";

/* The services' folders are theirs: what lies there may be anything. */
static bool read_record(const char *socket, char **text)
{
	char path[256];
	_cleanup_(close_fdp) int fd = -1;
	size_t len;

	denied_path(socket, path, sizeof(path));
	fd = open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	return fd >= 0 && io_read_fd(fd, DENIED_BYTES_MAX, text, &len) == 0;
}

static void write_service(FILE *out, const char *service, const char *socket)
{
	_cleanup_(freep) char *text = NULL;
	unsigned counts[CALLS_MAX] = {0};
	char *save = NULL, call[12];

	if (!read_record(socket, &text))
		return;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		unsigned long number = strtoul(line, NULL, 10);

		if (line[0] >= '0' && line[0] <= '9' && number < CALLS_MAX)
			counts[number]++;
	}
	for (unsigned i = 0; i < CALLS_MAX; i++) {
		const struct metrics_label labels[] = {{"service", service}, {"call", call}};

		snprintf(call, sizeof(call), "%u", i);
		if (counts[i])
			metrics_sample(out, family, labels, 2, counts[i]);
	}
}

void metrics_write_denied(FILE *out, const struct daemon *d)
{
	metrics_family(out, family, METRICS_COUNTER,
		       "Calls that ended a service because its filter denies them.");
	write_service(out, "daemon", d->options.socket);
	write_service(out, "storage", d->options.storage_socket);
	write_service(out, "launch", d->options.launch_socket);
	if (network_has_service(d->network))
		write_service(out, "network", d->options.network_socket);
}
