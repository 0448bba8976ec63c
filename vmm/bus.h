// SPDX-License-Identifier: Apache-2.0
/*
 * From vCPUs to devices. A vCPU that left the guest for a port or memory access hands it to the
 * loop thread, which owns every device, and sleeps until it is done; so devices need no locks, and
 * the loop never waits for a vCPU. A range may answer in the vCPU's own thread what needs no device
 * state (`fast`): absent PCI functions, status ports. Nobody at an address: reads are all ones,
 * writes vanish.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"

#define BUS_RANGES_MAX 12
#define BUS_VCPUS_MAX  64

/* One access: off is relative to the range; data holds len (1, 2, 4, 8) bytes, to be filled by a
 * read. */
struct bus_access {
	bool write;
	uint8_t len;
	uint64_t off;
	uint8_t data[8];
};

struct bus_range {
	uint64_t start, len;
	bool port; /* port space, else memory space */
	/* In the loop thread. */
	void (*access)(void *user, struct bus_access *access);
	/* In the vCPU's thread, at any time, several at once: true if it is done. May be NULL. */
	bool (*fast)(void *user, struct bus_access *access);
	void *user;
};

/* A vCPU's letter box. */
struct bus_call {
	_Atomic uint32_t state; /* a futex */
	const struct bus_range *range;
	struct bus_access access;
	const char *end_reason; /* set: the vCPU ended the VM */
	char end_detail[128];
};

struct bus {
	struct loop *loop;
	struct loop_op doorbell_op;
	int doorbell, doorbell_slot;
	bool looks;	       /* both sides look for a while before they sleep */
	atomic_bool attentive; /* the loop thread looks at the calls: no need to ring */
	atomic_bool released;  /* nobody serves calls any more */
	uint64_t doorbell_count;
	unsigned n_ranges, n_calls;
	struct bus_range ranges[BUS_RANGES_MAX];
	struct bus_call *calls[BUS_VCPUS_MAX];
	/* In the loop thread: a vCPU ended the VM. reason is one of base/runner.h. */
	void (*on_end)(void *user, const char *reason, const char *detail);
	void *user;
	/* In the loop thread, whenever the doorbell rang, after calls were served. May be NULL. */
	void (*on_ring)(void *user);
	void *ring_user;
};

/* Starts listening to vCPUs in `loop` (borrowed). Returns 0 or a negative errno. */
int bus_init(struct bus *bus, struct loop *loop,
	     void (*on_end)(void *user, const char *reason, const char *detail), void *user);
void bus_deinit(struct bus *bus);

/* Before vCPUs run. Ranges must not overlap. */
void bus_add_range(struct bus *bus, const struct bus_range *range);

/* Before the vCPU that it belongs to runs: loop thread. It stays to the bus's end. */
void bus_add_call(struct bus *bus, struct bus_call *call);

/* vCPU thread: wakes the loop for on_ring. */
void bus_ring(struct bus *bus);

/* vCPU thread: one access at addr (len bytes at data). Returns when it is done, or when
 * bus_release() was called. */
void bus_do(struct bus *bus, struct bus_call *call, bool port, bool write, uint64_t addr,
	    void *data, unsigned len);

/* vCPU thread: this VM is over. Returns at once; detail is copied. */
void bus_end(struct bus *bus, struct bus_call *call, const char *reason, const char *detail);

/* Loop thread, at the end: lets every vCPU that waits go on with what it has. */
void bus_release(struct bus *bus);
