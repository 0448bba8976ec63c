// SPDX-License-Identifier: Apache-2.0
/*
 * Whole reads and writes on descriptors, small files, and descriptors over unix sockets
 * (SCM_RIGHTS). Everything is close-on-exec and retries EINTR. Blocking unless the descriptor is
 * not.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define IO_FDS_MAX 16

/* Reads until len bytes or end of file. Returns the number read or a negative errno. */
ssize_t io_read_full(int fd, void *buf, size_t len);

/* As io_read_full(), from an offset, without moving the position. */
ssize_t io_pread_full(int fd, void *buf, size_t len, uint64_t offset);

/* Writes everything. Returns 0 or a negative errno. */
int io_write_full(int fd, const void *buf, size_t len);

/*
 * Reads a whole file of at most max bytes into fresh memory with a NUL behind it (not counted). The
 * caller frees *out. Returns 0, -EFBIG when it is longer, or another negative errno.
 */
int io_read_file(int dir_fd, const char *path, size_t max, char **out, size_t *len);

/* As io_read_file() on an open descriptor, from its current position. */
int io_read_fd(int fd, size_t max, char **out, size_t *len);

/* Makes or replaces a small file in one step (temporary file, fsync, rename). Returns 0 or a
 * negative errno. */
int io_replace_file(int dir_fd, const char *path, const void *data, size_t len, mode_t mode);

/*
 * One sendmsg(2) of len bytes with n_fds ≤ IO_FDS_MAX borrowed descriptors attached (flags as for
 * sendmsg, MSG_NOSIGNAL is added). Returns the number of bytes sent or a negative errno.
 */
ssize_t io_send_fds(int socket, const void *buf, size_t len, const int *fds, unsigned n_fds,
		    int flags);

/*
 * One recvmsg(2). *n_fds holds the room in fds (≤ IO_FDS_MAX) and becomes the number received, all
 * close-on-exec and owned by the caller. Returns the bytes received (0 at the end), -EMSGSIZE if
 * data or descriptors were cut (all that came are closed), or another negative errno.
 */
ssize_t io_recv_fds(int socket, void *buf, size_t len, int *fds, unsigned *n_fds, int flags);

/*
 * A listening unix socket of the type SOCK_STREAM or SOCK_SEQPACKET at path, made with mode; a
 * stale socket file there is replaced, another kind of file is an error (-EEXIST). Returns the
 * descriptor or a negative errno.
 */
int io_unix_listen(const char *path, int type, mode_t mode);

/* Connects to a unix socket. Returns the descriptor or a negative errno. */
int io_unix_connect(const char *path, int type);

/*
 * A server that has no descriptor left can accept nobody, and its listener stays readable: clients
 * wait for ever, and it spins. So it keeps one back. io_accept() is accept4(2); when no descriptor
 * is left, the one in *reserve is given up for the client and *reserve becomes -1. He can then be
 * told so and closed, after which io_reserve() keeps one back again, if there is any.
 */
void io_reserve(int *reserve);

/* Returns the connection or a negative errno. */
int io_accept(int listener, int flags, int *reserve);

/* Gives a client (SOCK_SEQPACKET) one packet of len bytes though he was not listened to. Does not
 * wait; the caller closes. */
void io_refuse(int socket, const void *answer, size_t len);

/* Whether an error of io_accept() would come again at once: the listener is better left alone for a
 * moment. */
bool io_accept_is_stuck(int error);

/* The peer's user id of a connected unix socket (SO_PEERCRED). Returns 0 or a negative errno. */
int io_peer_uid(int socket, uid_t *uid);

/* Sets or clears O_NONBLOCK. Returns 0 or a negative errno. */
int io_set_nonblock(int fd, int on);
