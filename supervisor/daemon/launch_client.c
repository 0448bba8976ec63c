// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/launch_client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "supervisor/daemon/pcall.h"

#define TIMEOUT_NS (60 * NS_PER_S)

struct launch_call {
	struct pcall *pcall;
	const char *socket;
	launch_fn *fn;
	void *user;
};

static void answer_error(struct launch_call *call, int error, bool sent)
{
	struct launch_reply reply = {
		.version = 0, .error = error, .wait_status = -1, .pid = sent ? -1 : 0};

	pcall_describe("protect-launch", call->socket, error, reply.text, sizeof(reply.text));
	call->fn(call->user, &reply, -1);
}

static bool answered(void *user, int error, const void *data, size_t len, int *fds, unsigned n_fds)
{
	struct launch_call *call = user;
	bool sent = pcall_was_sent(call->pcall);
	struct launch_reply reply;
	int pidfd = -1;

	call->pcall = NULL;
	if (!error && len != sizeof(reply))
		error = -EPROTO;
	if (!error) {
		memcpy(&reply, data, sizeof(reply));
		reply.text[sizeof(reply.text) - 1] = '\0';
		reply.cgroup[sizeof(reply.cgroup) - 1] = '\0';
		error = reply.version == LAUNCH_VERSION ? 0 : -EPROTO;
	}
	while (n_fds > 1)
		close(fds[--n_fds]);
	if (n_fds)
		pidfd = fds[0];
	if (error && pidfd >= 0)
		close(pidfd);
	if (error)
		answer_error(call, error, sent);
	else
		call->fn(call->user, &reply, pidfd);
	free(call);
	return false;
}

struct launch_call *launch_call(struct hub *hub, const char *socket,
				const struct launch_request *request, const int *fds,
				unsigned n_fds, launch_fn *fn, void *user)
{
	struct launch_request copy = *request;
	struct launch_call *call = calloc(1, sizeof(*call));

	if (!call)
		return NULL;
	*call = (struct launch_call){.socket = socket, .fn = fn, .user = user};
	copy.version = LAUNCH_VERSION;
	copy.n_fds = n_fds;
	call->pcall = pcall_start(hub, socket, &copy, sizeof(copy), fds, n_fds, TIMEOUT_NS,
				  answered, call);
	if (call->pcall)
		return call;
	free(call);
	return NULL;
}

struct launch_call *launch_cancel(struct launch_call *call)
{
	if (!call)
		return NULL;
	pcall_cancel(call->pcall);
	free(call);
	return NULL;
}
