// SPDX-License-Identifier: Apache-2.0
/*
 * One end of an IDM session: bytes in, bytes out. It frames packets (proto/idm.proto), matches
 * responses to requests, keeps deadlines, and gives each stream a credit window of its own, so that
 * a reader that stops holds up its stream and nothing else. It owns no descriptor and reads no
 * clock; the same code runs in zone-init, the daemon and `protect`.
 *
 * One thread owns a session. The peer is not trusted: a packet that breaks the protocol makes
 * idm_feed() return -EBADMSG, after which the session is dead and only idm_free() is allowed.
 * Memory is bounded: IDM_CALLS_MAX calls and requests, IDM_STREAMS_MAX streams, and per stream no
 * more than the window that this side granted, respectively IDM_STREAM_QUEUE_MAX bytes not yet
 * sent; of a peer that reads nothing from IDM_QUEUE_MAX on, IDM_STREAM_QUEUE_MIN for each. Unknown
 * methods and events are answered (ENOSYS) or passed to the handler; unknown forms are ignored.
 *
 * Callbacks run inside idm_feed(), idm_tick() and idm_free(). They may call anything here but those
 * three.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IDM_PACKET_MAX	     (128u * 1024)
#define IDM_DATA_MAX	     (64u * 1024) /* of one STREAM_DATA */
#define IDM_CALLS_MAX	     1024u	  /* under way, each direction */
#define IDM_STREAMS_MAX	     1024u
#define IDM_WINDOW	     (256u * 1024)	 /* a good window to grant */
#define IDM_WINDOW_MAX	     (16u * 1024 * 1024) /* what a peer may grant at most */
#define IDM_STREAM_QUEUE_MAX (256u * 1024)
#define IDM_STREAM_QUEUE_MIN (4u * 1024)
#define IDM_QUEUE_MAX	     (8u * 1024 * 1024) /* of all streams together */

struct idm;
struct idm_stream;

enum idm_role {
	IDM_CLIENT,
	IDM_SERVER
}; /* the client's streams have odd numbers, the server's even ones */

enum idm_direction { IDM_IN, IDM_OUT };

struct idm_handler {
	/*
	 * The peer asks: answer now or later with idm_reply(idm, id, …), exactly once. data is
	 * borrowed for the call. NULL: ENOSYS.
	 */
	void (*request)(void *user, struct idm *idm, uint64_t id, uint32_t method, const void *data,
			size_t len);
	/* The peer tells. May be NULL. */
	void (*event)(void *user, struct idm *idm, uint32_t kind, const void *data, size_t len);
	/* Sees every packet as it is on the wire, without its length. May be NULL. */
	void (*snoop)(void *user, enum idm_direction direction, const void *packet, size_t len);
};

/* The answer to a call: error 0 and a payload, or a negative errno and text (may be ""). Everything
 * is borrowed for the call. */
typedef void idm_reply_fn(void *user, int error, const char *text, const void *payload, size_t len);

struct idm_stream_ops {
	/* Bytes of the peer, at most what was granted and not yet consumed; give the credit back
	 * with idm_stream_consumed(). */
	void (*data)(void *user, struct idm_stream *stream, const void *data, size_t len);
	/* idm_stream_write() would take bytes again, after it took fewer than it was given. May be
	 * NULL. */
	void (*writable)(void *user, struct idm_stream *stream);
	/*
	 * error 0: the peer sends no more (this side may go on writing). Otherwise a negative
	 * errno: the stream was reset or the session ended. The stream is freed after this call if
	 * error is set, or once this side has ended too.
	 */
	void (*closed)(void *user, struct idm_stream *stream, int error);
};

/* Makes a session. handler is borrowed and outlives it. Returns NULL without memory. */
struct idm *idm_new(enum idm_role role, const struct idm_handler *handler, void *user);

/*
 * Ends a session: every call under way gets -ECONNRESET, every stream closed(-ECONNRESET), then all
 * is freed. NULL is allowed. Always returns NULL.
 */
struct idm *idm_free(struct idm *idm);

/* Bytes from the peer; any chunks. Returns 0, -EBADMSG (see above), or -ENOMEM. */
int idm_feed(struct idm *idm, const void *data, size_t len, uint64_t now_ns);

/*
 * Takes up to max bytes to send to the peer. What was queued first leaves first, also between a
 * stream's bytes and a reply. Returns how many; 0 = nothing to send.
 */
size_t idm_output(struct idm *idm, void *buf, size_t max);

/* Whether idm_output() would return more than 0. */
bool idm_has_output(const struct idm *idm);

/*
 * The earliest deadline of a call under way, 0 for none; 1 (long past) when a stream waits to be
 * told that it may write or that its peer ended. idm_tick() tells it, and ends calls whose deadline
 * has passed with -ETIMEDOUT.
 */
uint64_t idm_next_deadline(const struct idm *idm);
void idm_tick(struct idm *idm, uint64_t now_ns);

/*
 * Asks the peer. reply runs exactly once if 0 is returned. deadline_ns 0 = none. Returns 0, -EAGAIN
 * (too many under way, or 8 MiB unsent), -ECONNRESET (the session has ended), -EMSGSIZE, -ENOMEM.
 * *id (may be NULL) becomes the request's id.
 */
int idm_call(struct idm *idm, uint32_t method, const void *data, size_t len, uint64_t deadline_ns,
	     idm_reply_fn *reply, void *user, uint64_t *id);

/* Forgets a call: its reply function is not called any more. Unknown ids are ignored. */
void idm_call_forget(struct idm *idm, uint64_t id);

/*
 * Answers a request: error is 0 or a negative errno with text (NULL = strerror). Returns 0, -ENOENT
 * (no such request under way), -EMSGSIZE (then the peer is sent EMSGSIZE instead), -ENOMEM.
 */
int idm_reply(struct idm *idm, uint64_t id, int error, const char *text, const void *payload,
	      size_t len);

/* Tells the peer. Returns 0, -EMSGSIZE, -ENOMEM (also: the peer left 8 MiB unread). */
int idm_event(struct idm *idm, uint32_t kind, const void *data, size_t len);

/*
 * Opens a stream: the peer may send `window` bytes at first. The peer's end comes alive when it
 * accepts; until then nothing can be written. Returns 0, -EAGAIN (too many), -ENOMEM. ops is
 * borrowed and outlives the stream.
 */
int idm_stream_open(struct idm *idm, uint32_t window, const struct idm_stream_ops *ops, void *user,
		    struct idm_stream **out);

/*
 * Takes a stream that the peer opened and named in a request. Returns 0, -ENOENT (no such stream,
 * or accepted before), -ENOMEM. A stream that no one accepts while the request is answered should
 * be refused with idm_stream_refuse().
 */
int idm_stream_accept(struct idm *idm, uint64_t number, uint32_t window,
		      const struct idm_stream_ops *ops, void *user, struct idm_stream **out);
void idm_stream_refuse(struct idm *idm, uint64_t number, int error);

/* The number to name it by in a request. */
uint64_t idm_stream_number(const struct idm_stream *stream);

/* The session it belongs to. */
struct idm *idm_stream_session(const struct idm_stream *stream);

/* Queues up to len bytes, as far as the peer's window and the queue allow. Returns how many it took
 * (they are copied). */
size_t idm_stream_write(struct idm_stream *stream, const void *data, size_t len);

/* How many bytes idm_stream_write() would take now. */
size_t idm_stream_room(const struct idm_stream *stream);

/* len bytes that data() gave were used up: the peer may send as many again (grants are batched). */
void idm_stream_consumed(struct idm_stream *stream, size_t len);

/* No more bytes from this side. When the peer has ended as well the stream is freed: do not use it
 * after the closed() of both. */
void idm_stream_end(struct idm_stream *stream);

/* Ends both ways now and frees the stream; no callback follows. error is a negative errno, told to
 * the peer. */
void idm_stream_reset(struct idm_stream *stream, int error);
