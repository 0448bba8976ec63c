// SPDX-License-Identifier: Apache-2.0
/* The service containerd.task.v2.Task, and v3, which has the same messages: each request to what
 * does it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/util.h"
#include "protect/shim/shim.h"

struct method {
	const char *name;
	const ProtobufCMessageDescriptor *type;
	/* Returns 0, and an answer was or will be given, or a negative errno with *err set. The
	 * message is borrowed. */
	int (*run)(struct shim *shim, struct ticket ticket, const void *message, struct error *err);
};

void shim_name(const char *namespace, const char *id, char name[static SHIM_NAME_SIZE])
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	char both[512];
	int n = snprintf(both, sizeof(both), "%s/%s", namespace, id);
	unsigned len = 0;

	EVP_Digest(both, n < (int)sizeof(both) ? (size_t)n : sizeof(both), digest, &len,
		   EVP_sha256(), NULL);
	snprintf(name, SHIM_NAME_SIZE, "c%.40s-%02x%02x%02x%02x", id, digest[0], digest[1],
		 digest[2], digest[3]);
}

bool shim_id_is_good(const char *id)
{
	return *id && strlen(id) <= 128 && id[0] != '.' &&
	       strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") ==
		       strlen(id);
}

static void reply_empty(struct shim *shim, struct ticket ticket)
{
	Protect__Shim__Empty empty = PROTECT__SHIM__EMPTY__INIT;

	server_reply(&shim->server, ticket, &empty.base);
}

static struct process *find(struct shim *shim, const char *id, const char *exec_id,
			    struct error *err)
{
	struct process *process = process_find(shim, id, exec_id);

	if (!process)
		error_set(err, -ENOENT, "no %s '%.64s' here", *exec_id ? "process" : "container",
			  *exec_id ? exec_id : id);
	return process;
}

/* A copy of the request, which the container keeps. */
static int create(struct shim *shim, struct ticket ticket, const void *message, struct error *err)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	_cleanup_(freep) uint8_t *packed = malloc(len + 1);
	Protect__Shim__CreateRequest *request;

	if (!packed)
		return error_set(err, -ENOMEM, "the shim is out of memory");
	protobuf_c_message_pack(message, packed);
	request = protect__shim__create_request__unpack(NULL, len, packed);
	if (!request)
		return error_set(err, -ENOMEM, "the shim is out of memory");
	container_create(shim, ticket, request);
	return 0;
}

static int start(struct shim *shim, struct ticket ticket, const void *message, struct error *err)
{
	const Protect__Shim__ProcessRequest *request = message;
	struct process *process = find(shim, request->id, request->exec_id, err);

	if (!process)
		return err->code;
	if (process->state != PROCESS_CREATED || process->container->pending)
		return error_set(err, -ESHUTDOWN, "%.64s was started before", request->id);
	process_start(process, ticket);
	return 0;
}

static Protect__Shim__Status status_of(const struct process *process)
{
	switch (process->state) {
	case PROCESS_CREATED:
	case PROCESS_STARTING:
		return PROTECT__SHIM__STATUS__CREATED;
	case PROCESS_RUNNING:
		return process->container->shim->pod.paused ? PROTECT__SHIM__STATUS__PAUSED
							    : PROTECT__SHIM__STATUS__RUNNING;
	default:
		return PROTECT__SHIM__STATUS__STOPPED;
	}
}

static int state(struct shim *shim, struct ticket ticket, const void *message, struct error *err)
{
	const Protect__Shim__ProcessRequest *request = message;
	struct process *process = find(shim, request->id, request->exec_id, err);
	Protect__Shim__StateResponse response = PROTECT__SHIM__STATE_RESPONSE__INIT;
	Protect__Shim__Timestamp at;

	if (!process)
		return err->code;
	at = process_exited_at(process);
	response.id = process->container->id;
	response.bundle = process->container->bundle;
	response.pid = shim->pod.pid;
	response.status = status_of(process);
	response.stdin = process->in;
	response.stdout = process->out;
	response.stderr = process->err;
	response.terminal = process->terminal;
	response.exit_status = process->exit_status;
	response.exec_id = process->exec_id;
	if (process->state == PROCESS_STOPPED)
		response.exited_at = &at;
	server_reply(&shim->server, ticket, &response.base);
	return 0;
}

static int wait_(struct shim *shim, struct ticket ticket, const void *message, struct error *err)
{
	const Protect__Shim__ProcessRequest *request = message;
	struct process *process = find(shim, request->id, request->exec_id, err);

	if (!process)
		return err->code;
	process_wait(process, ticket);
	return 0;
}

static int kill_(struct shim *shim, struct ticket ticket, const void *message, struct error *err)
{
	const Protect__Shim__KillRequest *request = message;
	struct process *process = find(shim, request->id, request->exec_id, err);
	int r;

	if (!process)
		return err->code;
	if (request->signal < 1 || request->signal > 64)
		return error_set(err, -EINVAL, "%u is no signal", request->signal);
	r = process_kill(process, request->signal);
	if (r < 0)
		return error_set_errno(err, r, "%.64s cannot be sent signal %u", request->id,
				       request->signal);
	reply_empty(shim, ticket);
	return 0;
}

static void delete_exec(struct shim *shim, struct ticket ticket, struct process *exec)
{
	Protect__Shim__DeleteResponse response = PROTECT__SHIM__DELETE_RESPONSE__INIT;
	struct container *container = exec->container;
	Protect__Shim__Timestamp at = process_exited_at(exec);

	response.pid = shim->pod.pid;
	response.exit_status = exec->exit_status;
	response.exited_at = &at;
	server_reply(&shim->server, ticket, &response.base);
	for (struct process **place = &container->execs; *place; place = &(*place)->next)
		if (*place == exec) {
			*place = exec->next;
			break;
		}
	container->n_execs--;
	process_deinit(exec);
	free(exec);
}

static int delete_(struct shim *shim, struct ticket ticket, const void *message, struct error *err)
{
	const Protect__Shim__ProcessRequest *request = message;
	struct process *process = find(shim, request->id, request->exec_id, err);

	if (!process)
		return err->code;
	if (!*request->exec_id)
		container_delete(process->container, ticket);
	else if (process->state == PROCESS_RUNNING)
		return error_set(err, -ESHUTDOWN, "process %.64s runs", request->exec_id);
	else
		delete_exec(shim, ticket, process);
	return 0;
}

static int read_exec(struct process *exec, const Protect__Shim__ExecRequest *request,
		     struct error *err)
{
	int r = spec_parse_process((const char *)request->spec->value.data,
				   request->spec->value.len, &exec->spec, err);

	return r < 0 ? r
		     : process_init(exec, exec->container, request->exec_id, request->terminal,
				    request->stdin, request->stdout, request->stderr, err);
}

static int exec_(struct shim *shim, struct ticket ticket, const void *message, struct error *err)
{
	const Protect__Shim__ExecRequest *request = message;
	struct container *container = container_find(shim, request->id);
	Protect__Shim__TaskExecAdded added = PROTECT__SHIM__TASK_EXEC_ADDED__INIT;
	struct process *exec;

	if (!container)
		return error_set(err, -ENOENT, "no container '%.64s' here", request->id);
	if (!shim_id_is_good(request->exec_id) || !request->spec)
		return error_set(err, -EINVAL, "this is no process to execute");
	if (process_find(shim, request->id, request->exec_id))
		return error_set(err, -EEXIST, "process '%.64s' is there already",
				 request->exec_id);
	if (container->init.state != PROCESS_RUNNING || container->init.spec.kind == SPEC_SANDBOX)
		return error_set(err, -ESHUTDOWN, "container %.64s does not run", request->id);
	if (container->n_execs >= SHIM_EXECS_MAX)
		return error_set(err, -ENOSPC, "container %.64s has %u processes already",
				 request->id, SHIM_EXECS_MAX);
	exec = calloc(1, sizeof(*exec));
	if (!exec)
		return error_set(err, -ENOMEM, "the shim is out of memory");
	exec->container = container;
	if (read_exec(exec, request, err) < 0) {
		process_deinit(exec);
		free(exec);
		return err->code;
	}
	exec->next = container->execs;
	container->execs = exec;
	container->n_execs++;
	added.container_id = container->id;
	added.exec_id = exec->exec_id;
	events_publish(&shim->events, "/tasks/exec-added", "containerd.events.TaskExecAdded",
		       &added.base);
	reply_empty(shim, ticket);
	return 0;
}

static int resize(struct shim *shim, struct ticket ticket, const void *message, struct error *err)
{
	const Protect__Shim__ResizePtyRequest *request = message;
	struct process *process = find(shim, request->id, request->exec_id, err);
	int r;

	if (!process)
		return err->code;
	r = process_resize(process, request->height, request->width);
	if (r < 0)
		return error_set_errno(err, r, "the terminal of %.64s", request->id);
	reply_empty(shim, ticket);
	return 0;
}

static int close_io(struct shim *shim, struct ticket ticket, const void *message, struct error *err)
{
	const Protect__Shim__CloseIORequest *request = message;
	struct process *process = find(shim, request->id, request->exec_id, err);

	if (!process)
		return err->code;
	if (request->stdin)
		stdio_close_in(&process->io);
	reply_empty(shim, ticket);
	return 0;
}

/* The one process that the host sees. Never none for a task that runs: containerd would take the
 * shim for a leaked one. */
static int pids(struct shim *shim, struct ticket ticket, const void *message, struct error *err)
{
	const Protect__Shim__ProcessRequest *request = message;
	Protect__Shim__PidsResponse response = PROTECT__SHIM__PIDS_RESPONSE__INIT;
	Protect__Shim__ProcessInfo info = PROTECT__SHIM__PROCESS_INFO__INIT, *list[] = {&info};

	if (!find(shim, request->id, "", err))
		return err->code;
	info.pid = shim->pod.pid;
	response.processes = list;
	response.n_processes = 1;
	server_reply(&shim->server, ticket, &response.base);
	return 0;
}

static int stats(struct shim *shim, struct ticket ticket, const void *message, struct error *err)
{
	const Protect__Shim__ProcessRequest *request = message;
	struct process *process = find(shim, request->id, "", err);

	return process ? resources_stats(process->container, ticket, err) : err->code;
}

static int update(struct shim *shim, struct ticket ticket, const void *message, struct error *err)
{
	const Protect__Shim__UpdateRequest *request = message;
	struct process *process = find(shim, request->id, "", err);

	if (!process)
		return err->code;
	if (!request->resources)
		return error_set(err, -EINVAL, "there is nothing to update");
	return resources_update(process->container, ticket, request->resources->value.data,
				request->resources->value.len, err);
}

static int pause_(struct shim *shim, struct ticket ticket, const void *message, struct error *err)
{
	const Protect__Shim__ProcessRequest *request = message;
	struct process *process = find(shim, request->id, "", err);

	return process ? resources_pause(process->container, ticket, true, err) : err->code;
}

static int resume(struct shim *shim, struct ticket ticket, const void *message, struct error *err)
{
	const Protect__Shim__ProcessRequest *request = message;
	struct process *process = find(shim, request->id, "", err);

	return process ? resources_pause(process->container, ticket, false, err) : err->code;
}

static int connect_(struct shim *shim, struct ticket ticket, const void *message, struct error *err)
{
	Protect__Shim__ConnectResponse response = PROTECT__SHIM__CONNECT_RESPONSE__INIT;

	(void)message;
	(void)err;
	response.shim_pid = (uint32_t)getpid();
	response.task_pid = shim->pod.pid;
	server_reply(&shim->server, ticket, &response.base);
	return 0;
}

static int shutdown_(struct shim *shim, struct ticket ticket, const void *message,
		     struct error *err)
{
	(void)message;
	(void)err;
	reply_empty(shim, ticket);
	shim->leaving = shim->leaving || !shim->containers;
	return 0;
}

static const struct method methods[] = {
	{"Create", &protect__shim__create_request__descriptor, create},
	{"Start", &protect__shim__process_request__descriptor, start},
	{"State", &protect__shim__process_request__descriptor, state},
	{"Wait", &protect__shim__process_request__descriptor, wait_},
	{"Kill", &protect__shim__kill_request__descriptor, kill_},
	{"Delete", &protect__shim__process_request__descriptor, delete_},
	{"Exec", &protect__shim__exec_request__descriptor, exec_},
	{"ResizePty", &protect__shim__resize_pty_request__descriptor, resize},
	{"CloseIO", &protect__shim__close_iorequest__descriptor, close_io},
	{"Pids", &protect__shim__process_request__descriptor, pids},
	{"Stats", &protect__shim__process_request__descriptor, stats},
	{"Update", &protect__shim__update_request__descriptor, update},
	{"Pause", &protect__shim__process_request__descriptor, pause_},
	{"Resume", &protect__shim__process_request__descriptor, resume},
	{"Connect", &protect__shim__process_request__descriptor, connect_},
	{"Shutdown", &protect__shim__shutdown_request__descriptor, shutdown_},
};

static const struct method *find_method(const Protect__Ttrpc__Request *request)
{
	if (strcmp(request->service, "containerd.task.v2.Task") != 0 &&
	    strcmp(request->service, "containerd.task.v3.Task") != 0)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
		if (strcmp(methods[i].name, request->method) == 0)
			return &methods[i];
	return NULL;
}

static void got_request(void *user, struct ticket ticket, const Protect__Ttrpc__Request *request)
{
	struct shim *shim = user;
	const struct method *method = find_method(request);
	struct error err = ERROR_NULL;
	ProtobufCMessage *message;
	int r;

	if (!method) {
		server_fail(&shim->server, ticket, TTRPC_UNIMPLEMENTED,
			    "there is no %.64s/%.64s here", request->service, request->method);
		return;
	}
	message = protobuf_c_message_unpack(method->type, NULL, request->payload.len,
					    request->payload.data);
	r = message ? method->run(shim, ticket, message, &err)
		    : error_set(&err, -EINVAL, "the request cannot be read");
	if (r < 0)
		server_fail(&shim->server, ticket, ttrpc_code_of(r), "%s", err.text);
	if (message)
		protobuf_c_message_free_unpacked(message, NULL);
}

static void settle(void *user)
{
	struct shim *shim = user;

	server_settle(&shim->server);
	link_settle(&shim->link);
	shim->poller.stopped = shim->leaving;
}

static void link_is_up(void *user)
{
	struct shim *shim = user;

	pod_watch(shim);
	for (struct container *c = shim->containers; c; c = c->next)
		process_join_again(&c->init);
}

int shim_serve(const char *namespace, const char *events_address, int listener)
{
	struct shim shim = {.namespace = namespace};
	int r = poller_init(&shim.poller);

	if (r < 0)
		return r;
	shim.poller.settle = settle;
	shim.poller.user = &shim;
	r = events_init(&shim.events, &shim.poller, events_address, namespace);
	if (r == 0)
		r = server_init(&shim.server, &shim.poller, listener, got_request, &shim);
	if (r == 0) {
		link_init(&shim.link, &shim.poller, link_is_up, &shim);
		r = poller_run(&shim.poller);
		events_drain(&shim.events);
		while (shim.containers)
			container_free(shim.containers);
		link_deinit(&shim.link);
		server_deinit(&shim.server);
	}
	events_deinit(&shim.events);
	poller_deinit(&shim.poller);
	return r;
}
