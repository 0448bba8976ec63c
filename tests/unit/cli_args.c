// SPDX-License-Identifier: Apache-2.0
/* Options, operands and the tail; references to the caller's files; cleaning of text. */
#include "tests/unit/harness.h"

#include <errno.h>
#include <string.h>

#include <criterion/redirect.h>

#include "protect/cli/args.h"
#include "protect/cli/import.h"
#include "protect/cli/output.h"

UNIT_SUITE(cli_args);

struct values {
	bool flag;
	const char *word;
	uint64_t number;
	struct arg_list list;
};

/* What the last command that ran was given, as text. */
static char seen[256];

static int show(const struct args *args, void *given)
{
	const struct values *values = given;
	size_t n = (size_t)snprintf(seen, sizeof(seen), "%d %s %llu", values->flag,
				    values->word ? values->word : "-",
				    (unsigned long long)values->number);

	for (size_t i = 0; i < values->list.n; i++)
		n += (size_t)snprintf(seen + n, sizeof(seen) - n, " +%s", values->list.items[i]);
	for (size_t i = 0; i < args->n_operands; i++)
		n += (size_t)snprintf(seen + n, sizeof(seen) - n, " %s", args->operands[i]);
	for (size_t i = 0; i < args->n_tail; i++)
		n += (size_t)snprintf(seen + n, sizeof(seen) - n, " |%s", args->tail[i]);
	return 42;
}

static int run(const char *line)
{
	static const struct arg_option options[] = {
		{'f', "flag", ARG_FLAG, offsetof(struct values, flag), NULL, "", 0, 0, NULL},
		{'o', "word", ARG_STRING, offsetof(struct values, word), "table|json", "", 0, 0,
		 output_words},
		{'n', "number", ARG_NUMBER, offsetof(struct values, number), "N", "", 1, 10, NULL},
		{0, "list", ARG_LIST, offsetof(struct values, list), "X", "", 0, 0, NULL},
	};
	static const struct command command = {.name = "do",
					       .usage = "A [B] [-- C]",
					       .summary = "Do it.",
					       OPTIONS(options, struct values),
					       .operands_min = 1,
					       .operands_max = 2,
					       .has_tail = true,
					       .run = show};
	char copy[256], *argv[32] = {NULL}, *rest = copy;
	int argc = 0;

	snprintf(copy, sizeof(copy), "%s", line);
	while ((argv[argc] = strtok_r(argc ? NULL : rest, " ", &rest)))
		argc++;
	return args_run("group", &command, argc, argv);
}

Test(cli_args, options_stand_anywhere_before_the_tail)
{
	cr_assert_eq(run("do a -f b --number 3 --list x --list=y -o json -- -f --flag -- z"), 42);
	cr_assert_str_eq(seen, "1 json 3 +x +y a b |-f |--flag |-- |z");
	cr_assert_eq(run("do a"), 42);
	cr_assert_str_eq(seen, "0 - 0 a");
	cr_assert_eq(run("do -fn7 a"), 42);
	cr_assert_str_eq(seen, "1 - 7 a");
	cr_assert_eq(run("do --list -- a"), 42);
	cr_assert_str_eq(seen, "0 - 0 +-- a");
}

Test(cli_args, bad_usage_is_2, .init = cr_redirect_stderr)
{
	static const char *const lines[] = {"do",
					    "do a b c",
					    "do -x a",
					    "do --unknown a",
					    "do a --number",
					    "do a -n 11",
					    "do a -n 0",
					    "do a -n 1x",
					    "do a -o xml",
					    "do a --flag=1",
					    "do a -n -1",
					    "do a -n 99999999999999999999999"};

	for (unsigned i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		cr_assert_eq(run(lines[i]), CLI_USAGE, "%s", lines[i]);
}

Test(cli_args, help_is_0, .init = cr_redirect_stdout)
{
	cr_assert_eq(run("do --help"), 0);
	cr_assert_eq(run("do -h -n nonsense"), 0);
}

Test(cli_args, numbers_are_strict)
{
	uint64_t n = 0;

	cr_assert_eq(args_number("18446744073709551615", 0, UINT64_MAX, &n), 0);
	cr_assert_eq(n, UINT64_MAX);
	cr_assert_eq(args_number("18446744073709551616", 0, UINT64_MAX, &n), -ERANGE);
	cr_assert_eq(args_number("", 0, 9, &n), -EINVAL);
	cr_assert_eq(args_number("+1", 0, 9, &n), -EINVAL);
	cr_assert_eq(args_number(" 1", 0, 9, &n), -EINVAL);
}

Test(cli_args, references_to_files)
{
	struct import_source source;

	cr_assert_eq(import_parse("docker.io/library/busybox:1", &source), 0);
	cr_assert_eq(import_parse("oci:/a/b:v1", &source), 1);
	cr_assert(source.kind == IMPORT_OCI && !strcmp(source.path, "/a/b") &&
		  !strcmp(source.tag, "v1"));
	cr_assert_eq(import_parse("oci-archive:x.tar", &source), 1);
	cr_assert(source.kind == IMPORT_OCI_ARCHIVE && !strcmp(source.path, "x.tar") &&
		  !*source.tag);
	cr_assert_eq(import_parse("docker-archive:x.tar:web/x:2", &source), 1);
	cr_assert(source.kind == IMPORT_DOCKER_ARCHIVE && !strcmp(source.path, "x.tar") &&
		  !strcmp(source.tag, "web/x:2"));
}

Test(cli_args, bad_references_to_files, .init = cr_redirect_stderr)
{
	struct import_source source;
	char tag[400] = "oci:a:";

	memset(tag + 6, 'x', sizeof(tag) - 7);
	tag[sizeof(tag) - 1] = '\0';
	cr_assert_eq(import_parse("oci:", &source), -EINVAL);
	cr_assert_eq(import_parse("oci::tag", &source), -EINVAL);
	cr_assert_eq(import_parse("oci:/nosuch:", &source), -EINVAL);
	cr_assert_eq(import_parse(tag, &source), -ENAMETOOLONG);
}

Test(cli_args, default_names_have_the_letters_of_names)
{
	static const char *const cases[][2] = {{"/nosuch/Web_Server", "web-server"},
					       {"/nosuch/a.tar.gz", "a"},
					       {"/nosuch/--", "image"},
					       {"/nosuch/x..y", "x-y"},
					       {"/nosuch/\xc3\xa4", "image"}};
	struct import_source source = {.kind = IMPORT_OCI};
	char name[IMPORT_NAME_MAX];

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(source.path, sizeof(source.path), "%s", cases[i][0]);
		import_default_name(&source, name);
		cr_assert_str_eq(name, cases[i][1]);
	}
}

Test(cli_args, text_cannot_move_the_cursor)
{
	char text[] = "a\x1b[2J\n\x7f\xc2\x9b"
		      "b\xc3\xa4";
	json_t *json;

	output_clean(text);
	cr_assert_str_eq(text, "a?[2J????"
			       "b\xc3\xa4");
	json = output_text("bad \xff");
	cr_assert_str_eq(json_string_value(json), "bad ?");
	json_decref(json);
}
