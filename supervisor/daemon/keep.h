// SPDX-License-Identifier: Apache-2.0
/*
 * The last output of zones and workloads that ended, kept beyond the daemon: STATE/logs/UUID, at
 * most a ring's size each, written once at the end and removed with its owner. What a zone printed
 * is not trusted, nor is a file that a killed daemon left half written: reading checks every
 * record. One thread; nothing here fails its caller, a log that cannot be kept is only said.
 */
#pragma once

#include "supervisor/daemon/daemon.h"
#include "supervisor/daemon/ring.h"

/* Makes the folder. Returns 0 or a negative errno with text. */
int keep_init(const struct daemon *d, struct error *err);

/* Writes what the ring holds. */
void keep_save(const struct daemon *d, const char *uuid, const struct ring *ring);

/* Appends what was written to the ring; nothing if there is nothing. */
void keep_load(const struct daemon *d, const char *uuid, struct ring *ring);

/* Removes it, if it is there. */
void keep_remove(const struct daemon *d, const char *uuid);
