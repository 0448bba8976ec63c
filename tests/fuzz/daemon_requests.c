// SPDX-License-Identifier: Apache-2.0
/*
 * A whole daemon between a hostile client and a hostile zone. It finds a zone that is ready, with a
 * workload that runs; its runner is played here. The input is steps, an opcode, a length of two
 * bytes and that many bytes: a request of the client (the method, the message), the next answer of
 * the zone's agent (an error, the message), an event of it, bytes for the runner's control
 * connection. Storage and launch are not there. However that goes, no request is answered twice,
 * and after it all the daemon still answers.
 */
#include <assert.h>
#include <errno.h>
#include <ftw.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/runner.h"
#include "supervisor/daemon/exec.h"
#include "supervisor/daemon/forward.h"
#include "supervisor/daemon/keep.h"
#include "supervisor/daemon/link.h"
#include "supervisor/daemon/network.h"
#include "supervisor/daemon/server.h"
#include "supervisor/daemon/workload.h"
#include "supervisor/daemon/zone.h"

#define ZONE_UUID     "00000000-0000-4000-8000-000000000001"
#define WORKLOAD_UUID "00000000-0000-4000-8000-000000000002"
#define CALLS_MAX     24u
#define ANSWERS_MAX   64u
#define STREAMS	      3u
#define STEP_NS	      (2 * NS_PER_MS) /* for one that is not answered at once */
#define RUNNERS_MAX   8u

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t len);
void __wrap_log_write(enum log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* What was said would be most of the work. */
void __wrap_log_write(enum log_level level, const char *format, ...)
{
	char line[1024];
	va_list args;

	(void)level;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
}

struct world {
	struct daemon d;
	char dir[64], state[96], run[96], socket[96], runner[160];
	int listener;
	struct watch *watch;
	int runners[RUNNERS_MAX]; /* connections to us as the runner, but those of IDM */
	unsigned n_runners;
	struct link *agent, *client;
	struct timer deadline;
	unsigned calls, answered;
	struct call {
		struct world *world;
		unsigned answers;
	} call[CALLS_MAX];
	const uint8_t *zone_says[ANSWERS_MAX];
	size_t zone_says_len[ANSWERS_MAX];
	unsigned n_says, said;
	bool listed;
};

static void stop_loop(void *user)
{
	loop_stop(((struct world *)user)->d.hub.loop);
}

static void run_for(struct world *w, uint64_t ns)
{
	timer_set(&w->d.hub, &w->deadline, clock_now_ns() + ns, stop_loop, w);
	assert(loop_run(w->d.hub.loop) == 0);
	timer_stop(&w->deadline);
}

/* The honest answer to a daemon that takes the zone up. */
static void say_list(struct idm *idm, uint64_t id)
{
	Protect__Agent__WorkloadState workload = PROTECT__AGENT__WORKLOAD_STATE__INIT;
	Protect__Agent__WorkloadState *workloads[] = {&workload};
	Protect__Agent__ZoneState state = PROTECT__AGENT__ZONE_STATE__INIT;
	char uuid[] = WORKLOAD_UUID;
	uint8_t packed[256];

	workload.workload = uuid;
	workload.state = PROTECT__AGENT__STATE__STATE_RUNNING;
	workload.pid = 7;
	workload.run = 1;
	state.bootstrapped = true;
	state.workloads = workloads;
	state.n_workloads = 1;
	idm_reply(idm, id, 0, NULL, packed, protect__agent__zone_state__pack(&state, packed));
}

static void zone_asked(void *user, struct idm *idm, uint64_t id, uint32_t method, const void *data,
		       size_t len)
{
	struct world *w = user;
	const uint8_t *says;
	size_t n;

	(void)data;
	(void)len;
	if (method == PROTECT__AGENT__METHOD__METHOD_LIST && !w->listed) {
		w->listed = true;
		say_list(idm, id);
		loop_stop(w->d.hub.loop);
		return;
	}
	if (w->said == w->n_says)
		return; /* it never answers */
	says = w->zone_says[w->said];
	n = w->zone_says_len[w->said++];
	idm_reply(idm, id, n && says[0] % 4 == 3 ? -(int)says[0] : 0, "text", n ? says + 1 : NULL,
		  n ? n - 1 : 0);
}

static void agent_gone(void *user, int error)
{
	(void)error;
	((struct world *)user)->agent = NULL;
}

static void client_gone(void *user, int error)
{
	struct world *w = user;

	(void)error;
	w->client = NULL;
	loop_stop(w->d.hub.loop);
}

static const struct idm_handler zone_handler = {.request = zone_asked};
static const struct idm_handler client_handler = {.request = NULL};

static void runner_called(void *user, uint32_t events)
{
	struct world *w = user;
	struct runner_hello hello;
	int fd = accept4(w->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd < 0)
		return;
	if (recv(fd, &hello, sizeof(hello), 0) == (ssize_t)sizeof(hello) &&
	    hello.kind == RUNNER_IDM && !w->agent) {
		assert(link_new(&w->d.hub, fd, IDM_SERVER, &zone_handler, agent_gone, w,
				&w->agent) == 0);
		return;
	}
	if (w->n_runners < RUNNERS_MAX)
		w->runners[w->n_runners++] = fd;
	else
		close(fd);
}

static void make_folders(struct world *w)
{
	char path[160];

	snprintf(w->dir, sizeof(w->dir), "/dev/shm/fuzz-daemon-XXXXXX");
	assert(mkdtemp(w->dir));
	snprintf(w->state, sizeof(w->state), "%s/state", w->dir);
	snprintf(w->run, sizeof(w->run), "%s/run", w->dir);
	snprintf(w->socket, sizeof(w->socket), "%s/daemon.sock", w->dir);
	assert(mkdir(w->state, 0700) == 0 && mkdir(w->run, 0700) == 0);
	snprintf(path, sizeof(path), "%s/zones", w->run);
	assert(mkdir(path, 0700) == 0);
	snprintf(path, sizeof(path), "%s/zones/" ZONE_UUID, w->run);
	assert(mkdir(path, 0700) == 0);
	snprintf(w->runner, sizeof(w->runner), "%s/runner.sock", path);
}

static void add_zone(struct world *w)
{
	struct zone_row row = {.uuid = ZONE_UUID,
			       .name = "z",
			       .state = PROTECT__CONTROL__ZONE_STATE_KIND__ZONE_READY,
			       .memory_mib = 256,
			       .target_memory_mib = 256,
			       .vcpus = 1,
			       .target_vcpus = 1};
	struct workload_row workload_row = {
		.uuid = WORKLOAD_UUID,
		.name = "w",
		.zone = ZONE_UUID,
		.run = 1,
		.state = PROTECT__CONTROL__WORKLOAD_STATE_KIND__WORKLOAD_RUNNING};
	struct error err = ERROR_NULL;
	struct workload *workload;
	struct zone *zone;

	assert(state_add_zone(w->d.state, &row, &err) == 0);
	assert(state_add_workload(w->d.state, &workload_row, &err) == 0);
	zone = zone_new(&w->d, &row);
	workload = zone ? workload_new(zone, &workload_row) : NULL;
	assert(workload);
	workload->agent_knows = workload->disk_attached = true;
	workload->phase = WORKLOAD_PHASE_RUNNING;
	w->d.slots[0] = 1;
	ledger_adopt(&w->d.ledger, row.memory_mib, row.vcpus);
	zone_adopt(zone);
}

static void start(struct world *w)
{
	struct error err = ERROR_NULL;
	char path[160];

	make_folders(w);
	w->d = (struct daemon){.options = {.socket = w->socket,
					   .state_dir = w->state,
					   .run_dir = w->run,
					   .launch_socket = "/nonexistent/launch",
					   .storage_socket = "/nonexistent/storage",
					   .network_socket = "/nonexistent/network",
					   .metrics = "off",
					   .default_memory_mib = 256,
					   .default_cpus = 1,
					   .uid_count = 8,
					   .boot_timeout_s = 300},
			       .listener = -1,
			       .wall_clock_fd = -1};
	ledger_init(&w->d.ledger);
	assert(hub_init(&w->d.hub) == 0);
	w->d.slots = calloc(w->d.options.uid_count, 1);
	assert(w->d.slots && keep_init(&w->d, &err) == 0);
	snprintf(path, sizeof(path), "%s/daemon.db", w->state);
	assert(state_open(path, &w->d.state, &err) == 0);
	state_watch(w->d.state, daemon_retry_state, &w->d);
	w->listener = io_unix_listen(w->runner, SOCK_STREAM, 0600);
	assert(w->listener >= 0 && io_set_nonblock(w->listener, 1) == 0);
	assert(watch_new(&w->d.hub, w->listener, runner_called, w, &w->watch) == 0);
	watch_set(w->watch, POLLIN);
	assert(network_new(&w->d, &w->d.network) == 0);
	add_zone(w);
	assert(server_start(&w->d, &err) == 0);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

static void stop(struct world *w)
{
	server_stop(&w->d);
	execs_free(&w->d);
	forwards_free(&w->d);
	hv_debugs_free(&w->d);
	volume_ops_free(&w->d);
	workloads_free(&w->d);
	zones_free(&w->d);
	w->watch = watch_free(w->watch);
	if (w->agent)
		link_close(w->agent);
	if (w->client)
		link_close(w->client);
	links_sweep(&w->d.hub);
	links_sweep(&w->d.hub);
	w->d.network = network_free(w->d.network);
	w->d.state = state_close(w->d.state);
	free(w->d.slots);
	hub_deinit(&w->d.hub);
	close(w->listener);
	while (w->n_runners)
		close(w->runners[--w->n_runners]);
	assert(nftw(w->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS) == 0);
}

static void got_answer(void *user, int error, const char *text, const void *payload, size_t len)
{
	struct call *call = user;

	assert(!call->answers++ && error <= 0 && text && (payload || !len));
	loop_stop(call->world->d.hub.loop);
}

/* Its loop stops early when the daemon has answered. */
static void got_last_answer(void *user, int error, const char *text, const void *payload,
			    size_t len)
{
	struct world *w = user;

	(void)text;
	(void)payload;
	(void)len;
	assert(error != -ECONNRESET);
	w->answered++;
	loop_stop(w->d.hub.loop);
}

static void swallow(void *user, struct idm_stream *stream, const void *data, size_t len)
{
	(void)user;
	(void)data;
	idm_stream_consumed(stream, len);
}

static void stream_closed(void *user, struct idm_stream *stream, int error)
{
	(void)user;
	if (!error)
		idm_stream_end(stream);
}

static const struct idm_stream_ops stream_ops = {.data = swallow, .closed = stream_closed};

static void connect_client(struct world *w)
{
	int fd = io_unix_connect(w->socket, SOCK_STREAM);
	struct idm_stream *stream;

	assert(fd >= 0);
	assert(link_new(&w->d.hub, fd, IDM_CLIENT, &client_handler, client_gone, w, &w->client) ==
	       0);
	for (unsigned i = 0; i < STREAMS; i++) /* 1, 3, 5 for requests to name */
		assert(idm_stream_open(link_idm(w->client), IDM_WINDOW, &stream_ops, NULL,
				       &stream) == 0);
	hub_touch(&w->d.hub);
}

/* Whether all that was asked is answered: then nothing is waited for. */
static bool last_is_answered(const struct world *w)
{
	return !w->calls || w->call[w->calls - 1].answers;
}

static void step(struct world *w, uint8_t op, const uint8_t *data, size_t len)
{
	switch (op % 5) {
	case 0:
	case 1:
		if (!len || !w->client || w->calls == CALLS_MAX)
			return;
		w->call[w->calls].world = w;
		if (idm_call(link_idm(w->client), data[0], data + 1, len - 1, 0, got_answer,
			     &w->call[w->calls], NULL) < 0)
			return;
		w->calls++;
		hub_touch(&w->d.hub);
		break;
	case 2:
		if (w->n_says == ANSWERS_MAX)
			return;
		w->zone_says[w->n_says] = data;
		w->zone_says_len[w->n_says++] = len;
		return;
	case 3:
		if (!w->agent || !len)
			return;
		idm_event(link_idm(w->agent), data[0], data + 1, len - 1);
		hub_touch(&w->d.hub);
		break;
	default:
		if (!w->n_runners || !len)
			return;
		(void)!send(w->runners[data[0] % w->n_runners], data + 1, len - 1,
			    MSG_DONTWAIT | MSG_NOSIGNAL);
	}
	run_for(w, STEP_NS);
	if (!last_is_answered(w))
		run_for(w, STEP_NS);
}

/* Another client asks for what there is. */
static void check_alive(struct world *w)
{
	struct link *asked = w->client;

	if (asked)
		link_close(asked);
	for (unsigned i = 0; i < 1000 && w->client; i++)
		run_for(w, STEP_NS);
	assert(!w->client);
	connect_client(w);
	assert(idm_call(link_idm(w->client), PROTECT__CONTROL__METHOD__METHOD_ZONE_LIST, NULL, 0, 0,
			got_last_answer, w, NULL) == 0);
	for (unsigned i = 0; i < 1000 && !w->answered; i++)
		run_for(w, STEP_NS);
	assert(w->answered == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t len)
{
	struct world *w = calloc(1, sizeof(*w));

	assert(w);
	start(w);
	connect_client(w);
	for (unsigned i = 0; i < 100 && !w->listed; i++)
		run_for(w, STEP_NS);
	run_for(w, STEP_NS);
	while (len >= 3) {
		size_t n = (size_t)input[1] | (size_t)input[2] << 8;

		n = n < len - 3 ? n : len - 3;
		step(w, input[0], input + 3, n);
		input += 3 + n;
		len -= 3 + n;
	}
	check_alive(w);
	stop(w);
	for (unsigned i = 0; i < w->calls; i++)
		assert(w->call[i].answers == 1);
	free(w);
	return 0;
}
