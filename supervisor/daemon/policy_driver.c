// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/policy_driver.h"

#include <errno.h>

#include "base/log.h"
#include "base/util.h"
#include "supervisor/daemon/stats.h"

#define TICK_NS	    NS_PER_S
#define READERS_NS  (120 * NS_PER_S) /* so long after a reader figures are kept fresh */
#define FRESH_NS    (4 * NS_PER_S)   /* what readers get is hardly older */
#define CHANGES_MAX 4u		     /* zones that give in one tick */
#define LOG_BURST   10u

static bool is_dynamic(const struct zone *zone)
{
	return zone->row.policy == PROTECT__CONTROL__RESOURCE_POLICY__POLICY_DYNAMIC;
}

static bool is_running(const struct zone *zone)
{
	return zone->phase == ZONE_PHASE_READY && zone->control && !zone->paused;
}

/* What somebody asks for goes first: told in between, a runner would be left with one target and
 * the row with another. */
static bool may_tell(const struct zone *zone)
{
	return is_running(zone) && !zone->ops;
}

static struct policy_bounds bounds_of(const struct zone_row *row)
{
	uint64_t min_mib = row->min_memory_mib > POLICY_ZONE_MIB_MIN ? row->min_memory_mib
								     : POLICY_ZONE_MIB_MIN;

	/* A zone may be smaller than what zones need: it then has one size. */
	return (struct policy_bounds){min_mib < row->memory_mib ? min_mib : row->memory_mib,
				      row->memory_mib};
}

int policy_check(const struct zone_row *row, uint32_t policy, uint64_t min_mib, struct error *err)
{
	if (policy > PROTECT__CONTROL__RESOURCE_POLICY__POLICY_DYNAMIC)
		return error_set(err, -EINVAL, "there is no policy %u for resources", policy);
	if (min_mib && min_mib < POLICY_ZONE_MIB_MIN)
		return error_set(err, -EINVAL,
				 "a zone needs at least %u MiB, not a minimum of %llu",
				 POLICY_ZONE_MIB_MIN, (unsigned long long)min_mib);
	if (min_mib > row->target_memory_mib)
		return error_set(err, -EINVAL,
				 "the minimum of %llu MiB is above the zone's target of %llu MiB",
				 (unsigned long long)min_mib,
				 (unsigned long long)row->target_memory_mib);
	return 0;
}

uint64_t policy_boot_memory_mib(const struct zone_row *row)
{
	return row->policy == PROTECT__CONTROL__RESOURCE_POLICY__POLICY_DYNAMIC
		       ? policy_boot_mib(row->target_memory_mib, row->memory_mib)
		       : row->target_memory_mib;
}

bool policy_takes_target(const struct zone *zone)
{
	return !zone->row.squeezed && !(is_dynamic(zone) && zone->phase == ZONE_PHASE_BOOT);
}

uint64_t policy_told_mib(const struct zone *zone)
{
	return zone->told_mib ? zone->told_mib : zone->row.target_memory_mib;
}

void policy_renew(struct zone *zone)
{
	zone->policy = (struct policy_memory){0};
	zone->told_mib = 0;
	zone->row.squeezed = false;
}

static void told(void *user, int error, const char *text, const Protect__Runner__Reply *reply)
{
	struct zone *zone = user;

	(void)reply;
	if (!error && zone->row.squeezed && zone->told_mib == zone->row.target_memory_mib) {
		zone->row.squeezed = false;
		state_put_zone(zone->daemon->state, &zone->row);
	}
	if (!error)
		return;
	zone->told_mib = 0; /* whatever it is: the next figures tell */
	if (log_allowed(&zone->daemon->policy_limit, LOG_BURST, NULL))
		log_warning("zone=%s err=\"%s\" memory not adjusted", zone->row.uuid, text);
}

static int tell(struct zone *zone, uint64_t mib, const char *why)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__Resources resources = PROTECT__RUNNER__RESOURCES__INIT;
	int r;

	resources.memory_bytes = mib * MIB;
	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_RESOURCES;
	request.resources = &resources;
	r = runner_request(zone->control, &request, -1, told, zone);
	if (r < 0)
		return r;
	zone->told_mib = mib;
	zone->told_ns = clock_now_ns();
	if (log_allowed(&zone->daemon->policy_limit, LOG_BURST, NULL))
		log_info("zone=%s name=%s memory_mib=%llu why=\"%s\" adjusted", zone->row.uuid,
			 zone->row.name, (unsigned long long)mib, why);
	return 0;
}

/* The state need not know each step: a later daemon asks the runner. */
static void set_target(struct zone *zone, uint64_t mib, const char *why)
{
	if (mib == zone->told_mib || tell(zone, mib, why) < 0)
		return;
	zone->row.target_memory_mib = mib;
}

/* The state first: a daemon that ends in between gives back what was never taken. */
static void take(struct zone *zone, uint64_t mib)
{
	if (is_dynamic(zone)) {
		set_target(zone, mib, "pressure");
		return;
	}
	if (!zone->row.squeezed) {
		zone->row.squeezed = true;
		state_put_zone(zone->daemon->state, &zone->row);
	}
	tell(zone, mib, "pressure");
}

void policy_sampled(struct zone *zone)
{
	const struct zone_figures *figures = stats_figures(zone);
	uint64_t now_ns = clock_now_ns();
	struct policy_sample sample;

	if (!figures || !may_tell(zone) || (!zone->requested_ns && !zone->has_status))
		return;
	sample = stats_sample(figures, now_ns);
	if (is_dynamic(zone))
		set_target(zone,
			   policy_dynamic(&zone->policy, zone->row.target_memory_mib,
					  bounds_of(&zone->row), &sample, now_ns),
			   "policy");
	else if (zone->row.squeezed && policy_is_starved(&sample))
		tell(zone, zone->row.target_memory_mib, "need");
	else if (zone->row.squeezed && pressure_is_over(&zone->daemon->pressure, now_ns))
		tell(zone, zone->row.target_memory_mib, "no pressure");
}

/* What a zone can give now: by figures that already show what it was told of last. */
static uint64_t gift_of(const struct zone *zone, uint64_t now_ns, uint64_t *left_mib)
{
	const struct zone_figures *figures = stats_figures(zone);
	struct policy_sample sample;
	uint64_t gift_mib;

	if (!may_tell(zone) || !figures || figures->taken_ns < zone->told_ns)
		return 0;
	sample = stats_sample(figures, now_ns);
	gift_mib = policy_gift(is_dynamic(zone), bounds_of(&zone->row), &sample);
	*left_mib = sample.have_mib - gift_mib;
	if (gift_mib == 0 || *left_mib >= policy_told_mib(zone) ||
	    now_ns - sample.age_ms * NS_PER_MS < zone->told_ns)
		return 0;
	return gift_mib;
}

/* Those with the most go first. */
static void squeeze(struct daemon *d, uint64_t now_ns)
{
	for (unsigned i = 0; i < CHANGES_MAX; i++) {
		uint64_t most_mib = 0, left_mib = 0, would_leave_mib;
		struct zone *richest = NULL;

		for (struct zone *z = d->zones; z; z = z->next) {
			uint64_t gift_mib = gift_of(z, now_ns, &would_leave_mib);

			if (gift_mib <= most_mib)
				continue;
			most_mib = gift_mib;
			left_mib = would_leave_mib;
			richest = z;
		}
		if (!richest)
			return;
		take(richest, left_mib);
	}
}

static bool is_asked(const struct daemon *d, const struct zone *zone, uint64_t now_ns)
{
	const struct zone_figures *figures = stats_figures(zone);
	bool is_read = d->read_ns && now_ns - d->read_ns < READERS_NS;

	if (zone->phase != ZONE_PHASE_READY || !zone->control)
		return false;
	if (is_running(zone) && (is_dynamic(zone) || zone->row.squeezed || d->pressure.is_short))
		return true;
	return is_read && (!figures || now_ns - figures->taken_ns >= FRESH_NS);
}

static void tick(void *user)
{
	struct daemon *d = user;
	uint64_t now_ns = clock_now_ns();
	bool was_short = d->pressure.is_short;

	pressure_poll(&d->pressure, d->options.pressure_file, now_ns);
	if (d->pressure.is_short != was_short && log_allowed(&d->policy_limit, LOG_BURST, NULL))
		log_info("percent=%.2f memory pressure %s", d->pressure.percent,
			 was_short ? "has gone" : "is high: idle memory of zones is taken");
	if (d->pressure.is_short)
		squeeze(d, now_ns);
	for (struct zone *z = d->zones; z; z = z->next)
		if (is_asked(d, z, now_ns))
			stats_ask(z);
	timer_set(&d->hub, &d->policy_tick, now_ns + TICK_NS, tick, d);
}

void policy_start(struct daemon *d)
{
	tick(d);
}

void policy_keep_fresh(struct daemon *d)
{
	d->read_ns = clock_now_ns();
}
