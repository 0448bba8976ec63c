// SPDX-License-Identifier: Apache-2.0
/*
 * The last output of zones and workloads, kept beyond the daemon: STATE/logs/UUID, at most a ring's
 * size each, written as it comes and removed with its owner. A daemon that is killed loses nothing
 * of it; a host that crashes may. What a zone printed is not trusted, nor is a file that anything
 * left half written: reading checks every record. One thread; nothing here fails its caller, a log
 * that cannot be kept is only said.
 */
#pragma once

#include "supervisor/daemon/daemon.h"
#include "supervisor/daemon/ring.h"

/* Makes the folder. Returns 0 or a negative errno with text. */
int keep_init(const struct daemon *d, struct error *err);

/* For one that runs: fills the ring with what an earlier daemon kept, if there was one, and keeps
 * what is appended from now on. */
void keep_start(const struct daemon *d, const char *uuid, struct ring *ring);

/* For one that runs again: goes on keeping what is in the ring. */
void keep_again(const struct daemon *d, const char *uuid, struct ring *ring);

/* It has ended: all of it is kept now, or said not to be. */
void keep_end(const struct daemon *d, const char *uuid, struct ring *ring);

/* For one that has ended: fills the ring. */
void keep_load(const struct daemon *d, const char *uuid, struct ring *ring);

/* Removes it, if it is there. */
void keep_remove(const struct daemon *d, const char *uuid);
