// SPDX-License-Identifier: Apache-2.0
/* The devices that a machine starts with, as its spec wants them. Loop thread, before vCPUs run. */
#pragma once

#include "base/error.h"
#include "runner/spec.h"

struct machine;

/* Plugs all of them into the machine's slots. Returns 0 or a negative errno with *err; those that
 * were plugged stay. */
int machine_add_devices(struct machine *machine, const struct zone_spec *spec, struct error *err);
