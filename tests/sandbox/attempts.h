// SPDX-License-Identifier: Apache-2.0
/*
 * What a zone-vmm that its guest has taken over might try, one line each, for probe.c. Arguments
 * may name what the probe has prepared (BAIT_…): these numbers stand for it in the tables.
 *
 * No attempt would hurt the host if it were allowed: where a call could, its arguments are such
 * that the kernel refuses them.
 */
#pragma once

#include <stdint.h>

/* Threads of zone-vmm, as vmm/filters.h has them. */
enum profile {
	VCPU = 1,
	LOOP = 2,
	LOOP_POLLING = 4,
	WORKER = 8,
	LOOPS = LOOP | LOOP_POLLING,
	ALL = VCPU | LOOPS | WORKER
};

/* What an argument of a table stands for. */
enum bait {
	BAIT_FIRST = 0x7e570000,
	BAIT_VICTIM = BAIT_FIRST, /* another process's id, as the host knows it */
	BAIT_SELF,		  /* the own id */
	BAIT_PAGE,		  /* a page that can be written, zeroes */
	BAIT_CODE,		  /* a page as well, to be made executable */
	BAIT_FILE,		  /* a file, open for reading and writing */
	BAIT_PIPE,		  /* the end of a pipe to write to */
	BAIT_SOCKET,		  /* a datagram socket made in here */
	BAIT_RING,		  /* the ring's descriptor */
	BAIT_STRANGER,		  /* a name below /proc of memory that the victim has */
	BAIT_END
};

/* A system call that the filter must answer by killing. */
struct call_attempt {
	const char *what;
	unsigned profiles;
	long number;
	long args[6];
};

/* An operation that the ring must refuse with EACCES. */
struct ring_attempt {
	const char *what;
	uint8_t opcode, flags;
};

/* A call that the filter must let through, whatever the kernel then says. */
extern const struct call_attempt allowed_calls[];
extern const unsigned n_allowed_calls;

extern const struct call_attempt forbidden_calls[];
extern const unsigned n_forbidden_calls;

extern const struct ring_attempt forbidden_operations[];
extern const unsigned n_forbidden_operations;
