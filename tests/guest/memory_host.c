// SPDX-License-Identifier: Apache-2.0
/*
 * memory_host ZONE_VMM GUEST TEST: sets targets for a guest's memory, as the daemon does, and looks
 * at what the runner holds of the host's: what the guest (balloon.c, memdev.c) gave must be free
 * here, page by page.
 */
#include "hotplug_runner.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define MIB   (UINT64_C(1) << 20)
#define BOOT  (32 * MIB)
#define SLACK (MIB / 4) /* what the runner itself may take or give back meanwhile */
#define BLOCK (2 * MIB)

static int set_memory(uint64_t bytes)
{
	return runner_set_resources(bytes, 0);
}

static bool debug_info_has(const char *text)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__DebugInfo body = PROTECT__RUNNER__DEBUG_INFO__INIT;
	Protect__Runner__Reply *reply;
	bool found;

	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_DEBUG_INFO;
	request.debug_info = &body;
	CHECK(runner_ask(&request, NULL, 0, &reply) == 0);
	found = strstr(reply->debug_info, text);
	protect__runner__reply__free_unpacked(reply, NULL);
	return found;
}

/* The host's memory that the runner holds for itself, in bytes. */
static uint64_t held(void)
{
	char path[64], line[128];
	uint64_t kib = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%u/smaps_rollup", runner_status().pid);
	file = fopen(path, "r");
	CHECK(file);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "Anonymous: %" SCNu64, &kib) == 1)
			break;
	fclose(file);
	CHECK(kib > 0);
	return kib * 1024;
}

/* Waits for the guest's word, and then checks that the runner holds so much more or less than
 * before. */
static void expect(const char *word, uint64_t *before, int64_t change)
{
	uint64_t now;
	int64_t off;

	CHECK(runner_console_says(word, 1));
	now = held();
	off = (int64_t)(now - *before) - change;
	printf("%s: holds %" PRIu64 " KiB, %+" PRId64 " KiB\n", word, now / 1024,
	       (int64_t)(now - *before) / 1024);
	CHECK(off <= (int64_t)SLACK && -off <= (int64_t)SLACK);
	*before = now;
}

static void test_balloon(void)
{
	uint64_t before;

	CHECK(set_memory(BOOT + 1) != 0);
	CHECK(runner_console_says("TOUCHED", 1));
	CHECK(debug_info_has("\"free_bytes\":305419896"));
	before = held();
	CHECK(set_memory(BOOT - 8 * MIB) == 0);
	expect("GIVEN", &before, -(int64_t)(8 * MIB));
	CHECK(runner_status().used_memory_bytes == BOOT - 8 * MIB);
	CHECK(set_memory(BOOT) == 0);
	expect("TAKEN", &before, 8 * MIB);
	CHECK(runner_status().used_memory_bytes == BOOT);
	CHECK(set_memory(BOOT - 4096) == 0);
	expect("REPORTED", &before, -(int64_t)(4 * MIB));
	CHECK(set_memory(BOOT) == 0);
}

static void test_memdev(void)
{
	uint64_t before;

	CHECK(runner_console_says("READY", 1));
	before = held();
	CHECK(runner_status().used_memory_bytes == BOOT);
	CHECK(set_memory(BOOT + 4 * BLOCK) == 0);
	expect("PLUGGED", &before, 4 * BLOCK);
	CHECK(runner_status().used_memory_bytes == BOOT + 4 * BLOCK);
	CHECK(set_memory(BOOT + 2 * BLOCK) == 0);
	expect("SHRUNK", &before, -(int64_t)(2 * BLOCK));
	CHECK(runner_status().used_memory_bytes == BOOT + 2 * BLOCK);
	CHECK(set_memory(BOOT + 4 * BLOCK) == 0);
	expect("PASS", &before, -(int64_t)(2 * BLOCK));
	CHECK(runner_status().used_memory_bytes == BOOT);
}

int main(int argc, char **argv)
{
	bool balloon = argc == 4 && strcmp(argv[3], "balloon") == 0;

	if (argc != 4)
		return EXIT_FAILURE;
	runner_need_kvm();
	runner_start(argv[1], argv[2], "",
		     balloon ? "\"huge_pages\": false"
			     : "\"huge_pages\": false, \"max_memory_mib\": 160");
	if (balloon)
		test_balloon();
	else
		test_memdev();
	CHECK(runner_console_says("PASS", 1));
	runner_kill();
	puts("PASS");
	return EXIT_SUCCESS;
}
