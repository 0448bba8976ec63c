// SPDX-License-Identifier: Apache-2.0
/* What this host's zones can run on. Files only: the runners know the hypervisors. */
#pragma once

#include <stdbool.h>

#include "base/error.h"

enum backend { BACKEND_KVM, BACKEND_PV, BACKEND_PVH, BACKEND_COUNT };

/* kvm, pv, pvh */
const char *backend_name(enum backend backend);

/* Whether it is a kind of Xen domain. */
bool backend_is_xen(enum backend backend);

/* Whether the host has it. */
bool backend_is_here(enum backend backend);

/*
 * What a zone is to run on that was asked for by name; empty or "auto": KVM where it is, else PV,
 * else PVH. Returns 0 or a negative errno with *err: -EINVAL for no such name, -ENODEV if the host
 * has it not.
 */
int backend_choose(const char *name, enum backend *backend, struct error *err);
