// SPDX-License-Identifier: Apache-2.0
/* without_uring PROGRAM ARGUMENT…: runs it as on a host where io_uring is disabled. */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);

	if (argc < 2 || !filter ||
	    seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(io_uring_setup), 0) < 0 ||
	    seccomp_load(filter) < 0) {
		fprintf(stderr, "without_uring: no filter, or no program to run\n");
		return 1;
	}
	seccomp_release(filter);
	execv(argv[1], argv + 1);
	fprintf(stderr, "without_uring: %s: %s\n", argv[1], strerror(errno));
	return 1;
}
