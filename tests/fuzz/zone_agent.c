// SPDX-License-Identifier: Apache-2.0
/*
 * Requests to a zone's agent, through the session: the input is requests, a method, a length of two
 * bytes and the message each. Each is answered once, and the agent serves the next. Nothing is
 * executed: there is no disk, so no workload begins, and commands in the zone itself are left out.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "idm-vsock/pump.h"
#include "zone-guest/agent.h"
#include "zone-guest/zone.h"

#define CALLS_MAX 32u
#define TURNS_MAX 4u
#define EXEC	  PROTECT__AGENT__METHOD__METHOD_EXEC

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t len);

struct peer {
	struct idm *idm;
	struct idm_pump *pump;
	int fd;
	unsigned answered[CALLS_MAX + 1], n_calls;
};

static void on_reply(void *user, int error, const char *text, const void *payload, size_t len)
{
	assert(!(*(unsigned *)user)++ && error <= 0 && text && (payload || !len));
}

static void on_data(void *user, struct idm_stream *stream, const void *data, size_t len)
{
	(void)user;
	(void)data;
	idm_stream_consumed(stream, len);
}

static void on_closed(void *user, struct idm_stream *stream, int error)
{
	(void)user;
	if (!error)
		idm_stream_end(stream);
}

static const struct idm_stream_ops ops = {.data = on_data, .closed = on_closed};
static const struct idm_handler handler = {.request = NULL};

static int no_disk(const char *serial, char *path, size_t size)
{
	(void)serial;
	(void)path;
	(void)size;
	return -ENOENT;
}

static void turn(struct zone *zone, struct peer *peer)
{
	for (unsigned i = 0; i < TURNS_MAX; i++) {
		assert(idm_pump_run(peer->pump, clock_now_ns()) == 0);
		assert(reactor_turn(&zone->reactor, 0) == 0);
		agent_flush(zone);
	}
	assert(idm_pump_run(peer->pump, clock_now_ns()) == 0 && zone->agent);
}

static bool is_harmless(uint32_t method, const uint8_t *data, size_t len)
{
	Protect__Agent__Exec *exec;
	bool of_workload;

	if (method != EXEC)
		return true;
	exec = protect__agent__exec__unpack(NULL, len, data);
	of_workload = !exec || exec->workload[0];
	if (exec)
		protect__agent__exec__free_unpacked(exec, NULL);
	return of_workload;
}

static void ask(struct peer *peer, uint32_t method, const void *data, size_t len)
{
	if (peer->n_calls < CALLS_MAX && idm_call(peer->idm, method, data, len, 0, on_reply,
						  &peer->answered[peer->n_calls], NULL) == 0)
		peer->n_calls++;
}

static void connect_agent(struct zone *zone, struct peer *peer)
{
	struct idm_stream *stream;
	int ends[2];

	assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
	assert(agent_start(zone, ends[0], NULL, NULL) == 0);
	peer->fd = ends[1];
	peer->idm = idm_new(IDM_CLIENT, &handler, peer);
	peer->pump = calloc(1, sizeof(*peer->pump));
	assert(peer->idm && peer->pump);
	assert(idm_pump_init(peer->pump, peer->fd, peer->idm) == 0);
	/* Numbers 1, 3, 5 … for requests to name. */
	for (unsigned i = 0; i < 4; i++)
		assert(idm_stream_open(peer->idm, IDM_WINDOW, &ops, NULL, &stream) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t len)
{
	struct zone *zone = calloc(1, sizeof(*zone));
	struct peer peer = {.fd = -1};

	assert(zone && zone_init(zone, NULL) == 0);
	zone->find_disk = no_disk;
	connect_agent(zone, &peer);
	while (len >= 3) {
		size_t n = (size_t)input[1] | (size_t)input[2] << 8;

		n = n < len - 3 ? n : len - 3;
		if (is_harmless(input[0], input + 3, n))
			ask(&peer, input[0], input + 3, n);
		turn(zone, &peer);
		input += 3 + n;
		len -= 3 + n;
	}
	ask(&peer, PROTECT__AGENT__METHOD__METHOD_PING, NULL, 0);
	turn(zone, &peer);
	assert(!peer.n_calls || peer.n_calls == CALLS_MAX || peer.answered[peer.n_calls - 1] == 1);
	idm_free(peer.idm);
	for (unsigned i = 0; i < peer.n_calls; i++)
		assert(peer.answered[i] == 1);
	free(peer.pump);
	close(peer.fd);
	zone_kill_all(zone);
	zone_deinit(zone);
	free(zone);
	return 0;
}
