// SPDX-License-Identifier: Apache-2.0
/*
 * One process from its creation to its end. A container's first one is a workload: launched,
 * attached, waited for; when the connection to the daemon was lost it is attached again. An exec
 * ends with its connection. A pod's sandbox has none: it runs until somebody kills it.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "protect/shim/shim.h"

#define JOIN_AGAIN_NS (500 * NS_PER_MS)
#define JOINS_MAX     20u
#define UNREAD_NS     (5 * NS_PER_S) /* for the reader of a killed process's output */
#define NOT_STARTED   127u

static bool is_init(const struct process *process)
{
	return process == &process->container->init;
}

static bool is_sandbox(const struct process *process)
{
	return is_init(process) && process->spec.kind == SPEC_SANDBOX;
}

int process_init(struct process *process, struct container *container, const char *exec_id,
		 bool terminal, const char *in, const char *out, const char *err_path,
		 struct error *err)
{
	process->container = container;
	process->terminal = terminal;
	process->exec_id = strdup(exec_id);
	process->in = strdup(in);
	process->out = strdup(out);
	process->err = strdup(err_path);
	if (!process->exec_id || !process->in || !process->out || !process->err)
		return error_set(err, -ENOMEM, "the shim is out of memory");
	return stdio_init(&process->io, &container->shim->poller, in, out, err_path, terminal, err);
}

void process_deinit(struct process *process)
{
	if (!process->container)
		return;
	alarm_stop(&process->container->shim->poller, &process->retry);
	if (process->call && process->container->shim->link.idm)
		idm_call_forget(process->container->shim->link.idm, process->call);
	stdio_deinit(&process->io);
	spec_deinit(&process->spec);
	for (struct waiter *w = process->waiters, *next; w; w = next) {
		next = w->next;
		free(w);
	}
	process->waiters = NULL;
	free(process->exec_id);
	free(process->in);
	free(process->out);
	free(process->err);
}

Protect__Shim__Timestamp process_exited_at(const struct process *process)
{
	Protect__Shim__Timestamp at = PROTECT__SHIM__TIMESTAMP__INIT;

	at.seconds = process->exited_at.tv_sec;
	at.nanos = (int32_t)process->exited_at.tv_nsec;
	return at;
}

static void answer_wait(struct process *process, struct ticket ticket)
{
	Protect__Shim__WaitResponse response = PROTECT__SHIM__WAIT_RESPONSE__INIT;
	Protect__Shim__Timestamp at = process_exited_at(process);

	response.exit_status = process->exit_status;
	response.exited_at = &at;
	server_reply(&process->container->shim->server, ticket, &response.base);
}

void process_wait(struct process *process, struct ticket ticket)
{
	struct waiter *waiter;

	if (process->state == PROCESS_STOPPED) {
		answer_wait(process, ticket);
		return;
	}
	waiter = malloc(sizeof(*waiter));
	if (!waiter) {
		server_fail(&process->container->shim->server, ticket, TTRPC_EXHAUSTED,
			    "the shim is out of memory");
		return;
	}
	*waiter = (struct waiter){.next = process->waiters, .ticket = ticket};
	process->waiters = waiter;
}

static void answer_waiters(struct process *process)
{
	struct waiter *waiter;

	while ((waiter = process->waiters)) {
		process->waiters = waiter->next;
		answer_wait(process, waiter->ticket);
		free(waiter);
	}
}

static void publish_exit(struct process *process, bool oom_killed)
{
	struct container *container = process->container;
	Protect__Shim__TaskExit exited = PROTECT__SHIM__TASK_EXIT__INIT;
	Protect__Shim__TaskOnly oom = PROTECT__SHIM__TASK_ONLY__INIT;
	Protect__Shim__Timestamp at = process_exited_at(process);

	if (oom_killed) {
		oom.container_id = container->id;
		events_publish(&container->shim->events, "/tasks/oom", "containerd.events.TaskOOM",
			       &oom.base);
	}
	exited.container_id = container->id;
	exited.id = is_init(process) ? container->id : process->exec_id;
	exited.pid = container->shim->pod.pid;
	exited.exit_status = process->exit_status;
	exited.exited_at = &at;
	events_publish(&container->shim->events, "/tasks/exit", "containerd.events.TaskExit",
		       &exited.base);
}

void process_ended(struct process *process, uint32_t exit_status, bool oom_killed)
{
	bool ran = process->state == PROCESS_RUNNING;

	if (process->state == PROCESS_STOPPED)
		return;
	process->state = PROCESS_STOPPED;
	process->request = 0;
	process->exit_status = exit_status;
	clock_gettime(CLOCK_REALTIME, &process->exited_at);
	alarm_stop(&process->container->shim->poller, &process->retry);
	stdio_finish(&process->io);
	log_info("container=%s exec=%s status=%u ended", process->container->id, process->exec_id,
		 exit_status);
	if (ran)
		publish_exit(process, oom_killed);
	answer_waiters(process);
}

void process_killed(struct process *process)
{
	stdio_cut(&process->io);
	process_ended(process, SHIM_KILLED, false);
}

/* start before exit: whoever reads the events sees them in this order. */
static void publish_start(struct process *process)
{
	struct container *container = process->container;
	Protect__Shim__TaskStart started = PROTECT__SHIM__TASK_START__INIT;
	Protect__Shim__TaskExecStarted exec = PROTECT__SHIM__TASK_EXEC_STARTED__INIT;

	started.container_id = exec.container_id = container->id;
	started.pid = exec.pid = container->shim->pod.pid;
	exec.exec_id = process->exec_id;
	if (is_init(process))
		events_publish(&container->shim->events, "/tasks/start",
			       "containerd.events.TaskStart", &started.base);
	else
		events_publish(&container->shim->events, "/tasks/exec-started",
			       "containerd.events.TaskExecStarted", &exec.base);
}

static void set_running(struct process *process)
{
	struct shim *shim = process->container->shim;
	Protect__Shim__PidResponse response = PROTECT__SHIM__PID_RESPONSE__INIT;

	process->state = PROCESS_RUNNING;
	response.pid = shim->pod.pid;
	publish_start(process);
	server_reply(&shim->server, process->start, &response.base);
}

static void fail_start(struct process *process, int error, const char *text)
{
	struct shim *shim = process->container->shim;

	server_fail(&shim->server, process->start, ttrpc_code_of(error), "%s", text);
	stdio_cut(&process->io);
	process_ended(process, NOT_STARTED, false);
}

/* The daemon's word on how a workload ended, to a WAIT or an ATTACH. */
static void workload_ended(struct process *process, const void *payload, size_t len)
{
	Protect__Control__Workload *workload =
		protect__control__workload__unpack(NULL, len, payload);
	uint32_t status = SHIM_KILLED;
	bool oom_killed = false;

	if (workload && workload->has_exit_code && workload->exit_code >= 0 &&
	    workload->exit_code <= 255) {
		status = (uint32_t)workload->exit_code;
		oom_killed = workload->oom_killed;
	}
	protect__control__workload__free_unpacked(workload, NULL);
	process_ended(process, status, oom_killed);
}

static void waited(void *user, int error, const char *text, const void *payload, size_t len)
{
	struct process *process = user;

	process->call = 0;
	if (process->state != PROCESS_RUNNING || error == -ECONNRESET)
		return; /* of a lost connection: it is joined again */
	if (error) {
		log_error("container=%s err=\"%s\" not to be waited for", process->container->id,
			  text);
		stdio_cut(&process->io);
	}
	workload_ended(process, payload, error ? 0 : len);
}

static void wait_for_end(struct process *process)
{
	Protect__Control__Ref ref = PROTECT__CONTROL__REF__INIT;

	ref.ref = process->container->name;
	link_call(&process->container->shim->link, METHOD(WORKLOAD_WAIT), &ref.base, waited,
		  process, &process->call);
}

static void launched(void *user, int error, const char *text, const void *payload, size_t len)
{
	struct process *process = user;
	Protect__Control__Workload *workload;

	process->call = 0;
	if (process->state != PROCESS_STARTING)
		return;
	if (error) {
		fail_start(process, error, text);
		return;
	}
	workload = protect__control__workload__unpack(NULL, len, payload);
	if (workload)
		snprintf(process->container->uuid, SHIM_UUID_SIZE, "%s", workload->uuid);
	protect__control__workload__free_unpacked(workload, NULL);
	set_running(process);
	wait_for_end(process);
}

static void fill_process(struct process *process, Protect__Control__Process *message,
			 Protect__Control__Terminal *terminal)
{
	*message = process->spec.process;
	message->stdio_stream = stdio_number(&process->io);
	message->stderr_stream = stdio_err_number(&process->io);
	if (process->terminal && !message->terminal) {
		protect__control__terminal__init(terminal);
		message->terminal = terminal;
	}
	if (!process->terminal)
		message->terminal = NULL;
}

static int launch(struct process *process)
{
	struct container *container = process->container;
	Protect__Control__WorkloadLaunch message = PROTECT__CONTROL__WORKLOAD_LAUNCH__INIT;
	Protect__Control__Process what = PROTECT__CONTROL__PROCESS__INIT;
	Protect__Control__Terminal terminal;

	fill_process(process, &what, &terminal);
	message.zone = container->shim->pod.name;
	message.name = container->name;
	message.image = container->image;
	message.process = &what;
	message.wait = message.attach = true;
	message.set_entrypoint = true; /* to none: the arguments are the command */
	message.settings = &process->spec.settings;
	message.interactive = *process->in != '\0';
	return link_call(&container->shim->link, METHOD(WORKLOAD_LAUNCH), &message.base, launched,
			 process, &process->call);
}

static void exec_ended(void *user, int error, const char *text, const void *payload, size_t len)
{
	struct process *process = user;
	Protect__Control__ExecResult *result;
	char line[ERROR_TEXT_MAX];
	uint32_t status = SHIM_KILLED;

	process->call = 0;
	if (process->state != PROCESS_RUNNING)
		return;
	result = error ? NULL : protect__control__exec_result__unpack(NULL, len, payload);
	if (result && result->exit_code >= 0 && result->exit_code <= 255)
		status = (uint32_t)result->exit_code;
	if (error && error != -ECONNRESET) {
		snprintf(line, sizeof(line), "protect: %s\n", text);
		stdio_say(&process->io, line);
		status = error == -ENOENT ? NOT_STARTED : NOT_STARTED - 1;
	}
	if (error)
		stdio_cut(&process->io);
	protect__control__exec_result__free_unpacked(result, NULL);
	process_ended(process, status, false);
}

static int exec(struct process *process)
{
	struct container *container = process->container;
	Protect__Control__Exec message = PROTECT__CONTROL__EXEC__INIT;
	Protect__Control__Process what = PROTECT__CONTROL__PROCESS__INIT;
	Protect__Control__Terminal terminal;

	fill_process(process, &what, &terminal);
	message.ref = container->name;
	message.process = &what;
	return link_call(&container->shim->link, METHOD(WORKLOAD_EXEC), &message.base, exec_ended,
			 process, &process->call);
}

void process_start(struct process *process, struct ticket ticket)
{
	struct shim *shim = process->container->shim;
	int r = shim->link.idm ? 0 : -ECONNRESET;

	process->start = ticket;
	process->state = PROCESS_STARTING;
	if (is_sandbox(process)) {
		set_running(process);
		return;
	}
	if (r == 0)
		r = stdio_open_streams(&process->io, shim->link.idm, process->terminal);
	if (r == 0)
		r = is_init(process) ? launch(process) : exec(process);
	process->request = process->call;
	if (r == -EMSGSIZE)
		fail_start(process, r, "the process and its settings are longer than 128 KiB");
	else if (r < 0)
		fail_start(process, r, "protect-daemon cannot be asked; is it running?");
	else if (!is_init(process))
		set_running(process); /* what may still go wrong is its end */
}

/* Nobody reads what a killed process wrote: its end waits no longer. */
static void stop_waiting_for_reader(void *user)
{
	struct process *process = user;

	stdio_discard(&process->io);
}

int process_kill(struct process *process, uint32_t number)
{
	struct shim *shim = process->container->shim;
	Protect__Control__ExecSignal message = PROTECT__CONTROL__EXEC_SIGNAL__INIT;
	int r;

	if (process->state == PROCESS_STOPPED)
		return -ESRCH;
	if (is_sandbox(process) || process->state == PROCESS_CREATED) {
		stdio_cut(&process->io);
		process_ended(process, number == SIGTERM ? 0 : 128 + number, false);
		return 0;
	}
	if (!process->request)
		return -EAGAIN;
	if (shim->pod.paused && number == SIGKILL)
		pod_let_go(shim);
	message.request_id = process->request;
	message.signal = number;
	r = link_tell(&shim->link, METHOD(EXEC_SIGNAL), &message.base);
	if (r == 0 && number == SIGKILL && !process->retry.deadline_ns)
		alarm_set(&shim->poller, &process->retry, clock_now_ns() + UNREAD_NS,
			  stop_waiting_for_reader, process);
	return r;
}

int process_resize(struct process *process, uint32_t rows, uint32_t columns)
{
	Protect__Control__ExecResize message = PROTECT__CONTROL__EXEC_RESIZE__INIT;
	Protect__Control__Terminal *terminal = process->spec.process.terminal;
	Protect__Control__Terminal size = PROTECT__CONTROL__TERMINAL__INIT;

	size.rows = rows;
	size.columns = columns;
	if (process->state == PROCESS_CREATED && terminal)
		*terminal = size;
	if (!process->request)
		return 0;
	message.request_id = process->request;
	message.terminal = &size;
	return link_tell(&process->container->shim->link, METHOD(EXEC_RESIZE), &message.base);
}

static void join_now(void *user);

/* A daemon that has just started does not know its workloads yet. */
static void joined(void *user, int error, const char *text, const void *payload, size_t len)
{
	struct process *process = user;
	struct shim *shim = process->container->shim;

	process->call = 0;
	if (process->state != PROCESS_RUNNING || error == -ECONNRESET)
		return;
	if (!error) {
		workload_ended(process, payload, len);
		return;
	}
	process->request = 0;
	if (error != -ENOENT && ++process->attempts < JOINS_MAX) {
		alarm_set(&shim->poller, &process->retry, clock_now_ns() + JOIN_AGAIN_NS, join_now,
			  process);
		return;
	}
	log_warning("container=%s err=\"%s\" not attached again", process->container->id, text);
	wait_for_end(process); /* answers at once if it has ended meanwhile */
}

static void join_now(void *user)
{
	struct process *process = user;
	struct shim *shim = process->container->shim;
	Protect__Control__WorkloadAttach message = PROTECT__CONTROL__WORKLOAD_ATTACH__INIT;

	if (!shim->link.idm || process->state != PROCESS_RUNNING ||
	    stdio_open_streams(&process->io, shim->link.idm, process->terminal) < 0)
		return;
	message.ref = process->container->name;
	message.stdio_stream = stdio_number(&process->io);
	message.stderr_stream = stdio_err_number(&process->io);
	message.no_replay = true;
	if (link_call(&shim->link, METHOD(WORKLOAD_ATTACH), &message.base, joined, process,
		      &process->call) == 0)
		process->request = process->call;
}

void process_join_again(struct process *process)
{
	if (process->state != PROCESS_RUNNING || is_sandbox(process))
		return;
	process->attempts = 0;
	join_now(process);
}
