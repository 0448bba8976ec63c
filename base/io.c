// SPDX-License-Identifier: Apache-2.0
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"

#define LISTEN_BACKLOG 64

/* #syscalls io: read write pread64 */
ssize_t io_read_full(int fd, void *buf, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = read(fd, (char *)buf + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

ssize_t io_pread_full(int fd, void *buf, size_t len, uint64_t offset)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, (char *)buf + done, len - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

int io_write_full(int fd, const void *buf, size_t len)
{
	const char *from = buf;

	while (len) {
		ssize_t n = write(fd, from, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		from += n;
		len -= (size_t)n;
	}
	return 0;
}

int io_read_fd(int fd, size_t max, char **out, size_t *len)
{
	_cleanup_(freep) char *data = NULL;
	size_t size = 4096, used = 0;

	for (;;) {
		size_t want = size < max + 1 ? size : max + 1;
		char *grown = realloc(data, want + 1);
		ssize_t n;

		if (!grown)
			return -ENOMEM;
		data = grown;
		n = io_read_full(fd, data + used, want - used);
		if (n < 0)
			return (int)n;
		used += (size_t)n;
		if (used < want)
			break;
		if (used > max)
			return -EFBIG;
		size *= 2;
	}
	data[used] = '\0';
	*len = used;
	*out = steal_ptr(&data);
	return 0;
}

/* #syscalls io.path: openat read close */
int io_read_file(int dir_fd, const char *path, size_t max, char **out, size_t *len)
{
	_cleanup_(close_fdp) int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return -errno;
	return io_read_fd(fd, max, out, len);
}

/* #syscalls io.path: openat write fsync renameat unlinkat getpid close */
int io_replace_file(int dir_fd, const char *path, const void *data, size_t len, mode_t mode)
{
	char temporary[4096];
	_cleanup_(close_fdp) int fd = -1;
	int n, r;

	n = snprintf(temporary, sizeof(temporary), "%s.tmp%d", path, (int)getpid());
	if (n < 0 || (size_t)n >= sizeof(temporary))
		return -ENAMETOOLONG;
	fd = openat(dir_fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return -errno;
	r = io_write_full(fd, data, len);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && renameat(dir_fd, temporary, dir_fd, path) < 0)
		r = -errno;
	if (r < 0)
		unlinkat(dir_fd, temporary, 0);
	return r;
}

/* #syscalls io.fds: sendmsg recvmsg close */
ssize_t io_send_fds(int socket, const void *buf, size_t len, const int *fds, unsigned n_fds,
		    int flags)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int) * IO_FDS_MAX)];
	} control = {0};
	struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (n_fds > IO_FDS_MAX)
		return -EINVAL;
	if (n_fds) {
		struct cmsghdr *header;

		msg.msg_control = control.room;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		header = CMSG_FIRSTHDR(&msg);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(header), fds, sizeof(int) * n_fds);
	}
	do
		n = sendmsg(socket, &msg, flags | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* Takes the descriptors out of a received message; returns false if some did not fit into fds. */
static int collect_fds(struct msghdr *msg, int *fds, unsigned room, unsigned *n_fds)
{
	int whole = !(msg->msg_flags & MSG_CTRUNC);

	*n_fds = 0;
	for (struct cmsghdr *h = CMSG_FIRSTHDR(msg); h; h = CMSG_NXTHDR(msg, h)) {
		unsigned count;

		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		count = (unsigned)((h->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		for (unsigned i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(int));
			if (*n_fds < room) {
				fds[(*n_fds)++] = fd;
			} else {
				close(fd);
				whole = 0;
			}
		}
	}
	return whole;
}

ssize_t io_recv_fds(int socket, void *buf, size_t len, int *fds, unsigned *n_fds, int flags)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int) * IO_FDS_MAX)];
	} control;
	struct iovec iov = {.iov_base = buf, .iov_len = len};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.room,
			     .msg_controllen = sizeof(control.room)};
	unsigned room = *n_fds;
	int whole;
	ssize_t n;

	*n_fds = 0;
	do
		n = recvmsg(socket, &msg, flags | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	whole = collect_fds(&msg, fds, room, n_fds);
	if (whole && !(msg.msg_flags & MSG_TRUNC))
		return n;
	while (*n_fds)
		close(fds[--*n_fds]);
	return -EMSGSIZE;
}

static int unix_address(const char *path, struct sockaddr_un *address)
{
	size_t len = strlen(path);

	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	if (len == 0 || len >= sizeof(address->sun_path))
		return -ENAMETOOLONG;
	memcpy(address->sun_path, path, len);
	return 0;
}

/* #syscalls io.listen: socket(AF_UNIX) bind listen unlink chmod fchmod close
 *	newfstatat(_, _, _, AT_SYMLINK_NOFOLLOW)
 */
int io_unix_listen(const char *path, int type, mode_t mode)
{
	_cleanup_(close_fdp) int fd = -1;
	struct sockaddr_un address;
	struct stat st;
	int r = unix_address(path, &address);

	if (r < 0)
		return r;
	if (lstat(path, &st) == 0) {
		if (!S_ISSOCK(st.st_mode))
			return -EEXIST;
		if (unlink(path) < 0)
			return -errno;
	}
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* Made closed, opened to its users by chmod: no moment at which more may connect than
	 * should. */
	if (fchmod(fd, 0600) < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    chmod(path, mode) < 0 || listen(fd, LISTEN_BACKLOG) < 0)
		return -errno;
	return steal_fd(&fd);
}

/* #syscalls io.connect: socket(AF_UNIX) connect close */
int io_unix_connect(const char *path, int type)
{
	_cleanup_(close_fdp) int fd = -1;
	struct sockaddr_un address;
	int r = unix_address(path, &address);

	if (r < 0)
		return r;
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return steal_fd(&fd);
}

/* #syscalls io.accept: eventfd2(0, EFD_CLOEXEC) accept4(_, _, _, SOCK_CLOEXEC)
 *	accept4(_, _, _, SOCK_CLOEXEC|SOCK_NONBLOCK) shutdown close
 *	recvfrom sendto(_, _, _, MSG_NOSIGNAL|MSG_DONTWAIT, 0, 0)
 */
/* Something that every process can open, and that costs nothing. */
void io_reserve(int *reserve)
{
	if (*reserve < 0)
		*reserve = eventfd(0, EFD_CLOEXEC);
}

int io_accept(int listener, int flags, int *reserve)
{
	int fd = accept4(listener, NULL, NULL, flags | SOCK_CLOEXEC);

	if (fd < 0 && (errno == EMFILE || errno == ENFILE) && *reserve >= 0) {
		close_fdp(reserve);
		fd = accept4(listener, NULL, NULL, flags | SOCK_CLOEXEC);
	}
	return fd < 0 ? -errno : fd;
}

bool io_accept_is_stuck(int error)
{
	return error != -EAGAIN && error != -ECONNABORTED && error != -EINTR;
}

/* A request that is closed unread would reach the client as an error in front of the answer. */
void io_refuse(int socket, const void *answer, size_t len)
{
	char rest;

	shutdown(socket, SHUT_RD);
	while (recv(socket, &rest, sizeof(rest), MSG_DONTWAIT) > 0)
		;
	(void)!send(socket, answer, len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* #syscalls io.peer: getsockopt(_, SOL_SOCKET, SO_PEERCRED) */
int io_peer_uid(int socket, uid_t *uid)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return -errno;
	*uid = peer.uid;
	return 0;
}

/* #syscalls io.nonblock: fcntl(_, F_GETFL) fcntl(_, F_SETFL) */
int io_set_nonblock(int fd, int on)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	flags = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
	return fcntl(fd, F_SETFL, flags) < 0 ? -errno : 0;
}
