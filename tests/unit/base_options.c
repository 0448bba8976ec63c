// SPDX-License-Identifier: Apache-2.0
/* Tables of long options: values of every kind, and what is refused. */
#include "harness.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

#include "base/options.h"
#include "base/util.h"

UNIT_SUITE(base_options);

struct values {
	const char *text;
	uint32_t number;
	uint64_t size;
	bool set, clear;
};

#define AT(field) offsetof(struct values, field)

static const struct option_entry table[] = {
	{"text", OPTION_TEXT, AT(text), "T", "text", 0, 0},
	{"number", OPTION_U32, AT(number), "N", "number", 2, 9},
	{"size", OPTION_U64, AT(size), "N", "size", 0, UINT32_MAX},
	{"set", OPTION_SET, AT(set), NULL, "set", 0, 0},
	{"clear", OPTION_CLEAR, AT(clear), NULL, "clear", 0, 0},
};

static int parse(struct values *values, char **words)
{
	int n = 0;

	while (words[n])
		n++;
	optind = 0; /* GNU: start anew */
	opterr = 0;
	return options_parse("test", table, ARRAY_SIZE(table), n, words, values);
}

#define PARSE(values, ...) parse((values), (char *[]){"test", __VA_ARGS__, NULL})

Test(base_options, every_kind)
{
	struct values values = {.number = 7, .clear = true};

	cr_expect_eq(PARSE(&values, "--text", "t", "--size=4294967295", "--set", "--clear"), 0);
	cr_expect_str_eq(values.text, "t");
	cr_expect_eq(values.number, 7, "what is not given is left alone");
	cr_expect_eq(values.size, 4294967295u);
	cr_expect(values.set && !values.clear);
}

Test(base_options, what_is_refused)
{
	struct values values = {.number = 7};

	freopen("/dev/null", "w", stderr);
	cr_expect_eq(PARSE(&values, "--number", "1"), -EINVAL);
	cr_expect_eq(PARSE(&values, "--number", "10"), -EINVAL);
	cr_expect_eq(PARSE(&values, "--number", "-4"), -EINVAL);
	cr_expect_eq(PARSE(&values, "--number", " 4"), -EINVAL);
	cr_expect_eq(PARSE(&values, "--number", "4x"), -EINVAL);
	cr_expect_eq(PARSE(&values, "--number", ""), -EINVAL);
	cr_expect_eq(PARSE(&values, "--size", "18446744073709551620"), -EINVAL);
	cr_expect_eq(PARSE(&values, "--number"), -EINVAL);
	cr_expect_eq(PARSE(&values, "--set=1"), -EINVAL);
	cr_expect_eq(PARSE(&values, "--nosuch"), -EINVAL);
	cr_expect_eq(PARSE(&values, "operand"), -EINVAL);
	cr_expect_eq(values.number, 7);
}
