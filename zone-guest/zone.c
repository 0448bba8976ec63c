// SPDX-License-Identifier: Apache-2.0
#include "zone-guest/zone.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "zone-guest/agent.h"
#include "zone-guest/disk.h"
#include "zone-guest/exec.h"
#include "zone-guest/volume_jobs.h"
#include "zone-guest/workload.h"

#define PATH_MAX_BYTES 4096u
#define USER_MAX_BYTES 256u

int zone_init(struct zone *zone, const char *cgroup_root)
{
	*zone = (struct zone){.cgroup_root = cgroup_root, .find_disk = disk_find};
	strcpy(zone->hostname, "zone");
	return reactor_init(&zone->reactor);
}

void zone_deinit(struct zone *zone)
{
	agent_stop(zone);
	for (unsigned i = 0; i < ZONE_EXECS_MAX; i++)
		if (zone->execs[i])
			exec_free(zone->execs[i]);
	for (unsigned i = 0; i < ZONE_WORKLOADS_MAX; i++)
		if (zone->workloads[i])
			workload_free(zone->workloads[i]);
	volume_jobs_free(zone);
	strings_deinit(&zone->env);
	reactor_deinit(&zone->reactor);
}

static struct process *find_process(const struct zone *zone, pid_t pid)
{
	for (unsigned i = 0; i < ZONE_WORKLOADS_MAX; i++)
		if (zone->workloads[i] && zone->workloads[i]->process.pid == pid)
			return &zone->workloads[i]->process;
	for (unsigned i = 0; i < ZONE_EXECS_MAX; i++)
		if (zone->execs[i] && zone->execs[i]->process.pid == pid)
			return &zone->execs[i]->process;
	return NULL;
}

void zone_reap(struct zone *zone)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct process *process = find_process(zone, pid);

		if (process)
			process_reaped(process, status);
	}
}

void zone_disks_changed(struct zone *zone)
{
	for (unsigned i = 0; i < ZONE_WORKLOADS_MAX; i++)
		if (zone->workloads[i])
			workload_disk_changed(zone->workloads[i]);
}

void zone_session_lost(struct zone *zone)
{
	for (unsigned i = 0; i < ZONE_WORKLOADS_MAX; i++)
		if (zone->workloads[i])
			workload_session_lost(zone->workloads[i]);
	for (unsigned i = 0; i < ZONE_EXECS_MAX; i++)
		if (zone->execs[i])
			exec_session_lost(zone->execs[i]);
	volume_jobs_session_lost(zone);
}

void zone_kill_all(struct zone *zone)
{
	for (unsigned i = 0; i < ZONE_WORKLOADS_MAX; i++)
		if (zone->workloads[i])
			workload_signal(zone->workloads[i], SIGKILL, true);
	for (unsigned i = 0; i < ZONE_EXECS_MAX; i++)
		if (zone->execs[i])
			exec_signal(zone->execs[i], SIGKILL, true);
}

struct workload *zone_workload(const struct zone *zone, const struct uuid *uuid)
{
	for (unsigned i = 0; i < ZONE_WORKLOADS_MAX; i++)
		if (zone->workloads[i] && uuid_equal(&zone->workloads[i]->uuid, uuid))
			return zone->workloads[i];
	return NULL;
}

struct exec *zone_exec(const struct zone *zone, const struct uuid *uuid)
{
	for (unsigned i = 0; i < ZONE_EXECS_MAX; i++)
		if (zone->execs[i] && uuid_equal(&zone->execs[i]->uuid, uuid))
			return zone->execs[i];
	return NULL;
}

void zone_tell_exited(struct zone *zone, const struct uuid *uuid, int wait_status)
{
	Protect__Agent__Exited message = PROTECT__AGENT__EXITED__INIT;
	char text[UUID_TEXT_SIZE];

	uuid_format(uuid, text);
	message.id = text;
	message.exit_code = process_exit_code(wait_status);
	message.signal = WIFSIGNALED(wait_status) ? (uint32_t)WTERMSIG(wait_status) : 0;
	agent_event(zone, PROTECT__AGENT__EVENT_KIND__EVENT_EXITED, &message);
}

uint16_t program_side(uint32_t value)
{
	return value > UINT16_MAX ? UINT16_MAX : (uint16_t)value;
}

static int read_strings(const Protect__Agent__Process *message, struct program *out,
			struct error *err)
{
	int r;

	if (!message->n_argv || !*message->argv[0])
		return error_set(err, -EINVAL, "no program to run: the command is empty");
	r = strings_add_all(&out->argv, message->argv, message->n_argv);
	if (r < 0)
		return error_set_errno(err, r, "the command");
	r = env_set_all(&out->env, message->env, message->n_env);
	if (r < 0)
		return error_set_errno(err, r, "the environment");
	if (out->argv.bytes + out->env.bytes > STRINGS_BYTES_MAX)
		return error_set_errno(err, -E2BIG, "command and environment");
	return 0;
}

int program_read(const Protect__Agent__Process *message, struct program *out, struct error *err)
{
	int r;

	*out = (struct program){.terminal = message->terminal != NULL};
	if (strlen(message->working_directory) >= PATH_MAX_BYTES ||
	    (*message->working_directory && *message->working_directory != '/'))
		return error_set(err, -EINVAL, "the working directory has to be an absolute path");
	if (strlen(message->user) >= USER_MAX_BYTES)
		return error_set(err, -EINVAL, "the user's name is too long");
	r = read_strings(message, out, err);
	out->working_directory = strdup(message->working_directory);
	out->user = strdup(message->user);
	if (r == 0 && (!out->working_directory || !out->user))
		r = error_set_errno(err, -ENOMEM, "program");
	if (r < 0) {
		program_deinit(out);
		return r;
	}
	if (message->terminal) {
		out->rows = program_side(message->terminal->rows);
		out->columns = program_side(message->terminal->columns);
	}
	out->stdio_stream = message->stdio_stream;
	out->stderr_stream = out->terminal ? 0 : message->stderr_stream;
	return 0;
}

void program_deinit(struct program *program)
{
	strings_deinit(&program->argv);
	strings_deinit(&program->env);
	free(program->working_directory);
	free(program->user);
	program->working_directory = program->user = NULL;
}
