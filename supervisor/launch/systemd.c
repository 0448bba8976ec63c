// SPDX-License-Identifier: Apache-2.0
#include "supervisor/launch/systemd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define SOCKET	   "unix:path=/run/systemd/private"
#define BOOTED	   "/run/systemd/system" /* sd_booted(3) */
#define SERVICE	   "org.freedesktop.systemd1"
#define OBJECT	   "/org/freedesktop/systemd1"
#define MANAGER	   "org.freedesktop.systemd1.Manager"
#define TIMEOUT_NS (10 * NS_PER_S)

struct job {
	const char *path;
	char result[16]; /* empty = still waited for */
};

static void bus_freep(sd_bus **bus)
{
	sd_bus_close_unref(*bus);
}

static void message_freep(sd_bus_message **message)
{
	sd_bus_message_unref(*message);
}

static void bus_error_freep(sd_bus_error *error)
{
	sd_bus_error_free(error);
}

/*
 * libsystemd's: a connection for each call.
 * #syscalls launch: socket(AF_UNIX) connect getsockopt(_, SOL_SOCKET) setsockopt(_, SOL_SOCKET)
 *	getsockname sendmsg recvmsg ppoll uname getegid geteuid gettid fcntl(_, F_GETFL)
 *	fcntl(_, F_SETFL) fcntl(_, F_GETFD) fcntl(_, F_SETFD) shutdown close readlinkat
 *	getrandom(_, _, GRND_INSECURE) prctl(PR_GET_NAME) mkdir umask
 */
static int open_bus(sd_bus **out, struct error *err)
{
	_cleanup_(bus_freep) sd_bus *bus = NULL;
	int r;

	if (faccessat(AT_FDCWD, BOOTED, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return error_set(err, -ENOTSUP,
				 "this host does not run systemd; use another cgroup driver");
	r = sd_bus_new(&bus);
	if (r >= 0)
		r = sd_bus_set_address(bus, SOCKET);
	if (r >= 0)
		r = sd_bus_set_method_call_timeout(bus, TIMEOUT_NS / 1000);
	if (r >= 0)
		r = sd_bus_start(bus);
	if (r < 0)
		return error_set_errno(err, r, "no connection to systemd");
	*out = steal_ptr(&bus);
	return 0;
}

static int call_failed(const char *what, const char *unit, int r, const sd_bus_error *error,
		       struct error *err)
{
	if (sd_bus_error_has_name(error, SERVICE ".NoSuchUnit"))
		r = -ENOENT;
	if (sd_bus_error_has_name(error, SERVICE ".UnitExists"))
		r = -EEXIST;
	return error_set(err, r, "systemd, %s of %s: %s", what, unit,
			 error->message ? error->message : strerror(-r));
}

static int job_removed(sd_bus_message *message, void *user, sd_bus_error *error)
{
	struct job *job = user;
	const char *path, *unit, *result;
	uint32_t id;

	(void)error;
	if (sd_bus_message_read(message, "uoss", &id, &path, &unit, &result) >= 0 && job->path &&
	    strcmp(path, job->path) == 0)
		snprintf(job->result, sizeof(job->result), "%s", result);
	return 0;
}

static int await_job(sd_bus *bus, struct job *job)
{
	uint64_t deadline_ns = clock_now_ns() + TIMEOUT_NS;

	while (!*job->result) {
		uint64_t now_ns = clock_now_ns();
		int r = sd_bus_process(bus, NULL);

		if (r == 0 && now_ns >= deadline_ns)
			return -ETIMEDOUT;
		if (r == 0)
			r = sd_bus_wait(bus, (deadline_ns - now_ns) / 1000);
		if (r < 0 && r != -EINTR)
			return r;
	}
	return 0;
}

/* Sends a call that is answered by a job, and waits for its end. */
static int run_job(sd_bus *bus, sd_bus_message *call, const char *unit, struct error *err)
{
	_cleanup_(bus_error_freep) sd_bus_error error = SD_BUS_ERROR_NULL;
	_cleanup_(message_freep) sd_bus_message *reply = NULL;
	const char *what = sd_bus_message_get_member(call);
	struct job job = {.path = NULL};
	int r = sd_bus_match_signal(bus, NULL, NULL, OBJECT, MANAGER, "JobRemoved", job_removed,
				    &job);

	if (r >= 0)
		r = sd_bus_call(bus, call, 0, &error, &reply);
	if (r >= 0)
		r = sd_bus_message_read(reply, "o", &job.path);
	if (r < 0)
		return call_failed(what, unit, r, &error, err);
	r = await_job(bus, &job);
	if (r < 0)
		return error_set_errno(err, r, "systemd, %s of %s", what, unit);
	if (strcmp(job.result, "done") != 0)
		return error_set(err, -EIO, "systemd, %s of %s: %s", what, unit, job.result);
	return 0;
}

static int append_properties(sd_bus_message *call, systemd_fill_fn *fill, const void *user)
{
	int r = sd_bus_message_open_container(call, 'a', "(sv)");

	if (r >= 0)
		r = fill(call, user);
	return r < 0 ? r : sd_bus_message_close_container(call);
}

static int new_call(sd_bus *bus, const char *method, sd_bus_message **out)
{
	return sd_bus_message_new_method_call(bus, out, SERVICE, OBJECT, MANAGER, method);
}

int systemd_version(char *out, size_t size, struct error *err)
{
	_cleanup_(bus_freep) sd_bus *bus = NULL;
	_cleanup_(bus_error_freep) sd_bus_error error = SD_BUS_ERROR_NULL;
	_cleanup_(freep) char *version = NULL;
	int r = open_bus(&bus, err);

	if (r < 0)
		return r;
	r = sd_bus_get_property_string(bus, SERVICE, OBJECT, MANAGER, "Version", &error, &version);
	if (r < 0)
		return call_failed("version", "manager", r, &error, err);
	snprintf(out, size, "%s", version);
	return 0;
}

int systemd_start(const char *unit, systemd_fill_fn *fill, const void *user, struct error *err)
{
	_cleanup_(bus_freep) sd_bus *bus = NULL;
	_cleanup_(message_freep) sd_bus_message *call = NULL;
	int r = open_bus(&bus, err);

	if (r < 0)
		return r;
	r = new_call(bus, "StartTransientUnit", &call);
	if (r >= 0)
		r = sd_bus_message_append(call, "ss", unit, "fail");
	if (r >= 0)
		r = append_properties(call, fill, user);
	if (r >= 0)
		r = sd_bus_message_append(call, "a(sa(sv))", 0);
	if (r < 0)
		return error_set_errno(err, r, "a call for unit %s", unit);
	return run_job(bus, call, unit, err);
}

int systemd_set(const char *unit, systemd_fill_fn *fill, const void *user, struct error *err)
{
	_cleanup_(bus_freep) sd_bus *bus = NULL;
	_cleanup_(bus_error_freep) sd_bus_error error = SD_BUS_ERROR_NULL;
	_cleanup_(message_freep) sd_bus_message *call = NULL;
	int r = open_bus(&bus, err);

	if (r < 0)
		return r;
	r = new_call(bus, "SetUnitProperties", &call);
	if (r >= 0)
		r = sd_bus_message_append(call, "sb", unit, true);
	if (r >= 0)
		r = append_properties(call, fill, user);
	if (r >= 0)
		r = sd_bus_call(bus, call, 0, &error, NULL);
	return r < 0 ? call_failed("limits", unit, r, &error, err) : 0;
}

int systemd_stop(const char *unit, struct error *err)
{
	_cleanup_(bus_freep) sd_bus *bus = NULL;
	_cleanup_(message_freep) sd_bus_message *call = NULL;
	int r = open_bus(&bus, err);

	if (r < 0)
		return r;
	r = new_call(bus, "StopUnit", &call);
	if (r >= 0)
		r = sd_bus_message_append(call, "ss", unit, "replace");
	if (r < 0)
		return error_set_errno(err, r, "a call for unit %s", unit);
	return run_job(bus, call, unit, err);
}
