// SPDX-License-Identifier: Apache-2.0
/*
 * A vchan: two byte rings in memory that two Xen domains share, wire-compatible with libxenvchan
 * (xen/io/libxenvchan.h). Only the rings: where the pages come from and how an event is sent is the
 * owner's business, so the same code is at both ends, and under test without Xen.
 *
 * The peer may write anything into the shared pages at any time: every value of its is read once
 * and checked, our own positions and the sizes are kept outside. One thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define VCHAN_PAGE_SIZE 4096u
/* Smaller rings share the first page; we neither make nor take them. */
#define VCHAN_ORDER_MIN	 12u
#define VCHAN_ORDER_MAX	 16u
#define VCHAN_GRANTS_MAX (2u << (VCHAN_ORDER_MAX - VCHAN_ORDER_MIN))

/* Where the zone's agent publishes its vchan, below its own home in xenstore: ring-ref and
 * event-channel. The agent is the server, for then the pages are the zone's, not the host's. */
#define VCHAN_IDM_NODE "data/protect-idm"

enum vchan_live { VCHAN_GONE = 0, VCHAN_THERE = 1, VCHAN_EXPECTED = 2 };

struct vchan_position {
	uint32_t cons, prod;
};

/* The first shared page. "left" is what the client writes. */
struct vchan_page {
	struct vchan_position left, right;
	uint16_t left_order, right_order;
	uint8_t cli_live, srv_live;
	uint8_t cli_notify, srv_notify;	   /* of what the client, the server is to send an event */
	uint32_t grants[VCHAN_GRANTS_MAX]; /* the pages of left, then of right */
};

struct vchan {
	struct vchan_page *page; /* borrowed, as the rings */
	bool server;
	uint32_t read_size, write_size;
	uint32_t read_at, write_at; /* our positions; the page has copies for the peer */
	uint8_t *read_ring, *write_ring;
};

/*
 * The server's end, in pages that nobody else has yet: the page is filled in, but for the grants.
 * Both rings have 2^order bytes; left and right are theirs.
 */
void vchan_init_server(struct vchan *vchan, struct vchan_page *page, unsigned order, uint8_t *left,
		       uint8_t *right);

/* What a client has to map, as the page says it once. */
struct vchan_layout {
	unsigned left_order, right_order;
	unsigned n_left, n_right; /* grants */
	uint32_t grants[VCHAN_GRANTS_MAX];
};

/* Reads the layout. Returns 0, -ENOTCONN if no server is there, or -EBADMSG. */
int vchan_read_layout(const struct vchan_page *page, struct vchan_layout *layout);

/* The client's end, with the rings that the layout names mapped. */
void vchan_init_client(struct vchan *vchan, struct vchan_page *page,
		       const struct vchan_layout *layout, uint8_t *left, uint8_t *right);

/*
 * Moves up to len bytes. Returns their number; 0: none can be moved now, and the peer was asked to
 * send an event when that changes; -EBADMSG: the peer's positions make no sense. *event becomes
 * true if the peer wants one now (it is not set to false).
 */
ssize_t vchan_read(struct vchan *vchan, void *data, size_t len, bool *event);
ssize_t vchan_write(struct vchan *vchan, const void *data, size_t len, bool *event);

/* Whether the peer is there, is still expected (server only), or has gone. */
enum vchan_live vchan_peer(const struct vchan *vchan);

/* Says that this end has gone; an event is to follow. */
void vchan_leave(struct vchan *vchan);
