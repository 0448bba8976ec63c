// SPDX-License-Identifier: Apache-2.0
/*
 * vcpus_host ZONE_VMM GUEST hotplug|pause: sets how many vCPUs a guest is to have (vcpu_hotplug.c),
 * or pauses it and lets it go on (pause.c), as the daemon does.
 */
#include "hotplug_runner.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <x86intrin.h>

#include "base/clock.h"

#define HOTPLUG_ROUNDS	4u
#define PAUSE_ROUNDS	3u
#define STATUS_TRIES	400u
#define STATUS_WAIT_US	50000u
#define PAUSE_US	1500000u
#define LATE_MS_MAX	1500.0
#define GAP_UNIT_CYCLES 1048576.0

static bool wait_plugged(uint32_t n)
{
	for (unsigned i = 0; i < STATUS_TRIES && runner_status().online_vcpus != n; i++)
		usleep(STATUS_WAIT_US);
	return runner_status().online_vcpus == n;
}

static void test_hotplug(void)
{
	unsigned n_up = 0, n_down = 0;

	CHECK(runner_console_says("PASS", 1));
	CHECK(runner_status().online_vcpus == 1 && runner_status().vcpus == 4);
	CHECK(runner_set_resources(0, 5) != 0);
	for (unsigned i = 0; i < HOTPLUG_ROUNDS; i++) {
		CHECK(runner_set_resources(0, 4) == 0);
		CHECK(runner_console_says("UP\n", n_up += 3));
		CHECK(runner_status().online_vcpus == 4 && runner_status().target_vcpus == 4);
		CHECK(runner_set_resources(0, 2) == 0);
		CHECK(runner_console_says("DOWN\n", n_down += 2));
		CHECK(wait_plugged(2));
		CHECK(runner_set_resources(0, 1) == 0);
		CHECK(runner_console_says("DOWN\n", n_down += 1));
		CHECK(wait_plugged(1));
	}
}

static int pause_or_resume(bool pause)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__Pause pause_body = PROTECT__RUNNER__PAUSE__INIT;
	Protect__Runner__Resume resume_body = PROTECT__RUNNER__RESUME__INIT;

	if (pause) {
		request.what_case = PROTECT__RUNNER__REQUEST__WHAT_PAUSE;
		request.pause = &pause_body;
	} else {
		request.what_case = PROTECT__RUNNER__REQUEST__WHAT_RESUME;
		request.resume = &resume_body;
	}
	return runner_ask(&request, NULL, 0, NULL);
}

static uint64_t console_size(void)
{
	struct stat st;

	CHECK(stat(runner_path("console"), &st) == 0);
	return (uint64_t)st.st_size;
}

/* Whole lines that begin with `word`; *number (may be NULL): what stands behind the last one. */
static unsigned count_lines(const char *word, int64_t *number)
{
	FILE *file = fopen(runner_path("console"), "r");
	char line[64];
	size_t len = strlen(word);
	unsigned n = 0;

	CHECK(file);
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, word, len) != 0 || !strchr(line, '\n'))
			continue;
		n++;
		if (number)
			*number = strtol(line + len, NULL, 16);
	}
	fclose(file);
	return n;
}

/* Waits for one more of them than n. */
static bool wait_line(const char *word, unsigned n, int64_t *number)
{
	for (unsigned i = 0; i < STATUS_TRIES; i++, usleep(STATUS_WAIT_US))
		if (count_lines(word, number) > n)
			return true;
	return false;
}

/* A gap that was no pause may come between on a busy host, so the last one counts, and kvm-clock's
 * word for it, which only a pause gets. */
static void one_pause(unsigned round, bool has_clock)
{
	uint64_t start_ns, start_tsc, size;
	double ms, cycles, gap_ms;
	unsigned n_gaps;
	int64_t gap = 0;

	CHECK(pause_or_resume(true) == 0);
	start_ns = clock_now_ns();
	start_tsc = __rdtsc();
	usleep(PAUSE_US / 3); /* what it wrote before reaches the file */
	size = console_size();
	n_gaps = count_lines("GAP", NULL);
	CHECK(runner_status().paused);
	usleep(PAUSE_US * 2 / 3);
	CHECK(console_size() == size);
	ms = (double)(clock_now_ns() - start_ns) / 1e6;
	cycles = (double)(__rdtsc() - start_tsc);
	CHECK(pause_or_resume(false) == 0);
	CHECK(wait_line("GAP", n_gaps, &gap));
	gap_ms = (double)gap * GAP_UNIT_CYCLES * ms / cycles;
	printf("paused for %.0f ms; the guest missed %.0f ms\n", ms, gap_ms);
	CHECK(gap_ms > ms - 1 && gap_ms < ms + LATE_MS_MAX);
	CHECK(!has_clock || runner_console_says("STOPPED", round));
	CHECK(!runner_status().paused);
}

static void test_pause(void)
{
	bool has_clock;

	CHECK(runner_console_says("PASS", 1));
	has_clock = count_lines("no kvm-clock", NULL) == 0;
	for (unsigned round = 1; round <= PAUSE_ROUNDS; round++)
		one_pause(round, has_clock);
	CHECK(count_lines("FAIL", NULL) == 0);
	CHECK(pause_or_resume(true) == 0); /* and it can be ended while it is */
}

int main(int argc, char **argv)
{
	bool hotplug = argc == 4 && strcmp(argv[3], "hotplug") == 0;

	if (argc != 4)
		return EXIT_FAILURE;
	runner_need_kvm();
	runner_start(argv[1], argv[2], "",
		     hotplug ? "\"vcpus\": 1, \"max_vcpus\": 4" : "\"vcpus\": 3");
	if (hotplug)
		test_hotplug();
	else
		test_pause();
	runner_kill();
	puts("PASS");
	return EXIT_SUCCESS;
}
