// SPDX-License-Identifier: Apache-2.0
#include "protect/shim/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "protect/shim/shim.h"

#define SOCKET_FOLDER "/run/protect-shim"
#define SCHEME	      "unix://"
#define DELETE_NS     (60 * NS_PER_S)

static void socket_path(const char *namespace, const char *id, char *out, size_t size)
{
	char name[SHIM_NAME_SIZE];

	shim_name(namespace, id, name);
	snprintf(out, size, SOCKET_FOLDER "/%s", name);
}

int bundle_group(const char *bundle, const char *id, char group[static BUNDLE_ID_SIZE],
		 struct error *err)
{
	struct spec spec;
	int r = spec_read_kind(bundle, &spec, err);

	if (r == 0)
		snprintf(group, BUNDLE_ID_SIZE, "%s", spec.kind == SPEC_MEMBER ? spec.sandbox : id);
	spec_deinit(&spec);
	return r;
}

int bundle_listen(const char *namespace, const char *id, char address[static BUNDLE_ADDRESS_SIZE],
		  int *listener, struct error *err)
{
	char path[BUNDLE_ADDRESS_SIZE - sizeof(SCHEME)];

	if (mkdir(SOCKET_FOLDER, 0700) < 0 && errno != EEXIST)
		return error_set_errno(err, -errno, SOCKET_FOLDER);
	socket_path(namespace, id, path, sizeof(path));
	*listener = io_unix_listen(path, SOCK_STREAM, 0600);
	if (*listener < 0)
		return error_set_errno(err, *listener, "the socket %s", path);
	snprintf(address, BUNDLE_ADDRESS_SIZE, SCHEME "%s", path);
	return 0;
}

int bundle_find(const char *group, char address[static BUNDLE_ADDRESS_SIZE], struct error *err)
{
	_cleanup_(freep) char *text = NULL;
	char path[BUNDLE_ID_SIZE + 16];
	size_t len;
	int r;

	snprintf(path, sizeof(path), "../%s/address", group);
	r = io_read_file(AT_FDCWD, path, BUNDLE_ADDRESS_SIZE - 1, &text, &len);
	if (r < 0)
		return error_set_errno(err, r, "the shim of pod %s (%s)", group, path);
	snprintf(address, BUNDLE_ADDRESS_SIZE, "%s", text);
	return 0;
}

/* containerd 2.x says what it can read; 1.x wants the address alone. */
int bundle_announce(const char *address, struct error *err)
{
	const char *max = getenv("MAX_SHIM_VERSION");
	bool json = max && strtol(max, NULL, 10) >= 3;
	int r = io_replace_file(AT_FDCWD, "address", address, strlen(address), 0600);

	if (r < 0)
		return error_set_errno(err, r, "the bundle's address");
	if (json)
		printf("{\"version\":3,\"address\":\"%s\",\"protocol\":\"ttrpc\"}", address);
	else
		fputs(address, stdout);
	return fflush(stdout) == 0 ? 0 : error_set_errno(err, -errno, "standard output");
}

void bundle_remove_socket(const char *namespace, const char *id)
{
	char path[BUNDLE_ADDRESS_SIZE];

	socket_path(namespace, id, path, sizeof(path));
	unlink(path);
}

struct removal {
	struct poller poller;
	struct link link;
	char name[SHIM_NAME_SIZE];
	int pending;
	struct error err;
};

static void removed(void *user, int error, const char *text, const void *payload, size_t len)
{
	struct removal *removal = user;

	(void)payload;
	(void)len;
	removal->pending--;
	if (error && error != -ENOENT)
		error_set(&removal->err, error, "%s", text);
}

/* Whether it was one or the other: no zone has a workload's name, as both are made from ids. */
static void remove_both(void *user)
{
	struct removal *removal = user;
	Protect__Control__Destroy destroy = PROTECT__CONTROL__DESTROY__INIT;

	removal->err = (struct error)ERROR_NULL;
	removal->pending = 0;
	destroy.ref = removal->name;
	destroy.wait = true;
	removal->pending += link_call(&removal->link, METHOD(WORKLOAD_DESTROY), &destroy.base,
				      removed, removal, NULL) == 0;
	removal->pending += link_call(&removal->link, METHOD(ZONE_DESTROY), &destroy.base, removed,
				      removal, NULL) == 0;
}

static void settle(void *user)
{
	struct removal *removal = user;

	link_settle(&removal->link);
}

static int remove_all(struct removal *removal, struct error *err)
{
	uint64_t until_ns = clock_now_ns() + DELETE_NS;
	int r = poller_init(&removal->poller);

	if (r < 0)
		return error_set_errno(err, r, "epoll");
	removal->poller.settle = settle;
	removal->poller.user = removal;
	removal->pending = 1;
	link_init(&removal->link, &removal->poller, remove_both, removal);
	while (removal->pending > 0 && clock_now_ns() < until_ns)
		poller_turn(&removal->poller, 1000);
	if (removal->pending > 0)
		r = error_set(err, -ETIMEDOUT, "protect-daemon did not answer in a minute");
	else if (removal->err.code)
		r = error_set(err, removal->err.code, "%s", removal->err.text);
	link_deinit(&removal->link);
	poller_deinit(&removal->poller);
	return r;
}

static int print_response(struct error *err)
{
	Protect__Shim__DeleteResponse response = PROTECT__SHIM__DELETE_RESPONSE__INIT;
	Protect__Shim__Timestamp at = PROTECT__SHIM__TIMESTAMP__INIT;
	uint8_t packed[64];
	struct timespec now;
	int r;

	clock_gettime(CLOCK_REALTIME, &now);
	at.seconds = now.tv_sec;
	at.nanos = (int32_t)now.tv_nsec;
	response.exit_status = SHIM_KILLED;
	response.exited_at = &at;
	r = io_write_full(STDOUT_FILENO, packed,
			  protect__shim__delete_response__pack(&response, packed));
	return r < 0 ? error_set_errno(err, r, "standard output") : 0;
}

int bundle_delete(const char *namespace, const char *id, struct error *err)
{
	struct removal removal = {.pending = 0};
	int r;

	shim_name(namespace, id, removal.name);
	r = remove_all(&removal, err);
	if (r < 0)
		return r;
	bundle_remove_socket(namespace, id);
	return print_response(err);
}
