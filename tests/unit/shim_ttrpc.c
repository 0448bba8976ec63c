// SPDX-License-Identifier: Apache-2.0
/* ttrpc: frames, and a server whose client sends whatever it likes. */
#include "tests/unit/harness.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "protect/shim/server.h"

UNIT_SUITE(shim_ttrpc);

static void add_bytes(struct ttrpc_buffer *buffer, const void *data, size_t len)
{
	cr_assert_eq(ttrpc_buffer_reserve(buffer, len), 0);
	memcpy(buffer->data + buffer->end, data, len);
	buffer->end += len;
}

static Protect__Ttrpc__Request make_request(char *method)
{
	Protect__Ttrpc__Request request = PROTECT__TTRPC__REQUEST__INIT;
	static char service[] = "a.Service";

	request.service = service;
	request.method = method;
	return request;
}

Test(shim_ttrpc, frames_come_out_as_they_went_in_byte_by_byte)
{
	struct ttrpc_buffer out = {0}, in = {0};
	struct ttrpc_frame frame;
	char first[] = "First", second[] = "Second";
	Protect__Ttrpc__Request a = make_request(first), b = make_request(second);
	unsigned found = 0;

	cr_assert_eq(ttrpc_append(&out, 1, TTRPC_REQUEST, &a.base), 0);
	cr_assert_eq(ttrpc_append(&out, 0x01020304, TTRPC_REQUEST, &b.base), 0);
	for (size_t i = out.start; i < out.end; i++) {
		Protect__Ttrpc__Request *request;

		add_bytes(&in, out.data + i, 1);
		if (ttrpc_next(&in, &frame) != 1)
			continue;
		request = protect__ttrpc__request__unpack(NULL, frame.len, frame.message);
		cr_assert_eq(frame.stream, found ? 0x01020304u : 1u);
		cr_assert_str_eq(request->method, found ? "Second" : "First");
		protect__ttrpc__request__free_unpacked(request, NULL);
		found++;
	}
	cr_assert_eq(found, 2u);
	cr_assert_eq(ttrpc_next(&in, &frame), 0);
	ttrpc_buffer_deinit(&in);
	ttrpc_buffer_deinit(&out);
}

Test(shim_ttrpc, a_frame_of_more_than_4_mib_is_none)
{
	static const uint8_t longest[] = {0, 0x40, 0, 0, 0, 0, 0, 1, 1, 0},
			     longer[] = {0, 0x40, 0, 1, 0, 0, 0, 1, 1, 0};
	struct ttrpc_buffer in = {0};
	struct ttrpc_frame frame;

	add_bytes(&in, longest, sizeof(longest));
	cr_assert_eq(ttrpc_next(&in, &frame), 0);
	in.start = in.end = 0;
	add_bytes(&in, longer, sizeof(longer));
	cr_assert_eq(ttrpc_next(&in, &frame), -EMSGSIZE);
	ttrpc_buffer_deinit(&in);
}

Test(shim_ttrpc, a_peer_that_reads_nothing_is_not_kept_for)
{
	struct ttrpc_buffer out = {0};
	Protect__Ttrpc__Response big = PROTECT__TTRPC__RESPONSE__INIT;
	int r = 0;

	big.payload.len = 3u << 20;
	big.payload.data = calloc(1, big.payload.len);
	for (unsigned i = 0; i < 5; i++)
		cr_assert_eq(ttrpc_append(&out, 1, TTRPC_RESPONSE, &big.base), 0);
	r = ttrpc_append(&out, 1, TTRPC_RESPONSE, &big.base);
	cr_assert_eq(r, -ENOBUFS);
	free(big.payload.data);
	ttrpc_buffer_deinit(&out);
}

/* A server that keeps what is asked of "Wait" until "Go" comes, and answers anything else at once.
 */
struct world {
	struct poller poller;
	struct server server;
	int client;
	struct ticket waiting;
	unsigned requests;
};

static void on_request(void *user, struct ticket ticket, const Protect__Ttrpc__Request *request)
{
	struct world *world = user;
	Protect__Ttrpc__Status status = PROTECT__TTRPC__STATUS__INIT;

	world->requests++;
	status.code = (int32_t)ticket.stream;
	if (strcmp(request->method, "Wait") == 0) {
		world->waiting = ticket;
		return;
	}
	server_reply(&world->server, ticket, &status.base);
	if (strcmp(request->method, "Go") == 0)
		server_fail(&world->server, world->waiting, TTRPC_NOT_FOUND, "gone %d", 7);
}

static void settle(void *user)
{
	struct world *world = user;

	server_settle(&world->server);
}

static void world_init(struct world *world)
{
	int ends[2];

	*world = (struct world){.requests = 0};
	cr_assert_eq(poller_init(&world->poller), 0);
	world->poller.settle = settle;
	world->poller.user = world;
	cr_assert_eq(server_init(&world->server, &world->poller, -1, on_request, world), 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	cr_assert_eq(io_set_nonblock(ends[0], 1), 0);
	cr_assert_eq(server_add(&world->server, ends[0]), 0);
	world->client = ends[1];
}

static void world_deinit(struct world *world)
{
	server_deinit(&world->server);
	poller_deinit(&world->poller);
	if (world->client >= 0)
		close(world->client);
}

static void turn(struct world *world)
{
	for (unsigned i = 0; i < 5; i++)
		cr_assert_eq(poller_turn(&world->poller, 5), 0);
}

static void ask(struct world *world, uint32_t stream, char *method)
{
	struct ttrpc_buffer out = {0};
	Protect__Ttrpc__Request request = make_request(method);

	cr_assert_eq(ttrpc_append(&out, stream, TTRPC_REQUEST, &request.base), 0);
	cr_assert_eq(io_write_full(world->client, out.data, out.end), 0);
	ttrpc_buffer_deinit(&out);
	turn(world);
}

/* The next answer's stream; 0 for none. *code: its status. */
static uint32_t answer(struct world *world, struct ttrpc_buffer *in, int32_t *code)
{
	struct ttrpc_frame frame;
	Protect__Ttrpc__Response *response;
	uint8_t chunk[4096];
	ssize_t n = recv(world->client, chunk, sizeof(chunk), MSG_DONTWAIT);

	if (n > 0)
		add_bytes(in, chunk, (size_t)n);
	if (ttrpc_next(in, &frame) != 1)
		return 0;
	cr_assert_eq(frame.type, TTRPC_RESPONSE);
	response = protect__ttrpc__response__unpack(NULL, frame.len, frame.message);
	cr_assert(response != NULL);
	*code = response->status ? response->status->code : 0;
	protect__ttrpc__response__free_unpacked(response, NULL);
	return frame.stream;
}

Test(shim_ttrpc, one_that_waits_holds_up_no_other)
{
	char wait[] = "Wait", other[] = "Other", go[] = "Go";
	struct ttrpc_buffer in = {0};
	struct world world;
	int32_t code = -1;

	world_init(&world);
	ask(&world, 1, wait);
	cr_assert_eq(answer(&world, &in, &code), 0u);
	ask(&world, 3, other);
	cr_assert_eq(answer(&world, &in, &code), 3u);
	cr_assert_eq(code, TTRPC_OK);
	ask(&world, 5, go);
	cr_assert_eq(answer(&world, &in, &code), 5u);
	cr_assert_eq(answer(&world, &in, &code), 1u);
	cr_assert_eq(code, TTRPC_NOT_FOUND);
	ttrpc_buffer_deinit(&in);
	world_deinit(&world);
}

Test(shim_ttrpc, whoever_leaves_is_owed_nothing)
{
	char wait[] = "Wait";
	struct world world;

	world_init(&world);
	ask(&world, 1, wait);
	close(world.client);
	world.client = -1;
	turn(&world);
	cr_assert_eq(world.server.n_connections, 0u);
	server_fail(&world.server, world.waiting, TTRPC_UNKNOWN, "late");
	world_deinit(&world);
}

Test(shim_ttrpc, what_is_no_frame_ends_its_connection)
{
	static const uint8_t bad[] = {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 1, 0};
	struct world world;

	world_init(&world);
	cr_assert_eq(io_write_full(world.client, bad, sizeof(bad)), 0);
	turn(&world);
	cr_assert_eq(world.server.n_connections, 0u);
	cr_assert_eq(world.requests, 0u);
	world_deinit(&world);
}

Test(shim_ttrpc, a_message_that_cannot_be_read_is_told_so)
{
	static const uint8_t frame[] = {0, 0, 0, 2, 0, 0, 0, 9, 1, 0, 0x0a, 0x7f};
	struct ttrpc_buffer in = {0};
	struct world world;
	int32_t code = -1;

	world_init(&world);
	cr_assert_eq(io_write_full(world.client, frame, sizeof(frame)), 0);
	turn(&world);
	cr_assert_eq(answer(&world, &in, &code), 9u);
	cr_assert_eq(code, TTRPC_INVALID);
	cr_assert_eq(world.requests, 0u);
	ttrpc_buffer_deinit(&in);
	world_deinit(&world);
}
