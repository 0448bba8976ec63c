// SPDX-License-Identifier: Apache-2.0
/*
 * How a pull comes on, on standard error: a bar for each layer on a terminal, a line for each layer
 * that is complete elsewhere. Main thread only.
 */
#pragma once

#include "proto/control.pb-c.h"

/* Shows news of a layer (progress->item is not empty). */
void bars_show(const Protect__Control__Progress *progress);

/* Removes the bars. */
void bars_end(void);
