// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/keep.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"

#define PATH_SIZE  512
#define RECORD_MAX 4096u

struct record {
	uint16_t tag;
	uint16_t len; /* of the bytes behind it */
};

static void path_of(const struct daemon *d, const char *uuid, char path[static PATH_SIZE])
{
	snprintf(path, PATH_SIZE, "%s/logs/%s", d->options.state_dir, uuid);
}

static FILE *open_log(const struct daemon *d, const char *uuid, int flags, const char *mode)
{
	char path[PATH_SIZE];
	FILE *file = NULL;
	int fd;

	path_of(d, uuid, path);
	fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0)
		file = fdopen(fd, mode);
	if (fd >= 0 && !file)
		close(fd);
	return file;
}

int keep_init(const struct daemon *d, struct error *err)
{
	char path[PATH_SIZE];

	snprintf(path, sizeof(path), "%s/logs", d->options.state_dir);
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return error_set_errno(err, -errno, "folder %s", path);
	return 0;
}

void keep_save(const struct daemon *d, const char *uuid, const struct ring *ring)
{
	FILE *file = open_log(d, uuid, O_WRONLY | O_CREAT | O_TRUNC, "w");
	struct ring_cursor cursor = {0};
	const void *data;
	unsigned tag;
	size_t len;

	while (file && ring_peek(ring, &cursor, &tag, &data, &len)) {
		const struct record record = {.tag = (uint16_t)tag, .len = (uint16_t)len};

		fwrite(&record, sizeof(record), 1, file);
		fwrite(data, 1, len, file);
		ring_advance(ring, &cursor, len);
	}
	/* A full disk shows at the latest here. */
	if (!file || fclose(file) != 0)
		log_warning("log=%s err=\"%s\" not kept", uuid, strerror(errno));
}

void keep_load(const struct daemon *d, const char *uuid, struct ring *ring)
{
	FILE *file = open_log(d, uuid, O_RDONLY, "r");
	uint8_t bytes[RECORD_MAX];
	struct record record;

	if (!file)
		return;
	while (fread(&record, sizeof(record), 1, file) == 1 && record.len <= sizeof(bytes) &&
	       record.tag < 16 && fread(bytes, 1, record.len, file) == record.len)
		ring_append(ring, record.tag, bytes, record.len);
	fclose(file);
}

void keep_remove(const struct daemon *d, const char *uuid)
{
	char path[PATH_SIZE];

	path_of(d, uuid, path);
	if (unlink(path) < 0 && errno != ENOENT)
		log_warning("log=%s err=\"%s\" not removed", uuid, strerror(errno));
}
