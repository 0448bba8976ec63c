// SPDX-License-Identifier: Apache-2.0
/*
 * From the request to running, in the order of the functions: check, ask storage for the image (and
 * have it pulled if it is not there) and the volumes, wait for the zone, attach all to it as disks,
 * have the agent start it.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "supervisor/daemon/keep.h"
#include "supervisor/daemon/workload.h"
#include "supervisor/daemon/zone.h"

#define STATE(name) PROTECT__CONTROL__WORKLOAD_STATE_KIND__WORKLOAD_##name

void workload_drop_launch(struct workload *w)
{
	if (w->request)
		protect__control__workload_launch__free_unpacked(w->request, NULL);
	if (w->image)
		protect__storage__image__free_unpacked(w->image, NULL);
	w->request = NULL;
	w->image = NULL;
	close_fdp(&w->disk);
}

static bool name_is_taken(const struct daemon *d, const char *name)
{
	for (const struct workload *w = d->workloads; w; w = w->next)
		if (strcmp(w->row.name, name) == 0)
			return true;
	return false;
}

/* The last part of an image's name without tag and digest, as far as it can stand in a workload's
 * name. */
static void image_base(const char *image, char *out, size_t size)
{
	const char *slash = strrchr(image, '/');
	const char *base = slash ? slash + 1 : image;
	size_t n = 0;

	for (; *base && *base != ':' && *base != '@' && n + 1 < size; base++)
		if (isalnum((unsigned char)*base) || (n && strchr("._-", *base)))
			out[n++] = *base;
	out[n] = '\0';
	if (n == 0)
		snprintf(out, size, "workload");
}

static int choose_name(const struct daemon *d, const Protect__Control__WorkloadLaunch *request,
		       struct workload_row *row, struct error *err)
{
	char base[40];

	if (!*request->name) {
		image_base(request->image, base, sizeof(base));
		for (unsigned digits = 4; digits <= 12; digits += 4) {
			snprintf(row->name, sizeof(row->name), "%s-%s", base,
				 row->uuid + UUID_TEXT_SIZE - 1 - digits);
			if (!name_is_taken(d, row->name))
				return 0;
		}
		return error_set(err, -EEXIST, "no free name was found; give one with --name");
	}
	if (!daemon_name_is_good(request->name))
		return error_set(err, -EINVAL,
				 "'%s' cannot name a workload: up to 63 letters, digits, '.', '_' "
				 "and '-', a letter or "
				 "digit first",
				 request->name);
	if (name_is_taken(d, request->name))
		return error_set(
			err, -EEXIST,
			"a workload '%s' exists already; choose another name or destroy it",
			request->name);
	snprintf(row->name, sizeof(row->name), "%s", request->name);
	return 0;
}

static int check_zone(const struct zone *zone, struct error *err)
{
	if (zone->destroy_wanted)
		return error_set(err, -ESHUTDOWN, "zone '%s' is being destroyed", zone->row.name);
	if (zone->phase == ZONE_PHASE_ENDING || zone->phase == ZONE_PHASE_REAP ||
	    zone->phase == ZONE_PHASE_ENDED)
		return error_set(err, -ESHUTDOWN,
				 "zone '%s' has ended (%s); destroy it and launch another",
				 zone->row.name, *zone->row.reason ? zone->row.reason : "just now");
	return zone_check_paused(zone, err);
}

/* How it is stopped, and what happens when it ends. */
static int take_ending(const Protect__Control__WorkloadLaunch *request, struct workload_row *row,
		       struct error *err)
{
	if ((unsigned)request->restart > PROTECT__CONTROL__RESTART_POLICY__RESTART_ALWAYS)
		return error_set(err, -EINVAL, "there is no such restart policy");
	if (*request->stop_signal && (strlen(request->stop_signal) >= sizeof(row->stop_signal) ||
				      !workload_signal_number(request->stop_signal)))
		return error_set(err, -EINVAL, "'%.32s' is no signal", request->stop_signal);
	snprintf(row->stop_signal, sizeof(row->stop_signal), "%s", request->stop_signal);
	row->stop_timeout_ms = request->stop_timeout_ms;
	row->restart = request->restart;
	row->restart_max = request->restart_max;
	return 0;
}

static int prepare_row(struct daemon *d, const Protect__Control__WorkloadLaunch *request,
		       const struct zone *zone, struct workload_row *row, struct error *err)
{
	struct uuid uuid;
	int r = check_zone(zone, err);

	*row = (struct workload_row){.state = STATE(CREATING), .created_unix_ms = daemon_unix_ms()};
	if (r == 0 && d->n_workloads >= WORKLOADS_MAX)
		r = error_set(err, -ENOSPC, "there are %u workloads already; destroy one",
			      WORKLOADS_MAX);
	if (r == 0 && (!*request->image || strlen(request->image) >= sizeof(row->image)))
		r = error_set(err, -EINVAL, "the image's name is %s",
			      *request->image ? "too long" : "missing");
	if (r == 0 && uuid_generate(&uuid) < 0)
		r = error_set(err, -EIO, "no random UUID");
	if (r < 0)
		return r;
	uuid_format(&uuid, row->uuid);
	snprintf(row->zone, sizeof(row->zone), "%s", zone->row.uuid);
	snprintf(row->image, sizeof(row->image), "%s", request->image);
	row->terminal = request->process && request->process->terminal;
	row->stdin_open = request->interactive || row->terminal;
	row->scratch_bytes = request->scratch_bytes;
	r = take_ending(request, row, err);
	if (r == 0)
		r = volume_mounts_read(request->volumes, request->n_volumes, &row->volumes, err);
	for (unsigned i = 0; r == 0 && i < row->volumes.n; i++)
		r = volumes_check_free(d, zone, &row->volumes.items[i], err);
	if (r < 0)
		return r;
	return choose_name(d, request, row, err);
}

static void out_of_memory(struct workload *w)
{
	workload_fail(w, -ENOMEM, "protect-daemon is out of memory");
}

static void image_opened(void *user, const Protect__Storage__Reply *reply, const int *fds,
			 unsigned n_fds);

static void open_image(struct workload *w)
{
	Protect__Storage__Request request = PROTECT__STORAGE__REQUEST__INIT;
	Protect__Storage__Open open = PROTECT__STORAGE__OPEN__INIT;

	open.ref = w->row.image;
	request.what_case = PROTECT__STORAGE__REQUEST__WHAT_OPEN;
	request.open = &open;
	w->storage = storage_call(&w->daemon->hub, w->daemon->options.storage_socket, &request, -1,
				  image_opened, w);
	if (!w->storage)
		out_of_memory(w);
}

static void image_pulled(void *user, const Protect__Storage__Reply *reply, const int *fds,
			 unsigned n_fds)
{
	struct workload *w = user;

	(void)fds;
	(void)n_fds;
	if (reply->progress) {
		server_progress(w->daemon, w->launcher, reply->progress->text,
				reply->progress->done, reply->progress->total);
		return;
	}
	w->storage = NULL;
	if (reply->error)
		workload_fail(w, -(int)reply->error, "%s", reply->text);
	else
		open_image(w);
}

static void pull_image(struct workload *w)
{
	Protect__Storage__Request request = PROTECT__STORAGE__REQUEST__INIT;
	Protect__Storage__Pull pull = PROTECT__STORAGE__PULL__INIT;

	w->pulled = true;
	pull.ref = w->row.image;
	request.what_case = PROTECT__STORAGE__REQUEST__WHAT_PULL;
	request.pull = &pull;
	w->storage = storage_call(&w->daemon->hub, w->daemon->options.storage_socket, &request, -1,
				  image_pulled, w);
	if (!w->storage)
		out_of_memory(w);
}

/* Keeps the image's file and its configuration, beyond the reply they came in. */
static int keep_image(struct workload *w, const Protect__Storage__Image *image, int fd)
{
	size_t len = protect__storage__image__get_packed_size(image);
	_cleanup_(freep) uint8_t *packed = malloc(len ? len : 1);

	if (!packed)
		return -ENOMEM;
	protect__storage__image__pack(image, packed);
	w->image = protect__storage__image__unpack(NULL, len, packed);
	w->disk = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (!w->image || w->disk < 0)
		return -ENOMEM;
	daemon_copy_text(w->row.image_digest, sizeof(w->row.image_digest), image->digest);
	if (image->config && !*w->row.stop_signal)
		daemon_copy_text(w->row.stop_signal, sizeof(w->row.stop_signal),
				 image->config->stop_signal);
	return 0;
}

static void volumes_opened(struct workload *w, int error, const char *text);
static void attach_disk(struct workload *w);

static void image_opened(void *user, const Protect__Storage__Reply *reply, const int *fds,
			 unsigned n_fds)
{
	struct workload *w = user;

	if (reply->progress)
		return;
	w->storage = NULL;
	if (reply->error == ENOENT && !w->pulled && storage_is_registry_ref(w->row.image)) {
		pull_image(w);
		return;
	}
	if (reply->error) {
		workload_fail(w, -(int)reply->error, "%s", reply->text);
		return;
	}
	if (n_fds != 1 || !reply->image) {
		workload_fail(w, -EPROTO, "protect-storage sent no file for image '%s'",
			      w->row.image);
		return;
	}
	if (keep_image(w, reply->image, fds[0]) < 0) {
		out_of_memory(w);
		return;
	}
	workload_volumes_open(w, volumes_opened);
}

static void volumes_opened(struct workload *w, int error, const char *text)
{
	if (error) {
		workload_fail(w, error, "%s", text);
		return;
	}
	workload_set_state(w, STATE(CREATING));
	if (!w->launcher_waits) {
		workload_reply(w, w->launcher);
		w->launcher = (struct ticket){0};
	}
	w->phase = WORKLOAD_PHASE_ZONE;
	if (zone_session(w->zone))
		attach_disk(w);
}

void workloads_zone_ready(struct zone *zone)
{
	for (struct workload *w = zone->daemon->workloads, *next; w; w = next) {
		next = w->next;
		if (w->zone == zone && w->phase == WORKLOAD_PHASE_ZONE && zone_session(zone))
			attach_disk(w);
	}
}

static void start(struct workload *w);

static void volumes_attached(struct workload *w, int error, const char *text)
{
	if (error)
		workload_fail(w, error, "%s", text);
	else
		start(w);
}

static void disk_attached(struct workload *w, int error, const char *text)
{
	w->phase = WORKLOAD_PHASE_ZONE;
	if (error) {
		workload_fail(w, error, "image '%s' cannot be attached to zone '%s': %s",
			      w->row.image, w->zone->row.name, text);
		return;
	}
	close_fdp(&w->disk);
	workload_volumes_attach(w, volumes_attached);
}

static void attach_disk(struct workload *w)
{
	int r;

	server_progress(w->daemon, w->launcher, "starting", 0, 0);
	r = workload_attach_disk(w, disk_attached);
	if (r < 0)
		workload_fail(w, r, "image '%s' cannot be attached to zone '%s': %s", w->row.image,
			      w->zone->row.name, strerror(-r));
}

/* a then b as one array of borrowed strings. The caller frees it. */
static char **join(char **a, size_t n_a, char **b, size_t n_b, size_t *n)
{
	char **all = calloc(n_a + n_b + 1, sizeof(*all));

	*n = n_a + n_b;
	for (size_t i = 0; all && i < n_a; i++)
		all[i] = a[i];
	for (size_t i = 0; all && i < n_b; i++)
		all[n_a + i] = b[i];
	return all;
}

static void started(void *user, int error, const char *text, const void *payload, size_t len)
{
	struct workload *w = user;

	(void)payload;
	(void)len;
	w->calling = false;
	if (w->phase != WORKLOAD_PHASE_START) {
		workload_drop_launch(w);
		return;
	}
	if (error) {
		/* What the agent refused it does not keep; what was lost on the way it may have. */
		w->agent_knows = error == -ECONNRESET || error == -ETIMEDOUT;
		workload_fail(w, error, "workload '%s' cannot be started in zone '%s': %s",
			      w->row.name, w->zone->row.name,
			      error == -ECONNRESET ? "the zone ended" : text);
		return;
	}
	workload_drop_launch(w);
	log_info("workload=%s name=%s zone=%s image=\"%s\" running", w->row.uuid, w->row.name,
		 w->row.zone, w->row.image);
	workload_set_started(w, 1);
}

/* What the client asked for, and the volumes of the image. *volumes is the caller's to free. */
static Protect__Agent__Settings settings_of(const struct workload *w, char ***volumes)
{
	const Protect__Agent__Settings usual = PROTECT__AGENT__SETTINGS__INIT;
	Protect__Agent__Settings settings = w->request->settings ? *w->request->settings : usual;
	const Protect__Storage__ImageConfig *config = w->image->config;
	size_t n = 0;

	*volumes = config ? join(config->volumes, config->n_volumes, settings.volumes,
				 settings.n_volumes, &n)
			  : NULL;
	if (*volumes) {
		settings.volumes = *volumes;
		settings.n_volumes = n;
	}
	return settings;
}

static int send_launch(struct workload *w, Protect__Agent__Process *process)
{
	Protect__Agent__WorkloadLaunch message = PROTECT__AGENT__WORKLOAD_LAUNCH__INIT;
	_cleanup_(freep) char **volumes = NULL;
	Protect__Agent__Settings settings = settings_of(w, &volumes);
	struct idm *idm = zone_session(w->zone);
	_cleanup_(freep) uint8_t *packed = NULL;
	struct workload_volume_messages volumes_of;
	size_t len;
	int r = workload_open_streams(w);

	if (r < 0)
		return r;
	process->stdio_stream = splice_number(&w->out, SPLICE_AGENT);
	process->stderr_stream = splice_number(&w->err, SPLICE_AGENT);
	message.workload = w->row.uuid;
	message.name = w->row.name;
	message.disk_serial = w->image_disk.serial;
	message.process = process;
	message.settings = &settings;
	message.n_volumes = workload_volumes_fill(w, &volumes_of);
	message.volumes = volumes_of.pointers;
	if (w->volumes.scratch)
		message.scratch_serial = w->volumes.scratch->disk.serial;
	len = protect__agent__workload_launch__get_packed_size(&message);
	packed = malloc(len);
	if (!packed)
		return -ENOMEM;
	protect__agent__workload_launch__pack(&message, packed);
	r = idm_call(idm, PROTECT__AGENT__METHOD__METHOD_WORKLOAD_LAUNCH, packed, len,
		     clock_now_ns() + AGENT_ANSWER_NS, started, w, &w->call);
	w->calling = w->agent_knows = r == 0;
	return r;
}

/*
 * As `docker run` does: arguments given replace the image's Cmd, its Entrypoint stays unless
 * another one is given, which makes the image's Cmd mean nothing.
 */
static char **command_of(const Protect__Control__WorkloadLaunch *request,
			 const Protect__Storage__ImageConfig *config, size_t *n)
{
	const Protect__Control__Process nothing = PROTECT__CONTROL__PROCESS__INIT;
	const Protect__Control__Process *given = request->process ? request->process : &nothing;
	bool own = request->set_entrypoint, use_cmd = !given->n_argv && !own;

	return join(own ? request->entrypoint : config->entrypoint,
		    own ? request->n_entrypoint : config->n_entrypoint,
		    use_cmd ? config->cmd : given->argv, use_cmd ? config->n_cmd : given->n_argv,
		    n);
}

/* What is given in the request goes before what the image says. */
static void start(struct workload *w)
{
	const Protect__Control__Process nothing = PROTECT__CONTROL__PROCESS__INIT;
	const Protect__Storage__ImageConfig unset = PROTECT__STORAGE__IMAGE_CONFIG__INIT;
	const Protect__Control__Process *given =
		w->request->process ? w->request->process : &nothing;
	const Protect__Storage__ImageConfig *config = w->image->config ? w->image->config : &unset;
	Protect__Agent__Process process = PROTECT__AGENT__PROCESS__INIT;
	Protect__Agent__Terminal terminal = PROTECT__AGENT__TERMINAL__INIT;
	_cleanup_(freep) char **argv = command_of(w->request, config, &process.n_argv);
	_cleanup_(freep) char **env =
		join(config->env, config->n_env, given->env, given->n_env, &process.n_env);
	char root[] = "/";
	int r;

	if (process.n_argv == 0) {
		workload_fail(w, -EINVAL, "image '%s' names no command; give one after --",
			      w->row.image);
		return;
	}
	process.argv = argv;
	process.env = env;
	process.working_directory =
		*given->working_directory ? given->working_directory : config->working_directory;
	if (!*process.working_directory)
		process.working_directory = root;
	process.user = *given->user ? given->user : config->user;
	if (given->terminal) {
		terminal.rows = given->terminal->rows;
		terminal.columns = given->terminal->columns;
		process.terminal = &terminal;
	}
	w->phase = WORKLOAD_PHASE_START;
	r = argv && env ? send_launch(w, &process) : -ENOMEM;
	if (r < 0)
		workload_fail(w, r, "workload '%s' cannot be started in zone '%s': %s", w->row.name,
			      w->zone->row.name, strerror(-r));
}

static int accept_streams(struct workload *w, const Protect__Control__Process *process)
{
	return workload_accept_streams(w, w->launcher, process ? process->stdio_stream : 0,
				       process ? process->stderr_stream : 0);
}

static Protect__Control__WorkloadLaunch *
copy_request(const Protect__Control__WorkloadLaunch *request)
{
	size_t len = protect__control__workload_launch__get_packed_size(request);
	_cleanup_(freep) uint8_t *packed = malloc(len ? len : 1);

	if (!packed)
		return NULL;
	protect__control__workload_launch__pack(request, packed);
	return protect__control__workload_launch__unpack(NULL, len, packed);
}

void workload_launch(struct daemon *d, struct ticket ticket,
		     const Protect__Control__WorkloadLaunch *request)
{
	struct error err = ERROR_NULL;
	struct zone *zone = zone_find(d, request->zone, &err);
	struct workload_row row;
	struct workload *w;
	int r;

	if (!zone || prepare_row(d, request, zone, &row, &err) < 0 ||
	    state_add_workload(d->state, &row, &err) < 0) {
		server_fail_error(d, ticket, &err);
		return;
	}
	w = workload_new(zone, &row);
	if (!w) {
		state_delete_workload(d->state, row.uuid);
		server_fail(d, ticket, -ENOMEM, "protect-daemon is out of memory");
		return;
	}
	keep_start(d, w->row.uuid, w->log);
	w->launcher = ticket;
	w->launcher_waits = request->wait || request->attach;
	w->request = copy_request(request);
	r = w->request ? 0 : -ENOMEM;
	if (r == 0 && request->attach)
		r = accept_streams(w, request->process);
	if (r < 0) {
		workload_fail(w, r, "workload '%s' cannot be launched: %s", w->row.name,
			      strerror(-r));
		return;
	}
	open_image(w);
}
