// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/storage_client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "supervisor/daemon/pcall.h"

/*
 * Without a word. Work that tells of its progress is silent only while one step of it takes long: a
 * large file that is synced to a slow disk, a file system that is packed to its end.
 */
#define ANSWER_NS   (120 * NS_PER_S)
#define PROGRESS_NS (600 * NS_PER_S)

struct storage_call {
	struct pcall *pcall;
	const char *socket;
	storage_fn *fn;
	void *user;
};

static void answer_error(struct storage_call *call, int error)
{
	Protect__Storage__Reply reply = PROTECT__STORAGE__REPLY__INIT;
	char text[ERROR_TEXT_MAX];

	pcall_describe("protect-storage", call->socket, error, text, sizeof(text));
	reply.error = (uint32_t)-error;
	reply.text = text;
	call->fn(call->user, &reply, NULL, 0);
}

static bool answered(void *user, int error, const void *data, size_t len, int *fds, unsigned n_fds)
{
	struct storage_call *call = user;
	Protect__Storage__Reply *reply = NULL;
	bool more = false;

	if (!error) {
		reply = protect__storage__reply__unpack(NULL, len, data);
		error = reply ? 0 : -EPROTO;
	}
	if (reply) {
		more = reply->progress;
		call->fn(call->user, reply, fds, n_fds);
		protect__storage__reply__free_unpacked(reply, NULL);
	} else {
		answer_error(call, error);
	}
	while (n_fds)
		close(fds[--n_fds]);
	if (!more)
		free(call);
	return more;
}

static uint64_t patience_ns(const Protect__Storage__Request *request)
{
	bool is_long = request->what_case == PROTECT__STORAGE__REQUEST__WHAT_PULL ||
		       request->what_case == PROTECT__STORAGE__REQUEST__WHAT_IMPORT;

	return is_long ? PROGRESS_NS : ANSWER_NS;
}

struct storage_call *storage_call(struct hub *hub, const char *socket,
				  const Protect__Storage__Request *request, int fd, storage_fn *fn,
				  void *user)
{
	size_t len = protect__storage__request__get_packed_size(request);
	_cleanup_(freep) uint8_t *packet = malloc(len ? len : 1);
	struct storage_call *call = calloc(1, sizeof(*call));

	if (!call || !packet) {
		free(call);
		return NULL;
	}
	*call = (struct storage_call){.socket = socket, .fn = fn, .user = user};
	protect__storage__request__pack(request, packet);
	call->pcall = pcall_start(hub, socket, packet, len, &fd, fd >= 0, patience_ns(request),
				  answered, call);
	if (call->pcall)
		return call;
	free(call);
	return NULL;
}

struct storage_call *storage_cancel(struct storage_call *call)
{
	if (!call)
		return NULL;
	pcall_cancel(call->pcall);
	free(call);
	return NULL;
}

bool storage_is_registry_ref(const char *ref)
{
	size_t host_len = strcspn(ref, "/");

	if (!ref[host_len] || !ref[host_len + 1] || !host_len)
		return false;
	return memchr(ref, '.', host_len) || memchr(ref, ':', host_len) ||
	       (host_len == strlen("localhost") && memcmp(ref, "localhost", host_len) == 0);
}
