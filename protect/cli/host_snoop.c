// SPDX-License-Identifier: Apache-2.0
/*
 * protect host idm-snoop: the daemon sends a JSON object a line, which are printed in one of three
 * forms. Text waits here until standard output takes it, and only then is more asked for, so a
 * reader that stops makes the daemon drop packets (and say so) instead of piling them up. Ends at
 * Ctrl-C, at a closed pipe, or with the daemon. Main thread only.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "protect/cli/cli.h"
#include "protect/cli/connect.h"
#include "protect/cli/output.h"

#define LAST_WAIT_MS 500 /* for a reader, at the end */

static const char *const snoop_words[] = {"simple", "json", "jsonl", NULL};

const struct arg_option host_snoop_options[HOST_SNOOP_N_OPTIONS] = {
	{'o', "output", ARG_STRING, offsetof(struct host_snoop_values, output), "simple|json|jsonl",
	 "how to print it (default: simple)", 0, 0, snoop_words},
	{'z', "zone", ARG_STRING, offsetof(struct host_snoop_values, zone), "ZONE",
	 "only of this zone, which need not be there yet", 0, 0, NULL},
};

struct snoop {
	struct connection *connection;
	struct idm_stream *stream; /* NULL once it is over */
	bool closed;
	bool simple, array, first;
	char in[IDM_WINDOW]; /* bytes of the daemon that are no whole line yet */
	size_t in_len;
	size_t owed; /* bytes whose credit was not given back */
	char *out;   /* text that standard output did not take yet */
	size_t out_start, out_len, out_size;
	int status; /* what ended it, or -1 */
};

static bool print(struct snoop *s, const char *text, size_t len)
{
	if (!len)
		return true;
	if (s->out_len + len > s->out_size) {
		size_t size = 2 * (s->out_len + len);
		char *out = realloc(s->out, size);

		if (!out)
			return false;
		s->out = out;
		s->out_size = size;
	}
	memcpy(s->out + s->out_len, text, len);
	s->out_len += len;
	return true;
}

static const char *string_of(const json_t *line, const char *key)
{
	const char *text = json_string_value(json_object_get(line, key));

	return text ? text : "";
}

/* What is left of a line once its usual members stand in front: message, data, window, error … */
static char *rest_of(json_t *line)
{
	static const char *const shown[] = {"time", "zone",   "uuid",  "direction", "form",
					    "id",   "method", "event", "stream",    "note"};

	for (unsigned i = 0; i < ARRAY_SIZE(shown); i++)
		json_object_del(line, shown[i]);
	return json_object_size(line) ? json_dumps(line, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
}

/* A number or a name that was one to the daemon. */
static void word(const json_t *line, const char *key, const char *before, char *out, size_t size)
{
	const json_t *value = json_object_get(line, key);
	size_t used = strlen(out);

	if (json_is_string(value))
		snprintf(out + used, size - used, " %s%.60s", before, json_string_value(value));
	else if (json_is_integer(value))
		snprintf(out + used, size - used, " %s%lld", before,
			 (long long)json_integer_value(value));
}

static bool print_simple(struct snoop *s, json_t *line)
{
	const char *at = string_of(line, "time"), *clock = strchr(at, 'T');
	const char *direction = string_of(line, "direction");
	char head[512];
	_cleanup_(freep) char *rest = NULL;

	snprintf(head, sizeof(head), "%.15s %.64s %s", clock ? clock + 1 : "-",
		 *string_of(line, "zone") ? string_of(line, "zone") : "-",
		 !*direction			     ? "--"
		 : strcmp(direction, "to-zone") == 0 ? "->"
						     : "<-");
	word(line, "form", "", head, sizeof(head));
	word(line, "stream", "", head, sizeof(head));
	word(line, "id", "#", head, sizeof(head));
	word(line, "method", "", head, sizeof(head));
	word(line, "event", "", head, sizeof(head));
	word(line, "note", "", head, sizeof(head));
	output_clean(head);
	rest = rest_of(line);
	return print(s, head, strlen(head)) && (!rest || print(s, " ", 1)) &&
	       (!rest || print(s, rest, strlen(rest))) && print(s, "\n", 1);
}

static bool print_json(struct snoop *s, const json_t *line)
{
	size_t flags = s->array ? JSON_INDENT(2) : JSON_COMPACT;
	_cleanup_(freep) char *text = json_dumps(line, flags | JSON_ENSURE_ASCII);
	const char *before = s->array && !s->first ? ",\n" : "";

	s->first = false;
	return text && print(s, before, strlen(before)) && print(s, text, strlen(text)) &&
	       (s->array || print(s, "\n", 1));
}

static void got_line(struct snoop *s, const char *text, size_t len)
{
	json_t *line = json_loadb(text, len, 0, NULL);
	bool good = false;

	if (json_is_object(line))
		good = s->simple ? print_simple(s, line) : print_json(s, line);
	else
		output_error("the daemon sent a line that cannot be read; are protect and "
			     "protect-daemon of one version?");
	json_decref(line);
	if (!good)
		s->status = CLI_ERROR;
}

static void got_data(void *user, struct idm_stream *stream, const void *data, size_t len)
{
	struct snoop *s = user;
	size_t start = 0;
	char *end;

	(void)stream;
	if (s->in_len + len > sizeof(s->in)) {
		output_error("the daemon sent a line that is too long");
		s->status = CLI_ERROR;
		return;
	}
	memcpy(s->in + s->in_len, data, len);
	s->in_len += len;
	s->owed += len;
	while (s->status < 0 && (end = memchr(s->in + start, '\n', s->in_len - start))) {
		got_line(s, s->in + start, (size_t)(end - s->in) - start);
		start = (size_t)(end - s->in) + 1;
	}
	memmove(s->in, s->in + start, s->in_len - start);
	s->in_len -= start;
}

static void got_end(void *user, struct idm_stream *stream, int error)
{
	struct snoop *s = user;

	(void)stream;
	s->closed = true;
	if (error)
		s->stream = NULL;
}

/* Bytes count as used once standard output has all that was made of them. */
static void give_credit(struct snoop *s)
{
	if (!s->stream || s->out_start < s->out_len || s->owed <= s->in_len)
		return;
	idm_stream_consumed(s->stream, s->owed - s->in_len);
	s->owed = s->in_len;
}

static void write_out(struct snoop *s)
{
	size_t len = s->out_len - s->out_start;
	ssize_t n = write(STDOUT_FILENO, s->out + s->out_start, len < PIPE_BUF ? len : PIPE_BUF);

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		s->status = errno == EPIPE ? 128 + SIGPIPE : CLI_ERROR;
		if (errno != EPIPE)
			output_error("cannot write the output: %s", strerror(errno));
	}
	if (n > 0)
		s->out_start += (size_t)n;
	if (s->out_start == s->out_len)
		s->out_start = s->out_len = 0;
}

static int open_signals(void)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* The rest, as long as there is somebody who takes it. */
static void flush(struct snoop *s)
{
	struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};

	while (s->status <= CLI_OK && s->out_start < s->out_len && poll(&out, 1, LAST_WAIT_MS) > 0)
		write_out(s);
}

/* Moves what can move. Returns false when it is over. */
static bool turn(struct snoop *s, int signals, const struct reply *reply)
{
	bool waits = s->out_start < s->out_len;
	struct pollfd polls[2] = {
		{.fd = signals, .events = POLLIN},
		/* A pipe that nobody reads any more tells so without being asked. */
		{.fd = STDOUT_FILENO, .events = (short)(waits ? POLLOUT : 0)},
	};

	if (connection_turn(s->connection, polls, ARRAY_SIZE(polls), -1) < 0)
		s->stream = NULL;
	if (polls[0].revents)
		s->status = CLI_OK;
	if (polls[1].revents & POLLOUT)
		write_out(s);
	else if (polls[1].revents)
		s->status = 128 + SIGPIPE;
	give_credit(s);
	return s->status < 0 && !(reply->done && s->out_start == s->out_len);
}

/* The end of it: a whole array, whatever ended it. Returns the exit status. */
static int finish(struct snoop *s, const struct reply *reply)
{
	if (s->stream)
		idm_stream_reset(s->stream, -ECANCELED);
	s->stream = NULL;
	if (s->status > CLI_OK)
		return s->status;
	if (s->array && (s->status == CLI_OK || !reply->error || !s->first))
		print(s, "\n]\n", 3);
	flush(s);
	if (s->status >= CLI_OK)
		return s->status;
	if (reply->error)
		reply_print_error(reply);
	return reply->error ? CLI_ERROR : CLI_OK;
}

static int look_on(struct snoop *s, const char *zone, struct reply *reply)
{
	static const struct idm_stream_ops ops = {got_data, NULL, got_end};
	_cleanup_(close_fdp) int signals = open_signals();
	Protect__Control__Snoop request = PROTECT__CONTROL__SNOOP__INIT;

	if (signals < 0 ||
	    idm_stream_open(s->connection->idm, IDM_WINDOW, &ops, s, &s->stream) < 0) {
		output_error("cannot open a stream of the daemon");
		return CLI_ERROR;
	}
	request.ref = (char *)(uintptr_t)(zone ? zone : "");
	request.stream = idm_stream_number(s->stream);
	if (connection_start(s->connection, METHOD(HOST_IDM_SNOOP), &request.base, reply, NULL) < 0)
		return CLI_ERROR;
	if (s->array && !print(s, "[\n", 2))
		return CLI_ERROR;
	while (turn(s, signals, reply))
		;
	return finish(s, reply);
}

int host_snoop_run(const struct args *args, void *values)
{
	const struct host_snoop_values *options = values;
	const char *word_of = options->output ? options->output : snoop_words[0];
	struct snoop *s = calloc(1, sizeof(*s));
	struct reply reply = {0};
	int status = CLI_ERROR;

	(void)args;
	if (!s) {
		output_error("out of memory");
		return CLI_ERROR;
	}
	s->status = -1;
	s->first = true;
	s->simple = strcmp(word_of, "simple") == 0;
	s->array = strcmp(word_of, "json") == 0;
	s->connection = connection_new();
	if (s->connection)
		status = look_on(s, options->zone, &reply);
	s->connection = connection_free(s->connection);
	reply_deinit(&reply);
	free(s->out);
	free(s);
	return status;
}
