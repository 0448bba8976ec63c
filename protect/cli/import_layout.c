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

#include <archive.h>
#include <archive_entry.h>

#include "base/cleanup.h"
#include "protect/cli/output.h"

#define CHUNK	   (64u * 1024)
#define PATH_BYTES 512

struct file {
	char path[PATH_BYTES]; /* below the layout */
	off_t size;
};

struct layout {
	const char *path;
	int dir;
	struct file *files;
	size_t n;
	struct archive *archive;
	struct import_sink *sink;
	int send_error; /* nothing is sent any more */
};

static void layout_deinit(struct layout *layout)
{
	if (layout->archive)
		archive_write_free(layout->archive);
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

/*
 * Never fails: libarchive would leak its buffers. What archive_write_free() pads an incomplete
 * archive with must not be sent, or it would look complete.
 */
static la_ssize_t on_write(struct archive *archive, void *user, const void *data, size_t len)
{
	struct layout *layout = user;

	(void)archive;
	if (!layout->send_error)
		layout->send_error = import_send(layout->sink, data, len);
	return (la_ssize_t)len;
}

static int open_archive(struct layout *layout)
{
	layout->archive = archive_write_new();
	if (!layout->archive)
		return say(layout, ".", -ENOMEM);
	archive_write_set_format_pax_restricted(layout->archive);
	archive_write_set_bytes_per_block(layout->archive, (int)CHUNK);
	archive_write_set_bytes_in_last_block(layout->archive, 1);
	if (archive_write_open2(layout->archive, layout, NULL, on_write, NULL, NULL) != ARCHIVE_OK)
		return say(layout, ".", -ENOMEM);
	return 0;
}

static void free_entry(struct archive_entry **entry)
{
	archive_entry_free(*entry);
}

static int write_header(struct layout *layout, const struct file *file)
{
	_cleanup_(free_entry) struct archive_entry *entry = archive_entry_new();

	if (!entry)
		return say(layout, file->path, -ENOMEM);
	archive_entry_set_pathname(entry, file->path);
	archive_entry_set_filetype(entry, AE_IFREG);
	archive_entry_set_perm(entry, 0644);
	archive_entry_set_size(entry, file->size);
	if (archive_write_header(layout->archive, entry) != ARCHIVE_OK)
		return say(layout, file->path, -EIO);
	return layout->send_error;
}

static int write_file(struct layout *layout, const struct file *file)
{
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
		if (archive_write_data(layout->archive, buf, (size_t)n) != n)
			return say(layout, file->path, -EIO);
		r = layout->send_error;
	}
	return r;
}

static int write_all(struct layout *layout)
{
	int r = open_archive(layout);

	for (size_t i = 0; !r && i < layout->n; i++)
		r = write_file(layout, &layout->files[i]);
	if (!r && archive_write_close(layout->archive) != ARCHIVE_OK)
		r = say(layout, ".", -EIO);
	if (!r)
		r = layout->send_error;
	layout->send_error = r;
	return r;
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
