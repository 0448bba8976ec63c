// SPDX-License-Identifier: Apache-2.0
/*
 * The ZoneSpec: what a runner is to run, as JSON (docs/zone-spec.md). Files are named by path or,
 * by who starts the runner, by an open descriptor: {"path": "…"} or {"fd": N}. Everything is
 * checked here; unknown members are errors.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"
#include "virtio/net.h"
#include "virtio/rate_limit.h"

#define SPEC_DISKS_MAX	    16
#define SPEC_NICS_MAX	    8
#define SPEC_NAME_MAX	    63
#define SPEC_SERIAL_MAX	    20
#define SPEC_NIC_NAME_MAX   15
#define SPEC_QUEUES_MAX	    8
#define SPEC_MTU_MIN	    68
#define SPEC_MEMORY_MIB_MIN 16u
#define SPEC_MEMORY_MIB_MAX (1u << 20)
#define SPEC_VCPUS_MAX	    64
#define SPEC_RATE_MAX	    (UINT64_C(1) << 40) /* a second, and bursts */
#define SPEC_SIZE_MAX	    (64u * 1024)
#define SPEC_CMDLINE_MAX    4096u /* with its NUL */

#define SPEC_FDS_MAX (SPEC_DISKS_MAX + SPEC_NICS_MAX * VIRTIO_NET_PAIRS_MAX + 8)

enum spec_backend {
	SPEC_BACKEND_ANY, /* as the runner likes */
	SPEC_BACKEND_KVM,
	SPEC_BACKEND_PV,
	SPEC_BACKEND_PVH,
};

struct spec_disk {
	int fd;
	bool read_only;
	bool direct;	     /* past the host's page cache */
	unsigned n_queues;   /* 0: as many as fit the zone */
	unsigned queue_size; /* 0: VIRTIO_QUEUE_SIZE */
	struct rate rate;
	char serial[SPEC_SERIAL_MAX + 1];
};

struct spec_nic {
	char name[SPEC_NIC_NAME_MAX + 1];
	unsigned n_taps; /* one a queue pair */
	int taps[VIRTIO_NET_PAIRS_MAX];
	uint8_t mac[6];
	uint16_t mtu;
	unsigned queue_size;
	struct rate rx, tx; /* as the guest sees it */
};

struct zone_spec {
	struct uuid uuid;
	char name[SPEC_NAME_MAX + 1];
	enum spec_backend backend;
	uint64_t memory_mib;	 /* that it boots with */
	uint64_t max_memory_mib; /* that it may grow to, ≥ memory_mib */
	bool huge_pages;
	bool balloon;
	unsigned vcpus;	    /* that it boots with */
	unsigned max_vcpus; /* ≥ vcpus */
	char cmdline[SPEC_CMDLINE_MAX];
	int kernel_fd, initrd_fd; /* initrd, socket, exit and console may be -1: none */
	int socket_fd;		  /* listening */
	int exit_fd;
	int console_fd;	   /* gets the console's output, besides those that connect */
	unsigned n_handed; /* descriptors that the spec named: closed once it is read, for copies
			      serve */
	int handed[SPEC_FDS_MAX];
	unsigned n_disks;
	struct spec_disk disks[SPEC_DISKS_MAX];
	unsigned n_nics;
	struct spec_nic nics[SPEC_NICS_MAX];
};

/*
 * Reads a spec of len bytes and opens what it names. On success the descriptors belong to *spec:
 * spec_close(). Returns 0, or a negative errno with *err naming the member.
 */
int spec_parse(const char *json, size_t len, struct zone_spec *spec, struct error *err);

/* Closes what is still open in it; what was taken out is -1. */
void spec_close(struct zone_spec *spec);

/* Whether text is 1 to SPEC_SERIAL_MAX printable ASCII characters without blanks, fit for a disk's
 * serial. */
bool spec_is_serial(const char *text);

/* The same for the name of a NIC, with SPEC_NIC_NAME_MAX. */
bool spec_is_nic_name(const char *text);

/* Whether a NIC may have this address: neither a group's nor all zeroes. */
bool spec_is_mac(const uint8_t mac[6]);

/* Whether every number of a rate is within SPEC_RATE_MAX. */
bool spec_is_rate(const struct rate *rate);
