// SPDX-License-Identifier: Apache-2.0
/*
 * The ACPI event interrupt, as those who have something to tell by it use it. It is an edge, and an
 * I/O APIC forgets an edge that comes before the guest's driver has unmasked it: so it is raised
 * again, at growing intervals, for as long as the guest has not read what there is. Each user has
 * its own; they share the interrupt. Loop thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"

struct event_line {
	struct loop *loop;
	int fd;
	/* Whether the guest has something to read. */
	bool (*unread)(void *user);
	void *user;
	struct loop_timer again;
	bool waiting; /* `again` is under way */
	uint64_t pause_ns;
};

/* loop and fd (an eventfd that is the interrupt) are borrowed. */
void event_line_init(struct event_line *line, struct loop *loop, int fd, bool (*unread)(void *user),
		     void *user);

/* There is something to read now. */
void event_line_raise(struct event_line *line);
