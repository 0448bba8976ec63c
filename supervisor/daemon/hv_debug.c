// SPDX-License-Identifier: Apache-2.0
/*
 * METHOD_HOST_HV_DEBUG_INFO: asks runners for what they know of themselves, each over a control
 * connection of its own, so that one that is busy or hangs costs its zone nothing and is reported
 * after ANSWER_NS. A runner is not trusted: its answer is at most a frame, must be a JSON object,
 * and the zone's name and UUID in it are ours. At most ASKED_MAX runners are asked at once, in the
 * order of the requests; what does not fit into one reply is left out, and says so.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "supervisor/daemon/server.h"
#include "supervisor/daemon/zone.h"

#define ANSWER_NS	(5 * NS_PER_S)
#define ASKED_MAX	8u /* a runner has places for 16 connections */
#define REQUESTS_MAX	64u
#define REPLY_TEXT_MAX	(120u * 1024) /* an IDM packet has 128 KiB */
#define ERROR_ROOM	320u	      /* of an object that only says what is wrong */
#define ZONES_ASKED_MAX 128u	      /* in one request: room for what is wrong with each */

/* One runner to ask. */
struct question {
	struct hv_debug *request;
	char uuid[UUID_TEXT_SIZE], name[NAME_SIZE];
	char problem[64]; /* why it is not asked; empty = it is */
	struct runner_client *client;
	struct timer timer; /* of the answer, then of the connection's end */
	json_t *answer;	    /* an object, once it is there */
};

struct hv_debug {
	struct hv_debug *next; /* in the order they came */
	struct daemon *daemon;
	struct ticket ticket;
	unsigned n, n_asked, n_answered;
	struct question questions[];
};

static void debug_free(struct hv_debug *request)
{
	for (struct hv_debug **place = &request->daemon->hv_debugs; *place; place = &(*place)->next)
		if (*place == request) {
			*place = request->next;
			break;
		}
	for (unsigned i = 0; i < request->n; i++) {
		timer_stop(&request->questions[i].timer);
		request->questions[i].client = runner_close(request->questions[i].client);
		json_decref(request->questions[i].answer);
	}
	free(request);
}

/* A runner's own text may be no UTF-8. */
static json_t *problem_object(const char *problem)
{
	json_t *object = json_pack("{s:s}", "error", problem);

	return object ? object : json_pack("{s:s}", "error", "the runner cannot tell");
}

/* Adds one answer to the array's text, if there is room for it and a word about each that follows.
 */
static size_t add_text(char *text, size_t len, const struct question *question, size_t rest)
{
	json_t *object = question->answer ? question->answer : json_object();
	_cleanup_(freep) char *dumped = NULL;

	json_object_set_new(object, "zone", json_string(question->name));
	json_object_set_new(object, "uuid", json_string(question->uuid));
	dumped = json_dumps(object, JSON_COMPACT | JSON_ENSURE_ASCII);
	if (!question->answer)
		json_decref(object);
	if (!dumped || len + strlen(dumped) + rest * ERROR_ROOM + 2 > REPLY_TEXT_MAX)
		return len + (size_t)snprintf(text + len, ERROR_ROOM,
					      "%s{\"zone\":\"%s\",\"uuid\":\"%s\",\"error\":\"too "
					      "much for one answer: ask for this zone alone\"}",
					      len > 1 ? "," : "", question->name, question->uuid);
	return len +
	       (size_t)snprintf(text + len, strlen(dumped) + 2, "%s%s", len > 1 ? "," : "", dumped);
}

static void reply(struct hv_debug *request)
{
	Protect__Control__Text message = PROTECT__CONTROL__TEXT__INIT;
	_cleanup_(freep) char *text = malloc(REPLY_TEXT_MAX + 2);
	size_t len = 0;

	if (!text) {
		server_fail(request->daemon, request->ticket, -ENOMEM,
			    "protect-daemon is out of memory");
		return;
	}
	text[len++] = '[';
	for (unsigned i = 0; i < request->n; i++)
		len = add_text(text, len, &request->questions[i], request->n - 1 - i);
	text[len++] = ']';
	text[len] = '\0';
	message.text = text;
	server_reply(request->daemon, request->ticket, &message.base);
}

static void ask_next(struct daemon *d);

/* Outside of the connection's own callbacks: takes it down and goes on with the next runner. */
static void settle(void *user)
{
	struct question *question = user;
	struct hv_debug *request = question->request;
	struct daemon *d = request->daemon;

	if (!question->answer)
		question->answer = problem_object("the runner did not answer within 5 s");
	question->client = runner_close(question->client);
	d->n_hv_asked--;
	if (++request->n_answered == request->n) {
		reply(request);
		debug_free(request);
	}
	ask_next(d);
}

static void settle_soon(struct question *question)
{
	timer_set(&question->request->daemon->hub, &question->timer, clock_now_ns(), settle,
		  question);
}

static json_t *read_answer(const char *text)
{
	json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, NULL);

	if (json_is_object(object))
		return object;
	json_decref(object);
	return problem_object("the runner's answer is no JSON object");
}

static void answered(void *user, int error, const char *text, const Protect__Runner__Reply *message)
{
	struct question *question = user;

	if (error == -EBADMSG)
		question->answer = problem_object("the runner is older than protect-daemon and "
						  "cannot tell");
	else if (error)
		question->answer = problem_object(text);
	else
		question->answer = read_answer(message->debug_info);
	settle_soon(question);
}

static void gone(void *user, int error)
{
	struct question *question = user;

	(void)error;
	if (!question->answer)
		question->answer = problem_object("the runner has ended");
	settle_soon(question);
}

static int connect_and_ask(struct question *question)
{
	struct daemon *d = question->request->daemon;
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__DebugInfo debug_info = PROTECT__RUNNER__DEBUG_INFO__INIT;
	char path[256];
	int n = snprintf(path, sizeof(path), "%s/zones/%s/runner.sock", d->options.run_dir,
			 question->uuid);
	int r = n < 0 || (size_t)n >= sizeof(path) ? -ENAMETOOLONG : 0;

	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_DEBUG_INFO;
	request.debug_info = &debug_info;
	if (r == 0)
		r = runner_open(&d->hub, path, gone, question, &question->client);
	return r == 0 ? runner_request(question->client, &request, -1, answered, question) : r;
}

static void ask(struct question *question)
{
	struct daemon *d = question->request->daemon;
	int r;

	question->request->n_asked++;
	d->n_hv_asked++;
	if (*question->problem) {
		question->answer = problem_object(question->problem);
		settle_soon(question);
		return;
	}
	timer_set(&d->hub, &question->timer, clock_now_ns() + ANSWER_NS, settle, question);
	r = connect_and_ask(question);
	if (r < 0) {
		question->answer = problem_object(strerror(-r));
		settle_soon(question);
	}
}

static void ask_next(struct daemon *d)
{
	for (struct hv_debug *r = d->hv_debugs; r && d->n_hv_asked < ASKED_MAX; r = r->next)
		while (r->n_asked < r->n && d->n_hv_asked < ASKED_MAX)
			ask(&r->questions[r->n_asked]);
}

static void add_question(struct hv_debug *request, const struct zone *zone)
{
	struct question *question = &request->questions[request->n++];

	question->request = request;
	memcpy(question->uuid, zone->row.uuid, sizeof(question->uuid));
	memcpy(question->name, zone->row.name, sizeof(question->name));
	if (zone->phase == ZONE_PHASE_ENDED)
		snprintf(question->problem, sizeof(question->problem), "the zone has ended");
	else if (zone->phase == ZONE_PHASE_KERNEL || zone->phase == ZONE_PHASE_SPAWN)
		snprintf(question->problem, sizeof(question->problem),
			 "the zone has no runner yet");
}

static unsigned count_requests(const struct daemon *d)
{
	unsigned n = 0;

	for (const struct hv_debug *r = d->hv_debugs; r; r = r->next)
		n++;
	return n;
}

static void start(struct daemon *d, struct ticket ticket, const struct zone *only)
{
	unsigned n = only ? 1 : d->n_zones;
	struct hv_debug *request =
		calloc(1, sizeof(*request) + (size_t)n * sizeof(struct question));
	struct hv_debug **place = &d->hv_debugs;

	if (!request) {
		server_fail(d, ticket, -ENOMEM, "protect-daemon is out of memory");
		return;
	}
	request->daemon = d;
	request->ticket = ticket;
	for (const struct zone *z = d->zones; z && request->n < n; z = z->next)
		if (!only || z == only)
			add_question(request, z);
	if (request->n == 0) {
		reply(request);
		free(request);
		return;
	}
	while (*place)
		place = &(*place)->next;
	*place = request;
	ask_next(d);
}

void control_host_hv_debug_info(struct daemon *d, struct ticket ticket, const void *message)
{
	const Protect__Control__Ref *ref = message;
	const struct zone *only = NULL;
	struct error err = ERROR_NULL;

	if (*ref->ref)
		only = zone_find(d, ref->ref, &err);
	if (!err.code && count_requests(d) >= REQUESTS_MAX)
		error_set(&err, -EBUSY, "%u requests to runners are under way; try again",
			  REQUESTS_MAX);
	if (!err.code && !only && d->n_zones > ZONES_ASKED_MAX)
		error_set(&err, -E2BIG, "there are more than %u zones; ask for one at a time",
			  ZONES_ASKED_MAX);
	if (err.code)
		server_fail_error(d, ticket, &err);
	else
		start(d, ticket, only);
}

void hv_debugs_free(struct daemon *d)
{
	while (d->hv_debugs)
		debug_free(d->hv_debugs);
}
