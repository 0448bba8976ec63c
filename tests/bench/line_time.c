// SPDX-License-Identifier: Apache-2.0
/*
 * line_time MARKER GUEST_MIB COMMAND…: starts COMMAND, reads its standard output until MARKER
 * comes, and prints one line of JSON: {"ms": from before the fork to the marker's last byte,
 * "pss_kib": what the process then holds beside the guest's memory}. Then the process
 * is killed.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "zone.h"

#define QUIET_MS_MAX                                                                               \
	60000 /* then it will never come: an emulated host now and then loses a guest */

static pid_t start(char **argv, int *output)
{
	int ends[2];
	pid_t pid;

	if (pipe(ends) < 0)
		exit(EXIT_FAILURE);
	pid = fork();
	if (pid == 0) {
		dup2(ends[1], STDOUT_FILENO);
		close(ends[0]);
		close(ends[1]);
		execvp(argv[0], argv);
		fprintf(stderr, "line_time: cannot start %s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	close(ends[1]);
	*output = ends[0];
	return pid;
}

static int wait_for(int fd, const char *marker)
{
	size_t len = strlen(marker), matched = 0;
	char c;

	while (matched < len) {
		struct pollfd output = {.fd = fd, .events = POLLIN};

		if (poll(&output, 1, QUIET_MS_MAX) != 1 || read(fd, &c, 1) != 1)
			return -1;
		matched = c == marker[matched] ? matched + 1 : c == marker[0] ? 1 : 0;
	}
	return 0;
}

int main(int argc, char **argv)
{
	unsigned long long kib;
	uint64_t before, after;
	int output, r;
	pid_t pid;

	if (argc < 4) {
		fputs("usage: line_time MARKER GUEST_MIB COMMAND...\n", stderr);
		return 2;
	}
	before = clock_now_ns();
	pid = start(argv + 3, &output);
	r = wait_for(output, argv[1]);
	after = clock_now_ns();
	usleep(200000);
	kib = pss_kib(pid, strtoul(argv[2], NULL, 10));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	if (r < 0) {
		fprintf(stderr, "line_time: %s ended without '%s', or stood still\n", argv[3],
			argv[1]);
		return 1;
	}
	printf("{\"ms\": %.1f, \"pss_kib\": %llu}\n", (double)(after - before) / 1e6, kib);
	return 0;
}
