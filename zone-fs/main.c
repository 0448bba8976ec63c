// SPDX-License-Identifier: Apache-2.0
/*
 * zone-fs — serves one folder of the host to one zone: FUSE requests come over a socket from the
 * zone's hypervisor, which passes on what its guest wrote, and answers go back the same way, one
 * after the other. It ends when the socket does. protect-launch starts it, in the zone's cgroup and
 * in a sandbox whose root is the folder.
 *
 * usage: zone-fs SOCKET-FD FOLDER-FD [--read-only]
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/isolate.h"
#include "zone-fs/filters.h"
#include "zone-fs/fs.h"

struct server {
	struct fs *fs;
	int socket;
	size_t have;
	uint8_t in[2 * FS_REQUEST_MAX];
	uint8_t out[FS_REQUEST_MAX];
};

/* #syscalls fs: read write */
static int send_all(int fd, const uint8_t *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -EPIPE;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Serves what is there as a whole; the rest waits for more. */
static int serve_all(struct server *server)
{
	size_t at = 0;
	int len;

	while ((len = fs_request_len(server->in + at, server->have - at)) > 0 &&
	       (size_t)len <= server->have - at) {
		size_t n = fs_serve(server->fs, server->in + at, (size_t)len, server->out);

		if (send_all(server->socket, server->out, n) < 0)
			return -EPIPE;
		at += (size_t)len;
	}
	server->have -= at;
	memmove(server->in, server->in + at, server->have);
	return len < 0 ? len : 0;
}

static int run(struct server *server)
{
	for (;;) {
		ssize_t n = read(server->socket, server->in + server->have,
				 sizeof(server->in) - server->have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		server->have += (size_t)n;
		if (serve_all(server) < 0)
			return -EPROTO;
	}
}

/* A descriptor's number, as written by who started us. */
static int to_fd(const char *text)
{
	char *end;
	long value = strtol(text, &end, 10);

	return *text && !*end && value > STDERR_FILENO && value < (long)ISOLATE_FILES_MAX
		       ? (int)value
		       : -1;
}

int main(int argc, char **argv)
{
	static struct server server;
	bool read_only = argc == 4 && strcmp(argv[3], "--read-only") == 0;
	struct error err = ERROR_NULL;
	int folder, r;

	if (argc < 3 || argc > 4 || (argc == 4 && !read_only) || to_fd(argv[1]) < 0 ||
	    to_fd(argv[2]) < 0) {
		fprintf(stderr, "zone-fs: is started by protect-launch (docs/volumes.md)\n");
		return EXIT_FAILURE;
	}
	server.socket = to_fd(argv[1]);
	folder = to_fd(argv[2]);
	r = isolate_check(false, &err);
	if (r < 0)
		fprintf(stderr, "zone-fs: not confined: %s\n", err.text);
	umask(0);
	if (r == 0)
		r = fs_new(&server.fs, folder, read_only);
	if (r == 0)
		r = filters_confine_fs();
	if (r == 0)
		r = run(&server);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
