// SPDX-License-Identifier: Apache-2.0
#include "protect/cli/args.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "protect/cli/output.h"

#define OPTIONS_MAX 64
#define LETTERS_MAX (3 + 2 * OPTIONS_MAX)
#define LONG_ONLY   256 /* + index: what getopt_long returns for an option without a letter */

int args_number(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	uint64_t value = 0;

	if (!*text)
		return -EINVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
			return -ERANGE;
	}
	if (value < min || value > max)
		return -ERANGE;
	*out = value;
	return 0;
}

int args_usage_error(const struct args *args, const char *format, ...)
{
	char text[512];
	va_list list;

	va_start(list, format);
	vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	output_error("%s; see 'protect %s %s --help'", text, args->group, args->command->name);
	return CLI_USAGE;
}

int args_check_env(const struct args *args, const struct arg_list *env)
{
	for (size_t i = 0; i < env->n; i++) {
		const char *equals = strchr(env->items[i], '=');

		if (!equals || equals == env->items[i]) {
			args_usage_error(args, "the environment variable '%s' is not KEY=VALUE",
					 env->items[i]);
			return -EINVAL;
		}
	}
	return 0;
}

static void print_option(const struct arg_option *option)
{
	char left[64];
	char letter[8] = "    ";

	if (option->letter)
		snprintf(letter, sizeof(letter), "-%c, ", option->letter);
	snprintf(left, sizeof(left), "%s--%s%s%s", letter, option->name,
		 option->kind == ARG_FLAG ? "" : " ",
		 option->kind == ARG_FLAG ? "" : option->value);
	printf("  %-28s %s\n", left, option->help);
}

void args_help(const char *group, const struct command *command)
{
	printf("usage: protect %s %s%s%s\n\n%s\n", group, command->name, *command->usage ? " " : "",
	       command->usage, command->summary);
	printf("\nOptions:\n");
	for (size_t i = 0; i < command->n_options; i++)
		print_option(&command->options[i]);
	printf("  %-28s %s\n", "-h, --help", "show this help");
	if (command->details)
		printf("\n%s", command->details);
}

static int set_number(const struct args *args, const struct arg_option *option, void *value)
{
	int r = args_number(optarg, option->min, option->max, value);

	if (r == -EINVAL)
		return args_usage_error(args, "--%s: '%s' is not a number", option->name, optarg);
	if (r < 0)
		return args_usage_error(args, "--%s: %s is not between %llu and %llu", option->name,
					optarg, (unsigned long long)option->min,
					(unsigned long long)option->max);
	return CLI_OK;
}

static int set_string(const struct args *args, const struct arg_option *option, const char **value)
{
	const char *const *word = option->words;

	while (word && *word && strcmp(*word, optarg) != 0)
		word++;
	if (word && !*word)
		return args_usage_error(args, "--%s: '%s' is not one of %s", option->name, optarg,
					option->value);
	*value = optarg;
	return CLI_OK;
}

static int add_item(struct arg_list *list)
{
	char **items = reallocarray(list->items, list->n + 1, sizeof(*items));

	if (!items) {
		output_error("out of memory");
		return CLI_ERROR;
	}
	list->items = items;
	list->items[list->n++] = optarg;
	return CLI_OK;
}

static int set_option(const struct args *args, const struct arg_option *option, void *values)
{
	void *value = (char *)values + option->offset;

	switch (option->kind) {
	case ARG_FLAG:
		*(bool *)value = true;
		return CLI_OK;
	case ARG_STRING:
		return set_string(args, option, value);
	case ARG_NUMBER:
		return set_number(args, option, value);
	case ARG_LIST:
		return add_item(value);
	}
	return CLI_ERROR;
}

/* Fills what getopt_long() wants; '-' gives operands in their place, ':' tells a missing value
 * apart. */
static void make_getopt(const struct command *command, char *letters, struct option *longs)
{
	char *at = stpcpy(letters, "-:h");
	size_t i;

	for (i = 0; i < command->n_options; i++) {
		const struct arg_option *option = &command->options[i];
		bool has_value = option->kind != ARG_FLAG;

		if (option->letter) {
			*at++ = option->letter;
			if (has_value)
				*at++ = ':';
		}
		longs[i] =
			(struct option){option->name, has_value ? required_argument : no_argument,
					NULL, LONG_ONLY + (int)i};
	}
	*at = '\0';
	longs[i++] = (struct option){"help", no_argument, NULL, 'h'};
	longs[i] = (struct option){0};
}

static const struct arg_option *find_option(const struct command *command, int c)
{
	if (c >= LONG_ONLY)
		return &command->options[c - LONG_ONLY];
	for (size_t i = 0; i < command->n_options; i++)
		if (command->options[i].letter == c)
			return &command->options[i];
	return NULL;
}

static int bad_option(const struct args *args, int c, char **argv)
{
	const char *word = argv[optind - 1];
	bool is_long = strncmp(word, "--", 2) == 0;
	const char *what = c == ':' ? "lacks its value" : "is unknown, ambiguous or takes no value";
	int name_len = (int)strcspn(word, "=");

	if (c != ':' && !is_long)
		what = "is unknown";
	if (is_long)
		return args_usage_error(args, "option '%.*s' %s", name_len, word, what);
	return args_usage_error(args, "option '-%c' %s", optopt, what);
}

/* One option or operand. Returns CLI_OK, another status, or -1 when help was shown. */
static int take(struct args *args, int c, char **argv, void *values)
{
	const struct arg_option *option;

	if (c == 'h') {
		args_help(args->group, args->command);
		return -1;
	}
	if (c == 1) {
		args->operands[args->n_operands++] = optarg;
		return CLI_OK;
	}
	option = c == '?' || c == ':' ? NULL : find_option(args->command, c);
	return option ? set_option(args, option, values) : bad_option(args, c, argv);
}

static int check_counts(const struct args *args)
{
	const struct command *command = args->command;

	if (args->n_operands < command->operands_min)
		return args_usage_error(args, "too few arguments (usage: %s)", command->usage);
	if (args->n_operands > command->operands_max)
		return args_usage_error(args, "'%s' is one argument too many%s",
					args->operands[command->operands_max],
					command->has_tail ? " (the command goes behind --)" : "");
	if (args->n_tail && !command->has_tail)
		return args_usage_error(args, "'%s' is one argument too many", args->tail[0]);
	if (!args->n_tail && command->needs_tail)
		return args_usage_error(args, "the command to run is missing, behind --");
	return CLI_OK;
}

static int parse(struct args *args, int argc, char **argv, void *values)
{
	struct option longs[OPTIONS_MAX + 2];
	char letters[LETTERS_MAX + 1];
	int c, status = CLI_OK;

	make_getopt(args->command, letters, longs);
	optind = 0; /* GNU: start anew */
	opterr = 0;
	while (!status && (c = getopt_long(argc, argv, letters, longs, NULL)) != -1)
		status = take(args, c, argv, values);
	if (status)
		return status;
	args->tail = argv + optind;
	args->n_tail = (size_t)(argc - optind);
	return check_counts(args);
}

static void free_lists(const struct command *command, void *values)
{
	for (size_t i = 0; i < command->n_options; i++)
		if (command->options[i].kind == ARG_LIST)
			free(((struct arg_list *)(void *)((char *)values +
							  command->options[i].offset))
				     ->items);
}

int args_run(const char *group, const struct command *command, int argc, char **argv)
{
	struct args args = {.command = command, .group = group};
	_cleanup_(freep) void *values = calloc(1, command->values_size + 1);
	_cleanup_(freep) char **operands = calloc((size_t)argc + 1, sizeof(*operands));
	int status;

	if (!values || !operands) {
		output_error("out of memory");
		return CLI_ERROR;
	}
	args.operands = operands;
	status = parse(&args, argc, argv, values);
	if (!status)
		status = command->run(&args, values);
	free_lists(command, values);
	return status < 0 ? CLI_OK : status;
}
