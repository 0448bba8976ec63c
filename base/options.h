// SPDX-License-Identifier: Apache-2.0
/*
 * Long options of a service as a table: their parsing and their help are made from it. Errors go to
 * standard error. For main(), before there are threads.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum option_kind {
	OPTION_TEXT, /* const char *, into argv */
	OPTION_U32,  /* uint32_t, decimal, min to max */
	OPTION_U64,  /* uint64_t, the same */
	OPTION_SET,  /* bool, becomes true; takes no value */
	OPTION_CLEAR /* bool, becomes false */
};

struct option_entry {
	const char *name;
	enum option_kind kind;
	size_t offset;	   /* of the value in the struct that options_parse() fills */
	const char *value; /* how help calls it; NULL for OPTION_SET and OPTION_CLEAR */
	const char *help;
	uint32_t min, max;
};

#define OPTIONS_MAX 24u

/*
 * Parses argv; there are no operands. --help prints the help of program to standard output and ends
 * the process. Values not given are left alone. Returns 0 or -EINVAL, having said what is wrong.
 */
int options_parse(const char *program, const struct option_entry *table, size_t n, int argc,
		  char **argv, void *values);
