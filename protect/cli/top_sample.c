// SPDX-License-Identifier: Apache-2.0
#include "protect/cli/top_sample.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/util.h"
#include "protect/cli/output.h"

#define UNKNOWN	   (-1.0)
#define FIGURE_MAX 1e18 /* more than any sum of bytes or ns that is true */
#define WORKLOAD   "workload."

struct row {
	const struct top_item *item;
	double cpu_percent, read_per_s, written_per_s;
};

void top_sample_deinit(struct top_sample *sample)
{
	free(sample->items);
	*sample = (struct top_sample){0};
}

static struct top_item *add(struct top_sample *sample, const char *uuid, const char *zone,
			    const char *name)
{
	struct top_item *item;

	if (sample->n == sample->room) {
		size_t room = sample->room ? 2 * sample->room : 16;
		struct top_item *grown = reallocarray(sample->items, room, sizeof(*grown));

		if (!grown)
			return NULL;
		sample->items = grown;
		sample->room = room;
	}
	item = &sample->items[sample->n++];
	*item = (struct top_item){.memory_total_bytes = UNKNOWN,
				  .memory_available_bytes = UNKNOWN,
				  .cpu_ns = UNKNOWN,
				  .memory_bytes = UNKNOWN,
				  .tasks = UNKNOWN,
				  .read_bytes = UNKNOWN,
				  .written_bytes = UNKNOWN};
	snprintf(item->uuid, sizeof(item->uuid), "%s", uuid);
	snprintf(item->zone, sizeof(item->zone), "%s", zone);
	snprintf(item->name, sizeof(item->name), "%s", name);
	return item;
}

int top_add_zone(struct top_sample *sample, const Protect__Control__Zone *zone)
{
	struct top_item *item = add(sample, zone->uuid, zone->uuid, zone->name);

	if (!item)
		return -ENOMEM;
	item->is_zone = true;
	return 0;
}

int top_add_workload(struct top_sample *sample, const Protect__Control__Workload *workload)
{
	return add(sample, workload->uuid, workload->zone, workload->name) ? 0 : -ENOMEM;
}

static struct top_item *find(const struct top_sample *sample, const char *uuid, size_t len)
{
	for (size_t i = 0; i < sample->n; i++)
		if (strlen(sample->items[i].uuid) == len &&
		    memcmp(sample->items[i].uuid, uuid, len) == 0)
			return &sample->items[i];
	return NULL;
}

static void sum(double *total, double value)
{
	*total = (*total < 0 ? 0 : *total) + value;
}

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);

	return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

static void take_of_zone(struct top_item *zone, const char *name, double value)
{
	static const char *const busy[] = {"cpu.user_ns", "cpu.nice_ns", "cpu.system_ns",
					   "cpu.irq_ns", "cpu.softirq_ns"};

	for (size_t i = 0; i < ARRAY_SIZE(busy); i++)
		if (strcmp(name, busy[i]) == 0)
			sum(&zone->cpu_ns, value);
	if (strcmp(name, "memory.total_bytes") == 0)
		zone->memory_total_bytes = value;
	else if (strcmp(name, "memory.available_bytes") == 0)
		zone->memory_available_bytes = value;
	else if (strcmp(name, "processes.count") == 0)
		zone->tasks = value;
	else if (strncmp(name, "disks.", strlen("disks.")) == 0 && ends_with(name, ".read_bytes"))
		sum(&zone->read_bytes, value);
	else if (strncmp(name, "disks.", strlen("disks.")) == 0 &&
		 ends_with(name, ".written_bytes"))
		sum(&zone->written_bytes, value);
}

static void take_of_workload(struct top_item *workload, const char *name, double value)
{
	if (strcmp(name, "cpu.usage_ns") == 0)
		workload->cpu_ns = value;
	else if (strcmp(name, "memory.current_bytes") == 0)
		workload->memory_bytes = value;
	else if (strcmp(name, "processes.count") == 0)
		workload->tasks = value;
}

void top_take(struct top_sample *sample, const char *zone, const Protect__Agent__Metrics *metrics)
{
	struct top_item *item = find(sample, zone, strlen(zone)), *workload;

	for (size_t i = 0; item && i < metrics->n_metrics; i++) {
		const char *name = metrics->metrics[i]->name, *dot;
		double value = metrics->metrics[i]->value;

		if (!(value >= 0 && value <= FIGURE_MAX))
			continue;
		if (strncmp(name, WORKLOAD, strlen(WORKLOAD)) != 0) {
			take_of_zone(item, name, value);
			continue;
		}
		name += strlen(WORKLOAD);
		dot = strchr(name, '.');
		workload = dot ? find(sample, name, (size_t)(dot - name)) : NULL;
		/* No zone speaks for another's. */
		if (workload && strcmp(workload->zone, zone) == 0)
			take_of_workload(workload, dot + 1, value);
	}
	if (item && item->memory_available_bytes >= 0 &&
	    item->memory_total_bytes >= item->memory_available_bytes)
		item->memory_bytes = item->memory_total_bytes - item->memory_available_bytes;
}

/* How much a second; a counter that went back belongs to one that was started again. */
static double rate(double before, double now, double seconds)
{
	return before < 0 || now < before || seconds <= 0 ? UNKNOWN : (now - before) / seconds;
}

static struct row make_row(const struct top_sample *before, const struct top_sample *now,
			   const struct top_item *item)
{
	const struct top_item *old = find(before, item->uuid, strlen(item->uuid));
	double seconds = (double)(now->when_ns - before->when_ns) / (double)NS_PER_S;
	struct row row = {item, UNKNOWN, UNKNOWN, UNKNOWN};

	if (!old)
		return row;
	row.cpu_percent = rate(old->cpu_ns, item->cpu_ns, seconds);
	if (row.cpu_percent > 0)
		row.cpu_percent = row.cpu_percent * 100 / (double)NS_PER_S;
	row.read_per_s = rate(old->read_bytes, item->read_bytes, seconds);
	row.written_per_s = rate(old->written_bytes, item->written_bytes, seconds);
	return row;
}

static int by_name(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return strcmp(x->item->name, y->item->name);
}

static int by_value(double x, double y, const void *a, const void *b)
{
	return x == y ? by_name(a, b) : x < y ? 1 : -1;
}

static int by_cpu(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return by_value(x->cpu_percent, y->cpu_percent, a, b);
}

static int by_memory(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return by_value(x->item->memory_bytes, y->item->memory_bytes, a, b);
}

static json_t *number(double value)
{
	return value < 0 ? json_null() : json_real(value);
}

static json_t *whole(double value)
{
	return value < 0 ? json_null() : json_integer((json_int_t)value);
}

static json_t *row_json(const struct row *row, const char *zone)
{
	const struct top_item *item = row->item;

	return json_pack("{s:s, s:o, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "kind",
			 item->is_zone ? "zone" : "workload", "name", output_text(item->name),
			 "zone", output_text(zone), "uuid", item->uuid, "cpu_percent",
			 number(round(row->cpu_percent * 10) / 10), "memory_bytes",
			 whole(item->memory_bytes), "memory_total_bytes",
			 whole(item->memory_total_bytes), "tasks", whole(item->tasks),
			 "read_bytes_per_s", whole(row->read_per_s), "written_bytes_per_s",
			 whole(row->written_per_s));
}

json_t *top_rows(const struct top_sample *before, const struct top_sample *now,
		 enum top_order order)
{
	static int (*const compare[])(const void *, const void *) = {
		[TOP_BY_CPU] = by_cpu, [TOP_BY_MEMORY] = by_memory, [TOP_BY_NAME] = by_name};
	_cleanup_(freep) struct row *rows = calloc(now->n + 1, sizeof(*rows));
	json_t *array = json_array();

	if (!rows || !array) {
		json_decref(array);
		return NULL;
	}
	for (size_t i = 0; i < now->n; i++)
		rows[i] = make_row(before, now, &now->items[i]);
	qsort(rows, now->n, sizeof(*rows), compare[order]);
	for (size_t z = 0; z < now->n; z++) {
		if (!rows[z].item->is_zone)
			continue;
		json_array_append_new(array, row_json(&rows[z], rows[z].item->name));
		for (size_t w = 0; w < now->n; w++)
			if (!rows[w].item->is_zone &&
			    strcmp(rows[w].item->zone, rows[z].item->uuid) == 0)
				json_array_append_new(array,
						      row_json(&rows[w], rows[z].item->name));
	}
	return array;
}
