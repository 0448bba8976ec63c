// SPDX-License-Identifier: Apache-2.0
#include "vmm/spec.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/util.h"

#define SOCKET_MODE 0600
#define RECORD_MODE 0644

enum file_use { FILE_READ, FILE_WRITE, FILE_READ_WRITE, FILE_SOCKET };

static int open_path(const char *path, enum file_use use)
{
	int fd;

	switch (use) {
	case FILE_SOCKET:
		return io_unix_listen(path, SOCK_STREAM, SOCKET_MODE);
	case FILE_WRITE:
		fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, RECORD_MODE);
		break;
	case FILE_READ_WRITE:
		fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY);
		break;
	default:
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
		break;
	}
	return fd < 0 ? -errno : fd;
}

/*
 * A descriptor that was handed over is duplicated, so that two members naming one cannot close it
 * twice; the originals are closed when all is read.
 */
static int take_fd(struct zone_spec *spec, json_int_t number)
{
	int fd;

	if (number < 1 || number > INT32_MAX || spec->n_handed == SPEC_FDS_MAX)
		return -EBADF;
	fd = fcntl((int)number, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return -errno;
	spec->handed[spec->n_handed++] = (int)number;
	return fd;
}

/* Whether this descriptor was named a second time, further on. */
static bool is_named_again(const struct zone_spec *spec, unsigned at)
{
	for (unsigned i = at + 1; i < spec->n_handed; i++)
		if (spec->handed[i] == spec->handed[at])
			return true;
	return false;
}

static void close_handed(struct zone_spec *spec)
{
	for (unsigned i = 0; i < spec->n_handed; i++)
		if (spec->handed[i] > STDERR_FILENO && !is_named_again(spec, i))
			close(spec->handed[i]);
	spec->n_handed = 0;
}

static int parse_file(struct zone_spec *spec, json_t *value, const char *member, enum file_use use,
		      int *fd, struct error *err)
{
	const char *path = NULL;
	json_int_t number = -1;
	int opened;

	if (json_unpack(value, "{s:s!}", "path", &path) == 0) {
		opened = open_path(path, use);
		if (opened < 0)
			return error_set_errno(err, opened, "cannot open the %s '%s'", member,
					       path);
	} else if (json_unpack(value, "{s:I!}", "fd", &number) == 0) {
		opened = take_fd(spec, number);
		if (opened < 0)
			return error_set_errno(err, opened, "descriptor %lld of the %s",
					       (long long)number, member);
	} else {
		return error_set(err, -EINVAL, "%s must be {\"path\": \"…\"} or {\"fd\": N}",
				 member);
	}
	*fd = opened;
	return 0;
}

static int parse_text(json_t *value, const char *member, char *out, size_t size, struct error *err)
{
	const char *text = json_string_value(value);

	if (!text || json_string_length(value) >= size || strlen(text) != json_string_length(value))
		return error_set(err, -EINVAL, "%s must be text of at most %zu bytes", member,
				 size - 1);
	memcpy(out, text, json_string_length(value) + 1);
	return 0;
}

static int parse_number(json_t *value, const char *member, uint64_t min, uint64_t max,
			uint64_t *out, struct error *err)
{
	json_int_t number = json_integer_value(value);

	if (!json_is_integer(value) || number < 0 || (uint64_t)number < min ||
	    (uint64_t)number > max)
		return error_set(err, -EINVAL, "%s must be a number from %llu to %llu", member,
				 (unsigned long long)min, (unsigned long long)max);
	*out = (uint64_t)number;
	return 0;
}

static int parse_bool(json_t *value, const char *member, bool *out, struct error *err)
{
	if (!json_is_boolean(value))
		return error_set(err, -EINVAL, "%s must be true or false", member);
	*out = json_is_true(value);
	return 0;
}

bool spec_is_serial(const char *text)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < len; i++)
		if (text[i] <= ' ' || text[i] >= 0x7f)
			return false;
	return len >= 1 && len <= SPEC_SERIAL_MAX;
}

static int parse_disk(json_t *value, struct zone_spec *spec, struct error *err)
{
	struct spec_disk *disk = &spec->disks[spec->n_disks];
	json_t *file = NULL, *serial = NULL;
	int read_only = 0, r;

	if (json_unpack(value, "{s:o, s:o, s?b!}", "file", &file, "serial", &serial, "readonly",
			&read_only) < 0)
		return error_set(err, -EINVAL, "a disk must have file, serial and maybe readonly");
	r = parse_text(serial, "serial", disk->serial, sizeof(disk->serial), err);
	if (r == 0 && !spec_is_serial(disk->serial))
		return error_set(err, -EINVAL, "serial must be 1 to %d printable characters",
				 SPEC_SERIAL_MAX);
	for (unsigned i = 0; i < spec->n_disks && r == 0; i++)
		if (strcmp(spec->disks[i].serial, disk->serial) == 0)
			return error_set(err, -EEXIST, "two disks have the serial '%s'",
					 disk->serial);
	if (r == 0)
		r = parse_file(spec, file, "disk", read_only ? FILE_READ : FILE_READ_WRITE,
			       &disk->fd, err);
	if (r < 0)
		return r;
	disk->read_only = read_only;
	spec->n_disks++;
	return 0;
}

static int parse_disks(json_t *value, struct zone_spec *spec, struct error *err)
{
	json_t *item;
	size_t i;

	if (!json_is_array(value) || json_array_size(value) > SPEC_DISKS_MAX)
		return error_set(err, -EINVAL, "disks must be an array of at most %d",
				 SPEC_DISKS_MAX);
	json_array_foreach(value, i, item)
	{
		int r = parse_disk(item, spec, err);

		if (r < 0)
			return r;
	}
	return 0;
}

static int parse_uuid(json_t *value, struct zone_spec *spec, struct error *err)
{
	const char *text = json_string_value(value);

	if (!text || uuid_parse(text, &spec->uuid) < 0)
		return error_set(err, -EINVAL, "uuid must be a UUID");
	return 0;
}

static int parse_member(const char *key, json_t *value, struct zone_spec *spec, struct error *err)
{
	uint64_t number = 0;
	int r;

	if (strcmp(key, "uuid") == 0)
		return parse_uuid(value, spec, err);
	if (strcmp(key, "name") == 0)
		return parse_text(value, key, spec->name, sizeof(spec->name), err);
	if (strcmp(key, "cmdline") == 0)
		return parse_text(value, key, spec->cmdline, sizeof(spec->cmdline), err);
	if (strcmp(key, "memory_mib") == 0)
		return parse_number(value, key, 16, UINT64_C(1) << 20, &spec->memory_mib, err);
	if (strcmp(key, "huge_pages") == 0)
		return parse_bool(value, key, &spec->huge_pages, err);
	if (strcmp(key, "vcpus") == 0) {
		r = parse_number(value, key, 1, SPEC_VCPUS_MAX, &number, err);
		spec->vcpus = r == 0 ? (unsigned)number : 0;
		return r;
	}
	if (strcmp(key, "kernel") == 0)
		return parse_file(spec, value, key, FILE_READ, &spec->kernel_fd, err);
	if (strcmp(key, "initrd") == 0)
		return parse_file(spec, value, key, FILE_READ, &spec->initrd_fd, err);
	if (strcmp(key, "socket") == 0)
		return parse_file(spec, value, key, FILE_SOCKET, &spec->socket_fd, err);
	if (strcmp(key, "exit") == 0)
		return parse_file(spec, value, key, FILE_WRITE, &spec->exit_fd, err);
	if (strcmp(key, "console") == 0)
		return parse_file(spec, value, key, FILE_WRITE, &spec->console_fd, err);
	if (strcmp(key, "disks") == 0)
		return parse_disks(value, spec, err);
	return error_set(err, -EINVAL, "unknown member '%s'; docs/zone-spec.md lists them", key);
}

int spec_parse(const char *json, size_t len, struct zone_spec *spec, struct error *err)
{
	json_auto_t *root = NULL;
	json_error_t json_err;
	const char *key;
	json_t *value;
	int r = 0;

	*spec = (struct zone_spec){.memory_mib = 256,
				   .huge_pages = true,
				   .vcpus = 1,
				   .kernel_fd = -1,
				   .initrd_fd = -1,
				   .socket_fd = -1,
				   .exit_fd = -1,
				   .console_fd = -1};
	root = json_loadb(json, len, JSON_REJECT_DUPLICATES, &json_err);
	if (!json_is_object(root))
		return error_set(err, -EINVAL, "not a JSON object: line %d: %s", json_err.line,
				 json_err.text);
	json_object_foreach(root, key, value)
	{
		r = parse_member(key, value, spec, err);
		if (r < 0)
			break;
	}
	if (r == 0 && spec->kernel_fd < 0)
		r = error_set(err, -EINVAL, "a kernel is missing");
	close_handed(spec);
	if (r < 0)
		spec_close(spec);
	return r;
}

void spec_close(struct zone_spec *spec)
{
	close_fdp(&spec->kernel_fd);
	close_fdp(&spec->initrd_fd);
	close_fdp(&spec->socket_fd);
	close_fdp(&spec->exit_fd);
	close_fdp(&spec->console_fd);
	for (unsigned i = 0; i < spec->n_disks; i++)
		close_fdp(&spec->disks[i].fd);
}
