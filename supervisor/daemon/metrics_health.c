// SPDX-License-Identifier: Apache-2.0
/* Whether the other services answer, for /metrics. */
#include <stdlib.h>
#include <string.h>

#include "supervisor/daemon/launch_client.h"
#include "supervisor/daemon/metrics.h"
#include "supervisor/daemon/metrics_text.h"
#include "supervisor/daemon/network.h"
#include "supervisor/daemon/storage_client.h"

#define READERS_NS (120 * NS_PER_S) /* so long after a reader they are asked */
#define ASK_NS	   (10 * NS_PER_S)

enum service { SERVICE_STORAGE, SERVICE_LAUNCH, SERVICE_NETWORK, N_SERVICES };

struct health {
	struct daemon *daemon;
	struct timer timer;
	uint64_t read_ns;
	struct storage_call *storage;
	struct launch_call *launch;
	bool asking_network;
	bool known[N_SERVICES], ok[N_SERVICES];
};

static void note(struct health *health, enum service service, bool ok)
{
	health->known[service] = true;
	health->ok[service] = ok;
}

static void storage_answered(void *user, const Protect__Storage__Reply *reply, const int *fds,
			     unsigned n_fds)
{
	struct health *health = user;

	(void)fds;
	(void)n_fds;
	if (reply->progress)
		return;
	health->storage = NULL;
	note(health, SERVICE_STORAGE, reply->error == 0);
}

static void launch_answered(void *user, const struct launch_reply *reply, int pidfd)
{
	struct health *health = user;

	(void)pidfd;
	health->launch = NULL;
	/* An empty list is an answer as good as any. */
	note(health, SERVICE_LAUNCH, reply->version != 0);
}

static void network_answered(void *user, const Protect__Network__Reply *reply, const int *fds,
			     unsigned n_fds)
{
	struct health *health = user;

	(void)fds;
	(void)n_fds;
	health->asking_network = false;
	note(health, SERVICE_NETWORK, reply->error == 0);
}

/* It is asked in its turn, behind what zones want of it: that it does not come to us is told. */
static void ask_network(struct health *health)
{
	Protect__Network__Request request = PROTECT__NETWORK__REQUEST__INIT;
	Protect__Network__Status status = PROTECT__NETWORK__STATUS__INIT;
	struct daemon *d = health->daemon;

	if (!network_has_service(d->network))
		return;
	if (health->asking_network) {
		note(health, SERVICE_NETWORK, false);
		return;
	}
	request.what_case = PROTECT__NETWORK__REQUEST__WHAT_STATUS;
	request.status = &status;
	health->asking_network =
		network_call(&d->network->client, &request, network_answered, health) == 0;
}

/* One that has not answered since the last time does not. */
static void ask(void *user)
{
	static const struct launch_request list = {.op = LAUNCH_LIST};
	struct health *health = user;
	struct daemon *d = health->daemon;
	Protect__Storage__Request request = PROTECT__STORAGE__REQUEST__INIT;
	Protect__Storage__Ping ping = PROTECT__STORAGE__PING__INIT;
	uint64_t now_ns = clock_now_ns();

	if (now_ns - health->read_ns >= READERS_NS) {
		memset(health->known, 0, sizeof(health->known));
		return;
	}
	timer_set(&d->hub, &health->timer, now_ns + ASK_NS, ask, health);
	if (health->storage)
		note(health, SERVICE_STORAGE, false);
	if (health->launch)
		note(health, SERVICE_LAUNCH, false);
	request.what_case = PROTECT__STORAGE__REQUEST__WHAT_PING;
	request.ping = &ping;
	if (!health->storage)
		health->storage = storage_call(&d->hub, d->options.storage_socket, &request, -1,
					       storage_answered, health);
	if (!health->launch)
		health->launch = launch_call(&d->hub, d->options.launch_socket, &list, NULL, 0,
					     launch_answered, health);
	ask_network(health);
}

struct health *health_new(struct daemon *d)
{
	struct health *health = calloc(1, sizeof(*health));

	if (health)
		health->daemon = d;
	return health;
}

struct health *health_free(struct health *health)
{
	if (!health)
		return NULL;
	timer_stop(&health->timer);
	storage_cancel(health->storage);
	launch_cancel(health->launch);
	if (health->asking_network && health->daemon->network)
		network_forget(&health->daemon->network->client, health);
	free(health);
	return NULL;
}

void health_keep_fresh(struct health *health)
{
	health->read_ns = clock_now_ns();
	if (!health->timer.place)
		timer_set(&health->daemon->hub, &health->timer, health->read_ns, ask, health);
}

void health_write(FILE *out, const struct health *health)
{
	static const char *const names[N_SERVICES] = {"storage", "launch", "network"};

	metrics_family(out, "protect_service_up", METRICS_GAUGE,
		       "Whether a service of Protect answered when it was last asked.");
	metrics_sample(out, "protect_service_up", &(struct metrics_label){"service", "daemon"}, 1,
		       1);
	for (unsigned i = 0; i < N_SERVICES; i++)
		if (health->known[i])
			metrics_sample(out, "protect_service_up",
				       &(struct metrics_label){"service", names[i]}, 1,
				       health->ok[i]);
}
