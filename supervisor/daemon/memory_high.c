// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/memory_high.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/util.h"
#include "supervisor/daemon/zone.h"

#define CGROUP_MOUNT "/sys/fs/cgroup"
#define LOOK_NS	     (5 * NS_PER_S)
#define FILE_MAX     16384

static int open_group(const struct zone *zone)
{
	char path[sizeof(CGROUP_MOUNT) + CGROUP_SIZE];

	if (!*zone->row.cgroup)
		return -1;
	snprintf(path, sizeof(path), "%s/%s", CGROUP_MOUNT, zone->row.cgroup);
	return open(path, O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

/* The number behind `key` at the start of a line; 0 where there is none. */
static uint64_t field(int group, const char *file, const char *key)
{
	_cleanup_(freep) char *text = NULL;
	size_t len, key_len = strlen(key);
	char *save = NULL;

	if (io_read_file(group, file, FILE_MAX, &text, &len) < 0)
		return 0;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (strncmp(line, key, key_len) == 0 && line[key_len] == ' ')
			return strtoull(line + key_len + 1, NULL, 10);
	return 0;
}

/* What cannot be taken back: all but the page cache. */
static uint64_t held_bytes(int group)
{
	_cleanup_(freep) char *text = NULL;
	uint64_t cache, current;
	size_t len;

	if (io_read_file(group, "memory.current", FILE_MAX, &text, &len) < 0)
		return 0;
	current = strtoull(text, NULL, 10);
	cache = field(group, "memory.stat", "inactive_file") +
		field(group, "memory.stat", "active_file");
	return current > cache ? current - cache : 0;
}

static void tell(const struct zone *zone, uint64_t held)
{
	_cleanup_(close_fdp) int log = -1;
	char path[256], line[160];
	int n = snprintf(line, sizeof(line),
			 "warning memory_mib=%llu high_mib=%llu max_mib=%llu the zone's memory is "
			 "higher than it should be\n",
			 (unsigned long long)(held / MIB),
			 (unsigned long long)(limits_of(&zone->row).memory_high_bytes / MIB),
			 (unsigned long long)(limits_of(&zone->row).memory_bytes / MIB));

	log_warning("zone=%s name=%s %.*s", zone->row.uuid, zone->row.name,
		    n - (int)sizeof("warning \n") + 1, line + sizeof("warning ") - 1);
	if (zone_path(zone, "log", path, sizeof(path)) == 0)
		log = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
	if (log >= 0)
		io_write_full(log, line, (size_t)n);
}

static void look_at(struct zone *zone)
{
	_cleanup_(close_fdp) int group = open_group(zone);
	uint64_t events, held;

	if (group < 0)
		return;
	events = field(group, "memory.events", "high");
	if (events == zone->high_events)
		return;
	zone->high_events = events;
	held = held_bytes(group);
	/* Halfway between what it should have at most and the mark. */
	if (held >= zone->row.memory_mib * MIB / 2 + limits_of(&zone->row).memory_high_bytes / 2)
		tell(zone, held);
}

void memory_high_look(void *user)
{
	struct daemon *d = user;

	for (struct zone *z = d->zones; z; z = z->next)
		if (z->phase == ZONE_PHASE_READY || z->phase == ZONE_PHASE_BOOT)
			look_at(z);
	timer_set(&d->hub, &d->high_look, clock_now_ns() + LOOK_NS, memory_high_look, d);
}
