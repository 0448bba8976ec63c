// SPDX-License-Identifier: Apache-2.0
#include "supervisor/storage/volume_mkfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "supervisor/storage/child.h"

#define OUTPUT_MAX 4096u
#define STDIN_PATH "/proc/self/fd/0" /* the file has no name that the program need know */

/* What it wrote on its standard error, of which all is read. */
static int run(const char *const argv[], int file_fd, char said[static OUTPUT_MAX + 1],
	       struct error *err)
{
	_cleanup_(close_fdp) int from = -1;
	_cleanup_(close_fdp) int to = -1;
	int pipe_fds[2];
	ssize_t n;
	struct child child;
	int r;

	said[0] = '\0';
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return error_set_errno(err, -errno, "cannot make a pipe");
	from = pipe_fds[0];
	to = pipe_fds[1];
	r = child_start(&child, argv, file_fd, -1, to, err);
	if (r < 0)
		return error_set(err, r, "cannot run %s: %s", argv[0], strerror(-r));
	close_fdp(&to);
	n = io_read_full(from, said, OUTPUT_MAX);
	said[n > 0 ? n : 0] = '\0';
	/* One that says more than anybody wants to know ends by SIGPIPE. */
	close_fdp(&from);
	return child_wait(&child);
}

/* Its last line is the reason. */
static const char *last_line(char *said)
{
	char *line;

	while (*said && said[strlen(said) - 1] == '\n')
		said[strlen(said) - 1] = '\0';
	line = strrchr(said, '\n');
	return line ? line + 1 : said;
}

int volume_mkfs(struct store *store, const char *mkfs, int fd, struct error *err)
{
	/*
	 * Whoever's kernel mounts it: no feature that Debian 12's does not know. Nothing is kept
	 * back for root, of whom every zone has its own; the tables are zeros already, as is the
	 * journal.
	 */
	const char *const argv[] = {
		mkfs,
		"-q",
		"-F",
		"-t",
		"ext4",
		"-b",
		"4096",
		"-I",
		"256",
		"-m",
		"0",
		"-O",
		"64bit,metadata_csum,resize_inode,^metadata_csum_seed,^orphan_file",
		"-E",
		"root_owner=0:0,lazy_itable_init=1,lazy_journal_init=1,nodiscard",
		STDIN_PATH,
		NULL};
	char said[OUTPUT_MAX + 1];
	int status = run(argv, fd, said, err);

	if (status <= 0)
		return status;
	if (strstr(said, strerror(ENOSPC)))
		return store_failed(store, -ENOSPC, "make a file system", err);
	return error_set(err, -EIO, "%s ended with %d: %s", mkfs, status, last_line(said));
}
