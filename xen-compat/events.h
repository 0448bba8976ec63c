// SPDX-License-Identifier: Apache-2.0
/*
 * Event channels in the loop: one descriptor for all ports of a zone, each with its handler. A port
 * that fired stays masked until its handler has run, so a zone that fires all the time gets no more
 * than the loop gives it. Loop thread.
 */
#pragma once

#include <stdint.h>

#include <xenevtchn.h>

#include "base/error.h"
#include "base/loop.h"

#define EVENTS_PORTS_MAX 4u

struct events_port {
	evtchn_port_t port; /* 0: free */
	void (*fired)(void *user);
	void *user;
};

struct events {
	struct loop *loop;
	xenevtchn_handle *handle;
	int slot;
	struct loop_op op;
	struct events_port ports[EVENTS_PORTS_MAX];
};

/* Opens the device; events_start() makes it heard. Returns 0 or a negative errno with *err. */
int events_open(struct events *events, struct xentoollog_logger *logger, struct error *err);
int events_start(struct events *events, struct loop *loop);
void events_close(struct events *events);

/* Binds to the peer's port. Returns our port, or a negative errno. */
int events_bind(struct events *events, uint32_t domid, evtchn_port_t remote,
		void (*fired)(void *user), void *user);
void events_unbind(struct events *events, evtchn_port_t port);

/* Sends an event to the peer of the port. */
void events_notify(struct events *events, evtchn_port_t port);
