// SPDX-License-Identifier: Apache-2.0
#include "protect/cli/import_layout.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "protect/cli/output.h"
#include "protect/cli/tar.h"

#define CHUNK	   (64u * 1024)
#define PATH_BYTES TAR_PATH_MAX

struct file {
	char path[PATH_BYTES]; /* below the layout */
	off_t size;
};

struct layout {
	const char *path;
	int dir;
	struct file *files;
	size_t n;
	struct import_sink *sink;
};

static void layout_deinit(struct layout *layout)
{
	free(layout->files);
	close_fdp(&layout->dir);
}

static int say(const struct layout *layout, const char *path, int error)
{
	output_error("cannot read the OCI layout %s: %s: %s", layout->path, path, strerror(-error));
	return error;
}

static int add_file(struct layout *layout, const char *path)
{
	struct file *files;
	struct stat st;

	if (fstatat(layout->dir, path, &st, 0) < 0)
		return say(layout, path, -errno);
	if (!S_ISREG(st.st_mode))
		return 0;
	files = reallocarray(layout->files, layout->n + 1, sizeof(*files));
	if (!files)
		return say(layout, path, -ENOMEM);
	layout->files = files;
	snprintf(files[layout->n].path, PATH_BYTES, "%s", path);
	files[layout->n++].size = st.st_size;
	return 0;
}

static void close_dirp(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

/* Calls add for every entry of the folder `path`; dot files are none of the layout's. */
static int each_entry(struct layout *layout, const char *path,
		      int (*add)(struct layout *, const char *))
{
	int fd = openat(layout->dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(close_dirp) DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	int r = 0;

	if (!dir)
		return say(layout, path, -errno);
	while (!r && (entry = readdir(dir))) {
		char child[PATH_BYTES];

		if (entry->d_name[0] == '.')
			continue;
		if (snprintf(child, sizeof(child), "%s/%s", path, entry->d_name) <
		    (int)sizeof(child))
			r = add(layout, child);
	}
	return r;
}

static int add_algorithm(struct layout *layout, const char *path)
{
	struct stat st;

	if (fstatat(layout->dir, path, &st, 0) < 0 || !S_ISDIR(st.st_mode))
		return 0;
	return each_entry(layout, path, add_file);
}

static int by_size(const void *a, const void *b)
{
	const struct file *left = a, *right = b;

	if (left->size != right->size)
		return left->size < right->size ? -1 : 1;
	return strcmp(left->path, right->path);
}

static int write_header(struct layout *layout, const struct file *file)
{
	uint8_t header[TAR_HEADER_MAX];
	int len = tar_header(file->path, (uint64_t)file->size, header);

	if (len < 0)
		return say(layout, file->path, len);
	return import_send(layout->sink, header, (size_t)len);
}

static int write_file(struct layout *layout, const struct file *file)
{
	static const uint8_t zeroes[TAR_BLOCK];
	_cleanup_(close_fdp) int fd = openat(layout->dir, file->path, O_RDONLY | O_CLOEXEC);
	_cleanup_(freep) uint8_t *buf = malloc(CHUNK);
	off_t left = file->size;
	int r;

	if (fd < 0)
		return say(layout, file->path, -errno);
	if (!buf)
		return say(layout, file->path, -ENOMEM);
	r = write_header(layout, file);
	while (!r && left) {
		ssize_t n = read(fd, buf, left < (off_t)CHUNK ? (size_t)left : CHUNK);

		if (n <= 0)
			return say(layout, file->path, n < 0 ? -errno : -ENODATA);
		left -= n;
		r = import_send(layout->sink, buf, (size_t)n);
	}
	return r ? r : import_send(layout->sink, zeroes, tar_padding((uint64_t)file->size));
}

/* A failure sends no trailer: what came would look complete. */
static int write_all(struct layout *layout)
{
	static const uint8_t trailer[TAR_TRAILER_MAX];
	int r = 0;

	for (size_t i = 0; !r && i < layout->n; i++)
		r = write_file(layout, &layout->files[i]);
	return r ? r : import_send(layout->sink, trailer, sizeof(trailer));
}

int import_layout_send(struct import_sink *sink, const char *path)
{
	_cleanup_(layout_deinit) struct layout layout = {.path = path, .sink = sink};
	int r;

	layout.dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (layout.dir < 0)
		return say(&layout, ".", -errno);
	r = add_file(&layout, "oci-layout");
	if (!r)
		r = add_file(&layout, "index.json");
	if (!r)
		r = each_entry(&layout, "blobs", add_algorithm);
	if (r)
		return r;
	if (layout.n > 2)
		qsort(layout.files + 2, layout.n - 2, sizeof(*layout.files), by_size);
	return write_all(&layout);
}
