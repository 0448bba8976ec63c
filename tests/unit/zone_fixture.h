// SPDX-License-Identifier: Apache-2.0
/*
 * A zone's agent driven over a socket pair from the same process: the host's end is a client
 * session of the test. The process gets mount and host name namespaces of its own with a tmpfs on
 * /run, so that nothing outlives it. It has to be root; fixture_init() skips the test otherwise.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "idm-vsock/pump.h"
#include "tests/unit/harness.h"
#include "zone-guest/agent.h"
#include "zone-guest/zone.h"

#define FIXTURE_EXITS_MAX 16
#define FIXTURE_UUID_1	  "11111111-1111-4111-8111-111111111111"
#define FIXTURE_UUID_2	  "22222222-2222-4222-8222-222222222222"
#define FIXTURE_UUID_3	  "33333333-3333-4333-8333-333333333333"

/* The host's end of one stream: all that came, and what is to be sent. */
struct fixture_stream {
	struct idm_stream *stream; /* NULL once it is gone */
	char *data;
	size_t len;
	bool ended;	/* the zone's end sends no more */
	bool ended_own; /* nor does this one */
	bool stopped;	/* takes nothing: credit is not given back */
	int error;
	const char *send;
	size_t send_len, sent;
};

struct fixture_reply {
	bool done;
	int error;
	char text[512];
	uint8_t payload[32768];
	size_t len;
};

struct fixture_exit {
	char id[40];
	int code;
	uint32_t signal, run;
	size_t out_len; /* bytes that the first stream of the test had then */
};

struct fixture {
	struct zone zone;
	struct idm *idm;
	struct idm_pump *pump;
	int fd; /* the host's end */
	unsigned lost;
	struct fixture_exit exits[FIXTURE_EXITS_MAX];
	unsigned n_exits;
	unsigned n_finished; /* of them, those that fixture_finish() returned */
	struct fixture_stream out, err;
};

/* A program to run in the zone or in a workload; zero means default. */
struct fixture_run {
	const char *id, *workload;
	char *argv[8];
	char *env[8];
	const char *directory, *user;
	bool terminal, no_streams, detached;
	Protect__Agent__Settings *settings; /* of a launch; NULL = none */
	uint32_t rows, columns;
	Protect__Agent__Volume **volumes; /* of a workload */
	size_t n_volumes;
};

void fixture_init(struct fixture *f);
void fixture_deinit(struct fixture *f);

/* Connects a fresh session; the one before is gone then. */
void fixture_connect(struct fixture *f);

/* Breaks the connection, as the daemon's death does. */
void fixture_disconnect(struct fixture *f);

/* One turn of everything, at most a few milliseconds. */
void fixture_turn(struct fixture *f);

/* Turns until *flag is set; fails the test after 60 s. */
void fixture_await(struct fixture *f, const bool *flag);

/* Turns until there are n exits. */
void fixture_await_exits(struct fixture *f, unsigned n);

/* Turns for some time. */
void fixture_idle(struct fixture *f, unsigned ms);

/* Asks and waits for the answer; returns its error. message is a protobuf-c message. */
int fixture_call(struct fixture *f, uint32_t method, const void *message,
		 struct fixture_reply *reply);

/* Opens f->out and f->err anew, with nothing to send. */
void fixture_streams(struct fixture *f);

/* Ends the sending side once everything was sent. */
void fixture_send(struct fixture_stream *stream, const char *data, size_t len);

/* Starts it with fresh streams; returns the reply's error. */
int fixture_exec(struct fixture *f, const struct fixture_run *run, struct fixture_reply *reply);
int fixture_launch(struct fixture *f, const struct fixture_run *run, struct fixture_reply *reply);

/* Starts a workload that has exited once more, with fresh streams; returns the reply's error. */
int fixture_start(struct fixture *f, const char *uuid, struct fixture_reply *reply);

/* Ends our side of stdin, waits for the next exit that it did not return yet; returns its code. */
int fixture_finish(struct fixture *f);

/*
 * A file system image with busybox on a loop device; fixture_disk() is what the zone then finds for
 * the serial "image".
 */
void fixture_image(struct fixture *f);

/* The same with what a shell script does to the folder /run/tree before. */
void fixture_image_with(struct fixture *f, const char *script);
