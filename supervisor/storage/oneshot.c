// SPDX-License-Identifier: Apache-2.0
#include "supervisor/storage/oneshot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"

#define CHUNK_SIZE (64u * 1024)
/* Not the default kernel, which a one-shot command must not replace. */
#define PREPARED_KERNEL "localhost/zone-kernel:prepared"

int oneshot_split_layout(const char *source, char *dir, const char **tag)
{
	const char *path, *colon;

	if (strncmp(source, "oci:", 4) != 0)
		return 0;
	path = source + 4;
	colon = strrchr(path, ':');
	/* A colon before a slash belongs to the path. */
	*tag = colon && !strchr(colon, '/') ? colon + 1 : NULL;
	snprintf(dir, STORE_PATH_MAX, "%.*s", (int)(*tag ? colon - path : (int)strlen(path)), path);
	return 1;
}

static const char *archive_path(const char *source)
{
	static const char *const kinds[] = {"oci-archive:", "docker-archive:"};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (strncmp(source, kinds[i], strlen(kinds[i])) == 0)
			return source + strlen(kinds[i]);
	return NULL;
}

static int import_archive(struct storage *storage, const char *path, const char *name,
			  struct store_image *image, struct error *err)
{
	_cleanup_(close_fdp) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct job job = JOB_NONE;

	if (fd < 0)
		return error_set_errno(err, -errno, "cannot open the archive %s", path);
	return ops_import_fd(storage, fd, name ? name : "", "", &job, image, err);
}

int oneshot_import(struct storage *storage, const char *source, const char *name, struct error *err)
{
	char dir[STORE_PATH_MAX], digest[DIGEST_TEXT_SIZE];
	const char *tag, *path = archive_path(source);
	struct job job = JOB_NONE;
	struct store_image image;
	int r;

	if (path)
		r = import_archive(storage, path, name, &image, err);
	else if (oneshot_split_layout(source, dir, &tag))
		r = ops_import_layout(storage, dir, tag, name ? name : "", &job, &image, err);
	else
		r = error_set(err, -EINVAL,
			      "cannot import '%s': give oci:DIR[:TAG], oci-archive:FILE or "
			      "docker-archive:FILE",
			      source);
	if (r < 0)
		return r;
	digest_text(&image.manifest, digest);
	printf("%s %s\n", image.name, digest);
	return 0;
}

static int write_file(int from, const char *dir, const char *name, struct error *err)
{
	char path[STORE_PATH_MAX + 32], chunk[CHUNK_SIZE];
	_cleanup_(close_fdp) int to = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	to = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (to < 0)
		return error_set_errno(err, -errno, "cannot make %s", path);
	while ((n = io_read_full(from, chunk, sizeof(chunk))) > 0) {
		int r = io_write_full(to, chunk, (size_t)n);

		if (r < 0)
			return error_set_errno(err, r, "cannot write %s", path);
	}
	return n < 0 ? error_set_errno(err, (int)n, "cannot read the store") : 0;
}

int oneshot_prepare_kernel(struct storage *storage, const char *ref, const char *output,
			   struct error *err)
{
	static const char *const names[KERNEL_FILES] = {"kernel", "initrd", "addons.squashfs"};
	char dir[STORE_PATH_MAX], digest[DIGEST_TEXT_SIZE];
	struct store_image image = {.kernel = false};
	struct job job = JOB_NONE;
	const char *tag;
	int fds[KERNEL_FILES] = {-1, -1, -1}, r = 0;

	if (oneshot_split_layout(ref, dir, &tag)) {
		r = ops_import_layout(storage, dir, tag, PREPARED_KERNEL, &job, &image, err);
		digest_text(&image.manifest, digest);
		ref = digest;
	}
	if (r == 0)
		r = ops_open_kernel(storage, ref, "", fds, &image, err);
	if (r < 0)
		return r;
	if (mkdir(output, 0755) < 0 && errno != EEXIST)
		r = error_set_errno(err, -errno, "cannot make %s", output);
	for (unsigned i = 0; i < KERNEL_FILES; i++) {
		if (r == 0)
			r = write_file(fds[i], output, names[i], err);
		close(fds[i]);
	}
	return r;
}

static int print_image(void *context, const struct store_image *image)
{
	char digest[DIGEST_TEXT_SIZE];

	(void)context;
	digest_text(&image->manifest, digest);
	printf("%-40s %s %12llu %s\n", image->name[0] ? image->name : "-", digest,
	       (unsigned long long)image->size_bytes, image->kernel ? "kernel" : "image");
	return 0;
}

int oneshot_list(struct storage *storage, struct error *err)
{
	return store_list(storage->store, print_image, NULL, err);
}
