// SPDX-License-Identifier: Apache-2.0
#include "supervisor/storage/job.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "proto/storage.pb-c.h"

#define CHECK_INTERVAL_NS (50 * NS_PER_MS)
#define TELL_INTERVAL_NS  (200 * NS_PER_MS)
#define PACKET_MAX	  1024

static bool peer_left(int socket)
{
	struct pollfd poll_fd = {.fd = socket};

	return poll(&poll_fd, 1, 0) > 0 && (poll_fd.revents & (POLLHUP | POLLERR));
}

static void tell(const struct job *job, const char *text, uint64_t done, uint64_t total)
{
	Protect__Storage__Progress progress = PROTECT__STORAGE__PROGRESS__INIT;
	Protect__Storage__Reply reply = PROTECT__STORAGE__REPLY__INIT;
	uint8_t packet[PACKET_MAX];
	size_t len;

	progress.text = (char *)(uintptr_t)text;
	progress.done = done;
	progress.total = total;
	if (job->item) {
		progress.item = (char *)(uintptr_t)job->item;
		progress.item_number = job->item_number;
		progress.items = job->items;
	}
	reply.progress = &progress;
	len = protect__storage__reply__get_packed_size(&reply);
	if (len > sizeof(packet))
		return;
	protect__storage__reply__pack(&reply, packet);
	/* A client that does not read misses news; it does not hold up the work. */
	(void)!send(job->socket, packet, len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

int job_progress(struct job *job, const char *text, uint64_t done, uint64_t total)
{
	uint64_t now_ns;

	if (job->stop && atomic_load(job->stop))
		return -ECANCELED;
	if (job->socket < 0)
		return 0;
	now_ns = clock_now_ns();
	if (now_ns - job->checked_ns < CHECK_INTERVAL_NS)
		return 0;
	job->checked_ns = now_ns;
	if (peer_left(job->socket))
		return -ECANCELED;
	if (now_ns - job->told_ns >= TELL_INTERVAL_NS) {
		job->told_ns = now_ns;
		tell(job, text, done, total);
	}
	return 0;
}

struct job job_part(const struct job *job, const char *item, unsigned number, unsigned n,
		    const atomic_bool *stop)
{
	return (struct job){.socket = job->socket,
			    .item = item,
			    .item_number = number,
			    .items = n,
			    .stop = stop};
}

void job_part_done(struct job *job, const char *text, uint64_t total)
{
	if (job->socket >= 0)
		tell(job, text, total, total);
}
