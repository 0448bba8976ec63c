// SPDX-License-Identifier: Apache-2.0
/*
 * The zone's figures, read from /proc and the workloads' control groups when they are asked for.
 * What a kernel lacks is left out.
 */
#pragma once

#include <stdint.h>

#include "zone-guest/zone.h"

/* Answers the request (method METRICS). */
void metrics_reply(struct zone *zone, uint64_t id);
