// SPDX-License-Identifier: Apache-2.0
/*
 * A client joins the standard streams of a workload that runs already: first it gets the last of
 * what that wrote, then what comes, no faster than it takes it. One at a time; who leaves, by
 * whatever way, leaves the workload running.
 */
#include <errno.h>
#include <string.h>

#include "supervisor/daemon/exec.h"
#include "supervisor/daemon/workload.h"
#include "supervisor/daemon/zone.h"

#define REPLAY_MAX (64u * 1024)

static void replay(struct workload *w)
{
	struct ring_cursor at = {0};
	const void *data;
	unsigned tag;
	size_t len;

	while (ring_peek(w->log, &at, &tag, &data, &len) &&
	       ring_end(w->log) - at.record > REPLAY_MAX)
		ring_skip(w->log, &at);
	while (ring_peek(w->log, &at, &tag, &data, &len)) {
		splice_replay(tag == FOLLOW_TAG_ERR ? &w->err : &w->out, data, len);
		ring_advance(w->log, &at, len);
	}
}

static int check(const struct workload *w, struct error *err)
{
	if (w->out.ends[SPLICE_CLIENT].stream || w->err.ends[SPLICE_CLIENT].stream)
		return error_set(err, -EBUSY,
				 "somebody is attached to workload '%s' already; 'protect workload "
				 "logs -f %s' shows its output",
				 w->row.name, w->row.name);
	if (w->phase != WORKLOAD_PHASE_RUNNING)
		return error_set(
			err, -ESHUTDOWN,
			"workload '%s' does not run; 'protect workload start -a %s' starts "
			"it, 'logs' shows what it wrote",
			w->row.name, w->row.name);
	return 0;
}

void workload_attach(struct workload *w, struct ticket ticket,
		     const Protect__Control__WorkloadAttach *request)
{
	struct error err = ERROR_NULL;
	int r;

	if (request->start) {
		workload_start(w, ticket, request);
		return;
	}
	r = check(w, &err);
	if (r < 0) {
		server_fail_error(w->daemon, ticket, &err);
		return;
	}
	if (!request->no_replay)
		replay(w);
	r = workload_accept_streams(w, ticket, request->stdio_stream, request->stderr_stream);
	if (r < 0) {
		server_fail(w->daemon, ticket, r, "workload '%s' cannot be attached: %s",
			    w->row.name, strerror(-r));
		return;
	}
	if (request->terminal)
		exec_send_resize(w->zone, w->row.uuid, request->terminal);
	waiters_add(w->daemon, &w->ended, ticket);
}
