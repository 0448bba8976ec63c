// SPDX-License-Identifier: Apache-2.0
/* hostile_tap PROGRAM ARGUMENT…: runs it with a tap of a network namespace of its own as descriptor
 * 9. */
#include <stdio.h>
#include <unistd.h>

#include <linux/if_tun.h>

#include "tests/unit/virtio_net_wire.h"

#define TAP_FD	  9
#define EXIT_SKIP 77

int main(int argc, char **argv)
{
	int tap;

	if (argc < 2 || wire_enter_namespace() < 0) {
		fputs("SKIP: no tap to be had here\n", stderr);
		return EXIT_SKIP;
	}
	tap = wire_open_tap("guest0", IFF_VNET_HDR);
	if (tap < 0 || wire_open_packet("guest0", 1500, 0) < 0 || dup2(tap, TAP_FD) < 0) {
		perror("hostile_tap: the tap");
		return 1;
	}
	execv(argv[1], argv + 1);
	perror("hostile_tap: the program");
	return 1;
}
