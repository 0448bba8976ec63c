// SPDX-License-Identifier: Apache-2.0
/*
 * What `protect` prints: errors, lists and records as a table, JSON or JSON lines, progress. Text
 * of the daemon, of images and of zones is not trusted: on a terminal's way out control characters
 * become '?'. Main thread only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

enum output_format { OUTPUT_TABLE, OUTPUT_JSON, OUTPUT_JSONL };

/* The words of -o, for an arg_option. */
extern const char *const output_words[];
#define OUTPUT_VALUE "table|json|jsonl"
#define OUTPUT_OPTION(type)                                                                        \
	{                                                                                          \
		'o', "output", ARG_STRING, offsetof(type, output), OUTPUT_VALUE,                   \
			"how to print it", 0, 0, output_words                                      \
	}

struct output_column {
	const char *title;
	const char *key;
};

/* "table", "json", "jsonl"; NULL is the table. */
enum output_format output_format(const char *word);

/* Prints `protect: TEXT` on standard error as one line, over any progress. */
void output_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * Prints an array of objects: as one JSON array, one object a line, or the columns as a table with
 * a head. Steals array (NULL = out of memory). Returns an exit status: errors of writing are
 * errors.
 */
int output_list(enum output_format format, json_t *array, const struct output_column *columns,
		size_t n);

/* Prints one object: JSON, or a line for each column. Steals object. Returns an exit status. */
int output_record(enum output_format format, json_t *object, const struct output_column *columns,
		  size_t n);

/* A JSON string of text from anywhere: bytes that are no UTF-8 become '?'. NULL without memory. */
json_t *output_text(const char *text);

/* Replaces what could move a terminal's cursor or change its state. In place. */
void output_clean(char *text);

/* A line on a terminal's standard error that the next one overwrites; nothing elsewhere. */
void output_progress(const char *text, uint64_t done, uint64_t total);
void output_progress_end(void);

/* Flushes standard output. Returns CLI_OK, or CLI_ERROR having said so. */
int output_flush(void);
