// SPDX-License-Identifier: Apache-2.0
/*
 * From the request to ready, in the order of the functions: check and charge, ask storage for the
 * kernel, make the zone's folder, ask launch for the runner, connect, bootstrap (zone_agent.c),
 * ready. Until the runner exists, a failure undoes everything and the zone was never there.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/util.h"
#include "supervisor/daemon/guest_settings.h"
#include "supervisor/daemon/policy_driver.h"
#include "supervisor/daemon/keep.h"
#include "supervisor/daemon/spec.h"
#include "supervisor/daemon/workload.h"
#include "supervisor/daemon/zone.h"

static bool name_is_taken(const struct daemon *d, const char *name)
{
	for (const struct zone *z = d->zones; z; z = z->next)
		if (strcmp(z->row.name, name) == 0)
			return true;
	return false;
}

static int choose_name(const struct daemon *d, const char *wanted, struct zone_row *row,
		       struct error *err)
{
	if (!*wanted) {
		/* The UUID is random: its end makes names that hardly ever meet. */
		for (unsigned digits = 4; digits <= 12; digits += 4) {
			snprintf(row->name, sizeof(row->name), "zone-%s",
				 row->uuid + UUID_TEXT_SIZE - 1 - digits);
			if (!name_is_taken(d, row->name))
				return 0;
		}
		return error_set(err, -EEXIST, "no free name was found; give one with --name");
	}
	if (!daemon_name_is_good(wanted))
		return error_set(err, -EINVAL,
				 "'%s' cannot name a zone: up to 63 letters, digits, '.', '_' and "
				 "'-', a letter or "
				 "digit first",
				 wanted);
	if (name_is_taken(d, wanted))
		return error_set(err, -EEXIST,
				 "a zone '%s' exists already; choose another name or destroy it",
				 wanted);
	snprintf(row->name, sizeof(row->name), "%s", wanted);
	return 0;
}

static int check_sizes(const struct daemon *d, const Protect__Control__ZoneLaunch *request,
		       struct zone_row *row, struct error *err)
{
	row->memory_mib =
		request->max_memory_mib ? request->max_memory_mib : d->options.default_memory_mib;
	row->vcpus = request->max_cpus ? request->max_cpus : d->options.default_cpus;
	row->target_memory_mib =
		request->target_memory_mib ? request->target_memory_mib : row->memory_mib;
	row->target_vcpus = request->target_cpus ? request->target_cpus : row->vcpus;
	row->policy = request->policy;
	row->min_memory_mib = request->min_memory_mib;
	if (zone_check_targets(row, row->target_memory_mib, row->target_vcpus, err) < 0)
		return err->code;
	return policy_check(row, row->policy, row->min_memory_mib, err);
}

static int check_kernel(const Protect__Control__ZoneLaunch *request, struct zone_row *row,
			struct error *err)
{
	if (strlen(request->kernel) >= sizeof(row->kernel))
		return error_set(err, -EINVAL, "the name of the kernel image is too long");
	if (*request->kernel_variant && *request->kernel)
		return error_set(err, -EINVAL, "give a kernel or a kernel's variant, not both");
	if (*request->kernel_variant && !daemon_name_is_good(request->kernel_variant))
		return error_set(err, -EINVAL, "'%.64s' cannot be the variant of a kernel",
				 request->kernel_variant);
	/* Of a variant, the image's name is put here once it is known. */
	snprintf(row->kernel, sizeof(row->kernel), "%s",
		 *request->kernel ? request->kernel : "default");
	return 0;
}

static int take_network(struct daemon *d, const Protect__Control__ZoneLaunch *request,
			unsigned n_taps, enum backend backend, struct zone_row *row,
			struct error *err)
{
	Protect__Control__ZoneNetwork none = PROTECT__CONTROL__ZONE_NETWORK__INIT;

	none.backend = PROTECT__CONTROL__NETWORK_BACKEND__NETWORK_NONE;
	if (!backend_is_xen(backend))
		return zone_network_take(d, request->network, n_taps, row, err);
	if (request->network && request->network->backend != none.backend)
		return error_set(err, -EOPNOTSUPP,
				 "zones on Xen have no network yet; leave its options out");
	return zone_network_take(d, &none, n_taps, row, err);
}

static int prepare_row(struct daemon *d, const Protect__Control__ZoneLaunch *request,
		       unsigned n_taps, struct zone_row *row, enum backend *backend,
		       struct error *err)
{
	struct uuid uuid;
	int r = uuid_generate(&uuid);

	*row = (struct zone_row){.state = PROTECT__CONTROL__ZONE_STATE_KIND__ZONE_CREATING,
				 .slot = SLOT_NONE,
				 .created_unix_ms = daemon_unix_ms()};
	if (r < 0)
		return error_set_errno(err, r, "no random UUID");
	if (d->n_zones >= ZONES_MAX)
		return error_set(err, -ENOSPC, "there are %u zones already; destroy one that ended",
				 ZONES_MAX);
	uuid_format(&uuid, row->uuid);
	r = choose_name(d, request->name, row, err);
	if (r == 0)
		r = check_sizes(d, request, row, err);
	if (r == 0)
		r = limits_take(&row->limits, request->cpu, request->io, err);
	if (r == 0)
		r = check_kernel(request, row, err);
	if (r == 0)
		r = guest_settings_take(request, &row->guest_json, err);
	if (r == 0)
		r = volume_mounts_read(request->volumes, request->n_volumes, &row->volumes, err);
	for (unsigned i = 0; r == 0 && i < row->volumes.n; i++)
		r = volumes_check_free(d, NULL, &row->volumes.items[i], err);
	if (r == 0)
		r = backend_choose(request->virt_backend, backend, err);
	if (r == 0)
		r = take_network(d, request, n_taps, *backend, row, err);
	if (r == 0)
		r = ledger_reserve(&d->ledger, row->memory_mib, row->vcpus, err);
	if (r < 0)
		return r;
	r = zone_slot_take(d, &row->slot, err);
	if (r < 0)
		ledger_release(&d->ledger, row->memory_mib, row->vcpus);
	return r;
}

static void kernel_opened(void *user, const Protect__Storage__Reply *reply, const int *fds,
			  unsigned n_fds);

static void open_kernel(struct zone *zone)
{
	Protect__Storage__Request request = PROTECT__STORAGE__REQUEST__INIT;
	Protect__Storage__OpenKernel open = PROTECT__STORAGE__OPEN_KERNEL__INIT;
	bool is_default = strcmp(zone->row.kernel, "default") == 0;

	if (*zone->kernel_variant)
		open.variant = zone->kernel_variant;
	else if (!is_default)
		open.ref = zone->row.kernel;
	request.what_case = PROTECT__STORAGE__REQUEST__WHAT_OPEN_KERNEL;
	request.open_kernel = &open;
	zone->storage = storage_call(&zone->daemon->hub, zone->daemon->options.storage_socket,
				     &request, -1, kernel_opened, zone);
	if (!zone->storage) {
		error_set(&zone->failure, -ENOMEM, "protect-daemon is out of memory");
		zone_undo(zone);
	}
}

static void kernel_pulled(void *user, const Protect__Storage__Reply *reply, const int *fds,
			  unsigned n_fds)
{
	struct zone *zone = user;

	(void)fds;
	(void)n_fds;
	if (reply->progress) {
		server_progress(zone->daemon, zone->launcher, reply->progress->text,
				reply->progress->done, reply->progress->total);
		return;
	}
	zone->storage = NULL;
	if (!reply->error) {
		open_kernel(zone);
		return;
	}
	error_set(&zone->failure, -(int)reply->error, "kernel image '%s': %s", zone->row.kernel,
		  reply->text);
	zone_undo(zone);
}

static void pull_kernel(struct zone *zone)
{
	Protect__Storage__Request request = PROTECT__STORAGE__REQUEST__INIT;
	Protect__Storage__Pull pull = PROTECT__STORAGE__PULL__INIT;

	zone->pulled = true;
	pull.ref = zone->row.kernel;
	request.what_case = PROTECT__STORAGE__REQUEST__WHAT_PULL;
	request.pull = &pull;
	zone->storage = storage_call(&zone->daemon->hub, zone->daemon->options.storage_socket,
				     &request, -1, kernel_pulled, zone);
	if (!zone->storage) {
		error_set(&zone->failure, -ENOMEM, "protect-daemon is out of memory");
		zone_undo(zone);
	}
}

struct zone_files {
	int socket, exit, log, spec;
};

static void files_close(struct zone_files *files)
{
	close_fdp(&files->socket);
	close_fdp(&files->exit);
	close_fdp(&files->log);
	close_fdp(&files->spec);
}

static int make_file(const struct zone *zone, const char *name, int flags, int *fd)
{
	char path[256];
	int r = zone_path(zone, name, path, sizeof(path));

	if (r < 0)
		return r;
	*fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | flags, 0600);
	return *fd < 0 ? -errno : 0;
}

/* The zone's folder with the socket on which the runner will listen, its exit record and its log.
 */
static int make_files(struct zone *zone, struct zone_files *files, struct error *err)
{
	char path[256];
	int r = zone_path(zone, "", path, sizeof(path));

	if (r == 0 && mkdir(path, 0700) < 0)
		r = -errno;
	if (r == 0)
		r = make_file(zone, "exit", 0, &files->exit);
	if (r == 0)
		r = make_file(zone, "log", O_APPEND, &files->log);
	if (r == 0)
		r = zone_path(zone, "runner.sock", path, sizeof(path));
	if (r == 0) {
		files->socket = io_unix_listen(path, SOCK_STREAM, 0600);
		r = files->socket < 0 ? files->socket : 0;
	}
	return r < 0 ? error_set_errno(err, r, "folder of zone '%s' below %s", zone->row.name,
				       zone->daemon->options.run_dir)
		     : 0;
}

static int make_spec(const struct zone *zone, struct error *err)
{
	_cleanup_(freep) char *cmdline =
		guest_settings_cmdline(zone->row.guest_json, zone->daemon->options.kernel_cmdline);
	const struct spec spec = {
		.uuid = zone->row.uuid,
		.name = zone->row.name,
		.cmdline = cmdline,
		/* A runner of before backends takes all other specs. */
		.backend = backend_is_xen(zone->backend) ? backend_name(zone->backend) : NULL,
		.memory_mib = policy_boot_memory_mib(&zone->row),
		.max_memory_mib = zone->row.memory_mib,
		.vcpus = zone->row.target_vcpus,
		.max_vcpus = zone->row.vcpus,
		.socket_fd = LAUNCH_FD_SOCKET,
		.exit_fd = LAUNCH_FD_EXIT,
		.kernel_fd = LAUNCH_FD_FILES,
		.initrd_fd = LAUNCH_FD_FILES + 1,
		.n_disks = zone->no_addons ? 0 : 1,
		.disks = {{.fd = LAUNCH_FD_FILES + 2, .serial = SPEC_ADDONS_SERIAL}},
		.nic = {.mac = zone->row.network.links[0].mac,
			.mtu = zone->row.network.links[0].mtu,
			.first_fd = LAUNCH_FD_FILES + (zone->no_addons ? 2 : 3),
			.n_fds = zone->n_taps},
	};

	return cmdline ? spec_write(&spec, err)
		       : error_set(err, -ENOMEM, "protect-daemon is out of memory");
}

static void spawned(void *user, const struct launch_reply *reply, int pidfd);

static int spawn(struct zone *zone, struct error *err)
{
	_cleanup_(files_close) struct zone_files files = {-1, -1, -1, -1};
	struct launch_request request = {
		.op = LAUNCH_SPAWN,
		.limits = limits_of(&zone->row),
		.slot = zone->row.slot,
		.backend = backend_is_xen(zone->backend) ? LAUNCH_XEN : LAUNCH_KVM,
	};
	int fds[LAUNCH_PLACE_FILES + ZONE_KERNEL_FDS + ZONE_TAPS_MAX];
	int r = make_files(zone, &files, err);
	struct stat addons;
	unsigned n_fds;

	if (r < 0)
		return r;
	zone->no_addons =
		fstat(zone->kernel_fds[ZONE_KERNEL_FDS - 1], &addons) == 0 && addons.st_size == 0;
	files.spec = make_spec(zone, err);
	if (files.spec < 0)
		return files.spec;
	fds[LAUNCH_PLACE_SPEC] = files.spec;
	fds[LAUNCH_PLACE_SOCKET] = files.socket;
	fds[LAUNCH_PLACE_EXIT] = files.exit;
	fds[LAUNCH_PLACE_LOG] = files.log;
	/* A runner refuses what its spec does not name: without addons the taps follow at once. */
	n_fds = ZONE_KERNEL_FDS - (zone->no_addons ? 1 : 0);
	memcpy(&fds[LAUNCH_PLACE_FILES], zone->kernel_fds, n_fds * sizeof(int));
	n_fds += LAUNCH_PLACE_FILES;
	memcpy(&fds[n_fds], zone->taps, zone->n_taps * sizeof(int));
	n_fds += zone->n_taps;
	uuid_parse(zone->row.uuid, &request.uuid);
	zone->launch = launch_call(&zone->daemon->hub, zone->daemon->options.launch_socket,
				   &request, fds, n_fds, spawned, zone);
	if (!zone->launch)
		return error_set(err, -ENOMEM, "protect-daemon is out of memory");
	zone->phase = ZONE_PHASE_SPAWN;
	zone_launch_close(zone);
	return 0;
}

void zone_launch_go_on(struct zone *zone)
{
	if (!zone->kernel_ready || !zone->network_ready || !zone_volumes_open(zone))
		return;
	if (spawn(zone, &zone->failure) < 0)
		zone_undo(zone);
}

void zone_launch_close(struct zone *zone)
{
	for (unsigned i = 0; i < ZONE_KERNEL_FDS; i++)
		close_fdp(&zone->kernel_fds[i]);
	zone_network_close(zone);
}

static int keep_kernel(struct zone *zone, const int *fds, struct error *err)
{
	for (unsigned i = 0; i < ZONE_KERNEL_FDS; i++) {
		zone->kernel_fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
		if (zone->kernel_fds[i] < 0)
			return error_set_errno(err, -errno, "no descriptor is left for a kernel");
	}
	zone->kernel_ready = true;
	return 0;
}

static void take_image(struct zone *zone, const Protect__Storage__Image *image)
{
	daemon_copy_text(zone->row.kernel_digest, sizeof(zone->row.kernel_digest), image->digest);
	if (*zone->kernel_variant)
		daemon_copy_text(zone->row.kernel, sizeof(zone->row.kernel),
				 *image->name ? image->name : image->digest);
}

static void kernel_opened(void *user, const Protect__Storage__Reply *reply, const int *fds,
			  unsigned n_fds)
{
	struct zone *zone = user;

	if (reply->progress)
		return;
	zone->storage = NULL;
	if (reply->error == ENOENT && !zone->pulled && storage_is_registry_ref(zone->row.kernel)) {
		pull_kernel(zone);
		return;
	}
	if (reply->error)
		error_set(&zone->failure, -(int)reply->error, "%s", reply->text);
	else if (n_fds != ZONE_KERNEL_FDS)
		error_set(&zone->failure, -EPROTO,
			  "protect-storage sent %u files for kernel '%s', not %u", n_fds,
			  zone->row.kernel, ZONE_KERNEL_FDS);
	else
		keep_kernel(zone, fds, &zone->failure);
	if (reply->image)
		take_image(zone, reply->image);
	if (zone->failure.code)
		zone_undo(zone);
	else
		zone_launch_go_on(zone);
}

static void watch_death(void *user, uint32_t events)
{
	struct zone *zone = user;

	(void)events;
	watch_set(zone->death, 0);
	zone_runner_gone(zone);
}

static void answer_launcher(struct zone *zone)
{
	Protect__Control__Zone message;

	zone_message(zone, &message);
	server_reply(zone->daemon, zone->launcher, &message.base);
	zone->launcher = (struct ticket){0};
}

static void spawned(void *user, const struct launch_reply *reply, int pidfd)
{
	struct zone *zone = user;
	int r;

	zone->launch = NULL;
	if (reply->error) {
		error_set(&zone->failure, reply->error, "zone '%s': %s", zone->row.name,
			  reply->text);
		/* Only a request that may have been heard can have left something. */
		if (reply->pid < 0) {
			zone->phase = ZONE_PHASE_REAP;
			zone_reap(zone);
		} else {
			zone_undo(zone);
		}
		return;
	}
	zone->phase = ZONE_PHASE_BOOT;
	zone->row.pid = reply->pid;
	zone->pidfd = pidfd;
	daemon_copy_text(zone->row.cgroup, sizeof(zone->row.cgroup), reply->cgroup);
	zone->row.create_ms = (clock_now_ns() - zone->requested_ns) / NS_PER_MS;
	times_add(&zone->daemon->create_times, zone->row.create_ms);
	state_put_zone(zone->daemon->state, &zone->row);
	r = pidfd < 0 ? -EPROTO
		      : watch_new(&zone->daemon->hub, pidfd, watch_death, zone, &zone->death);
	if (r == 0)
		watch_set(zone->death, POLLIN);
	if (r == 0)
		r = zone_connect(zone);
	if (r < 0) {
		zone_fail(zone, r, "zone '%s': its runner cannot be reached: %s", zone->row.name,
			  strerror(-r));
		return;
	}
	if (zone->failure.code || zone->destroy_wanted) {
		zone_fail(zone, -ECANCELED, "zone '%s' was destroyed", zone->row.name);
		return;
	}
	zone_start_boot_timer(zone);
	if (!zone->launcher_waits)
		answer_launcher(zone);
}

static void boot_timed_out(void *user)
{
	struct zone *zone = user;

	zone_fail(zone, -ETIMEDOUT,
		  "zone '%s' was not ready after %u s; 'protect zone logs %s' shows its console",
		  zone->row.name, zone->daemon->options.boot_timeout_s, zone->row.name);
}

void zone_start_boot_timer(struct zone *zone)
{
	timer_set(&zone->daemon->hub, &zone->timer,
		  clock_now_ns() + zone->daemon->options.boot_timeout_s * NS_PER_S, boot_timed_out,
		  zone);
}

void zone_set_up(struct zone *zone, const char *kernel_release)
{
	if (*kernel_release)
		daemon_copy_text(zone->row.kernel_release, sizeof(zone->row.kernel_release),
				 kernel_release);
	zone_volumes_bring(zone);
}

void zone_ready(struct zone *zone)
{
	timer_stop(&zone->timer);
	zone->phase = ZONE_PHASE_READY;
	zone->was_ready = true;
	if (zone->requested_ns)
		zone->row.ready_ms = (clock_now_ns() - zone->requested_ns) / NS_PER_MS;
	else if (daemon_unix_ms() > zone->row.created_unix_ms) /* an earlier daemon's request */
		zone->row.ready_ms = daemon_unix_ms() - zone->row.created_unix_ms;
	if (zone->requested_ns)
		times_add(&zone->daemon->ready_times, zone->row.ready_ms);
	zone_set_state(zone, PROTECT__CONTROL__ZONE_STATE_KIND__ZONE_READY);
	log_info("zone=%s name=%s ready_ms=%llu ready", zone->row.uuid, zone->row.name,
		 (unsigned long long)zone->row.ready_ms);
	answer_launcher(zone);
	workloads_zone_ready(zone);
}

struct handed {
	int fds[ZONE_TAPS_MAX];
	unsigned n;
};

static void handed_close(struct handed *handed)
{
	while (handed->n)
		close_fdp(&handed->fds[--handed->n]);
}

void zone_launch(struct daemon *d, struct ticket ticket,
		 const Protect__Control__ZoneLaunch *request)
{
	_cleanup_(handed_close) struct handed handed = {
		.n = server_take_fds(d, ticket.client, handed.fds, ZONE_TAPS_MAX)};
	struct error err = ERROR_NULL;
	enum backend backend = BACKEND_KVM;
	struct zone_row row;
	struct zone *zone;

	if (prepare_row(d, request, handed.n, &row, &backend, &err) < 0) {
		free(row.guest_json);
		server_fail_error(d, ticket, &err);
		return;
	}
	/* From here on a daemon that comes later knows of it. */
	zone = state_add_zone(d->state, &row, &err) == 0 ? zone_new(d, &row) : NULL;
	if (!zone) {
		ledger_release(&d->ledger, row.memory_mib, row.vcpus);
		zone_slot_release(d, row.slot);
		free(row.guest_json);
		if (err.code) {
			server_fail_error(d, ticket, &err);
			return;
		}
		state_delete_zone(d->state, row.uuid);
		server_fail(d, ticket, -ENOMEM, "protect-daemon is out of memory");
		return;
	}
	keep_start(d, zone->row.uuid, zone->log);
	zone->backend = backend;
	zone->requested_ns = clock_now_ns();
	zone->launcher = ticket;
	zone->launcher_waits = request->wait;
	snprintf(zone->kernel_variant, sizeof(zone->kernel_variant), "%s", request->kernel_variant);
	log_info("zone=%s name=%s memory_mib=%llu vcpus=%u slot=%u creating", row.uuid, row.name,
		 (unsigned long long)row.memory_mib, row.vcpus, row.slot);
	memcpy(zone->taps, handed.fds, sizeof(zone->taps));
	zone->n_taps = handed.n;
	handed.n = 0;
	/* Both services at once. */
	if (zone_network_start(zone, request->network ? request->network->reservation : "") < 0)
		zone_undo(zone);
	else
		open_kernel(zone);
}
