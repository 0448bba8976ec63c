// SPDX-License-Identifier: Apache-2.0
/* The program `protect` against a small daemon, from its words to its exit status. */
#include "tests/unit/cli_daemon.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <archive.h>
#include <archive_entry.h>
#include <jansson.h>

UNIT_SUITE(cli_program, .timeout = 60);

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static bool one_line(const struct cli_bytes *bytes)
{
	const char *end = bytes->data ? strchr((const char *)bytes->data, '\n') : NULL;

	return end && !end[1];
}

static const char *as_text(const struct cli_bytes *bytes)
{
	return bytes->data ? (const char *)bytes->data : "";
}

Test(cli_program, lists_are_arrays_lines_and_tables)
{
	struct cli_run json = {0}, lines = {0}, table = {0};
	struct cli_daemon daemon;
	json_t *array;

	cli_daemon_init(&daemon);
	cli_daemon_run(&daemon, &json, WORDS("zone", "list", "-o", "json"));
	cr_assert_eq(json.status, 0, "%s", as_text(&json.err));
	array = json_loads(as_text(&json.out), 0, NULL);
	cr_assert(json_is_array(array));
	cr_assert_eq(json_array_size(array), 2);
	cr_assert_str_eq(json_string_value(json_object_get(json_array_get(array, 0), "state")),
			 "ready");
	cr_assert_str_eq(json_string_value(json_object_get(json_array_get(array, 1), "state")),
			 "unknown");
	json_decref(array);
	cli_daemon_run(&daemon, &lines, WORDS("zone", "list", "-o", "jsonl"));
	cr_assert_eq(strncmp(as_text(&lines.out), "{\"uuid\":\"11111111", 17), 0);
	cli_daemon_run(&daemon, &table, WORDS("zone", "list"));
	cr_assert_eq(strncmp(as_text(&table.out), "UUID ", 5), 0);
	cr_assert_null(strchr(as_text(&table.out), '\x1b'), "a name must not control the terminal");
	cli_run_deinit(&json);
	cli_run_deinit(&lines);
	cli_run_deinit(&table);
	cli_daemon_deinit(&daemon);
}

Test(cli_program, errors_of_the_daemon_are_one_line)
{
	struct cli_run run = {0};
	struct cli_daemon daemon;

	cli_daemon_init(&daemon);
	cli_daemon_run(&daemon, &run, WORDS("zone", "resolve", "nosuch"));
	cr_assert_eq(run.status, 1);
	cr_assert_str_eq(as_text(&run.err), "protect: there is no zone 'nosuch'\n");
	cr_assert_eq(run.out.len, 0);
	cli_run_deinit(&run);
	cli_daemon_deinit(&daemon);
}

Test(cli_program, usage_errors_are_2_and_one_line)
{
	struct cli_run run = {0};
	struct cli_daemon daemon;

	cli_daemon_init(&daemon);
	cli_daemon_run(&daemon, &run, WORDS("zone", "launch", "--nosuchflag"));
	cr_assert_eq(run.status, 2);
	cr_assert(one_line(&run.err));
	cr_assert_not_null(strstr(as_text(&run.err), "--nosuchflag"));
	cli_run_deinit(&run);
	cli_daemon_deinit(&daemon);
}

Test(cli_program, exec_keeps_outputs_apart_and_the_status)
{
	struct cli_run run = {0};
	struct cli_daemon daemon;

	cli_daemon_init(&daemon);
	cli_daemon_run(&daemon, &run, WORDS("zone", "exec", "a", "-e", "X=1", "--", "both", "-x"));
	cr_assert_eq(run.status, 7);
	cr_assert_str_eq(as_text(&run.out), "to stdout\n");
	cr_assert_str_eq(as_text(&run.err), "to stderr\n");
	cr_assert_str_eq(daemon.last_env, "X=1");
	cli_run_deinit(&run);
	cli_daemon_deinit(&daemon);
}

Test(cli_program, exec_that_cannot_start_is_125)
{
	struct cli_run run = {0};
	struct cli_daemon daemon;

	cli_daemon_init(&daemon);
	cli_daemon_run(&daemon, &run, WORDS("zone", "exec", "a", "--", "/nowhere"));
	cr_assert_eq(run.status, 125);
	cr_assert_str_eq(as_text(&run.err),
			 "protect: there is no program '/nowhere' in zone 'a'\n");
	cli_run_deinit(&run);
	cli_daemon_deinit(&daemon);
}

Test(cli_program, exec_sends_its_input_to_the_end)
{
	size_t len = 200000;
	char *input = malloc(len);
	struct cli_run run = {.input = input, .input_len = len};
	struct cli_daemon daemon;

	cr_assert_not_null(input);
	for (size_t i = 0; i < len; i++)
		input[i] = (char)cli_big_byte(i);
	cli_daemon_init(&daemon);
	cli_daemon_run(&daemon, &run, WORDS("zone", "exec", "a", "--", "cat"));
	cr_assert_eq(run.status, 0);
	cr_assert_eq(run.out.len, len);
	cr_assert_eq(memcmp(run.out.data, input, len), 0);
	cli_run_deinit(&run);
	cli_daemon_deinit(&daemon);
	free(input);
}

static void check_big(unsigned slow_us)
{
	struct cli_run run = {.slow_us = slow_us};
	struct cli_daemon daemon;

	cli_daemon_init(&daemon);
	cli_daemon_run(&daemon, &run, WORDS("zone", "exec", "a", "--", "big"));
	cr_assert_eq(run.status, 0);
	cr_assert_eq(run.out.len, CLI_BIG_BYTES);
	for (size_t i = 0; i < run.out.len; i++)
		cr_assert_eq(run.out.data[i], cli_big_byte(i), "byte %zu differs", i);
	cli_run_deinit(&run);
	cli_daemon_deinit(&daemon);
}

Test(cli_program, ten_mib_of_output_arrive)
{
	check_big(0);
}

Test(cli_program, a_slow_reader_gets_it_all_too)
{
	check_big(2000);
}

Test(cli_program, a_broken_pipe_ends_it_quietly)
{
	struct cli_run run = {.close_output = true};
	struct cli_daemon daemon;

	cli_daemon_init(&daemon);
	cli_daemon_run(&daemon, &run, WORDS("zone", "exec", "a", "--", "big"));
	cr_assert_eq(run.status, 128 + SIGPIPE);
	cr_assert_eq(run.err.len, 0, "%s", as_text(&run.err));
	cli_run_deinit(&run);
	cli_daemon_deinit(&daemon);
}

Test(cli_program, signals_are_passed_on)
{
	struct cli_run run = {.kill = SIGTERM};
	struct cli_daemon daemon;

	cli_daemon_init(&daemon);
	cli_daemon_run(&daemon, &run, WORDS("zone", "exec", "a", "--", "hang"));
	cr_assert_eq(run.status, 128 + SIGTERM);
	cr_assert_eq(daemon.signals, 1);
	cli_run_deinit(&run);
	cli_daemon_deinit(&daemon);
}

Test(cli_program, a_daemon_that_dies_is_told)
{
	struct cli_run run = {0};
	struct cli_daemon daemon;

	cli_daemon_init(&daemon);
	cli_daemon_run(&daemon, &run, WORDS("zone", "exec", "a", "--", "die"));
	cr_assert_eq(run.status, 125);
	cr_assert_str_eq(as_text(&run.out), "last words\n");
	cr_assert(one_line(&run.err));
	cr_assert_not_null(strstr(as_text(&run.err), "closed the connection"));
	cli_run_deinit(&run);
	cli_daemon_deinit(&daemon);
}

Test(cli_program, a_terminal_is_raw_meanwhile_and_tells_its_size)
{
	struct cli_run run = {.terminal = true, .kill = SIGWINCH};
	struct cli_daemon daemon;

	cli_daemon_init(&daemon);
	cli_daemon_run(&daemon, &run, WORDS("zone", "exec", "-t", "a", "--", "hang"));
	cr_assert_eq(run.status, 3, "%s", as_text(&run.err));
	cr_assert_eq(daemon.rows, 33);
	cr_assert_eq(daemon.resizes, 1);
	cr_assert(run.raw_seen);
	cr_assert(run.restored);
	cr_assert_eq(strncmp(daemon.last_env, "TERM=", 5), 0);
	cli_run_deinit(&run);
	cli_daemon_deinit(&daemon);
}

Test(cli_program, a_terminal_is_restored_when_the_daemon_dies)
{
	struct cli_run run = {.terminal = true};
	struct cli_daemon daemon;

	cli_daemon_init(&daemon);
	cli_daemon_run(&daemon, &run, WORDS("zone", "exec", "-t", "a", "--", "die"));
	cr_assert_eq(run.status, 125);
	cr_assert(run.restored);
	cli_run_deinit(&run);
	cli_daemon_deinit(&daemon);
}

Test(cli_program, a_terminal_is_restored_after_a_signal)
{
	struct cli_run run = {.terminal = true, .kill = SIGTERM};
	struct cli_daemon daemon;

	cli_daemon_init(&daemon);
	cli_daemon_run(&daemon, &run, WORDS("zone", "exec", "-t", "a", "--", "hang"));
	cr_assert_eq(run.status, 128 + SIGTERM);
	cr_assert(run.restored);
	cli_run_deinit(&run);
	cli_daemon_deinit(&daemon);
}

Test(cli_program, logs_are_printed)
{
	struct cli_run run = {0};
	struct cli_daemon daemon;

	cli_daemon_init(&daemon);
	cli_daemon_run(&daemon, &run, WORDS("zone", "logs", "a"));
	cr_assert_eq(run.status, 0);
	cr_assert_str_eq(as_text(&run.out), "Linux version 6.1\n");
	cli_run_deinit(&run);
	cli_daemon_deinit(&daemon);
}

Test(cli_program, the_table_of_zones_shows_targets_and_pauses)
{
	struct cli_run table = {0}, json = {0};
	struct cli_daemon daemon;
	json_t *array, *zone;

	cli_daemon_init(&daemon);
	cli_daemon_run(&daemon, &table, WORDS("zone", "list"));
	cr_expect_not_null(strstr(as_text(&table.out), "paused   128/512     2 "), "%s",
			   as_text(&table.out));
	cli_daemon_run(&daemon, &json, WORDS("zone", "list", "-o", "json"));
	array = json_loads(as_text(&json.out), 0, NULL);
	zone = json_array_get(array, 0);
	cr_expect_str_eq(json_string_value(json_object_get(zone, "state")), "ready");
	cr_expect(json_is_true(json_object_get(zone, "paused")));
	cr_expect_eq(json_integer_value(json_object_get(zone, "target_memory_mib")), 128);
	cr_expect_eq(json_integer_value(json_object_get(zone, "min_memory_mib")), 96);
	cr_expect_str_eq(json_string_value(json_object_get(zone, "policy")), "dynamic");
	json_decref(array);
	cli_run_deinit(&table);
	cli_run_deinit(&json);
	cli_daemon_deinit(&daemon);
}

Test(cli_program, updates_name_what_changes)
{
	struct cli_run both = {0}, none = {0}, cpus = {0}, policy = {0}, bad = {0};
	struct cli_daemon daemon;

	cli_daemon_init(&daemon);
	cli_daemon_run(&daemon, &both,
		       WORDS("zone", "update", "a", "--target-memory", "300", "-c", "2"));
	cr_expect_eq(both.status, 0, "%s", as_text(&both.err));
	cr_expect(daemon.updated_mib == 300 && daemon.updated_cpus == 2);
	cli_daemon_run(&daemon, &cpus, WORDS("zone", "update", "-c", "1", "a"));
	cr_expect(daemon.updated_mib == 0 && daemon.updated_cpus == 1);
	cr_expect(daemon.updated_policy == -1 && daemon.updated_min_mib == 0);
	cli_daemon_run(&daemon, &policy,
		       WORDS("zone", "update", "a", "--resource-adjustment-policy", "dynamic",
			     "--min-memory", "99"));
	cr_expect_eq(policy.status, 0, "%s", as_text(&policy.err));
	cr_expect(daemon.updated_policy == 1 && daemon.updated_min_mib == 99);
	cli_daemon_run(&daemon, &bad,
		       WORDS("zone", "update", "a", "--resource-adjustment-policy", "lazy"));
	cr_expect_eq(bad.status, 2);
	cr_expect(one_line(&bad.err));
	cli_daemon_run(&daemon, &none, WORDS("zone", "update", "a"));
	cr_expect_eq(none.status, 2);
	cr_expect(one_line(&none.err));
	cli_run_deinit(&both);
	cli_run_deinit(&none);
	cli_run_deinit(&cpus);
	cli_run_deinit(&policy);
	cli_run_deinit(&bad);
	cli_daemon_deinit(&daemon);
}

Test(cli_program, hv_commands_ask_for_each_zone)
{
	struct cli_run all = {0}, one = {0}, missing = {0}, console = {0};
	struct cli_daemon daemon;
	json_t *array;

	cli_daemon_init(&daemon);
	cli_daemon_run(&daemon, &all, WORDS("host", "hv-debug-info"));
	cr_expect_eq(all.status, 0, "a zone that has gone meanwhile is no error: %s",
		     as_text(&all.err));
	cr_expect_eq(daemon.debug_asked, 2);
	array = json_loads(as_text(&all.out), 0, NULL);
	cr_assert(json_is_array(array));
	cr_expect_eq(json_array_size(array), 1);
	json_decref(array);
	cr_expect_null(strchr(as_text(&all.out), '\x9b'), "text must not control the terminal");
	cli_daemon_run(&daemon, &one, WORDS("host", "hv-debug-info", "-o", "jsonl", "a"));
	cr_expect_eq(one.status, 0);
	cr_expect(one_line(&one.out));
	cli_daemon_run(&daemon, &missing, WORDS("host", "hv-debug-info", "6"));
	cr_expect_eq(missing.status, 1);
	cr_expect_str_eq(as_text(&missing.err), "protect: there is no such zone\n");
	cr_expect_eq(missing.out.len, 0);
	cli_daemon_run(&daemon, &console, WORDS("host", "hv-console"));
	cr_expect_str_eq(as_text(&console.out), "Linux version 6.1\n");
	cli_run_deinit(&all);
	cli_run_deinit(&one);
	cli_run_deinit(&missing);
	cli_run_deinit(&console);
	cli_daemon_deinit(&daemon);
}

Test(cli_program, an_attached_launch_ends_with_its_status)
{
	struct cli_run run = {0};
	struct cli_daemon daemon;

	cli_daemon_init(&daemon);
	cli_daemon_run(
		&daemon, &run,
		WORDS("workload", "launch", "--zone", "a", "--attach", "busybox", "--", "hello"));
	cr_assert_eq(run.status, 137);
	cr_assert_str_eq(as_text(&run.out), "hello\ngoodbye\n");
	cr_assert_str_eq(daemon.last_image, "busybox");
	cli_run_deinit(&run);
	cli_daemon_deinit(&daemon);
}

static void put_file(const char *folder, const char *name, const char *content, size_t len)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, content, len), (ssize_t)len);
	close(fd);
}

static void make_layout(char folder[64])
{
	static char layer[300000];
	char path[128];

	memcpy(folder, "/tmp/Layout_XXXXXX", sizeof("/tmp/Layout_XXXXXX"));
	cr_assert_not_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/blobs", folder);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/blobs/sha256", folder);
	mkdir(path, 0700);
	put_file(folder, "oci-layout", "{}", 2);
	put_file(folder, "index.json", "{\"manifests\":[]}", 16);
	put_file(folder, "blobs/sha256/aa", layer, sizeof(layer));
	put_file(folder, "blobs/sha256/bb", "small", 5);
}

static void remove_layout(const char *folder)
{
	static const char *const names[] = {"oci-layout",
					    "index.json",
					    "blobs/sha256/aa",
					    "blobs/sha256/bb",
					    "blobs/sha256",
					    "blobs",
					    ""};
	char path[128];

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		remove(path);
	}
}

static void check_tar(const struct cli_bytes *bytes)
{
	static const char *const names[] = {"oci-layout", "index.json", "blobs/sha256/bb",
					    "blobs/sha256/aa"};
	static const int64_t sizes[] = {2, 16, 5, 300000};
	struct archive *archive = archive_read_new();
	struct archive_entry *entry;
	unsigned n = 0;

	archive_read_support_format_tar(archive);
	cr_assert_eq(archive_read_open_memory(archive, bytes->data, bytes->len), ARCHIVE_OK);
	while (archive_read_next_header(archive, &entry) == ARCHIVE_OK) {
		cr_assert_lt(n, 4);
		cr_assert_str_eq(archive_entry_pathname(entry), names[n]);
		cr_assert_eq(archive_entry_size(entry), sizes[n]);
		n++;
	}
	cr_assert_eq(n, 4);
	archive_read_free(archive);
}

Test(cli_program, a_layout_is_sent_as_a_tar_and_launched_by_its_digest)
{
	struct cli_run import = {0}, launch = {0};
	struct cli_daemon daemon;
	char folder[64], ref[96];

	make_layout(folder);
	snprintf(ref, sizeof(ref), "oci:%s:v1", folder);
	cli_daemon_init(&daemon);
	cli_daemon_run(&daemon, &import, WORDS("image", "import", "--name", "web", ref));
	cr_assert_eq(import.status, 0, "%s", as_text(&import.err));
	cr_assert_str_eq(as_text(&import.out), "web:v1 sha256:0123\n");
	check_tar(&daemon.imported);
	cli_daemon_run(&daemon, &launch, WORDS("workload", "launch", "--zone", "a", ref));
	cr_assert_eq(launch.status, 0, "%s", as_text(&launch.err));
	cr_assert_str_eq(as_text(&launch.out), "77777777-2222-4333-8444-555555555555\n");
	cr_assert_str_eq(daemon.last_image, "sha256:0123");
	cr_assert_eq(strncmp(daemon.last_name, "layout-", 7), 0, "%s", daemon.last_name);
	cli_run_deinit(&import);
	cli_run_deinit(&launch);
	cli_daemon_deinit(&daemon);
	remove_layout(folder);
}

Test(cli_program, a_refused_import_says_why)
{
	struct cli_run run = {0};
	struct cli_daemon daemon;
	char folder[64], ref[96];

	make_layout(folder);
	snprintf(ref, sizeof(ref), "oci:%s:refused", folder);
	cli_daemon_init(&daemon);
	cli_daemon_run(&daemon, &run, WORDS("image", "import", ref));
	cr_assert_eq(run.status, 1);
	cr_assert_str_eq(as_text(&run.err), "protect: the store is full\n");
	cli_run_deinit(&run);
	cli_daemon_deinit(&daemon);
	remove_layout(folder);
}

Test(cli_program, a_layout_that_is_not_there_is_named)
{
	struct cli_run run = {0};
	struct cli_daemon daemon;

	cli_daemon_init(&daemon);
	cli_daemon_run(&daemon, &run, WORDS("image", "import", "oci:/nosuch:latest"));
	cr_assert_eq(run.status, 1);
	cr_assert(one_line(&run.err));
	cr_assert_not_null(strstr(as_text(&run.err), "/nosuch"));
	cli_run_deinit(&run);
	cli_daemon_deinit(&daemon);
}
