// SPDX-License-Identifier: Apache-2.0
#include "zone-guest/bootstrap.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

#include "base/clock.h"
#include "zone-guest/agent.h"

#define NAMESERVERS_MAX 8u

static int take_hostname(struct zone *zone, const char *name, struct error *err)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("-_.", name[i]))
			len = 0;
	if (!len || len > ZONE_HOSTNAME_MAX)
		return error_set(err, -EINVAL, "the zone's host name is not one");
	snprintf(zone->hostname, sizeof(zone->hostname), "%s", name);
	return 0;
}

/* An address is not parsed here, only kept from breaking the file's lines. */
int bootstrap_nameservers(struct zone *zone, char *const *servers, size_t n_servers,
			  struct error *err)
{
	size_t used = 0;

	if (n_servers > NAMESERVERS_MAX)
		return error_set(err, -E2BIG, "more than %u name servers", NAMESERVERS_MAX);
	for (size_t i = 0; i < n_servers; i++) {
		const char *server = servers[i];
		int n;

		if (!*server || server[strspn(server, "0123456789abcdefABCDEF:.%")])
			return error_set(err, -EINVAL, "a name server's address is not one");
		n = snprintf(zone->resolv + used, sizeof(zone->resolv) - used, "nameserver %s\n",
			     server);
		used += (size_t)n;
		if (used >= sizeof(zone->resolv))
			return error_set(err, -E2BIG, "the name servers' addresses are too long");
	}
	return 0;
}

static int take(struct zone *zone, const Protect__Agent__Bootstrap *message, struct error *err)
{
	int r = take_hostname(zone, message->hostname, err);

	if (r == 0)
		r = bootstrap_nameservers(zone, message->nameservers, message->n_nameservers, err);
	if (r < 0)
		return r;
	r = env_set_all(&zone->env, message->env, message->n_env);
	return r < 0 ? error_set_errno(err, r, "the zone's environment") : 0;
}

static void reply_ready(struct zone *zone, uint64_t id)
{
	Protect__Agent__ZoneReady message = PROTECT__AGENT__ZONE_READY__INIT;
	static char version[] = PROTECT_VERSION;
	struct utsname name;
	struct timespec now;

	if (uname(&name) == 0)
		message.kernel_release = name.release;
	message.agent_version = version;
	if (clock_gettime(CLOCK_BOOTTIME, &now) == 0)
		message.boot_ns = (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
	agent_reply(zone, id, &message);
}

void bootstrap(struct zone *zone, uint64_t id, const Protect__Agent__Bootstrap *message)
{
	struct error err = ERROR_NULL;
	int r;

	if (zone->bootstrapped) {
		agent_reply_error(zone, id, -EALREADY, "the zone has had its bootstrap");
		return;
	}
	r = take(zone, message, &err);
	if (r == 0 && zone->apply)
		r = zone->apply(zone, message, &err);
	if (r < 0) {
		agent_reply_error(zone, id, r, err.text);
		return;
	}
	zone->bootstrapped = true;
	reply_ready(zone, id);
	/*
	 * The host need not wait for the rest; whatever it asks next comes after it all the same.
	 */
	agent_push(zone);
	if (zone->apply_later)
		zone->apply_later(zone, message);
}
