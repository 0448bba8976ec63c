// SPDX-License-Identifier: Apache-2.0
/*
 * The few calls of systemd's manager that the cgroup driver `systemd` needs
 * (org.freedesktop.systemd1(5)), over its private socket, which is root's and needs no D-Bus
 * daemon. Each call is a connection of its own: PID 1 sends every signal to whoever stays connected
 * there, and keeps what is not read. All waiting is bounded. One thread; systemd is trusted.
 */
#pragma once

#include <stddef.h>

#include <systemd/sd-bus.h>

#include "base/error.h"

/* Appends properties, `(sv)` each, to the open array of a message. Returns 0 or a negative errno.
 */
typedef int systemd_fill_fn(sd_bus_message *message, const void *user);

/* Puts systemd's version as text into out. Returns 0 or a negative errno with text: no systemd is
 * PID 1 here, or it does not answer. */
int systemd_version(char *out, size_t size, struct error *err);

/* Makes a transient unit and waits until it is started. Returns 0 or a negative errno with text,
 * -EEXIST when there is such a unit. */
int systemd_start(const char *unit, systemd_fill_fn *fill, const void *user, struct error *err);

/* Sets properties of a unit until the next boot. Returns 0 or a negative errno with text. */
int systemd_set(const char *unit, systemd_fill_fn *fill, const void *user, struct error *err);

/* Stops a unit, and all that needs it, and waits until it is. Returns 0, -ENOENT without such a
 * unit, or another negative errno with text. */
int systemd_stop(const char *unit, struct error *err);
