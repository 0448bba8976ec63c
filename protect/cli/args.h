// SPDX-License-Identifier: Apache-2.0
/*
 * The command line: what a command is, its options as a table, and their parsing with
 * getopt_long(3). Options may stand anywhere before `--`; what comes after `--` is the tail, a
 * command for a zone, and is never looked at. Help and completion are made from the same tables, so
 * they cannot say something else. Main thread only. Everything points into argv.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLI_OK		0
#define CLI_ERROR	1
#define CLI_USAGE	2
#define CLI_EXEC_FAILED 125 /* exec and attach: Protect itself failed */

enum arg_kind {
	ARG_FLAG,   /* bool */
	ARG_STRING, /* const char * */
	ARG_NUMBER, /* uint64_t, min to max */
	ARG_LIST,   /* struct arg_list: may be given again */
};

struct arg_list {
	char **items; /* each points into argv */
	size_t n;
};

struct arg_option {
	char letter; /* 0 = none */
	const char *name;
	enum arg_kind kind;
	size_t offset;	   /* of the value in the command's values */
	const char *value; /* how help calls the value */
	const char *help;
	uint64_t min, max;	  /* ARG_NUMBER */
	const char *const *words; /* ARG_STRING: the only ones allowed, up to NULL; or NULL */
};

struct args;

struct command {
	const char *name;  /* one word, or two: "reservation list" */
	const char *usage; /* what follows the name: "[OPTION…] ZONE" */
	const char *summary;
	const char *details; /* paragraphs and examples; may be NULL */
	const struct arg_option *options;
	size_t n_options;
	size_t values_size;
	unsigned operands_min, operands_max;
	bool has_tail; /* takes `-- COMMAND…` */
	bool needs_tail;
	/* values: values_size bytes, zero where nothing was given. Returns the exit status. */
	int (*run)(const struct args *args, void *values);
};

struct command_group {
	const char *name;
	const char *summary;
	const struct command *commands;
	size_t n_commands;
};

struct args {
	const struct command *command;
	const char *group;
	char **operands;
	size_t n_operands;
	char **tail;
	size_t n_tail;
};

#define OPTIONS(table, type)                                                                       \
	.options = (table), .n_options = sizeof(table) / sizeof((table)[0]),                       \
	.values_size = sizeof(type)

/* Parses argv (argv[0] is the command's name) and runs the command. Returns the exit status; errors
 * were printed. */
int args_run(const char *group, const struct command *command, int argc, char **argv);

/* Prints a command's help to standard output. */
void args_help(const char *group, const struct command *command);

/* A decimal number in [min, max] and nothing else. Returns 0 or -EINVAL, -ERANGE. */
int args_number(const char *text, uint64_t min, uint64_t max, uint64_t *out);

/* Whether every item is KEY=VALUE with a key; says which is not. Returns 0 or -EINVAL. */
int args_check_env(const struct args *args, const struct arg_list *env);

/* Prints `protect: TEXT; see 'protect GROUP COMMAND --help'`. Returns CLI_USAGE. */
int args_usage_error(const struct args *args, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
