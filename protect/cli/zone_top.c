// SPDX-License-Identifier: Apache-2.0
/*
 * protect zone top: who uses what, again and again. On a terminal it takes the whole screen and
 * hears keys; otherwise, and with --batch, it prints one table after another. Every zone is asked
 * at the same time, and one that does not answer costs the others nothing but the wait for its
 * deadline.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/util.h"
#include "protect/cli/cli.h"
#include "protect/cli/connect.h"
#include "protect/cli/output.h"
#include "protect/cli/terminal.h"
#include "protect/cli/top_sample.h"

#define DELAY_S	     2u
#define DELAY_S_MAX  3600u
#define ROUNDS_MAX   1000000000u
#define HEAD_LINES   3u /* the line of keys, the table's head, and a last one that stays free */
#define SCREEN_BEGIN "\033[?1049h\033[?25l\033[?7l"
#define SCREEN_END   "\033[?7h\033[?25h\033[?1049l"
#define SCREEN_CLEAR "\033[H\033[J"
#define CELL_SIZE    32

static const char *const order_words[] = {
	[TOP_BY_CPU] = "cpu", [TOP_BY_MEMORY] = "memory", [TOP_BY_NAME] = "name", NULL};

const struct arg_option zone_top_options[ZONE_TOP_N_OPTIONS] = {
	OUTPUT_OPTION(struct zone_top_values),
	{'d', "delay", ARG_NUMBER, offsetof(struct zone_top_values, delay_s), "SECONDS",
	 "time between two looks (default 2)", 1, DELAY_S_MAX, NULL},
	{'n', "rounds", ARG_NUMBER, offsetof(struct zone_top_values, rounds), "N",
	 "leave after so many", 1, ROUNDS_MAX, NULL},
	{'s', "sort", ARG_STRING, offsetof(struct zone_top_values, order), "cpu|memory|name",
	 "who comes first (default cpu)", 0, 0, order_words},
	{'b', "batch", ARG_FLAG, offsetof(struct zone_top_values, batch), NULL,
	 "print and go on, as without a terminal", 0, 0, NULL},
};

static volatile sig_atomic_t is_over;

static void end(int signal)
{
	(void)signal;
	is_over = 1;
}

struct top {
	struct connection *connection;
	enum output_format format;
	enum top_order order;
	uint64_t delay_ns;
	bool screen;
};

static ProtobufCMessage *list(struct top *top, uint32_t method,
			      const ProtobufCMessageDescriptor *type)
{
	const Protect__Control__Empty empty = PROTECT__CONTROL__EMPTY__INIT;

	return connection_call(top->connection, method, &empty.base, type);
}

static bool is_asked(const Protect__Control__Zone *zone)
{
	return zone->state == PROTECT__CONTROL__ZONE_STATE_KIND__ZONE_READY && !zone->paused;
}

/* Returns false when the connection is lost or the command is to end. */
static bool wait_for(struct top *top, const struct reply *replies, size_t n)
{
	for (size_t i = 0; i < n && !is_over; i++)
		while (!replies[i].done && !is_over)
			if (connection_turn(top->connection, NULL, 0, -1) < 0)
				return false;
	return !is_over && !top->connection->lost;
}

/* Asks all that run for their figures, at once. Those that give none have none. */
static bool ask_zones(struct top *top, const Protect__Control__ZoneList *zones,
		      struct top_sample *sample)
{
	_cleanup_(freep) struct reply *replies = calloc(zones->n_zones + 1, sizeof(*replies));
	bool good = replies != NULL;

	for (size_t i = 0; good && i < zones->n_zones; i++) {
		Protect__Control__Ref ref = PROTECT__CONTROL__REF__INIT;

		ref.ref = zones->zones[i]->uuid;
		replies[i].done = !is_asked(zones->zones[i]);
		if (!replies[i].done)
			good = connection_start(top->connection, METHOD(ZONE_METRICS), &ref.base,
						&replies[i], NULL) == 0;
	}
	good = good && wait_for(top, replies, zones->n_zones);
	sample->when_ns = clock_now_ns();
	for (size_t i = 0; replies && i < zones->n_zones; i++) {
		Protect__Agent__Metrics *metrics =
			good && replies[i].payload
				? protect__agent__metrics__unpack(NULL, replies[i].len,
								  replies[i].payload)
				: NULL;

		if (metrics) {
			top_take(sample, zones->zones[i]->uuid, metrics);
			protect__agent__metrics__free_unpacked(metrics, NULL);
		}
	}
	if (!good) /* replies are still theirs until the connection is gone */
		top->connection = connection_free(top->connection);
	for (size_t i = 0; replies && i < zones->n_zones; i++)
		reply_deinit(&replies[i]);
	return good;
}

static bool look(struct top *top, struct top_sample *sample)
{
	_cleanup_(message_freep) ProtobufCMessage *zones_message =
		list(top, METHOD(ZONE_LIST), &protect__control__zone_list__descriptor);
	_cleanup_(message_freep) ProtobufCMessage *workloads_message =
		zones_message ? list(top, METHOD(WORKLOAD_LIST),
				     &protect__control__workload_list__descriptor)
			      : NULL;
	const Protect__Control__ZoneList *zones = (const void *)zones_message;
	const Protect__Control__WorkloadList *workloads = (const void *)workloads_message;
	int r = 0;

	if (!workloads)
		return false;
	for (size_t i = 0; r == 0 && i < zones->n_zones; i++)
		r = top_add_zone(sample, zones->zones[i]);
	for (size_t i = 0; r == 0 && i < workloads->n_workloads; i++)
		if (workloads->workloads[i]->state ==
		    PROTECT__CONTROL__WORKLOAD_STATE_KIND__WORKLOAD_RUNNING)
			r = top_add_workload(sample, workloads->workloads[i]);
	if (r < 0) {
		output_error("out of memory");
		return false;
	}
	return ask_zones(top, zones, sample);
}

/* "1.5G"; "-" for what is not known. */
static void size_cell(const json_t *value, char cell[static CELL_SIZE])
{
	static const char units[] = "BKMGTPE";
	double size = json_number_value(value);
	size_t unit = 0;

	while (size >= 1024 && units[unit + 1]) {
		size /= 1024;
		unit++;
	}
	if (!json_is_number(value))
		snprintf(cell, CELL_SIZE, "-");
	else
		snprintf(cell, CELL_SIZE, unit && size < 100 ? "%.1f%c" : "%.0f%c", size,
			 units[unit]);
}

static void set_cell(json_t *row, const char *key)
{
	char cell[CELL_SIZE];

	size_cell(json_object_get(row, key), cell);
	json_object_set_new(row, key, json_string(cell));
}

/* As a person reads it: workloads are set in, sizes have units. */
static void make_readable(json_t *row)
{
	const json_t *cpu = json_object_get(row, "cpu_percent");
	char name[TOP_NAME_SIZE + 2], cell[CELL_SIZE];

	if (strcmp(json_string_value(json_object_get(row, "kind")), "workload") == 0) {
		snprintf(name, sizeof(name), "  %s",
			 json_string_value(json_object_get(row, "name")));
		json_object_set_new(row, "name", json_string(name));
	}
	snprintf(cell, sizeof(cell), json_is_number(cpu) ? "%.1f" : "-", json_number_value(cpu));
	json_object_set_new(row, "cpu_percent", json_string(cell));
	set_cell(row, "memory_bytes");
	set_cell(row, "memory_total_bytes");
	set_cell(row, "read_bytes_per_s");
	set_cell(row, "written_bytes_per_s");
}

static int show(const struct top *top, const struct top_sample *before,
		const struct top_sample *now)
{
	static const struct output_column columns[] = {
		{"NAME", "name"},
		{"CPU%", "cpu_percent"},
		{"MEMORY", "memory_bytes"},
		{"OF", "memory_total_bytes"},
		{"TASKS", "tasks"},
		{"READ/S", "read_bytes_per_s"},
		{"WRITTEN/S", "written_bytes_per_s"},
	};
	json_t *rows = top_rows(before, now, top->order), *row;
	uint32_t lines = UINT32_MAX, width;
	size_t i;

	if (top->screen) {
		terminal_size(&lines, &width);
		lines = lines > HEAD_LINES ? lines - HEAD_LINES : 1;
		printf(SCREEN_CLEAR "%zu running; by %s: c cpu, m memory, n name; q leaves\n",
		       now->n, order_words[top->order]);
	}
	while (json_array_size(rows) > lines)
		json_array_remove(rows, json_array_size(rows) - 1);
	if (rows && top->format == OUTPUT_TABLE)
		json_array_foreach(rows, i, row) make_readable(row);
	return output_list(top->format, rows, columns, ARRAY_SIZE(columns));
}

/* Returns whether what is shown changes at once. */
static bool take_key(struct top *top)
{
	char key = 'q';

	if (read(STDIN_FILENO, &key, 1) != 1 || key == 'q')
		is_over = 1;
	else if (key == 'c')
		top->order = TOP_BY_CPU;
	else if (key == 'm')
		top->order = TOP_BY_MEMORY;
	else if (key == 'n')
		top->order = TOP_BY_NAME;
	else
		return false;
	return true;
}

/* Until the next look, or until a key or another size of the screen wants it shown anew: then true.
 */
static bool rest(struct top *top, uint64_t until_ns)
{
	struct pollfd key = {.fd = top->screen ? STDIN_FILENO : -1, .events = POLLIN};
	uint64_t now_ns;

	while (!is_over && (now_ns = clock_now_ns()) < until_ns) {
		int n = poll(&key, 1, (int)((until_ns - now_ns) / NS_PER_MS + 1));

		if ((n > 0 && take_key(top)) || (n < 0 && top->screen))
			return !is_over;
	}
	return false;
}

/* Rates need two looks, so the first is not shown. */
static int run(struct top *top, uint64_t rounds)
{
	struct top_sample before = {0}, now = {0};
	int status = look(top, &before) ? CLI_OK : CLI_ERROR;

	for (uint64_t round = 0; status == CLI_OK && !is_over && round < rounds; round++) {
		while (round > 0 && rest(top, now.when_ns + top->delay_ns))
			show(top, &before, &now);
		if (round == 0)
			rest(top, before.when_ns + top->delay_ns);
		if (is_over)
			break;
		if (round > 0) {
			top_sample_deinit(&before);
			before = now;
			now = (struct top_sample){0};
		}
		if (!look(top, &now))
			status = is_over ? CLI_OK : CLI_ERROR;
		else
			status = show(top, &before, &now);
	}
	top_sample_deinit(&before);
	top_sample_deinit(&now);
	return status;
}

static void watch_signals(void)
{
	struct sigaction action = {.sa_handler = end}; /* without SA_RESTART: it ends a wait */

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
}

static enum top_order find_order(const char *word)
{
	enum top_order order = TOP_BY_CPU;

	for (unsigned i = 0; word && order_words[i]; i++)
		if (strcmp(word, order_words[i]) == 0)
			order = (enum top_order)i;
	return order;
}

int zone_top_run(const struct args *args, void *values)
{
	const struct zone_top_values *v = values;
	struct terminal terminal = TERMINAL_NULL;
	struct top top = {.format = output_format(v->output),
			  .order = find_order(v->order),
			  .delay_ns = (v->delay_s ? v->delay_s : DELAY_S) * NS_PER_S};
	int status;

	(void)args;
	top.connection = connection_new();
	if (!top.connection)
		return CLI_ERROR;
	watch_signals();
	top.screen = !v->batch && top.format == OUTPUT_TABLE && isatty(STDOUT_FILENO) &&
		     isatty(STDIN_FILENO);
	if (top.screen) {
		terminal_read_keys(&terminal);
		fputs(SCREEN_BEGIN, stdout);
	}
	status = run(&top, v->rounds ? v->rounds : ROUNDS_MAX);
	if (top.screen) {
		fputs(SCREEN_END, stdout);
		fflush(stdout);
		terminal_restore(&terminal);
	}
	connection_free(top.connection);
	return status;
}
