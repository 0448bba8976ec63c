// SPDX-License-Identifier: Apache-2.0
#include "protect/cli/output.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "protect/cli/args.h"

#define LINE_MAX_BYTES 2048
#define COLUMNS_MAX    16
#define CELL_MAX       128

const char *const output_words[] = {"table", "json", "jsonl", NULL};

/* A terminal has one line of progress; this is whether it is there. */
static bool progress_shown;

enum output_format output_format(const char *word)
{
	for (unsigned i = 0; word && output_words[i]; i++)
		if (strcmp(word, output_words[i]) == 0)
			return (enum output_format)i;
	return OUTPUT_TABLE;
}

void output_clean(char *text)
{
	for (unsigned char *at = (unsigned char *)text; *at; at++) {
		if (*at < 0x20 || *at == 0x7f)
			*at = '?';
		else if (*at == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0) /* C1 controls in UTF-8 */
			at[0] = at[1] = '?';
	}
}

void output_error(const char *format, ...)
{
	char text[LINE_MAX_BYTES];
	va_list list;

	va_start(list, format);
	vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	output_clean(text);
	output_progress_end();
	fflush(stdout);
	fprintf(stderr, "protect: %s\n", text);
}

void output_progress(const char *text, uint64_t done, uint64_t total)
{
	char line[160];

	if (!isatty(STDERR_FILENO))
		return;
	if (total)
		snprintf(line, sizeof(line), "%.60s %llu of %llu MiB", text,
			 (unsigned long long)(done >> 20), (unsigned long long)(total >> 20));
	else if (done)
		snprintf(line, sizeof(line), "%.60s %llu MiB", text,
			 (unsigned long long)(done >> 20));
	else
		snprintf(line, sizeof(line), "%.60s", text);
	output_clean(line);
	fprintf(stderr, "\r\033[K%s", line);
	progress_shown = true;
}

void output_progress_end(void)
{
	if (progress_shown)
		fputs("\r\033[K", stderr);
	progress_shown = false;
}

int output_flush(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return CLI_OK;
	output_error("cannot write the output: %s", strerror(errno));
	return CLI_ERROR;
}

json_t *output_text(const char *text)
{
	_cleanup_(freep) char *copy = NULL;
	json_t *string = json_string(text);

	if (string)
		return string;
	copy = strdup(text);
	for (char *at = copy; at && *at; at++)
		if (*(unsigned char *)at >= 0x80)
			*at = '?';
	return copy ? json_string(copy) : NULL;
}

/* Words with commas between them; what does not fit is cut. */
static void join(const json_t *array, char cell[CELL_MAX])
{
	const json_t *word;
	size_t index, n = 0;

	cell[0] = '\0';
	json_array_foreach(array, index, word)
	{
		if (n < CELL_MAX)
			n += (size_t)snprintf(cell + n, CELL_MAX - n, "%s%s", index ? "," : "",
					      json_string_value(word));
	}
}

static void cell_text(const json_t *value, char cell[CELL_MAX])
{
	if (json_is_string(value))
		snprintf(cell, CELL_MAX, "%s", json_string_value(value));
	else if (json_is_integer(value))
		snprintf(cell, CELL_MAX, "%lld", (long long)json_integer_value(value));
	else if (json_is_real(value))
		snprintf(cell, CELL_MAX, "%.10g", json_real_value(value));
	else if (json_is_boolean(value))
		snprintf(cell, CELL_MAX, "%s", json_is_true(value) ? "yes" : "no");
	else if (json_is_array(value))
		join(value, cell);
	else
		cell[0] = '\0';
	if (!cell[0])
		snprintf(cell, CELL_MAX, "-");
	output_clean(cell);
}

/* Characters, not bytes: what is no start of a UTF-8 sequence takes no room. */
static int cell_width(const char *cell)
{
	int width = 0;

	for (; *cell; cell++)
		width += (*cell & 0xc0) != 0x80;
	return width;
}

static void print_cell(const char *cell, int width, bool last)
{
	if (last)
		printf("%s\n", cell);
	else
		printf("%s%*s", cell, width - cell_width(cell) + 2, "");
}

static void print_table(const json_t *array, const struct output_column *columns, size_t n)
{
	int widths[COLUMNS_MAX];
	char cell[CELL_MAX];
	const json_t *object;
	size_t index;

	for (size_t i = 0; i < n; i++) {
		widths[i] = cell_width(columns[i].title);
		json_array_foreach(array, index, object)
		{
			cell_text(json_object_get(object, columns[i].key), cell);
			if (cell_width(cell) > widths[i])
				widths[i] = cell_width(cell);
		}
	}
	for (size_t i = 0; i < n; i++)
		print_cell(columns[i].title, widths[i], i + 1 == n);
	json_array_foreach(array, index, object)
	{
		for (size_t i = 0; i < n; i++) {
			cell_text(json_object_get(object, columns[i].key), cell);
			print_cell(cell, widths[i], i + 1 == n);
		}
	}
}

/* ASCII only: jansson would let the control characters beyond it through. */
static void print_json(const json_t *json, size_t flags)
{
	json_dumpf(json, stdout, flags | JSON_ENSURE_ASCII);
	putchar('\n');
}

static int out_of_memory(void)
{
	output_error("out of memory");
	return CLI_ERROR;
}

int output_list(enum output_format format, json_t *array, const struct output_column *columns,
		size_t n)
{
	const json_t *object;
	size_t index;

	if (!array)
		return out_of_memory();
	if (format == OUTPUT_JSON)
		print_json(array, JSON_INDENT(2));
	if (format == OUTPUT_JSONL) {
		json_array_foreach(array, index, object) print_json(object, JSON_COMPACT);
	}
	if (format == OUTPUT_TABLE)
		print_table(array, columns, n);
	json_decref(array);
	return output_flush();
}

int output_record(enum output_format format, json_t *object, const struct output_column *columns,
		  size_t n)
{
	char cell[CELL_MAX];

	if (!object)
		return out_of_memory();
	if (format != OUTPUT_TABLE) {
		print_json(object, format == OUTPUT_JSON ? JSON_INDENT(2) : JSON_COMPACT);
	} else {
		for (size_t i = 0; i < n; i++) {
			cell_text(json_object_get(object, columns[i].key), cell);
			printf("%-24s %s\n", columns[i].title, cell);
		}
	}
	json_decref(object);
	return output_flush();
}
