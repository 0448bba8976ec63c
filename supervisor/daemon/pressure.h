// SPDX-License-Identifier: Apache-2.0
/*
 * Whether the host is short of memory, by the kernel's pressure stall information ("some" of
 * /proc/pressure/memory: the share of time in which a task waited for memory). It is polled: a
 * trigger would need a privilege. Short from PRESSURE_HIGH_PERCENT on, until it is below
 * PRESSURE_LOW_PERCENT; in ease, so that memory may be given back, when it was below that for
 * PRESSURE_CALM_NS.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

#define PRESSURE_FILE	      "/proc/pressure/memory"
#define PRESSURE_HIGH_PERCENT 10.0
#define PRESSURE_LOW_PERCENT  1.0
#define PRESSURE_CALM_NS      (30 * NS_PER_S)

struct pressure {
	bool known;	     /* the host says */
	double percent;	     /* of the last 10 s; 0 when not known */
	uint64_t stalled_us; /* since its start */
	bool is_short;
	uint64_t low_since_ns; /* 0 = it is not low */
};

/* Reads the "some" line of such a file's text. Returns 0 or -EBADMSG. */
int pressure_parse(const char *text, double *percent, uint64_t *stalled_us);

/* Takes a new figure. known false: the host does not say, which is no pressure. */
void pressure_step(struct pressure *pressure, bool known, double percent, uint64_t now_ns);

/* Reads the file and takes the step. */
void pressure_poll(struct pressure *pressure, const char *path, uint64_t now_ns);

/* Whether memory that was taken may be given back. */
bool pressure_is_over(const struct pressure *pressure, uint64_t now_ns);
