// SPDX-License-Identifier: Apache-2.0
#include "zone-guest/volume_jobs.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/util.h"
#include "zone-guest/agent.h"
#include "zone-guest/disk.h"
#include "zone-guest/workload.h"

struct volume_job {
	struct volume_job *next;
	struct zone *zone;
	struct uuid workload; /* if not the zone's own */
	bool of_workload, out, force;
	struct volume volume;
	uint64_t id; /* request to answer; 0 = none */
	struct reactor_watch report;
};

static void job_free(struct volume_job *job)
{
	int fd = job->report.fd;

	for (struct volume_job **place = &job->zone->volume_jobs; *place; place = &(*place)->next)
		if (*place == job) {
			*place = job->next;
			break;
		}
	reactor_unwatch(&job->zone->reactor, &job->report);
	close_fdp(&fd);
	free(job);
}

/* The list that the volume is in, or will be; NULL if its workload has gone. */
static struct volumes *list_of(const struct volume_job *job)
{
	struct workload *workload;

	if (!job->of_workload)
		return &job->zone->volumes;
	workload = zone_workload(job->zone, &job->workload);
	return workload ? &workload->volumes : NULL;
}

/* Whether some file system is still mounted from a disk, wherever. */
static bool is_held(const struct volume *volume)
{
	_cleanup_(close_fdp) int fd = -1;

	if (volume->shared)
		return false;
	fd = open(volume->disk, O_RDONLY | O_EXCL | O_NONBLOCK | O_CLOEXEC);
	return fd < 0 && errno == EBUSY;
}

static int say_busy(const struct volume *volume, struct error *err)
{
	return error_set(err, -EBUSY,
			 "volume '%s' is busy: a process works on it, or has a file of it open",
			 volume->name);
}

/* The child has ended well. */
static void take_over(struct volume_job *job, struct error *err)
{
	struct volumes *list = list_of(job);

	if (job->out && !job->force && is_held(&job->volume))
		say_busy(&job->volume, err);
	else if (list && job->out)
		volumes_remove(list, job->volume.target);
	else if (list && list->n < VOLUMES_MAX && !volumes_at(list, job->volume.target))
		volumes_add(list, &job->volume);
}

static void reported(struct reactor_watch *watch, uint32_t events)
{
	struct volume_job *job = container_of(watch, struct volume_job, report);
	struct zone *zone = job->zone;
	uint64_t id = job->id;
	struct error err = ERROR_NULL;

	(void)events;
	if (io_read_full(watch->fd, &err, sizeof(err)) != sizeof(err)) {
		err = (struct error)ERROR_NULL;
		error_set(&err, -EIO, "what should have moved a volume was killed");
	}
	err.text[sizeof(err.text) - 1] = '\0';
	if (!err.code)
		take_over(job, &err);
	job_free(job);
	if (err.code)
		agent_reply_error(zone, id, err.code, err.text);
	else
		agent_reply(zone, id, NULL);
}

/* Those inside must not trace us. */
static int enter(int workload_pidfd, struct error *err)
{
	if (workload_pidfd < 0)
		return 0;
	if (prctl(PR_SET_DUMPABLE, 0) < 0 || setns(workload_pidfd, CLONE_NEWNS) < 0)
		return error_set_errno(err, -errno, "join the workload's mounts");
	return 0;
}

static int run_in(const struct volume_job *job, int pidfd, struct error *err)
{
	static const struct userns zones = USERNS_NONE;
	const struct workload *workload =
		job->of_workload ? zone_workload(job->zone, &job->workload) : NULL;
	const struct userns *userns = workload ? &workload->userns : &zones;
	struct volumes one = {.items = {job->volume}, .n = 1};
	int fds[VOLUMES_MAX] = {-1};
	int r = volumes_mount(&one, userns, fds, err);

	if (r == 0)
		r = enter(pidfd, err);
	return r == 0 ? volumes_attach(&one, userns, fds, err) : r;
}

static bool names_disk(int proc, const char *pid, const char *fd, dev_t disk)
{
	char path[64];
	struct stat st;

	return (size_t)snprintf(path, sizeof(path), "%s/fd/%s", pid, fd) < sizeof(path) &&
	       fstatat(proc, path, &st, 0) == 0 && S_ISBLK(st.st_mode) && st.st_rdev == disk;
}

static bool process_has_open(DIR *proc, const char *pid, dev_t disk)
{
	struct dirent *entry;
	bool found = false;
	char path[32];
	DIR *fds = NULL;
	int fd = -1;

	if ((size_t)snprintf(path, sizeof(path), "%s/fd", pid) < sizeof(path))
		fd = openat(dirfd(proc), path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		fds = fdopendir(fd);
	while (fds && !found && (entry = readdir(fds)))
		found = isdigit((unsigned char)entry->d_name[0]) &&
			names_disk(dirfd(proc), pid, entry->d_name, disk);
	if (fds)
		closedir(fds);
	else
		close_fdp(&fd);
	return found;
}

/* Whether a process of the zone, in whatever workload, has the device open. The agent itself and
 * this child of it do not count. */
static bool is_open(dev_t disk)
{
	long agent = getppid(), own = getpid(), pid;
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	bool found = false;

	while (proc && !found && (entry = readdir(proc))) {
		pid = strtol(entry->d_name, NULL, 10);
		found = pid && pid != agent && pid != own &&
			process_has_open(proc, entry->d_name, disk);
	}
	if (proc)
		closedir(proc);
	return found;
}

/* What lies at the target now need not be ours: then there is nothing to do. Of a disk that has
 * gone (0) there may be a mount that nothing can be written to any more. */
static int leave_place(const struct volume_job *job, dev_t disk, struct error *err)
{
	int flags = UMOUNT_NOFOLLOW | (job->force || !disk ? MNT_DETACH : 0);
	const struct volume *volume = &job->volume;
	struct stat st;

	if (lstat(volume->target, &st) < 0)
		return 0;
	if (volume->raw && S_ISBLK(st.st_mode) && st.st_rdev == disk)
		unlink(volume->target);
	if (volume->raw || (disk && st.st_dev != disk))
		return 0;
	if (umount2(volume->target, flags) == 0 || !disk)
		return 0;
	return errno == EBUSY ? say_busy(volume, err)
			      : error_set_errno(err, -errno, "unmount volume '%s'", volume->name);
}

static int run_out(const struct volume_job *job, int pidfd, struct error *err)
{
	struct stat st;
	dev_t disk = stat(job->volume.disk, &st) == 0 ? st.st_rdev : 0;
	int r;

	if (job->volume.raw && !job->volume.shared && !job->force && is_open(disk))
		return say_busy(&job->volume, err);
	r = enter(pidfd, err);
	return r == 0 ? leave_place(job, disk, err) : r;
}

static _Noreturn void run(const struct volume_job *job, int pidfd, int report)
{
	struct error err = ERROR_NULL;
	int r;

	umask(0);
	r = job->out ? run_out(job, pidfd, &err) : run_in(job, pidfd, &err);
	io_write_full(report, &err, sizeof(err));
	_exit(r < 0);
}

static int start(struct volume_job *job, int pidfd, struct error *err)
{
	int ends[2], r;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return error_set_errno(err, -errno, "move a volume");
	pid = fork();
	if (pid == 0)
		run(job, pidfd, ends[1]);
	r = pid < 0 ? -errno : 0;
	close(ends[1]);
	if (r == 0)
		r = reactor_watch(&job->zone->reactor, &job->report, ends[0], EPOLLIN);
	if (r < 0)
		close(ends[0]);
	return r < 0 ? error_set_errno(err, r, "move a volume") : 0;
}

static struct volume_job *job_new(struct zone *zone, uint64_t id, const struct volume *volume)
{
	struct volume_job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	*job = (struct volume_job){.next = zone->volume_jobs,
				   .zone = zone,
				   .volume = *volume,
				   .id = id,
				   .report = {.fd = -1, .ready = reported}};
	zone->volume_jobs = job;
	return job;
}

/* Whose it is: 0 and *workload (NULL = the zone's own), or a negative errno with *err. */
static int find_user(struct zone *zone, const char *text, struct workload **workload,
		     struct error *err)
{
	struct uuid uuid;

	*workload = NULL;
	if (!*text)
		return 0;
	if (uuid_parse(text, &uuid) == 0)
		*workload = zone_workload(zone, &uuid);
	return *workload ? 0 : error_set(err, -ESRCH, "no such workload in the zone");
}

static void start_for(struct workload *workload, struct volume_job *job, struct error *err)
{
	if (!job) {
		error_set_errno(err, -ENOMEM, "move a volume");
		return;
	}
	if (workload) {
		job->workload = workload->uuid;
		job->of_workload = true;
	}
	if (start(job, workload ? workload->process.pidfd : -1, err) < 0)
		job_free(job);
}

static bool runs(const struct workload *workload)
{
	return workload->state == WORKLOAD_RUNNING && workload->process.pid;
}

static int check_attach(struct zone *zone, struct workload *workload, struct volume *volume,
			struct error *err)
{
	struct volumes *list = workload ? &workload->volumes : &zone->volumes;
	struct volumes one = {.items = {*volume}, .n = 1};
	const char *missing;
	int r;

	if (workload && !runs(workload))
		return error_set(err, -ESRCH, "the workload does not run");
	if (list->n >= VOLUMES_MAX)
		return error_set(err, -ENOSPC, "there are %u volumes already", VOLUMES_MAX);
	if (volumes_at(list, volume->target))
		return error_set(err, -EEXIST, "a volume is at '%s' already", volume->target);
	r = volumes_find(&one, &zone->volumes, zone->find_disk, &missing);
	*volume = one.items[0];
	return r < 0 ? error_set_errno(err, r, "find the disk '%s'", missing) : 0;
}

void volume_jobs_attach(struct zone *zone, uint64_t id, const Protect__Agent__VolumeAttach *message)
{
	struct error err = ERROR_NULL;
	struct workload *workload;
	struct volume volume;

	if (!message->volume)
		error_set(&err, -EINVAL, "the request names no volume");
	else if (find_user(zone, message->workload, &workload, &err) == 0 &&
		 volume_read(message->volume, &volume, &err) == 0 &&
		 check_attach(zone, workload, &volume, &err) == 0)
		start_for(workload, job_new(zone, id, &volume), &err);
	if (err.code)
		agent_reply_error(zone, id, err.code, err.text);
}

/* Whether a workload has the zone's volume as well. */
static bool is_shared(const struct zone *zone, const struct volume *volume)
{
	for (unsigned i = 0; i < ZONE_WORKLOADS_MAX; i++) {
		const struct workload *workload = zone->workloads[i];

		for (unsigned k = 0; workload && runs(workload) && k < workload->volumes.n; k++)
			if (strcmp(workload->volumes.items[k].serial, volume->serial) == 0)
				return true;
	}
	return false;
}

/* The volume at a place, and *workload, whose it is. NULL with *err. */
static struct volume *find_volume(struct zone *zone, const Protect__Agent__VolumeDetach *message,
				  struct workload **workload, struct error *err)
{
	struct volume *volume;

	if (find_user(zone, message->workload, workload, err) < 0)
		return NULL;
	volume = volumes_at(*workload ? &(*workload)->volumes : &zone->volumes, message->target);
	if (!volume)
		error_set(err, -ENOENT, "no volume is at '%.255s'", message->target);
	return volume;
}

void volume_jobs_detach(struct zone *zone, uint64_t id, const Protect__Agent__VolumeDetach *message)
{
	struct error err = ERROR_NULL;
	struct workload *workload;
	struct volume *volume = find_volume(zone, message, &workload, &err);
	struct volume_job *job;

	if (volume && workload && !runs(workload)) {
		/* Its mounts went with its processes. */
		volumes_remove(&workload->volumes, volume->target);
		agent_reply(zone, id, NULL);
		return;
	}
	if (volume && !workload && !message->force && is_shared(zone, volume)) {
		say_busy(volume, &err);
	} else if (volume) {
		job = job_new(zone, id, volume);
		if (job) {
			job->out = true;
			job->force = message->force;
		}
		start_for(workload, job, &err);
	}
	if (err.code)
		agent_reply_error(zone, id, err.code, err.text);
}

void volume_jobs_session_lost(struct zone *zone)
{
	for (struct volume_job *job = zone->volume_jobs; job; job = job->next)
		job->id = 0;
}

void volume_jobs_free(struct zone *zone)
{
	while (zone->volume_jobs)
		job_free(zone->volume_jobs);
}
