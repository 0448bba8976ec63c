// SPDX-License-Identifier: Apache-2.0
/*
 * The contract between the daemon and a runner, the process that is one zone (zone-vmm, zone-xen);
 * it knows no hypervisor.
 *
 * A runner listens on one SOCK_STREAM unix socket. Whoever connects sends a struct runner_hello
 * first; enum runner_kind says what follows.
 *
 * Before it ends, a runner writes one line into its exit record: `REASON[ DETAIL]\n`, REASON being
 * one of the words below. No line: it was killed or crashed.
 */
#pragma once

#include <stdint.h>

#define RUNNER_MAGIC	       0x5a505255u /* "URPZ" */
#define RUNNER_CONSOLE_BACKLOG (64u * 1024)
#define RUNNER_FRAME_MAX       (64u * 1024)
#define IDM_PORT	       1024u /* vsock port on the host's side at which the zone's agent finds it */

enum runner_kind {
	/* Requests and replies of proto/runner.proto; the connection ends when the zone ends. */
	RUNNER_CONTROL = 1,
	/* The bytes of the zone's IDM connection (guest vsock to CID 2, port IDM_PORT). Either side
	 * may come first and waits for the other. A newer RUNNER_IDM connection replaces an older
	 * one: the runner shuts the zone's end, the zone connects again and meets the new one. When
	 * the zone's end closes, so does this. */
	RUNNER_IDM = 2,
	/* The zone's console output: first the last RUNNER_CONSOLE_BACKLOG bytes, then live; a
	 * reader that does not keep up loses the oldest bytes. Several at once are allowed. */
	RUNNER_CONSOLE = 3,
	/* A vsock connection to a port on which something in the zone listens: a struct
	 * runner_vsock_hello, then the bytes of the connection, which may follow at once and are
	 * held back until the zone accepts. A zone that refuses, has nobody there, or does not
	 * answer within 10 s: the connection is closed without a byte. Each half ends apart. Many
	 * at once are allowed. */
	RUNNER_VSOCK = 4,
	/* One connection of the zone's to a port of the host's (vsock CID 2): a struct
	 * runner_vsock_hello, then, once something in the zone connects there, the bytes of that;
	 * until then it waits in line, at most 16 of them for all ports, and is closed at once
	 * where there is no room. A zone's connections wait 1.5 s for somebody in line, 8 a port,
	 * while the port is served: somebody is in line or connected there. So a server that keeps
	 * one more in line than it is busy with misses nothing. IDM_PORT is not to be had. Each
	 * half ends apart. */
	RUNNER_SERVE = 5,
};

struct runner_hello {
	uint32_t magic;
	uint32_t kind;
};

struct runner_vsock_hello {
	struct runner_hello hello;
	uint32_t port;
};

#define RUNNER_EXIT_POWEROFF	 "poweroff"
#define RUNNER_EXIT_REBOOT	 "reboot"
#define RUNNER_EXIT_PANIC	 "panic"
#define RUNNER_EXIT_TRIPLE_FAULT "triple-fault"
#define RUNNER_EXIT_KILLED	 "killed" /* on request: Kill, or SIGTERM */
#define RUNNER_EXIT_ERROR	 "error"  /* the runner itself failed; DETAIL says how */
