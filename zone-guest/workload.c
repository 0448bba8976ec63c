// SPDX-License-Identifier: Apache-2.0
#include "zone-guest/workload.h"

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "zone-guest/agent.h"
#include "zone-guest/cgroup.h"
#include "zone-guest/disk.h"

#define LOOK_AGAIN_NS	 (100 * NS_PER_MS) /* should the kernel's event get lost */
#define DISK_PATH_MAX	 64
#define EMPTY_CHECKS_MAX 100
#define EMPTY_CHECK_NS	 (20 * NS_PER_MS)

static void reply_state(struct workload *workload, uint64_t id)
{
	struct workload_message message;

	workload_describe(workload, &message);
	agent_reply(workload->zone, id, &message.state);
}

void workload_describe(const struct workload *workload, struct workload_message *out)
{
	bool exited = workload->state == WORKLOAD_EXITED;
	int status = workload->wait_status;

	protect__agent__workload_state__init(&out->state);
	protect__agent__exited__init(&out->exited);
	uuid_format(&workload->uuid, out->uuid);
	out->state.workload = out->uuid;
	out->state.pid = workload->process.pid;
	out->state.state = exited ? PROTECT__AGENT__STATE__STATE_EXITED
			   : workload->state == WORKLOAD_RUNNING
				   ? PROTECT__AGENT__STATE__STATE_RUNNING
				   : PROTECT__AGENT__STATE__STATE_NONE;
	out->state.run = workload->run;
	if (!exited)
		return;
	out->exited.id = out->uuid;
	out->exited.exit_code = process_exit_code(status);
	out->exited.signal = WIFSIGNALED(status) ? (uint32_t)WTERMSIG(status) : 0;
	out->exited.oom_killed = workload->oom_killed;
	out->exited.run = workload->run;
	out->state.exited = &out->exited;
}

void workload_free(struct workload *workload)
{
	struct zone *zone = workload->zone;
	char uuid[UUID_TEXT_SIZE];

	for (unsigned i = 0; i < ZONE_WORKLOADS_MAX; i++)
		if (zone->workloads[i] == workload)
			zone->workloads[i] = NULL;
	reactor_timer_stop(&zone->reactor, &workload->timer);
	process_deinit(&workload->process);
	program_deinit(&workload->program);
	settings_free(workload->settings);
	userns_deinit(&workload->userns);
	uuid_format(&workload->uuid, uuid);
	if (*workload->scratch)
		scratch_remove(uuid);
	if (workload->cgroup >= 0) {
		int r;

		close(workload->cgroup);
		r = cgroup_remove(zone->cgroup_root, uuid);
		if (r < 0)
			log_warning("what=cgroup-remove workload=%s err=%s", uuid, strerror(-r));
	}
	free(workload);
}

/* Answers when the group is empty: then no process holds the workload's disk any more. */
static void finish_remove(struct workload *workload)
{
	struct zone *zone = workload->zone;
	uint64_t id = workload->remove_id, populated;

	if (cgroup_read(workload->cgroup, "cgroup.events", "populated", &populated) == 0 &&
	    populated && workload->empty_checks++ < EMPTY_CHECKS_MAX) {
		workload->state = WORKLOAD_EXITED;
		reactor_timer_start(&zone->reactor, &workload->timer,
				    clock_now_ns() + EMPTY_CHECK_NS);
		return;
	}
	workload_free(workload);
	agent_reply(zone, id, NULL);
}

/*
 * The launch is answered with the reason. Of one that never ran nothing is left; one that did stays
 * as it was.
 */
static void fail_launch(struct workload *workload, const struct error *err)
{
	struct zone *zone = workload->zone;

	agent_reply_error(zone, workload->launch_id, err->code, err->text);
	workload->launch_id = 0;
	stdio_release(workload->process.stdio, err->code);
	workload->process.stdio = NULL;
	if (workload->removing)
		finish_remove(workload);
	else if (workload->run)
		workload->state = WORKLOAD_EXITED;
	else
		workload_free(workload);
}

static void on_started(struct process *process)
{
	struct workload *workload = container_of(process, struct workload, process);
	uint64_t id = workload->launch_id;

	workload->launch_id = 0;
	workload->state = WORKLOAD_RUNNING;
	workload->run++;
	reply_state(workload, id);
}

static void tell_exited(struct workload *workload)
{
	struct workload_message message;

	workload_describe(workload, &message);
	agent_event(workload->zone, PROTECT__AGENT__EVENT_KIND__EVENT_EXITED, &message.exited);
}

static void on_ended(struct process *process)
{
	struct workload *workload = container_of(process, struct workload, process);

	/*
	 * What an exec left behind went with the namespace; in the group nothing may stay either.
	 */
	cgroup_kill(workload->cgroup);
	if (process->failure.code) {
		fail_launch(workload, &process->failure);
		return;
	}
	workload->state = WORKLOAD_EXITED;
	workload->wait_status = process->wait_status;
	workload->oom_killed = cgroup_oom_kills(workload->cgroup) > workload->oom_kills;
	tell_exited(workload);
	if (workload->removing)
		finish_remove(workload);
}

const char *workload_hostname(const struct workload *workload)
{
	return *workload->settings->hostname ? workload->settings->hostname : workload->name;
}

static int make_hosts(const struct workload *workload, char *text, size_t size)
{
	int n = snprintf(text, size,
			 "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n127.0.1.1\t%s\n",
			 workload_hostname(workload));

	return n > 0 && (size_t)n < size ? 0 : -E2BIG;
}

static int make_env(const struct workload *workload, struct strings *env)
{
	int r = env_set_all(env, workload->zone->env.items, workload->zone->env.count);

	if (r == 0)
		r = env_set_all(env, workload->program.env.items, workload->program.env.count);
	if (r == 0)
		r = env_default(env, "HOSTNAME", workload_hostname(workload));
	return r;
}

static void make_cgroup(struct workload *workload)
{
	char uuid[UUID_TEXT_SIZE];

	if (!workload->zone->cgroup_root || workload->cgroup >= 0)
		return;
	uuid_format(&workload->uuid, uuid);
	workload->cgroup = cgroup_make(workload->zone->cgroup_root, uuid);
	if (workload->cgroup < 0)
		log_warning("what=cgroup-make workload=%s err=%s", uuid,
			    strerror(-workload->cgroup));
}

static int limit(struct workload *workload, struct error *err)
{
	const struct cgroup_limits limits = {
		.memory_bytes = workload->settings->memory_bytes,
		.cpu_millis = workload->settings->cpu_millis,
		.pids = workload->settings->pids,
	};
	int r;

	make_cgroup(workload);
	workload->oom_kills = cgroup_oom_kills(workload->cgroup);
	r = cgroup_limit(workload->cgroup, &limits);
	return r < 0 ? error_set_errno(err, r, "limit what the workload may use") : 0;
}

static int make_scratch(struct workload *workload, struct error *err)
{
	char uuid[UUID_TEXT_SIZE];
	int r;

	if (*workload->scratch)
		return 0;
	uuid_format(&workload->uuid, uuid);
	r = scratch_make(uuid, workload->scratch_disk, workload->scratch);
	return r < 0 ? error_set_errno(err, r, "make room for what the workload writes") : 0;
}

static int spawn(struct workload *workload, const char *disk, struct error *err)
{
	_cleanup_(strings_deinit) struct strings env = STRINGS_NULL;
	char hosts[512];
	const struct rootfs_spec rootfs = {
		.disk = disk,
		.scratch = workload->scratch,
		.hostname = workload_hostname(workload),
		.hosts = hosts,
		.resolv = workload->zone->resolv,
		.settings = workload->settings,
		.userns = &workload->userns,
		.volumes = &workload->volumes,
	};
	struct process_spec spec = {
		.place = PROCESS_IN_NEW_WORKLOAD,
		.argv = workload->program.argv.items,
		.env = &env,
		.working_directory = workload->program.working_directory,
		.user = workload->program.user,
		.terminal = workload->program.terminal,
		.no_stdin = !workload->program.stdio_stream,
		.rows = workload->program.rows,
		.columns = workload->program.columns,
		.rootfs = &rootfs,
		.settings = workload->settings,
		.userns = &workload->userns,
	};
	int r = make_hosts(workload, hosts, sizeof(hosts));

	if (r == 0)
		r = make_env(workload, &env);
	if (r < 0)
		return error_set_errno(err, r, "the workload's environment");
	r = limit(workload, err);
	if (r == 0)
		r = make_scratch(workload, err);
	spec.cgroup = workload->cgroup;
	return r == 0 ? process_spawn(&workload->process, &spec, err) : r;
}

/* Starts it if its disk is there, waits for it otherwise. May free the workload. */
static void try_launch(struct workload *workload)
{
	struct zone *zone = workload->zone;
	struct error err = ERROR_NULL;
	uint64_t now = clock_now_ns();
	const char *missing = workload->serial;
	char disk[DISK_PATH_MAX];
	int r = zone->find_disk(workload->serial, disk, sizeof(disk));

	if (r == 0 && *workload->scratch_serial) {
		missing = workload->scratch_serial;
		r = zone->find_disk(workload->scratch_serial, workload->scratch_disk,
				    sizeof(workload->scratch_disk));
	}
	if (r == 0)
		r = volumes_find(&workload->volumes, &zone->volumes, zone->find_disk, &missing);
	if (r == -ENODEV && now < workload->disk_deadline_ns) {
		reactor_timer_start(&zone->reactor, &workload->timer, now + LOOK_AGAIN_NS);
		return;
	}
	reactor_timer_stop(&zone->reactor, &workload->timer);
	if (r == -ENODEV)
		error_set(&err, -ETIMEDOUT, "the disk '%s' did not appear in the zone within %u s",
			  missing, (unsigned)(ZONE_DISK_WAIT_NS / NS_PER_S));
	else if (r < 0)
		error_set_errno(&err, r, "find the disk '%s'", missing);
	else
		r = spawn(workload, disk, &err);
	if (r < 0)
		fail_launch(workload, &err);
	else
		workload->state = WORKLOAD_STARTING;
}

static void on_timer(struct reactor_timer *timer)
{
	struct workload *workload = container_of(timer, struct workload, timer);

	if (workload->state == WORKLOAD_WAITING)
		try_launch(workload);
	else
		finish_remove(workload);
}

void workload_disk_changed(struct workload *workload)
{
	if (workload->state == WORKLOAD_WAITING)
		try_launch(workload);
}

static int check_name(const char *name, struct error *err)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("-_.", name[i]))
			len = 0;
	if (!len || len > ZONE_HOSTNAME_MAX)
		return error_set(err, -EINVAL,
				 "a workload's name has 1 to %u letters, digits, '-', '_', '.'",
				 ZONE_HOSTNAME_MAX);
	return 0;
}

static int check_serial(const char *serial, struct error *err)
{
	size_t len = strlen(serial);

	for (size_t i = 0; i < len; i++)
		if (serial[i] <= ' ' || serial[i] > '~')
			len = 0;
	if (!len || len > DISK_SERIAL_MAX)
		return error_set(err, -EINVAL, "a disk's serial has 1 to %u printable characters",
				 DISK_SERIAL_MAX);
	return 0;
}

static struct workload **free_slot(struct zone *zone)
{
	for (unsigned i = 0; i < ZONE_WORKLOADS_MAX; i++)
		if (!zone->workloads[i])
			return &zone->workloads[i];
	return NULL;
}

static int check(struct zone *zone, const Protect__Agent__WorkloadLaunch *message,
		 struct uuid *uuid, struct error *err)
{
	int r = check_name(message->name, err);

	if (r == 0)
		r = check_serial(message->disk_serial, err);
	if (r == 0 && *message->scratch_serial)
		r = check_serial(message->scratch_serial, err);
	if (r < 0)
		return r;
	if (!message->process || uuid_parse(message->workload, uuid) < 0)
		return error_set(err, -EINVAL, "a launch needs a workload's UUID and a program");
	if (zone_workload(zone, uuid))
		return error_set(err, -EEXIST, "the workload is in the zone already");
	return 0;
}

/* Its place among the workloads says which users are its own. */
static int make_userns(struct workload *workload, unsigned place, struct error *err)
{
	int r = workload->settings->own_users ? userns_make(place, &workload->userns) : 0;

	if (r == -EINVAL)
		return error_set(err, -EOPNOTSUPP, "the zone's kernel has no user namespaces");
	return r < 0 ? error_set_errno(err, r, "make users for the workload") : 0;
}

static int make(struct zone *zone, const Protect__Agent__WorkloadLaunch *message,
		struct workload **out, struct error *err)
{
	struct workload **slot = free_slot(zone), *workload;
	struct uuid uuid;
	int r = check(zone, message, &uuid, err);

	if (r < 0)
		return r;
	if (!slot)
		return error_set(err, -EAGAIN, "the zone has %u workloads already",
				 ZONE_WORKLOADS_MAX);
	workload = calloc(1, sizeof(*workload));
	if (!workload)
		return error_set_errno(err, -ENOMEM, "workload");
	workload->zone = zone;
	workload->uuid = uuid;
	workload->userns = (struct userns)USERNS_NONE;
	workload->cgroup = -1;
	workload->timer.fired = on_timer;
	snprintf(workload->name, sizeof(workload->name), "%s", message->name);
	snprintf(workload->serial, sizeof(workload->serial), "%s", message->disk_serial);
	snprintf(workload->scratch_serial, sizeof(workload->scratch_serial), "%s",
		 message->scratch_serial);
	r = program_read(message->process, &workload->program, err);
	if (r == 0)
		r = settings_new(message->settings, &workload->settings, err);
	if (r == 0)
		r = make_userns(workload, (unsigned)(slot - zone->workloads), err);
	if (r == 0)
		r = volumes_read(message->volumes, message->n_volumes, &workload->volumes, err);
	if (r == 0 && process_init(&workload->process, &zone->reactor, on_started, on_ended) < 0) {
		r = error_set_errno(err, -ENOMEM, "workload");
	}
	if (r < 0) {
		program_deinit(&workload->program);
		settings_free(workload->settings);
		userns_deinit(&workload->userns);
		free(workload);
		return r;
	}
	*slot = *out = workload;
	return 0;
}

/* With streams for its output, and for its input if there is to be one. */
static void launch(struct workload *workload, uint64_t id)
{
	struct zone *zone = workload->zone;
	struct error err = ERROR_NULL;
	int r;

	workload->state = WORKLOAD_WAITING;
	workload->launch_id = id;
	workload->disk_deadline_ns = clock_now_ns() + ZONE_DISK_WAIT_NS;
	r = stdio_attach(workload->process.stdio, agent_session(zone),
			 workload->program.stdio_stream, workload->program.stderr_stream);
	if (r < 0) {
		error_set_errno(&err, r, "the workload's streams");
		fail_launch(workload, &err);
		return;
	}
	try_launch(workload);
}

void workload_launch(struct zone *zone, uint64_t id, const Protect__Agent__WorkloadLaunch *message)
{
	struct error err = ERROR_NULL;
	struct workload *workload;
	int r = make(zone, message, &workload, &err);

	if (r < 0)
		agent_reply_error(zone, id, r, err.text);
	else
		launch(workload, id);
}

void workload_start(struct workload *workload, uint64_t id,
		    const Protect__Agent__WorkloadStart *message)
{
	struct zone *zone = workload->zone;
	struct error err = ERROR_NULL;
	struct volumes volumes;

	if (workload->state != WORKLOAD_EXITED || workload->removing) {
		agent_reply_error(zone, id, -EBUSY, "the workload runs, or is being removed");
		return;
	}
	if (volumes_read(message->volumes, message->n_volumes, &volumes, &err) < 0) {
		agent_reply_error(zone, id, err.code, err.text);
		return;
	}
	workload->volumes = volumes;
	process_deinit(&workload->process);
	if (process_init(&workload->process, &zone->reactor, on_started, on_ended) < 0) {
		agent_reply_error(zone, id, -ENOMEM, "workload");
		return;
	}
	workload->program.stdio_stream = message->stdio_stream;
	workload->program.stderr_stream = workload->program.terminal ? 0 : message->stderr_stream;
	launch(workload, id);
}

void workload_attach(struct workload *workload, uint64_t id,
		     const Protect__Agent__WorkloadAttach *message)
{
	uint64_t err_stream = workload->program.terminal ? 0 : message->stderr_stream;
	int r = workload->process.stdio
			? stdio_attach(workload->process.stdio, agent_session(workload->zone),
				       message->stdio_stream, err_stream)
			: -ESRCH;

	if (r < 0)
		agent_reply_error(workload->zone, id, r, "the workload's streams");
	else
		reply_state(workload, id);
}

void workload_remove(struct workload *workload, uint64_t id)
{
	struct error err = ERROR_NULL;

	if (workload->removing) {
		agent_reply_error(workload->zone, id, -EBUSY,
				  "the workload is being removed already");
		return;
	}
	workload->removing = true;
	workload->remove_id = id;
	if (workload->state == WORKLOAD_WAITING) {
		error_set(&err, -ECANCELED, "the workload was removed");
		fail_launch(workload, &err);
		return;
	}
	if (workload->state == WORKLOAD_EXITED) {
		finish_remove(workload);
		return;
	}
	workload_signal(workload, SIGKILL, true);
	if (workload->state != WORKLOAD_RUNNING)
		return;
	/* A reader that has stopped must not hold up the removal. */
	stdio_release(workload->process.stdio, -ECANCELED);
	workload->process.stdio = NULL;
	if (!workload->process.pid)
		on_ended(&workload->process);
}

void workload_update(struct workload *workload, uint64_t id,
		     const Protect__Agent__WorkloadUpdate *message)
{
	const struct cgroup_limits limits = {
		.memory_bytes = message->memory_bytes,
		.cpu_millis = message->cpu_millis,
		.pids = message->pids,
	};
	settings_t *settings = workload->settings;
	int r = cgroup_limit(workload->cgroup, &limits);

	if (r < 0) {
		agent_reply_error(workload->zone, id, r,
				  r == -EOPNOTSUPP ? "the zone's kernel has no such limits" : NULL);
		return;
	}
	if (limits.memory_bytes)
		settings->memory_bytes = limits.memory_bytes;
	if (limits.cpu_millis)
		settings->cpu_millis = limits.cpu_millis;
	if (limits.pids)
		settings->pids = limits.pids;
	agent_reply(workload->zone, id, NULL);
}

int workload_signal(struct workload *workload, int signal, bool all)
{
	int r = all ? (signal == SIGKILL ? cgroup_kill(workload->cgroup)
					 : cgroup_signal(workload->cgroup, signal))
		    : -ENOENT;

	/* The end of the first process is the end of all, whatever became of the group. */
	if (r < 0 || signal == SIGKILL)
		r = process_signal(&workload->process, signal);
	return r;
}

void workload_session_lost(struct workload *workload)
{
	workload->launch_id = workload->remove_id = 0;
}
