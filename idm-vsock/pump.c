// SPDX-License-Identifier: Apache-2.0
#include "idm-vsock/pump.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "base/cleanup.h"
#include "base/io.h"

#define READ_SIZE	(64u * 1024)
#define READS_MAX	4 /* 256 KiB a turn */
#define WRITE_TURNS_MAX 8 /* callbacks that go on writing, in one run */

int idm_pump_init(struct idm_pump *pump, int fd, struct idm *idm)
{
	pump->fd = fd;
	pump->idm = idm;
	pump->out_start = pump->out_end = 0;
	pump->takes_fds = false;
	pump->n_fds = 0;
	return io_set_nonblock(fd, 1);
}

/* A stream may be written to again, which only idm_tick() can tell it. */
static bool tick_is_due(const struct idm_pump *pump)
{
	return idm_next_deadline(pump->idm) == 1;
}

short idm_pump_events(const struct idm_pump *pump)
{
	bool out =
		pump->out_start < pump->out_end || idm_has_output(pump->idm) || tick_is_due(pump);

	return (short)(out ? POLLIN | POLLOUT : POLLIN);
}

int idm_pump_flush(struct idm_pump *pump)
{
	for (;;) {
		ssize_t n;

		if (pump->out_start == pump->out_end) {
			pump->out_start = 0;
			pump->out_end =
				(uint32_t)idm_output(pump->idm, pump->out, sizeof(pump->out));
			if (!pump->out_end)
				return 0;
		}
		n = send(pump->fd, pump->out + pump->out_start, pump->out_end - pump->out_start,
			 MSG_NOSIGNAL);
		if (n >= 0)
			pump->out_start += (uint32_t)n;
		else if (errno == EAGAIN)
			return 0;
		else if (errno != EINTR)
			return errno == EPIPE ? -ECONNRESET : -errno;
	}
}

int idm_pump_flush_fds(struct idm_pump *pump, const int *fds, unsigned n_fds)
{
	ssize_t n;

	if (pump->out_start == pump->out_end) {
		pump->out_start = 0;
		pump->out_end = (uint32_t)idm_output(pump->idm, pump->out, sizeof(pump->out));
	}
	n = io_send_fds(pump->fd, pump->out + pump->out_start, pump->out_end - pump->out_start, fds,
			n_fds, 0);
	if (n < 0)
		return (int)n;
	pump->out_start += (uint32_t)n;
	return idm_pump_flush(pump);
}

/* What is more than it keeps is closed: a peer cannot make us hold any number. */
static void keep_fds(struct idm_pump *pump, const int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (pump->n_fds < IDM_PUMP_FDS)
			pump->fds[pump->n_fds++] = fds[i];
		else
			close(fds[i]);
}

static ssize_t receive(struct idm_pump *pump, void *buf, size_t size)
{
	int fds[IO_FDS_MAX];
	unsigned n_fds = IO_FDS_MAX;
	ssize_t n;

	if (!pump->takes_fds) {
		n = recv(pump->fd, buf, size, 0);
		return n < 0 ? -errno : n;
	}
	n = io_recv_fds(pump->fd, buf, size, fds, &n_fds, 0);
	if (n >= 0)
		keep_fds(pump, fds, n_fds);
	return n;
}

static int read_and_feed(struct idm_pump *pump, uint64_t now_ns)
{
	uint8_t buf[READ_SIZE];

	for (unsigned i = 0; i < READS_MAX; i++) {
		ssize_t n = receive(pump, buf, sizeof(buf));
		int r;

		if (n == -EINTR)
			continue;
		if (n < 0)
			return n == -EAGAIN ? 0 : (int)n;
		if (!n)
			return -ECONNRESET;
		r = idm_feed(pump->idm, buf, (size_t)n, now_ns);
		if (r < 0)
			return r;
		if ((size_t)n < sizeof(buf))
			return 0;
	}
	return 0;
}

int idm_pump_run(struct idm_pump *pump, uint64_t now_ns)
{
	int r = read_and_feed(pump, now_ns);

	if (r < 0)
		return r;
	for (unsigned i = 0; i < WRITE_TURNS_MAX; i++) {
		r = idm_pump_flush(pump);
		if (r < 0 || !tick_is_due(pump))
			return r;
		idm_tick(pump->idm, now_ns);
	}
	return idm_pump_flush(pump);
}

int idm_vsock_connect(uint32_t cid, uint32_t port)
{
	_cleanup_(close_fdp) int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port};

	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return steal_fd(&fd);
}
