// SPDX-License-Identifier: Apache-2.0
/*
 * /metrics for Prometheus: HTTP by libmicrohttpd, whose epoll set the hub watches, so that it runs
 * in the daemon's one thread. A reader never waits for a zone: what it gets was asked before
 * (stats.h) or is read from files of the kernel at once, and readers within a second get the same
 * text. Readers are not trusted: connections, their memory and their silence are bounded, and
 * there is nothing to send but GET and HEAD. There is no authentication: the address is loopback
 * unless somebody gives another one.
 */
#pragma once

#include <stdint.h>
#include <stdio.h>

#include "supervisor/daemon/daemon.h"

#define METRICS_ADDRESS "127.0.0.1:3035"

/*
 * Listens where the options say, or does nothing for "off". An address that cannot be had is
 * logged and tried again later: zones matter more. Returns 0, -EINVAL for what is no address (with
 * text), or -ENOMEM. metrics_stop() may be called on nothing.
 */
int metrics_start(struct daemon *d, struct error *err);
void metrics_stop(struct daemon *d);

/* The whole text, malloc'ed; NULL without memory. */
char *metrics_write(struct daemon *d, size_t *len);

/* Its parts. */
void metrics_write_host(FILE *out, const struct daemon *d);
void metrics_write_denied(FILE *out, const struct daemon *d);
void metrics_write_zones(FILE *out, const struct daemon *d);

/* Whether the services answer: asked now and then while somebody reads, never by a reader. */
struct health;
struct health *health_new(struct daemon *d);
struct health *health_free(struct health *health); /* NULL is allowed; always returns NULL */
void health_keep_fresh(struct health *health);
void health_write(FILE *out, const struct health *health);
