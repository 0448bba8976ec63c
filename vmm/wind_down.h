// SPDX-License-Identifier: Apache-2.0
/*
 * The orderly end of a machine whose vCPUs have stopped: readers of the console get the last words,
 * functions let their I/O drain and are destroyed, connections are closed. Bounded in time: what
 * hangs is left to the process's end.
 */
#pragma once

struct machine;

/* Runs the machine's loop until all is wound down, at most about 3 s. Loop thread. */
void machine_wind_down(struct machine *machine);
