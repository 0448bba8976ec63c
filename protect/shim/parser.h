// SPDX-License-Identifier: Apache-2.0
/*
 * Reading a JSON document that may be anything, into memory that goes as a whole: values by their
 * keys, bounded lists. A value of another type than the specification says would be read as
 * nothing, and nothing is often root, or no limit: it is noted as wrong, and who reads the document
 * refuses it at the end.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "protect/shim/spec.h"

#define PARSER_LIST_MAX 4096u

struct parser {
	struct spec *spec; /* whose memory it is */
	struct error *err;
	const char *wrong; /* a key whose value cannot be; NULL: none so far */
};

/* Zeroed memory of the spec's: room for n and one more. NULL with the error set. */
void *parser_take(struct parser *p, size_t n, size_t size);
char *parser_copy(struct parser *p, const char *text);
char *parser_print(struct parser *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
void parser_free_memory(struct spec *spec);

/* The string at a key; "" for none. */
const char *text_at(const json_t *object, const char *key);

/* The value at a key; false, NULL, 0 for none. A number that is too large for 64 bits
 * (RLIM_INFINITY) is -1. */
bool flag_at(struct parser *p, const json_t *object, const char *key);
const json_t *list_at(struct parser *p, const json_t *object, const char *key);
int64_t number_at(struct parser *p, const json_t *object, const char *key);

/* One that is a whole number from min to max. */
int64_t bounded_at(struct parser *p, const json_t *object, const char *key, int64_t min,
		   int64_t max);

/* A list of strings; what else is in it is refused, as more than PARSER_LIST_MAX are. Returns 0 or
 * a negative errno with the error set; *n are there. */
int parser_strings(struct parser *p, const json_t *object, const char *key, const char *what,
		   char ***out, size_t *n);
