// SPDX-License-Identifier: Apache-2.0
/*
 * The bytes of IDM between whoever connected to the runner as RUNNER_IDM and the zone's agent,
 * moved and never parsed. The agent serves a vchan (idm-vsock/vchan.h) and says where in xenstore;
 * that is looked for by time, as long as somebody waits, so that nothing the zone writes there
 * wakes us. Loop thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "idm-vsock/vchan.h"
#include "xen-compat/domain.h"
#include "xen-compat/events.h"

#define IDM_CHUNK 32768u

/* The agent's vchan, mapped. */
struct idm_channel {
	struct vchan_page *page; /* NULL: none */
	uint8_t *left, *right;
	unsigned n_left, n_right;
	evtchn_port_t port;
	struct vchan vchan;
};

struct idm_bytes {
	uint32_t start, end; /* what is in data */
	uint8_t data[IDM_CHUNK];
};

struct idm_line {
	struct xen *xen;
	struct events *events;
	struct loop *loop;
	uint32_t domid;
	struct idm_channel channel;
	int fd, slot; /* who waits, or is connected; -1: nobody */
	int next_fd;  /* who comes when the present one is gone, or -1 */
	bool receiving, sending, timing;
	bool closing, ended;
	struct loop_op recv_op, send_op;
	struct loop_timer timer;
	uint64_t pause_ns;
	uint64_t rx_bytes, tx_bytes; /* from the zone, to it */
	struct idm_bytes to_zone, from_zone;
};

/* What is given is borrowed. */
void idm_line_init(struct idm_line *line, struct loop *loop, struct xen *xen, struct events *events,
		   uint32_t domid);

/* Somebody connected; fd is owned from here on. Whoever was there is disconnected, as is the zone,
 * which comes again. */
void idm_line_offer(struct idm_line *line, int fd);

/* Disconnects everybody; idm_line_is_closed() when nothing is under way any more. */
void idm_line_close(struct idm_line *line);
bool idm_line_is_closed(const struct idm_line *line);
