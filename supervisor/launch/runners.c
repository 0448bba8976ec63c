// SPDX-License-Identifier: Apache-2.0
#include "supervisor/launch/runners.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/cpu_list.h"
#include "base/log.h"
#include "base/util.h"
#include "supervisor/launch/cgroup.h"
#include "supervisor/launch/devices.h"
#include "supervisor/launch/kvm.h"
#include "supervisor/launch/spawn.h"
#include "supervisor/launch/uids.h"

#define MEMORY_MIN_BYTES (16 * MIB)
#define WEIGHT_MAX	 10000u
#define QUOTA_MIN_US	 1000u /* the kernel's least */
#define XEN_DEVICE	 "/dev/xen/privcmd"
#define DESTROY_MS	 30000

int runners_init(struct runners *runners, const struct runners_config *config)
{
	runners->config = *config;
	runners->records = calloc(config->uid_count, sizeof(*runners->records));
	return runners->records ? 0 : -ENOMEM;
}

void runners_deinit(struct runners *runners)
{
	for (uint32_t i = 0; runners->records && i < runners->config.uid_count; i++)
		if (runners->records[i].used)
			close_fdp(&runners->records[i].pidfd);
	free(runners->records);
	runners->records = NULL;
}

static struct runner_record *find(struct runners *runners, const struct uuid *uuid)
{
	for (uint32_t i = 0; i < runners->config.uid_count; i++)
		if (runners->records[i].used && uuid_equal(&runners->records[i].uuid, uuid))
			return &runners->records[i];
	return NULL;
}

static int check_limits(const struct launch_limits *limits, struct error *err)
{
	if (limits->memory_bytes < MEMORY_MIN_BYTES || limits->memory_bytes > INT64_MAX)
		return error_set(err, -EINVAL, "memory limit out of range");
	if (limits->memory_high_bytes && (limits->memory_high_bytes < MEMORY_MIN_BYTES ||
					  limits->memory_high_bytes > limits->memory_bytes))
		return error_set(err, -EINVAL, "the mark of high memory is above the limit");
	if (limits->cpu_weight < 1 || limits->cpu_weight > WEIGHT_MAX)
		return error_set(err, -EINVAL, "cpu weight %u is not within 1 and %u",
				 limits->cpu_weight, WEIGHT_MAX);
	if (limits->cpu_quota_us && limits->cpu_quota_us < QUOTA_MIN_US)
		return error_set(err, -EINVAL, "cpu quota %u us is below %u us",
				 limits->cpu_quota_us, QUOTA_MIN_US);
	if (!memchr(limits->cpus, '\0', sizeof(limits->cpus)) ||
	    (*limits->cpus && !cpu_list_valid(limits->cpus)))
		return error_set(err, -EINVAL, "the list of CPUs is not like '0-3,8'");
	return 0;
}

static bool is_listening_socket(int fd)
{
	int value = 0, domain = 0, type = 0;
	socklen_t len = sizeof(int);

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &len) == 0 && value &&
	       getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX &&
	       getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM;
}

static bool is_writable(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && (flags & O_ACCMODE) != O_RDONLY && !(flags & O_PATH);
}

/*
 * #syscalls launch: newfstatat(_, _, _, AT_EMPTY_PATH) getsockopt(_, SOL_SOCKET) fcntl(_, F_GETFL)
 *	fcntl(_, F_DUPFD_CLOEXEC) wait4 close pidfd_send_signal getpriority geteuid getegid
 */
static int check_fds(const int *fds, unsigned n_fds, struct error *err)
{
	struct stat st;

	if (n_fds < LAUNCH_PLACE_FILES || n_fds > LAUNCH_FDS_MAX)
		return error_set(err, -EINVAL, "%u descriptors; a runner needs %u to %u", n_fds,
				 (unsigned)LAUNCH_PLACE_FILES, LAUNCH_FDS_MAX);
	if (fstat(fds[LAUNCH_PLACE_SPEC], &st) < 0 || !S_ISREG(st.st_mode))
		return error_set(err, -EINVAL, "the spec is not a file");
	if (!is_listening_socket(fds[LAUNCH_PLACE_SOCKET]))
		return error_set(err, -EINVAL,
				 "the runner's socket is not a listening unix stream socket");
	if (fstat(fds[LAUNCH_PLACE_EXIT], &st) < 0 || !S_ISREG(st.st_mode) ||
	    !is_writable(fds[LAUNCH_PLACE_EXIT]))
		return error_set(err, -EINVAL, "the exit record is not a writable file");
	if (!is_writable(fds[LAUNCH_PLACE_LOG]))
		return error_set(err, -EINVAL, "the log is not writable");
	/* A directory is a way out of an empty root. */
	for (unsigned i = 0; i < n_fds; i++)
		if (fstat(fds[i], &st) < 0 || S_ISDIR(st.st_mode))
			return error_set(err, -EINVAL, "descriptor %u is a directory", i);
	return 0;
}

/* A place for the new runner; its uid must not be in use, since uids are what keeps zones apart. */
static struct runner_record *find_place(struct runners *runners,
					const struct launch_request *request, struct error *err)
{
	struct runner_record *place = NULL;

	for (uint32_t i = 0; i < runners->config.uid_count; i++) {
		struct runner_record *r = &runners->records[i];

		if (!r->used) {
			if (!place)
				place = r;
			continue;
		}
		if (uuid_equal(&r->uuid, &request->uuid)) {
			error_set(err, -EEXIST, "this zone has a runner already (process %d)",
				  (int)r->pid);
			return NULL;
		}
		if (!r->ended && r->slot == request->slot) {
			error_set(err, -EBUSY, "uid slot %u is in use", request->slot);
			return NULL;
		}
	}
	if (!place)
		error_set(err, -ENOSPC, "no room for another runner; %u are known",
			  runners->config.uid_count);
	return place;
}

/* For limits that nobody gets without asking. */
static bool asks_for_limits(const struct launch_limits *limits)
{
	const struct launch_io none = {0};

	return *limits->cpus || memcmp(&limits->io, &none, sizeof(none)) != 0;
}

/* Makes the zone's group. *dir is where the runner is cloned into; -1: it is put in afterwards. */
static int make_group(const struct runners *runners, const struct launch_request *request,
		      const int *fds, unsigned n_fds, int *dir, struct error *err)
{
	dev_t devices[LAUNCH_FDS_MAX];
	unsigned n = devices_of(fds, n_fds, devices, ARRAY_SIZE(devices));

	if (!runners->config.cgroups)
		return asks_for_limits(&request->limits)
			       ? error_set(err, -ENOTSUP, "zones have no limits on this host")
			       : 0;
	return cgroups_make(runners->config.cgroups, &request->uuid, &request->limits, devices, n,
			    dir, err);
}

struct group_of {
	struct cgroups *cgroups;
	const struct uuid *uuid;
};

static int enter_group(void *user, pid_t pid, struct error *err)
{
	const struct group_of *group = user;

	return cgroups_enter(group->cgroups, group->uuid, pid, err);
}

static pid_t spawn_into(const struct runners *runners, const struct uuid *uuid, struct spawn *spawn,
			int *pidfd, struct error *err)
{
	struct group_of group = {.cgroups = runners->config.cgroups, .uuid = uuid};
	pid_t pid;

	spawn->enter = group.cgroups && spawn->cgroup < 0 ? enter_group : NULL;
	spawn->user = &group;
	pid = spawn_runner(spawn, pidfd, err);
	if (pid < 0 && group.cgroups)
		cgroups_remove(group.cgroups, uuid);
	return pid;
}

/* The hypervisor's own part of the start. *kvm is to be closed. */
static int prepare_kvm(const struct runners_config *config, uint32_t slot, struct spawn *spawn,
		       int *kvm, struct error *err)
{
	static const char *const arguments[] = {"zone-vmm",  "--kvm-fd", "3",
						"--spec-fd", "4",	 NULL};

	*kvm = kvm_open(config->kvm, err);
	if (*kvm < 0)
		return *kvm;
	spawn->runner = config->runner;
	spawn->arguments = arguments;
	spawn->kvm = *kvm;
	if (config->change_ids)
		spawn->uid = spawn->gid = config->uid_base + slot;
	if (config->change_ids && uid_is_in_use(spawn->uid))
		return error_set(err, -EBUSY,
				 "user id %u has processes already, of an earlier zone or of "
				 "someone else; see protect-launch's --uid-base",
				 (unsigned)spawn->uid);
	return 0;
}

static void prepare_xen(const struct runners_config *config, struct spawn *spawn)
{
	static const char *const arguments[] = {"zone-xen", "--spec-fd", "4", NULL};

	spawn->runner = config->xen_runner;
	spawn->arguments = arguments;
	spawn->kvm = config->null;
	spawn->on_host = true;
}

static int start(struct runners *runners, const struct launch_request *request, const int *fds,
		 unsigned n_fds, struct runner_record *record, struct error *err)
{
	const struct runners_config *config = &runners->config;
	_cleanup_(close_fdp) int kvm = -1;
	_cleanup_(close_fdp) int group = -1;
	struct spawn spawn = {.null = config->null,
			      .fds = fds,
			      .n_fds = n_fds,
			      .uid = geteuid(),
			      .gid = getegid()};
	pid_t pid;
	int r = 0;

	if (request->backend == LAUNCH_XEN)
		prepare_xen(config, &spawn);
	else
		r = prepare_kvm(config, request->slot, &spawn, &kvm, err);
	if (r < 0)
		return r;
	r = make_group(runners, request, fds, n_fds, &group, err);
	if (r < 0)
		return r;
	spawn.cgroup = group;
	pid = spawn_into(runners, &request->uuid, &spawn, &record->pidfd, err);
	if (pid < 0)
		return pid;
	record->pid = pid;
	record->uuid = request->uuid;
	record->slot = request->slot;
	record->wait_status = -1;
	record->ended = false;
	record->report = (struct cgroup_report){0};
	record->group_left = config->cgroups != NULL;
	record->on_xen = record->domain_left = request->backend == LAUNCH_XEN;
	record->used = true;
	return 0;
}

static void tell_cgroup(const struct runners *runners, const struct uuid *uuid,
			struct launch_reply *reply)
{
	if (runners->config.cgroups)
		cgroups_path(runners->config.cgroups, uuid, reply->cgroup, sizeof(reply->cgroup));
}

static int op_spawn(struct runners *runners, const struct launch_request *request, const int *fds,
		    unsigned n_fds, struct launch_reply *reply, int *pidfd, struct error *err)
{
	struct runner_record *record;
	char text[UUID_TEXT_SIZE];
	int r = check_limits(&request->limits, err);

	if (r == 0 && request->backend > LAUNCH_XEN)
		r = error_set(err, -EINVAL, "backend %u is not known", request->backend);
	if (r == 0 && request->slot >= runners->config.uid_count)
		r = error_set(err, -EINVAL, "uid slot %u of %u", request->slot,
			      runners->config.uid_count);
	if (r == 0)
		r = check_fds(fds, n_fds, err);
	if (r < 0)
		return r;
	record = find_place(runners, request, err);
	if (!record)
		return err->code;
	r = start(runners, request, fds, n_fds, record, err);
	if (r < 0)
		return r;
	*pidfd = fcntl(record->pidfd, F_DUPFD_CLOEXEC, 0);
	reply->pid = record->pid;
	tell_cgroup(runners, &record->uuid, reply);
	uuid_format(&record->uuid, text);
	log_info("zone=%s runner=%d slot=%u started", text, (int)record->pid, record->slot);
	return 0;
}

static int join_group(void *user, pid_t pid, struct error *err)
{
	const struct group_of *group = user;

	return cgroups_join(group->cgroups, group->uuid, pid, err);
}

/* Whose rights the server of a folder gets: its owner's; but never root's, and no other zone's. */
static uint32_t id_for_folder(const struct runners_config *config, uint32_t owner, uint32_t zone_id)
{
	bool is_zone = owner >= config->uid_base && owner - config->uid_base < config->uid_count;

	return owner == 0 || is_zone ? zone_id : owner;
}

static int start_server(const struct runners *runners, const struct launch_request *request,
			const struct stat *st, int socket, struct error *err)
{
	const struct runners_config *config = &runners->config;
	struct group_of group = {.cgroups = config->cgroups, .uuid = &request->uuid};
	struct spawn_folder folder = {.path = request->share.path,
				      .known = st,
				      .read_only = request->share.read_only,
				      .socket = socket};
	struct spawn spawn = {.runner = config->folder_server,
			      .folder = &folder,
			      .null = config->null,
			      .cgroup = -1,
			      .enter = config->cgroups ? join_group : NULL,
			      .user = &group,
			      .uid = geteuid(),
			      .gid = getegid()};
	_cleanup_(close_fdp) int pidfd = -1;
	pid_t pid;

	if (config->change_ids) {
		spawn.uid = id_for_folder(config, st->st_uid, config->uid_base + request->slot);
		spawn.gid = id_for_folder(config, st->st_gid, config->uid_base + request->slot);
	}
	pid = spawn_runner(&spawn, &pidfd, err);
	if (pid != -EACCES)
		return pid;
	*err = (struct error)ERROR_NULL;
	return error_set(err, -EACCES,
			 "uid %u, as which it would be served, may not enter '%.120s'; "
			 "give it to a user that is not root",
			 (unsigned)spawn.uid, request->share.path);
}

static int op_share(struct runners *runners, const struct launch_request *request,
		    struct launch_reply *reply, int *connection, struct error *err)
{
	const struct runner_record *record = find(runners, &request->uuid);
	_cleanup_(close_fdp) int folder = -1;
	_cleanup_(close_fdp) int ours = -1;
	_cleanup_(close_fdp) int theirs = -1;
	char text[UUID_TEXT_SIZE];
	struct stat st;
	int ends[2], pid;

	if (request->slot >= runners->config.uid_count)
		return error_set(err, -EINVAL, "uid slot %u of %u", request->slot,
				 runners->config.uid_count);
	/* One that an earlier protect-launch started has a cgroup, if it lives. */
	if (record ? record->ended || record->slot != request->slot : !runners->config.cgroups)
		return error_set(err, -ESRCH, "no runner of this zone");
	folder = folders_open(runners->config.folders, &request->share, &st, err);
	if (folder < 0)
		return folder;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return error_set_errno(err, -errno, "socketpair");
	ours = ends[0];
	theirs = ends[1];
	pid = start_server(runners, request, &st, theirs, err);
	if (pid < 0)
		return pid;
	reply->pid = pid;
	*connection = steal_fd(&ours);
	uuid_format(&request->uuid, text);
	log_info("zone=%s server=%d folder=%s%s started", text, pid, request->share.path,
		 request->share.read_only ? " read_only" : "");
	return 0;
}

static int op_signal(struct runners *runners, const struct launch_request *request,
		     struct error *err)
{
	const struct runner_record *record = find(runners, &request->uuid);
	int r = -ENOENT;

	if (request->signal != SIGTERM && request->signal != SIGKILL)
		return error_set(err, -EINVAL, "signal %u; only SIGTERM and SIGKILL are sent",
				 request->signal);
	if (request->signal == SIGKILL && runners->config.cgroups)
		r = cgroups_kill(runners->config.cgroups, &request->uuid);
	if (r < 0 && record && !record->ended)
		r = syscall(SYS_pidfd_send_signal, record->pidfd, (int)request->signal, NULL, 0) < 0
			    ? -errno
			    : 0;
	if (r == -ENOENT && record)
		r = -ESRCH;
	return r < 0 ? error_set_errno(err, r, "the runner cannot be signalled") : 0;
}

static bool domain_may_be_left(void)
{
	return access(XEN_DEVICE, F_OK) == 0;
}

/* Waits for a process that is bound to end soon. Returns whether it did, with status 0. */
static bool await_end(pid_t pid, int pidfd)
{
	struct pollfd end = {.fd = pidfd, .events = POLLIN};
	int wait_status = -1;

	if (poll(&end, 1, DESTROY_MS) != 1)
		syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
	return waitpid(pid, &wait_status, 0) == pid && wait_status == 0;
}

/*
 * Has zone-xen destroy what is left of a zone's domain, if anything is. Xen's libraries stay out of
 * this process. Returns whether nothing is left.
 *
 * #syscalls launch: poll wait4 pidfd_send_signal access
 */
static bool destroy_domain(const struct runners_config *config, const struct uuid *uuid)
{
	const int fds[LAUNCH_PLACE_FILES] = {config->null, config->null, config->null,
					     STDERR_FILENO};
	_cleanup_(close_fdp) int pidfd = -1;
	char text[UUID_TEXT_SIZE];
	const char *const arguments[] = {"zone-xen", "--destroy", text, NULL};
	const struct spawn spawn = {.runner = config->xen_runner,
				    .arguments = arguments,
				    .on_host = true,
				    .kvm = config->null,
				    .null = config->null,
				    .fds = fds,
				    .n_fds = ARRAY_SIZE(fds),
				    .cgroup = -1,
				    .uid = geteuid(),
				    .gid = getegid()};
	struct error err = ERROR_NULL;
	pid_t pid;

	uuid_format(uuid, text);
	pid = spawn_runner(&spawn, &pidfd, &err);
	if (pid >= 0 && await_end(pid, pidfd))
		return true;
	log_error("zone=%s msg=\"its domain is not known to be gone\" err=\"%s\"", text, err.text);
	return false;
}

/* Removes the zone's group; what happened in it is asked before. */
static int remove_group(const struct runners *runners, const struct uuid *uuid,
			struct cgroup_report *report)
{
	cgroups_report(runners->config.cgroups, uuid, report);
	return cgroups_remove(runners->config.cgroups, uuid);
}

static int op_reap(struct runners *runners, const struct launch_request *request,
		   struct launch_reply *reply, struct error *err)
{
	struct runner_record *record = find(runners, &request->uuid);
	struct cgroup_report report = {0};
	int r = 0;

	runners_collect(runners);
	if (record && !record->ended)
		return error_set(err, -EBUSY, "the runner has not ended");
	if (record && record->domain_left)
		return error_set(err, -EBUSY, "the zone's domain cannot be destroyed yet");
	/* One that an earlier protect-launch started may have been on Xen: where that is, it is
	 * asked. */
	if (!record && domain_may_be_left() && !destroy_domain(&runners->config, &request->uuid))
		return error_set(err, -EBUSY, "the zone's domain cannot be destroyed yet");
	if (record && !record->group_left)
		report = record->report;
	else if (runners->config.cgroups)
		r = remove_group(runners, &request->uuid, &report);
	if (r < 0)
		return error_set_errno(err, r, "the zone's cgroup cannot be removed yet");
	/* Also of a zone that an earlier protect-launch started. */
	reply->oom_kills = report.oom_kills;
	reply->memory_peak_bytes = report.memory_peak_bytes;
	if (!record)
		return error_set(err, -ENOENT, "no runner of this zone");
	reply->pid = record->pid;
	reply->wait_status = record->wait_status;
	reply->ended = 1;
	close_fdp(&record->pidfd);
	record->used = false;
	return 0;
}

static int op_update(struct runners *runners, const struct launch_request *request,
		     struct launch_reply *reply, struct error *err)
{
	int r = check_limits(&request->limits, err);

	if (r < 0)
		return r;
	if (!runners->config.cgroups)
		return error_set(err, -ENOTSUP, "zones have no limits on this host");
	tell_cgroup(runners, &request->uuid, reply);
	return cgroups_update(runners->config.cgroups, &request->uuid, &request->limits, err);
}

static int op_list(struct runners *runners, const struct launch_request *request,
		   struct launch_reply *reply, struct error *err)
{
	uint32_t index = request->index;

	for (uint32_t i = 0; i < runners->config.uid_count; i++) {
		const struct runner_record *r = &runners->records[i];

		if (!r->used || index--)
			continue;
		reply->uuid = r->uuid;
		reply->pid = r->pid;
		reply->ended = r->ended;
		reply->wait_status = r->wait_status;
		tell_cgroup(runners, &r->uuid, reply);
		return 0;
	}
	return error_set(err, -ENOENT, "no further runner");
}

static int dispatch(struct runners *runners, const struct launch_request *request, const int *fds,
		    unsigned n_fds, struct launch_reply *reply, int *pidfd, struct error *err)
{
	if (request->version != LAUNCH_VERSION)
		return error_set(err, -EPROTO, "protocol version %u; this protect-launch speaks %u",
				 request->version, LAUNCH_VERSION);
	if (request->n_fds != n_fds || (n_fds && request->op != LAUNCH_SPAWN))
		return error_set(err, -EINVAL, "%u descriptors came, %u were announced", n_fds,
				 request->n_fds);
	switch (request->op) {
	case LAUNCH_SPAWN:
		return op_spawn(runners, request, fds, n_fds, reply, pidfd, err);
	case LAUNCH_SHARE:
		return op_share(runners, request, reply, pidfd, err);
	case LAUNCH_SIGNAL:
		return op_signal(runners, request, err);
	case LAUNCH_REAP:
		return op_reap(runners, request, reply, err);
	case LAUNCH_LIST:
		return op_list(runners, request, reply, err);
	case LAUNCH_STATUS:
		snprintf(reply->text, sizeof(reply->text), "%s",
			 runners->config.cgroups ? cgroups_describe(runners->config.cgroups)
						 : "zones have no limits on this host");
		return 0;
	case LAUNCH_UPDATE:
		return op_update(runners, request, reply, err);
	default:
		return error_set(err, -ENOSYS, "unknown operation %u", request->op);
	}
}

void runners_request(struct runners *runners, const void *packet, size_t len, int *fds,
		     unsigned n_fds, struct launch_reply *reply, int *pidfd)
{
	struct launch_request request;
	struct error err = ERROR_NULL;
	int r;

	*pidfd = -1;
	memset(reply, 0, sizeof(*reply));
	reply->version = LAUNCH_VERSION;
	if (len == sizeof(request)) {
		memcpy(&request, packet, sizeof(request));
		reply->uuid = request.uuid;
		r = dispatch(runners, &request, fds, n_fds, reply, pidfd, &err);
	} else {
		r = error_set(&err, -EMSGSIZE, "a request has %zu bytes, not %zu", sizeof(request),
			      len);
	}
	reply->error = r;
	if (r < 0)
		snprintf(reply->text, sizeof(reply->text), "%.*s", (int)sizeof(reply->text) - 1,
			 err.text);
	while (n_fds)
		close(fds[--n_fds]);
}

static void record_end(struct runners *runners, pid_t pid, int wait_status)
{
	for (uint32_t i = 0; i < runners->config.uid_count; i++) {
		struct runner_record *r = &runners->records[i];
		char text[UUID_TEXT_SIZE];

		if (!r->used || r->ended || r->pid != pid)
			continue;
		r->ended = true;
		r->wait_status = wait_status;
		/* The servers of its folders end by themselves, unless they were taken over. */
		if (runners->config.cgroups)
			cgroups_kill(runners->config.cgroups, &r->uuid);
		uuid_format(&r->uuid, text);
		log_info("zone=%s runner=%d wait_status=%#x ended", text, (int)pid,
			 (unsigned)wait_status);
	}
}

bool runners_collect(struct runners *runners)
{
	bool left = false;
	int wait_status;
	pid_t pid;

	while ((pid = waitpid(-1, &wait_status, WNOHANG)) > 0)
		record_end(runners, pid, wait_status);
	for (uint32_t i = 0; i < runners->config.uid_count; i++) {
		struct runner_record *r = &runners->records[i];

		if (!r->used || !r->ended)
			continue;
		if (r->domain_left)
			r->domain_left = !destroy_domain(&runners->config, &r->uuid);
		left |= r->domain_left;
		if (!r->group_left)
			continue;
		cgroups_kill(runners->config.cgroups, &r->uuid);
		r->group_left = remove_group(runners, &r->uuid, &r->report) < 0;
		left |= r->group_left;
	}
	return left;
}
