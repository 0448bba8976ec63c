// SPDX-License-Identifier: Apache-2.0
/*
 * A small daemon for the tests of `protect`: the server's end of a session on a socket in a
 * temporary folder. The program runs as a child with pipes for its standard streams; one thread
 * moves everything until the child has ended. What it is asked decides what it does; an exec's
 * first argument is its script: see cli_daemon.c.
 */
#pragma once

#include <sys/types.h>

#include "idm-vsock/pump.h"
#include "idm-vsock/session.h"
#include "tests/unit/harness.h"

#define CLI_BIG_BYTES (10u << 20)

struct cli_bytes {
	uint8_t *data;
	size_t len;
};

struct cli_exec {
	struct idm_stream *out, *err;
	uint64_t id;
	int exit_code;
	bool echo;   /* stdin comes back on stdout */
	bool hang;   /* until a signal comes */
	bool ended;  /* output is over, the reply was sent */
	size_t left; /* of the big output */
};

struct cli_daemon {
	char folder[64];
	char path[96];
	int listener, fd;
	struct idm *idm;
	struct idm_pump pump;
	bool die; /* close the connection as soon as what is queued was sent */
	struct cli_exec exec;
	struct cli_bytes imported;
	struct idm_stream *import_stream;
	uint64_t import_id;
	char last_image[128], last_name[128], last_env[128];
	unsigned resizes, signals, debug_asked;
	uint64_t updated_mib;
	uint32_t updated_cpus;
	int updated_policy; /* -1 = none was given */
	uint64_t updated_min_mib;
	uint32_t rows;
};

/* The child: what it was given, wrote and ended with. */
struct cli_run {
	const char *input; /* for its standard input */
	size_t input_len;
	bool terminal;	   /* a pseudo terminal for its standard input and output */
	bool close_output; /* nobody reads its standard output */
	unsigned slow_us;  /* pause between reads of its output */
	int kill;	   /* a signal to send it once it hangs */
	struct cli_bytes out, err;
	int status;		 /* as of a shell: 128+n for signal n */
	bool raw_seen, restored; /* the terminal's mode meanwhile and afterwards */
};

void cli_daemon_init(struct cli_daemon *daemon);
void cli_daemon_deinit(struct cli_daemon *daemon);

/* Runs `protect` with these words (up to NULL) and serves it until it ends. */
void cli_daemon_run(struct cli_daemon *daemon, struct cli_run *run, const char *const *words);
void cli_run_deinit(struct cli_run *run);

/* Byte i of the big output. */
uint8_t cli_big_byte(size_t i);
