// SPDX-License-Identifier: Apache-2.0
#include "protect/shim/parser.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"

/* Everything that a spec points to, freed at once. */
struct chunk {
	struct chunk *next;
	max_align_t bytes[];
};

void *parser_take(struct parser *p, size_t n, size_t size)
{
	struct chunk *chunk;
	size_t bytes;

	if (!checked_mul(n + 1, size, &bytes))
		return NULL;
	chunk = calloc(1, sizeof(*chunk) + bytes);
	if (!chunk) {
		error_set(p->err, -ENOMEM, "the shim is out of memory");
		return NULL;
	}
	chunk->next = p->spec->memory;
	p->spec->memory = chunk;
	return chunk->bytes;
}

char *parser_copy(struct parser *p, const char *text)
{
	char *out = parser_take(p, strlen(text), 1);

	if (out)
		strcpy(out, text); /* NOLINT(clang-analyzer-security.insecureAPI.strcpy): it was
				      measured */
	return out;
}

char *parser_print(struct parser *p, const char *format, ...)
{
	_cleanup_(freep) char *text = NULL;
	va_list args;
	int n;

	va_start(args, format);
	n = vasprintf(&text, format, args);
	va_end(args);
	if (n < 0) {
		text = NULL;
		error_set(p->err, -ENOMEM, "the shim is out of memory");
		return NULL;
	}
	return parser_copy(p, text);
}

const char *text_at(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static const json_t *value_at(struct parser *p, const json_t *object, const char *key, bool fits)
{
	const json_t *value = json_object_get(object, key);

	if (!value || json_is_null(value))
		return NULL;
	if (!fits)
		p->wrong = key;
	return fits ? value : NULL;
}

bool flag_at(struct parser *p, const json_t *object, const char *key)
{
	return json_is_true(
		value_at(p, object, key, json_is_boolean(json_object_get(object, key))));
}

const json_t *list_at(struct parser *p, const json_t *object, const char *key)
{
	return value_at(p, object, key, json_is_array(json_object_get(object, key)));
}

/* What jansson has no integer for (RLIM_INFINITY) it reads as a real number. */
int64_t number_at(struct parser *p, const json_t *object, const char *key)
{
	const json_t *value =
		value_at(p, object, key, json_is_number(json_object_get(object, key)));
	double real = json_number_value(value);

	if (json_is_integer(value))
		return json_integer_value(value);
	if (real >= 0x1p63)
		return -1;
	return real > -0x1p63 ? (int64_t)real : INT64_MIN;
}

int64_t bounded_at(struct parser *p, const json_t *object, const char *key, int64_t min,
		   int64_t max)
{
	int64_t number = number_at(p, object, key);
	double real = json_number_value(json_object_get(object, key));

	if (number >= min && number <= max && (double)number == real)
		return number;
	p->wrong = key;
	return 0;
}

int parser_strings(struct parser *p, const json_t *object, const char *key, const char *what,
		   char ***out, size_t *n)
{
	const json_t *list = list_at(p, object, key), *item;
	size_t i;

	*n = 0;
	if (json_array_size(list) > PARSER_LIST_MAX)
		return error_set(p->err, -E2BIG, "config.json has more than %u %s", PARSER_LIST_MAX,
				 what);
	*out = parser_take(p, json_array_size(list), sizeof(**out));
	if (!*out)
		return -ENOMEM;
	json_array_foreach(list, i, item)
	{
		if (!json_is_string(item))
			return error_set(p->err, -EINVAL, "config.json: %s are no strings", what);
		(*out)[i] = parser_copy(p, json_string_value(item));
		if (!(*out)[i])
			return -ENOMEM;
		*n = i + 1;
	}
	return 0;
}

void parser_free_memory(struct spec *spec)
{
	for (struct chunk *chunk = spec->memory, *next; chunk; chunk = next) {
		next = chunk->next;
		free(chunk);
	}
	spec->memory = NULL;
}
