// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/zone.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/util.h"
#include "supervisor/daemon/hold.h"
#include "supervisor/daemon/keep.h"
#include "supervisor/daemon/workload.h"

#define RUNNER_LOG_BYTES  (1 << 20)
#define RUNNER_EXIT_BYTES (64 << 10) /* its line is much shorter */
#define HUGE_BYTES	  (2 << 20)
#define TRIM_NS		  (30 * NS_PER_S)

struct zone *zone_new(struct daemon *d, const struct zone_row *row)
{
	struct zone *zone = calloc(1, sizeof(*zone));
	struct zone **place = &d->zones;

	if (!zone)
		return NULL;
	zone->log = ring_new(RING_BYTES);
	if (!zone->log) {
		free(zone);
		return NULL;
	}
	zone->daemon = d;
	zone->row = *row;
	zone->pidfd = zone->console_fd = -1;
	memset(zone->kernel_fds, 0xff, sizeof(zone->kernel_fds));
	if (volume_list_init(&zone->volumes, zone, zone->row.uuid, &zone->row.volumes) < 0) {
		ring_free(zone->log);
		free(zone);
		return NULL;
	}
	limits_show(zone);
	/* Its links are shown when they are known; it may be asked for before. */
	protect__control__network__init(&zone->network_shown.network);
	while (*place)
		place = &(*place)->next;
	*place = zone;
	d->n_zones++;
	return zone;
}

static struct zone *look_up(struct daemon *d, const char *ref)
{
	struct uuid uuid;
	bool is_uuid = uuid_parse(ref, &uuid) == 0;
	char text[UUID_TEXT_SIZE];

	if (is_uuid)
		uuid_format(&uuid, text);
	for (struct zone *z = d->zones; z; z = z->next)
		if (strcmp(is_uuid ? z->row.uuid : z->row.name, is_uuid ? text : ref) == 0)
			return z;
	return NULL;
}

struct zone *zone_find(struct daemon *d, const char *ref, struct error *err)
{
	struct zone *zone = look_up(d, ref);

	if (!zone)
		error_set(err, -ENOENT, "no zone '%s'; 'protect zone list' shows them", ref);
	return zone;
}

static void say_not_ready(const struct zone *zone, struct error *err)
{
	if (zone->row.state == PROTECT__CONTROL__ZONE_STATE_KIND__ZONE_EXITED ||
	    zone->row.state == PROTECT__CONTROL__ZONE_STATE_KIND__ZONE_FAILED)
		error_set(err, -ESHUTDOWN,
			  "zone '%s' has ended (%s); destroy it and launch another", zone->row.name,
			  zone->row.reason);
	else if (zone->row.state == PROTECT__CONTROL__ZONE_STATE_KIND__ZONE_DESTROYING)
		error_set(err, -ESHUTDOWN, "zone '%s' is being destroyed", zone->row.name);
	else if (zone->row.state == PROTECT__CONTROL__ZONE_STATE_KIND__ZONE_READY)
		error_set(err, -EAGAIN, "the agent of zone '%s' does not answer; try again",
			  zone->row.name);
	else
		error_set(err, -EAGAIN,
			  "zone '%s' is not ready yet; try again, or launch it with --wait",
			  zone->row.name);
}

struct zone *zone_find_running(struct daemon *d, const char *ref, struct error *err)
{
	struct zone *zone = zone_find(d, ref, err);

	if (!zone || (zone->phase == ZONE_PHASE_READY && zone->control))
		return zone;
	say_not_ready(zone, err);
	return NULL;
}

int zone_check_paused(const struct zone *zone, struct error *err)
{
	return zone->paused ? error_set(err, -EAGAIN,
					"zone '%s' is paused; 'protect zone resume %s' lets it go "
					"on",
					zone->row.name, zone->row.name)
			    : 0;
}

struct zone *zone_find_ready(struct daemon *d, const char *ref, struct error *err)
{
	struct zone *zone = zone_find_running(d, ref, err);

	if (!zone || zone_check_paused(zone, err) < 0)
		return NULL;
	if (zone_session(zone))
		return zone;
	say_not_ready(zone, err);
	return NULL;
}

void zone_set_state(struct zone *zone, Protect__Control__ZoneStateKind state)
{
	zone->row.state = state;
	state_put_zone(zone->daemon->state, &zone->row);
}

void zone_message(const struct zone *zone, Protect__Control__Zone *out)
{
	const struct zone_row *row = &zone->row;

	protect__control__zone__init(out);
	out->uuid = (char *)(uintptr_t)row->uuid;
	out->name = (char *)(uintptr_t)row->name;
	out->state = row->state;
	out->reason = (char *)(uintptr_t)row->reason;
	out->kernel = (char *)(uintptr_t)row->kernel;
	out->kernel_release = (char *)(uintptr_t)row->kernel_release;
	out->cpu = (Protect__Control__CpuLimits *)(uintptr_t)&zone->shown.cpu;
	out->io = (Protect__Control__IoLimits *)(uintptr_t)&zone->shown.io;
	out->network = (Protect__Control__Network *)(uintptr_t)&zone->network_shown.network;
	out->max_memory_mib = row->memory_mib;
	out->target_memory_mib = row->target_memory_mib;
	out->max_cpus = row->vcpus;
	out->target_cpus = row->target_vcpus;
	out->paused = zone->paused;
	out->created_unix_ms = row->created_unix_ms;
	out->create_ms = row->create_ms;
	out->ready_ms = row->ready_ms;
	out->pid = zone->phase == ZONE_PHASE_ENDED ? 0 : (uint32_t)zone->row.pid;
	out->workloads = workloads_in_zone(zone);
	out->policy = row->policy;
	out->min_memory_mib = row->min_memory_mib;
	out->volumes = (Protect__Control__VolumeMount **)(uintptr_t)zone->volumes.messages;
	out->n_volumes = zone->volumes.n;
}

int zone_path(const struct zone *zone, const char *file, char *out, size_t size)
{
	int n = snprintf(out, size, "%s/zones/%s%s%s", zone->daemon->options.run_dir,
			 zone->row.uuid, *file ? "/" : "", file);

	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

int zone_slot_take(struct daemon *d, uint32_t *slot, struct error *err)
{
	for (uint32_t i = 0; i < d->options.uid_count; i++)
		if (!d->slots[i]) {
			d->slots[i] = 1;
			*slot = i;
			return 0;
		}
	return error_set(err, -ENOSPC, "all %u user ids of zones are in use; destroy a zone",
			 d->options.uid_count);
}

void zone_slot_release(struct daemon *d, uint32_t slot)
{
	if (slot < d->options.uid_count)
		d->slots[slot] = 0;
}

/*
 * By paths, not by a descriptor of the folder: a daemon that has none left must not leave it
 * behind.
 *
 * #syscalls daemon: unlink rmdir
 */
static void remove_folder(const struct zone *zone)
{
	static const char *const files[] = {"runner.sock", "exit", "log"};
	char path[256];

	for (unsigned i = 0; i < ARRAY_SIZE(files); i++)
		if (zone_path(zone, files[i], path, sizeof(path)) == 0)
			unlink(path);
	if (zone_path(zone, "", path, sizeof(path)) == 0 && rmdir(path) < 0 && errno != ENOENT)
		log_warning("zone=%s path=%s err=\"%s\"", zone->row.uuid, path, strerror(errno));
}

/* #syscalls daemon: openat newfstatat(_, _, _, AT_EMPTY_PATH) getdents64 lseek close */
bool zones_any_folder(const struct daemon *d)
{
	struct dirent *entry;
	bool found = false;
	char path[256];
	DIR *dir;

	snprintf(path, sizeof(path), "%s/zones", d->options.run_dir);
	dir = opendir(path);
	while (dir && !found && (entry = readdir(dir)))
		found = entry->d_name[0] != '.';
	if (dir)
		closedir(dir);
	return found;
}

/* What a file takes; a runner that was taken over may have taken room behind its end as well. A
 * huge page is no fault of its. */
static uint64_t room_of(int fd)
{
	struct stat st;
	uint64_t blocks;

	if (fstat(fd, &st) < 0)
		return 0;
	blocks = (uint64_t)st.st_blocks * 512;
	return MAX((uint64_t)st.st_size, blocks > HUGE_BYTES ? blocks : 0);
}

/* #syscalls daemon: openat newfstatat(_, _, _, AT_EMPTY_PATH) lseek ftruncate close */
static void trim(const struct zone *zone, const char *name, uint64_t max_bytes)
{
	_cleanup_(close_fdp) int fd = -1;
	char path[256];
	uint64_t bytes;

	if (zone_path(zone, name, path, sizeof(path)) == 0)
		fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	bytes = fd < 0 ? 0 : room_of(fd);
	/* The runner appends: it goes on at the new end. */
	if (bytes > max_bytes && ftruncate(fd, 0) == 0)
		log_warning("zone=%s bytes=%llu runner's %s emptied", zone->row.uuid,
			    (unsigned long long)bytes, name);
}

void zones_trim_logs(void *user)
{
	struct daemon *d = user;

	for (const struct zone *z = d->zones; z; z = z->next)
		if (z->phase != ZONE_PHASE_ENDED) {
			trim(z, "log", RUNNER_LOG_BYTES);
			trim(z, "exit", RUNNER_EXIT_BYTES);
		}
	timer_set(&d->hub, &d->trim, clock_now_ns() + TRIM_NS, zones_trim_logs, d);
}

void zone_try_free(struct zone *zone)
{
	if (!zone->removed || zone->agent)
		return;
	followers_drop(&zone->followers);
	hold_drop(zone);
	volume_list_free(&zone->volumes);
	timer_stop(&zone->timer);
	timer_stop(&zone->reconnect);
	free(zone->gone.tickets);
	free(zone->row.guest_json);
	ring_free(zone->log);
	free(zone);
}

void zone_remove(struct zone *zone)
{
	struct daemon *d = zone->daemon;

	for (struct zone **place = &d->zones; *place; place = &(*place)->next)
		if (*place == zone) {
			*place = zone->next;
			d->n_zones--;
			break;
		}
	workloads_remove_in_zone(zone);
	remove_folder(zone);
	keep_remove(d, zone->row.uuid);
	state_delete_zone(d->state, zone->row.uuid);
	log_info("zone=%s name=%s removed", zone->row.uuid, zone->row.name);
	zone->removed = true;
	for (unsigned i = 0; i < zone->gone.n; i++)
		server_reply_empty(d, zone->gone.tickets[i]);
	zone->gone.n = 0;
	zone_try_free(zone);
}

void zones_free(struct daemon *d)
{
	while (d->zones) {
		struct zone *zone = d->zones;

		d->zones = zone->next;
		zone->storage = storage_cancel(zone->storage);
		zone->launch = launch_cancel(zone->launch);
		network_forget(&d->network->client, zone);
		zone_launch_close(zone);
		zone_disconnect(zone);
		volume_list_free(&zone->volumes);
		zone->death = watch_free(zone->death);
		close_fdp(&zone->pidfd);
		zone->removed = true;
		zone_try_free(zone);
	}
}
