// SPDX-License-Identifier: Apache-2.0
/*
 * Requests of a hostile guest to zone-fs's server, on a real folder: each answer keeps to the
 * protocol, the neighbour of the folder stays as it is, and no file gets rights.
 */
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/fuse.h>

#include "base/io.h"
#include "zone-fs/fs.h"

#define STEPS_MAX 64
#define BODY_MAX  2048u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One request of an input; its body follows. */
struct step {
	uint8_t opcode, node, len_low, len_high;
};

static char parent[64], folder[80];

static void set_up(void)
{
	const struct rlimit file_size = {1u << 20, 1u << 20};
	char neighbour[80];

	snprintf(parent, sizeof(parent), "/tmp/fuzz-zone-fs-XXXXXX");
	if (!mkdtemp(parent))
		abort();
	snprintf(folder, sizeof(folder), "%s/shared", parent);
	snprintf(neighbour, sizeof(neighbour), "%s/neighbour", parent);
	if (io_replace_file(AT_FDCWD, neighbour, "mine", 4, 0600) < 0)
		abort();
	setrlimit(RLIMIT_FSIZE, &file_size);
	signal(SIGXFSZ, SIG_IGN);
	umask(0);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)type;
	if (ftw->level && S_ISREG(st->st_mode) && (st->st_mode & (S_ISUID | S_ISGID)))
		abort();
	if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
		abort();
	return remove(path);
}

static void look_at_neighbour(void)
{
	char neighbour[80], *text;
	size_t len;

	snprintf(neighbour, sizeof(neighbour), "%s/neighbour", parent);
	if (io_read_file(AT_FDCWD, neighbour, 100, &text, &len) < 0 || len != 4 ||
	    memcmp(text, "mine", 4) != 0)
		abort();
	free(text);
}

static void ask(struct fs *fs, const struct step *step, const uint8_t *body, size_t len)
{
	static uint8_t answer[FS_REQUEST_MAX];
	struct fuse_in_header header = {.len = (uint32_t)(sizeof(header) + len),
					.opcode = step->opcode,
					.unique = 77,
					.nodeid = step->node};
	uint8_t *request = malloc(header.len);
	struct fuse_out_header out;
	size_t n;

	if (!request || fs_request_len(&header, sizeof(header)) != (int)header.len)
		abort();
	memcpy(request, &header, sizeof(header));
	memcpy(request + sizeof(header), body, len);
	n = fs_serve(fs, request, header.len, answer);
	free(request);
	if (n == 0)
		return;
	memcpy(&out, answer, sizeof(out));
	if (n > sizeof(answer) || out.len != n || out.unique != 77 || out.error > 0)
		abort();
}

static void init(struct fs *fs)
{
	const struct step step = {.opcode = FUSE_INIT};
	const struct fuse_init_in in = {.major = 7, .minor = 38, .flags = UINT32_MAX};

	ask(fs, &step, (const uint8_t *)&in, sizeof(in));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fs *fs;

	if (!*parent)
		set_up();
	if (mkdir(folder, 0755) < 0 ||
	    fs_new(&fs, open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC), false) < 0)
		abort();
	init(fs);
	for (unsigned n = 0; n < STEPS_MAX && size >= sizeof(struct step); n++) {
		struct step step;
		size_t len;

		memcpy(&step, data, sizeof(step));
		data += sizeof(step);
		size -= sizeof(step);
		len = MIN(MIN(step.len_low + 256u * (step.len_high & 7u), BODY_MAX), size);
		ask(fs, &step, data, len);
		data += len;
		size -= len;
	}
	fs_free(fs);
	chmod(folder, 0755);
	nftw(folder, remove_one, 32, FTW_DEPTH | FTW_PHYS);
	if (access(folder, F_OK) == 0)
		abort();
	look_at_neighbour();
	return 0;
}
