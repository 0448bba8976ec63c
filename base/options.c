// SPDX-License-Identifier: Apache-2.0
#include "base/options.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_ID 256 /* + place in the table: what getopt_long() gives */

static bool takes_value(const struct option_entry *entry)
{
	return entry->kind != OPTION_SET && entry->kind != OPTION_CLEAR;
}

static void print_help(const char *program, const struct option_entry *table, size_t n)
{
	printf("usage: %s [options]\n", program);
	for (size_t i = 0; i < n; i++)
		printf("  --%s%s%-*s  %s\n", table[i].name, takes_value(&table[i]) ? " " : "",
		       (int)((takes_value(&table[i]) ? 22 : 23) - strlen(table[i].name)),
		       takes_value(&table[i]) ? table[i].value : "", table[i].help);
}

static int parse_number(const char *program, const struct option_entry *entry, uint32_t *out)
{
	unsigned long long value;
	char *end;

	errno = 0;
	value = strtoull(optarg, &end, 10);
	if (errno || optarg[0] < '0' || optarg[0] > '9' || *end || value < entry->min ||
	    value > entry->max) {
		fprintf(stderr, "%s: --%s: '%s' is not a number from %u to %u\n", program,
			entry->name, optarg, entry->min, entry->max);
		return -EINVAL;
	}
	*out = (uint32_t)value;
	return 0;
}

static int take(const char *program, const struct option_entry *entry, void *values)
{
	void *place = (char *)values + entry->offset;
	uint32_t number = 0;

	switch (entry->kind) {
	case OPTION_TEXT:
		*(const char **)place = optarg;
		return 0;
	case OPTION_U32:
		return parse_number(program, entry, place);
	case OPTION_U64:
		if (parse_number(program, entry, &number) < 0)
			return -EINVAL;
		*(uint64_t *)place = number;
		return 0;
	case OPTION_SET:
	case OPTION_CLEAR:
		*(bool *)place = entry->kind == OPTION_SET;
		return 0;
	}
	return -EINVAL;
}

int options_parse(const char *program, const struct option_entry *table, size_t n, int argc,
		  char **argv, void *values)
{
	struct option longs[OPTIONS_MAX + 2] = {0};
	int id;

	assert(n <= OPTIONS_MAX);
	for (size_t i = 0; i < n; i++)
		longs[i] = (struct option){table[i].name,
					   takes_value(&table[i]) ? required_argument : no_argument,
					   NULL, FIRST_ID + (int)i};
	longs[n] = (struct option){"help", no_argument, NULL, 'h'};
	while ((id = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (id == 'h') {
			print_help(program, table, n);
			exit(EXIT_SUCCESS);
		}
		if (id < FIRST_ID || take(program, &table[id - FIRST_ID], values) < 0)
			return -EINVAL;
	}
	if (optind == argc)
		return 0;
	fprintf(stderr, "%s: unknown argument '%s'\n", program, argv[optind]);
	return -EINVAL;
}
