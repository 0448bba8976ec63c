// SPDX-License-Identifier: Apache-2.0
/* The ZoneSpec: the JSON that tells a runner what its zone is. Descriptors are named by their
 * numbers in the runner. */
#pragma once

#include <stdint.h>

#include "base/error.h"

#define SPEC_DISKS_MAX	   8u
#define SPEC_ADDONS_SERIAL "addons" /* the disk with the kernel's other modules */

struct spec_disk {
	int fd;
	const char *serial;
};

struct spec_nic {
	const char *mac;
	uint32_t mtu;	/* 0 = the default */
	int first_fd;	/* of a tap, one a queue pair */
	unsigned n_fds; /* 0: there is no NIC */
};

struct spec {
	const char *uuid, *name, *cmdline;
	const char *backend;		     /* NULL: as the runner likes */
	uint64_t memory_mib, max_memory_mib; /* at the start, and what it may grow to */
	uint32_t vcpus, max_vcpus;	     /* the same */
	int kernel_fd, initrd_fd, socket_fd, exit_fd;
	unsigned n_disks; /* all read-only */
	struct spec_disk disks[SPEC_DISKS_MAX];
	struct spec_nic nic; /* eth0 */
};

/* The kernel command line of every zone, and then extra (NULL or "" = nothing more). The caller
 * frees it; NULL without memory. */
char *spec_cmdline(const char *extra);

/* Writes the spec into a fresh memfd, positioned at its start. Returns the descriptor or a negative
 * errno with text. */
int spec_write(const struct spec *spec, struct error *err);
