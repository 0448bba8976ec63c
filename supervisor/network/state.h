// SPDX-License-Identifier: Apache-2.0
/*
 * The list of links as a file in /run, so that a service that was killed knows what its rules were
 * for, and holds the published ports again before anybody takes them. It is gone with the kernel
 * whose links it describes. Only this service's user writes it; what is read is checked all the
 * same.
 */
#pragma once

#include "supervisor/network/nic.h"

struct link;

/* Writes the list in one step. Returns 0 or a negative errno. */
int state_save(const char *path, const struct link *first);

/* Reads it; what is not valid (any more) is left out. *nics is the caller's. Returns 0, also
 * without a file, or a negative errno. */
int state_load(const char *path, const struct settings *settings, struct nic **nics, unsigned *n);

/* Checks a list of NICs. *nics is the caller's. Returns 0 or a negative errno with *err set. */
int state_check(Protect__Network__Nic *const *requests, size_t n_requests, bool skip_bad,
		const struct settings *settings, struct nic **nics, unsigned *n, struct error *err);
