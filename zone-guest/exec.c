// SPDX-License-Identifier: Apache-2.0
#include "zone-guest/exec.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "zone-guest/agent.h"
#include "zone-guest/workload.h"

void exec_free(struct exec *exec)
{
	for (unsigned i = 0; i < ZONE_EXECS_MAX; i++)
		if (exec->zone->execs[i] == exec)
			exec->zone->execs[i] = NULL;
	process_deinit(&exec->process);
	free(exec);
}

static void on_started(struct process *process)
{
	struct exec *exec = container_of(process, struct exec, process);
	Protect__Agent__ExecStarted message = PROTECT__AGENT__EXEC_STARTED__INIT;

	message.pid = process->pid;
	agent_reply(exec->zone, exec->start_id, &message);
	exec->start_id = 0;
}

static void on_ended(struct process *process)
{
	struct exec *exec = container_of(process, struct exec, process);
	struct zone *zone = exec->zone;

	if (process->failure.code)
		agent_reply_error(zone, exec->start_id, process->failure.code,
				  process->failure.text);
	else
		zone_tell_exited(zone, &exec->uuid, process->wait_status);
	exec_free(exec);
}

static struct exec **free_slot(struct zone *zone)
{
	for (unsigned i = 0; i < ZONE_EXECS_MAX; i++)
		if (!zone->execs[i])
			return &zone->execs[i];
	return NULL;
}

static int find_target(struct zone *zone, const Protect__Agent__Exec *message,
		       struct workload **out, struct error *err)
{
	struct uuid uuid;

	*out = NULL;
	if (!*message->workload)
		return 0;
	if (uuid_parse(message->workload, &uuid) < 0)
		return error_set(err, -EINVAL, "not a workload's UUID");
	*out = zone_workload(zone, &uuid);
	if (!*out)
		return error_set(err, -ENOENT, "no such workload in the zone");
	if ((*out)->state != WORKLOAD_RUNNING || !(*out)->process.pid)
		return error_set(err, -ESRCH, "the workload is not running");
	return 0;
}

static int make_env(const struct zone *zone, const struct workload *workload,
		    const struct program *program, struct strings *env)
{
	int r = env_set_all(env, zone->env.items, zone->env.count);

	if (r == 0 && workload)
		r = env_set_all(env, workload->program.env.items, workload->program.env.count);
	if (r == 0)
		r = env_set_all(env, program->env.items, program->env.count);
	if (r == 0)
		r = env_default(env, "HOSTNAME",
				workload ? workload_hostname(workload) : zone->hostname);
	return r;
}

/* What is not given is as the workload has it. */
static int spawn(struct exec *exec, const struct workload *workload, const struct program *program,
		 struct error *err)
{
	_cleanup_(strings_deinit) struct strings env = STRINGS_NULL;
	struct process_spec spec = {
		.place = workload ? PROCESS_IN_WORKLOAD : PROCESS_IN_ZONE,
		.argv = program->argv.items,
		.env = &env,
		.working_directory = workload && !*program->working_directory
					     ? workload->program.working_directory
					     : program->working_directory,
		.user = workload && !*program->user ? workload->program.user : program->user,
		.terminal = program->terminal,
		.no_stdin = !program->stdio_stream,
		.rows = program->rows,
		.columns = program->columns,
		.join = workload ? workload->process.pidfd : -1,
		.cgroup = workload ? workload->cgroup : -1,
		.settings = workload ? workload->settings : NULL,
		.userns = workload ? &workload->userns : NULL,
	};
	int r = make_env(exec->zone, workload, program, &env);

	if (r < 0)
		return error_set_errno(err, r, "the environment");
	return process_spawn(&exec->process, &spec, err);
}

static int start(struct zone *zone, struct exec *exec, const Protect__Agent__Exec *message,
		 const struct program *program, struct error *err)
{
	struct workload *workload;
	int r = find_target(zone, message, &workload, err);

	if (r < 0)
		return r;
	r = stdio_attach(exec->process.stdio, agent_session(zone), program->stdio_stream,
			 program->stderr_stream);
	if (r < 0)
		return error_set_errno(err, r, "the exec's streams");
	r = spawn(exec, workload, program, err);
	if (r < 0) {
		stdio_release(exec->process.stdio, r);
		exec->process.stdio = NULL;
	}
	return r;
}

static int make(struct zone *zone, const Protect__Agent__Exec *message, struct exec **out,
		struct error *err)
{
	struct exec **slot = free_slot(zone), *exec;
	struct uuid uuid;

	if (uuid_parse(message->exec_id, &uuid) < 0 || !message->process)
		return error_set(err, -EINVAL, "an exec needs a UUID and a program");
	if (zone_exec(zone, &uuid) || zone_workload(zone, &uuid))
		return error_set(err, -EEXIST, "the exec's UUID is in use");
	if (!slot)
		return error_set(err, -EAGAIN, "the zone has %u execs already", ZONE_EXECS_MAX);
	exec = calloc(1, sizeof(*exec));
	if (!exec || process_init(&exec->process, &zone->reactor, on_started, on_ended) < 0) {
		free(exec);
		return error_set_errno(err, -ENOMEM, "exec");
	}
	exec->zone = zone;
	exec->uuid = uuid;
	exec->detached = message->detached;
	*slot = *out = exec;
	return 0;
}

void exec_start(struct zone *zone, uint64_t id, const Protect__Agent__Exec *message)
{
	_cleanup_(program_deinit) struct program program = {.terminal = false};
	struct error err = ERROR_NULL;
	struct exec *exec;
	int r = make(zone, message, &exec, &err);

	if (r == 0) {
		r = program_read(message->process, &program, &err);
		if (r == 0) {
			exec->start_id = id;
			r = start(zone, exec, message, &program, &err);
		}
		if (r < 0)
			exec_free(exec);
	}
	if (r < 0)
		agent_reply_error(zone, id, r, err.text);
}

int exec_signal(struct exec *exec, int signal, bool all)
{
	pid_t pid = exec->process.pid;

	/*
	 * Its own session and process group: set before the program starts, and the number is ours
	 * until we reap it.
	 */
	if (all && pid && kill(-pid, signal) == 0)
		return 0;
	return process_signal(&exec->process, signal);
}

void exec_session_lost(struct exec *exec)
{
	exec->start_id = 0;
	if (!exec->detached)
		exec_signal(exec, SIGKILL, true);
}
