// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/exec.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/uuid.h"
#include "supervisor/daemon/server.h"
#include "supervisor/daemon/splice.h"
#include "supervisor/daemon/zone.h"

struct exec {
	struct exec *next;
	struct daemon *daemon;
	struct zone *zone; /* NULL once answered */
	char id[UUID_TEXT_SIZE];
	struct ticket ticket;
	uint64_t call;
	bool calling; /* EXEC is not answered yet */
	bool client_gone, exited, detached;
	int32_t exit_code;
	struct splice out, err;
};

static void exec_free(struct exec *exec)
{
	struct daemon *d = exec->daemon;

	for (struct exec **place = &d->execs; *place; place = &(*place)->next)
		if (*place == exec) {
			*place = exec->next;
			break;
		}
	d->n_execs--;
	splice_deinit(&exec->out);
	splice_deinit(&exec->err);
	free(exec);
}

static void free_if_closed(struct exec *exec)
{
	if (!exec->zone && !exec->out.ends[SPLICE_CLIENT].stream &&
	    !exec->err.ends[SPLICE_CLIENT].stream)
		exec_free(exec);
}

/* The ticket was answered: nothing more goes either way. exec may be gone after it. */
static void finish(struct exec *exec)
{
	exec->zone = NULL;
	splice_finish(&exec->out, SPLICE_AGENT);
	splice_finish(&exec->err, SPLICE_AGENT);
	splice_reset_agent(&exec->out, -ECANCELED);
	splice_reset_agent(&exec->err, -ECANCELED);
	free_if_closed(exec);
}

static void answer_if_done(struct exec *exec)
{
	Protect__Control__ExecResult result = PROTECT__CONTROL__EXEC_RESULT__INIT;

	if ((!exec->exited && !exec->detached) || exec->calling ||
	    !splice_drained(&exec->out, SPLICE_AGENT) || !splice_drained(&exec->err, SPLICE_AGENT))
		return;
	result.exit_code = exec->exit_code;
	splice_finish(&exec->out, SPLICE_AGENT);
	splice_finish(&exec->err, SPLICE_AGENT);
	server_reply(exec->daemon, exec->ticket, &result.base);
	finish(exec);
}

static void changed(void *user, struct splice *splice)
{
	struct exec *exec = user;

	(void)splice;
	if (exec->zone)
		answer_if_done(exec);
	else
		free_if_closed(exec);
}

static void ignore_reply(void *user, int error, const char *text, const void *payload, size_t len)
{
	(void)user;
	(void)error;
	(void)text;
	(void)payload;
	(void)len;
}

static void tell_agent(struct zone *zone, uint32_t method, const ProtobufCMessage *message)
{
	struct idm *idm = zone_session(zone);
	uint8_t payload[128];
	size_t len = protobuf_c_message_get_packed_size(message);

	if (!idm || len > sizeof(payload))
		return;
	protobuf_c_message_pack(message, payload);
	idm_call(idm, method, payload, len, clock_now_ns() + AGENT_ANSWER_NS, ignore_reply, NULL,
		 NULL);
}

void exec_send_signal(struct zone *zone, const char *id, uint32_t signal, bool all)
{
	Protect__Agent__Signal message = PROTECT__AGENT__SIGNAL__INIT;

	message.id = (char *)(uintptr_t)id;
	message.signal = signal;
	message.all = all;
	tell_agent(zone, PROTECT__AGENT__METHOD__METHOD_SIGNAL, &message.base);
}

void exec_send_resize(struct zone *zone, const char *id, const Protect__Control__Terminal *terminal)
{
	Protect__Agent__Resize message = PROTECT__AGENT__RESIZE__INIT;
	Protect__Agent__Terminal size = PROTECT__AGENT__TERMINAL__INIT;

	size.rows = terminal->rows;
	size.columns = terminal->columns;
	message.id = (char *)(uintptr_t)id;
	message.terminal = &size;
	tell_agent(zone, PROTECT__AGENT__METHOD__METHOD_RESIZE, &message.base);
}

static void started(void *user, int error, const char *text, const void *payload, size_t len)
{
	struct exec *exec = user;

	(void)payload;
	(void)len;
	exec->calling = false;
	/* An agent that is late may still start it. */
	if (error == -ETIMEDOUT)
		exec_send_signal(exec->zone, exec->id, SIGKILL, true);
	if (exec->client_gone) {
		if (!error && !exec->detached)
			exec_send_signal(exec->zone, exec->id, SIGKILL, true);
		finish(exec);
	} else if (error == -ECONNRESET) {
		server_fail(exec->daemon, exec->ticket, error, "zone '%s' ended",
			    exec->zone->row.name);
		finish(exec);
	} else if (error) {
		server_fail(exec->daemon, exec->ticket, error, "%s", text);
		finish(exec);
	} else {
		answer_if_done(exec);
	}
}

static int accept_client(struct exec *exec, const Protect__Control__Process *process)
{
	struct idm *idm = server_session(exec->daemon, exec->ticket.client);
	int r = 0;

	if (!idm)
		return -ECONNRESET;
	if (process->stdio_stream)
		r = splice_accept(&exec->out, SPLICE_CLIENT, idm, process->stdio_stream);
	if (r == 0 && process->stderr_stream)
		r = splice_accept(&exec->err, SPLICE_CLIENT, idm, process->stderr_stream);
	return r;
}

static int call_agent(struct exec *exec, const char *workload,
		      const Protect__Control__Process *process)
{
	Protect__Agent__Exec message = PROTECT__AGENT__EXEC__INIT;
	Protect__Agent__Process p = PROTECT__AGENT__PROCESS__INIT;
	Protect__Agent__Terminal terminal = PROTECT__AGENT__TERMINAL__INIT;
	struct idm *idm = zone_session(exec->zone);
	_cleanup_(freep) uint8_t *payload = NULL;
	size_t len;
	int r = 0;

	if (process->stdio_stream)
		r = splice_open(&exec->out, SPLICE_AGENT, idm);
	if (r == 0 && process->stderr_stream)
		r = splice_open(&exec->err, SPLICE_AGENT, idm);
	if (r < 0)
		return r;
	message.exec_id = exec->id;
	message.workload = (char *)(uintptr_t)workload;
	message.process = &p;
	message.detached = exec->detached;
	p.argv = process->argv;
	p.n_argv = process->n_argv;
	p.env = process->env;
	p.n_env = process->n_env;
	p.working_directory = process->working_directory;
	p.user = process->user;
	if (process->terminal) {
		terminal.rows = process->terminal->rows;
		terminal.columns = process->terminal->columns;
		p.terminal = &terminal;
	}
	p.stdio_stream = splice_number(&exec->out, SPLICE_AGENT);
	p.stderr_stream = splice_number(&exec->err, SPLICE_AGENT);
	len = protect__agent__exec__get_packed_size(&message);
	payload = malloc(len);
	if (!payload)
		return -ENOMEM;
	protect__agent__exec__pack(&message, payload);
	return idm_call(idm, PROTECT__AGENT__METHOD__METHOD_EXEC, payload, len,
			clock_now_ns() + AGENT_ANSWER_NS, started, exec, &exec->call);
}

static struct exec *exec_new(struct daemon *d, struct ticket ticket, struct zone *zone)
{
	struct exec *exec = calloc(1, sizeof(*exec));
	struct uuid uuid;

	if (!exec)
		return NULL;
	if (uuid_generate(&uuid) < 0) {
		free(exec);
		return NULL;
	}
	uuid_format(&uuid, exec->id);
	exec->daemon = d;
	exec->zone = zone;
	exec->ticket = ticket;
	splice_init(&exec->out, exec);
	splice_init(&exec->err, exec);
	exec->out.changed = exec->err.changed = changed;
	exec->next = d->execs;
	d->execs = exec;
	d->n_execs++;
	return exec;
}

void exec_start(struct daemon *d, struct ticket ticket, struct zone *zone, const char *workload,
		const Protect__Control__Exec *request)
{
	const Protect__Control__Process *process = request->process;
	struct exec *exec;
	int r;

	if (!process || process->n_argv == 0) {
		server_fail(d, ticket, -EINVAL, "no command; give one after --");
		return;
	}
	if (d->n_execs >= EXECS_MAX) {
		server_fail(d, ticket, -EAGAIN, "%u commands run already; wait for one to end",
			    EXECS_MAX);
		return;
	}
	exec = exec_new(d, ticket, zone);
	if (!exec) {
		server_fail(d, ticket, -ENOMEM, "protect-daemon is out of memory");
		return;
	}
	exec->detached = request->detach;
	r = accept_client(exec, process);
	if (r == 0)
		r = call_agent(exec, workload, process);
	if (r < 0) {
		server_fail(d, ticket, r, "the command cannot be started in zone '%s': %s",
			    zone->row.name, strerror(-r));
		exec_free(exec);
		return;
	}
	exec->calling = true;
}

bool exec_exited(struct zone *zone, const Protect__Agent__Exited *exited)
{
	for (struct exec *e = zone->daemon->execs; e; e = e->next) {
		if (e->zone != zone || strcmp(e->id, exited->id) != 0)
			continue;
		e->exited = true;
		e->exit_code = exited->exit_code;
		answer_if_done(e);
		return true;
	}
	return false;
}

void execs_zone_lost(struct zone *zone)
{
	for (struct exec *e = zone->daemon->execs, *next; e; e = next) {
		next = e->next;
		if (e->zone != zone)
			continue;
		server_fail(e->daemon, e->ticket, -ECONNRESET,
			    "zone '%s' ended or lost its agent while the command ran",
			    zone->row.name);
		finish(e);
	}
}

void execs_client_gone(struct daemon *d, uint64_t client)
{
	for (struct exec *e = d->execs, *next; e; e = next) {
		next = e->next;
		if (e->ticket.client != client || !e->zone)
			continue;
		e->client_gone = true;
		if (e->calling)
			continue;
		if (!e->exited)
			exec_send_signal(e->zone, e->id, SIGKILL, true);
		finish(e);
	}
}

bool exec_of_request(struct daemon *d, uint64_t client, uint64_t request, struct zone **zone,
		     const char **id)
{
	for (struct exec *e = d->execs; e; e = e->next)
		if (e->zone && e->ticket.client == client && e->ticket.request == request) {
			*zone = e->zone;
			*id = e->id;
			return true;
		}
	return false;
}

void execs_free(struct daemon *d)
{
	while (d->execs)
		exec_free(d->execs);
}
