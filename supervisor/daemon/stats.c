// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/stats.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "supervisor/daemon/policy_driver.h"

#define SAME_WORDS_MS 100u /* older than the last answer by this: said before it */

struct zone_stats {
	struct runner_client *client; /* NULL: not connected */
	bool asked;
	struct zone_figures figures;
};

static bool has_device(const struct zone_figures *figures, bool is_nic, const char *name)
{
	for (unsigned i = 0; i < figures->n_devices; i++)
		if (figures->devices[i].is_nic == is_nic &&
		    strcmp(figures->devices[i].name, name) == 0)
			return true;
	return false;
}

/* Printable ASCII: a name goes into others' texts. */
static void copy_name(char out[static FIGURES_NAME_SIZE], const char *name)
{
	size_t n = 0;

	for (; name[n] && n + 1 < FIGURES_NAME_SIZE; n++)
		out[n] = name[n] >= ' ' && name[n] <= '~' ? name[n] : '?';
	out[n] = '\0';
}

static void copy_devices(struct zone_figures *out, bool is_nic, size_t n,
			 Protect__Runner__DeviceStats *const *devices)
{
	for (size_t i = 0; i < n && out->n_devices < FIGURES_DEVICES_MAX; i++) {
		struct device_figures *to = &out->devices[out->n_devices];

		copy_name(to->name, devices[i]->name);
		if (has_device(out, is_nic, to->name))
			continue;
		to->is_nic = is_nic;
		to->read_ops = devices[i]->read_ops;
		to->read_bytes = devices[i]->read_bytes;
		to->write_ops = devices[i]->write_ops;
		to->write_bytes = devices[i]->write_bytes;
		to->errors = devices[i]->errors;
		out->n_devices++;
	}
}

static void copy(struct zone_figures *out, const Protect__Runner__StatsReply *reply,
		 uint64_t now_ns)
{
	*out = (struct zone_figures){
		.taken_ns = now_ns,
		.exits = reply->exits,
		.plugged_bytes = reply->plugged_memory_bytes,
		.balloon_bytes = reply->balloon_bytes,
		.reported_bytes = reply->reported_bytes,
		.guest_age_ms = reply->guest_age_ms,
		.guest_total_bytes = reply->guest_total_bytes,
		.guest_free_bytes = reply->guest_free_bytes,
		.guest_available_bytes = reply->guest_available_bytes,
		.guest_cache_bytes = reply->guest_cache_bytes,
		.guest_major_faults = reply->guest_major_faults,
		.vsock_rx_bytes = reply->vsock_rx_bytes,
		.vsock_tx_bytes = reply->vsock_tx_bytes,
		.console_bytes = reply->console_bytes,
		.broken_devices = reply->broken_devices,
	};
	copy_devices(out, false, reply->n_disks, reply->disks);
	copy_devices(out, true, reply->n_nics, reply->nics);
}

static uint64_t have_bytes(const struct zone_figures *figures)
{
	return figures->balloon_bytes < figures->plugged_bytes
		       ? figures->plugged_bytes - figures->balloon_bytes
		       : 0;
}

/* The guest is asked again by each question: its words are either those of before, or came between
 * the last answer and this one, mostly soon after the last. */
static void date_words(struct zone_figures *figures, const struct zone_figures *before)
{
	uint64_t passed_ms = (figures->taken_ns - before->taken_ns) / NS_PER_MS;

	if (!before->taken_ns)
		return;
	figures->has_words = before->has_words;
	figures->words_have_bytes = before->words_have_bytes;
	if (!figures->guest_age_ms || figures->guest_age_ms >= passed_ms + SAME_WORDS_MS)
		return;
	figures->has_words = true;
	figures->words_have_bytes =
		have_bytes(figures->guest_age_ms > passed_ms / 2 ? before : figures);
}

void stats_update(struct zone_figures *figures, const Protect__Runner__StatsReply *reply,
		  uint64_t now_ns)
{
	const struct zone_figures before = *figures;

	copy(figures, reply, now_ns);
	date_words(figures, &before);
}

static void answered(void *user, int error, const char *text, const Protect__Runner__Reply *reply)
{
	struct zone *zone = user;
	struct zone_stats *stats = zone->stats;

	(void)text;
	stats->asked = false;
	/* A runner of before this request says that it does not know it. */
	if (error || !reply->stats)
		return;
	stats_update(&stats->figures, reply->stats, clock_now_ns());
	policy_sampled(zone);
}

/* Why, the zone's other connections find out; the next question tries again. */
static void gone(void *user, int error)
{
	struct zone *zone = user;

	(void)error;
	zone->stats->client = runner_close(zone->stats->client);
	zone->stats->asked = false;
}

static int connect_runner(struct zone *zone)
{
	char path[256];
	int r = zone_path(zone, "runner.sock", path, sizeof(path));

	return r < 0 ? r : runner_open(&zone->daemon->hub, path, gone, zone, &zone->stats->client);
}

void stats_ask(struct zone *zone)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__Stats body = PROTECT__RUNNER__STATS__INIT;

	if (!zone->stats)
		zone->stats = calloc(1, sizeof(*zone->stats));
	if (!zone->stats || zone->stats->asked)
		return;
	if (!zone->stats->client && connect_runner(zone) < 0)
		return;
	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_STATS;
	request.stats = &body;
	zone->stats->asked = runner_request(zone->stats->client, &request, -1, answered, zone) == 0;
}

const struct zone_figures *stats_figures(const struct zone *zone)
{
	return zone->stats && zone->stats->figures.taken_ns ? &zone->stats->figures : NULL;
}

struct policy_sample stats_sample(const struct zone_figures *figures, uint64_t now_ns)
{
	uint64_t since_ms = (now_ns - figures->taken_ns) / NS_PER_MS, age_ms;

	if (!figures->has_words || !figures->guest_age_ms ||
	    !checked_add(figures->guest_age_ms, since_ms, &age_ms))
		age_ms = 0;
	return (struct policy_sample){.age_ms = age_ms,
				      .have_mib = figures->words_have_bytes / MIB,
				      .available_mib = figures->guest_available_bytes / MIB,
				      .free_mib = figures->guest_free_bytes / MIB};
}

void stats_close(struct zone *zone)
{
	if (!zone->stats)
		return;
	zone->stats->client = runner_close(zone->stats->client);
	free(zone->stats);
	zone->stats = NULL;
}
