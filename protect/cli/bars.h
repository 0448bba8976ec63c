// SPDX-License-Identifier: Apache-2.0
/*
 * How a pull comes on, on standard error: a bar for each layer on a terminal; elsewhere, if
 * somebody asked for the pull itself, a line for each layer that is complete. Main thread only.
 */
#pragma once

#include <stdbool.h>

#include "proto/control.pb-c.h"

/* Shows news of a layer (progress->item is not empty); lines: also where there is no terminal. */
void bars_show(const Protect__Control__Progress *progress, bool lines);

/* Removes the bars. */
void bars_end(void);
