// SPDX-License-Identifier: Apache-2.0
/*
 * The console's last 64 KiB and those who read it. Writing never waits: a reader that does not keep
 * up loses the oldest bytes. What the zone's agent says on its own port stands between the kernel's
 * lines, in lines that begin with CONSOLE_AGENT_MARK. Loop thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/loop.h"
#include "base/runner.h"

#define CONSOLE_READERS_MAX 9 /* one place is kept for the next */
#define CONSOLE_CHUNK	    4096u
#define CONSOLE_LINE_MAX    1024u /* of the agent; longer ones are cut into pieces */
#define CONSOLE_AGENT_MARK  "agent: "

struct console_hub;

struct console_reader {
	struct console_hub *hub; /* NULL: free */
	int slot;
	bool socket, sending, watching, closing;
	uint64_t pos; /* of the first byte not sent */
	uint32_t chunk_start, chunk_end;
	struct loop_op send_op, watch_op;
	uint8_t watch_byte;
	uint8_t *chunk;
};

struct console_hub {
	struct loop *loop;
	uint64_t written; /* bytes since the start */
	bool in_line;	  /* the last of them did not end a line */
	uint32_t line_len;
	char line[CONSOLE_LINE_MAX]; /* the agent's, as far as it came */
	struct console_reader readers[CONSOLE_READERS_MAX];
	uint8_t ring[RUNNER_CONSOLE_BACKLOG];
};

void console_hub_init(struct console_hub *hub, struct loop *loop);

/* The output of the guest's kernel, or of what writes to its console. */
void console_hub_write(void *hub, const void *data, size_t len);

/* The output of a port (virtio/console.h): a console_output_fn. */
void console_hub_port_write(void *hub, unsigned port, const void *data, size_t len);

/*
 * Adds a reader, who gets the backlog first. fd (a stream socket, or with socket = false a file,
 * pipe or terminal) is owned from here on, also on failure. The last free place is made free again
 * by ending the connection that is furthest behind. Returns 0, -EUSERS when that is still going on,
 * or another negative errno.
 */
int console_hub_add(struct console_hub *hub, int fd, bool socket);

/* Whether every reader has been given everything. */
bool console_hub_is_idle(const struct console_hub *hub);

/* Ends all readers; they are gone when console_hub_is_closed(). */
void console_hub_close(struct console_hub *hub);
bool console_hub_is_closed(const struct console_hub *hub);
