// SPDX-License-Identifier: Apache-2.0
#include "runner/spec_value.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "base/util.h"

#define SOCKET_MODE 0600
#define RECORD_MODE 0644

static int open_path(const char *path, enum spec_file_use use)
{
	int fd;

	switch (use) {
	case SPEC_FILE_SOCKET:
		return io_unix_listen(path, SOCK_STREAM, SOCKET_MODE);
	case SPEC_FILE_WRITE:
		fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, RECORD_MODE);
		break;
	case SPEC_FILE_READ_WRITE:
		fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY);
		break;
	default:
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
		break;
	}
	return fd < 0 ? -errno : fd;
}

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

void spec_close_handed(struct zone_spec *spec)
{
	for (unsigned i = 0; i < spec->n_handed; i++)
		if (spec->handed[i] > STDERR_FILENO && !is_named_again(spec, i))
			close(spec->handed[i]);
	spec->n_handed = 0;
}

int spec_file(struct zone_spec *spec, json_t *value, const char *member, enum spec_file_use use,
	      int *fd, struct error *err)
{
	const char *path = NULL;
	json_int_t number = -1;
	int opened;

	if (use != SPEC_FILE_HANDED && json_unpack(value, "{s:s!}", "path", &path) == 0) {
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
		return error_set(err, -EINVAL, "%s must be %s{\"fd\": N}", member,
				 use == SPEC_FILE_HANDED ? "" : "{\"path\": \"…\"} or ");
	}
	*fd = opened;
	return 0;
}

int spec_text(json_t *value, const char *member, char *out, size_t size, struct error *err)
{
	const char *text = json_string_value(value);

	if (!text || json_string_length(value) >= size || strlen(text) != json_string_length(value))
		return error_set(err, -EINVAL, "%s must be text of at most %zu bytes", member,
				 size - 1);
	memcpy(out, text, json_string_length(value) + 1);
	return 0;
}

int spec_number(json_t *value, const char *member, uint64_t min, uint64_t max, uint64_t *out,
		struct error *err)
{
	json_int_t number = json_integer_value(value);

	if (!json_is_integer(value) || number < 0 || (uint64_t)number < min ||
	    (uint64_t)number > max)
		return error_set(err, -EINVAL, "%s must be a number from %llu to %llu", member,
				 (unsigned long long)min, (unsigned long long)max);
	*out = (uint64_t)number;
	return 0;
}

int spec_unsigned(json_t *value, const char *member, unsigned min, unsigned max, unsigned *out,
		  struct error *err)
{
	uint64_t number = 0;
	int r = spec_number(value, member, min, max, &number, err);

	if (r == 0)
		*out = (unsigned)number;
	return r;
}

int spec_bool(json_t *value, const char *member, bool *out, struct error *err)
{
	if (!json_is_boolean(value))
		return error_set(err, -EINVAL, "%s must be true or false", member);
	*out = json_is_true(value);
	return 0;
}

int spec_rate(json_t *value, const char *member, struct rate *out, struct error *err)
{
	const struct {
		const char *name;
		uint64_t *number;
	} known[] = {
		{"bytes_per_s", &out->bytes_per_s},
		{"ops_per_s", &out->ops_per_s},
		{"burst_bytes", &out->burst_bytes},
		{"burst_ops", &out->burst_ops},
	};
	json_t *item;
	const char *key;
	int r;

	*out = (struct rate){.bytes_per_s = 0};
	if (!json_is_object(value))
		return error_set(err, -EINVAL, "%s must be an object", member);
	json_object_foreach(value, key, item)
	{
		r = -ENOENT;
		for (unsigned i = 0; i < ARRAY_SIZE(known); i++)
			if (strcmp(known[i].name, key) == 0)
				r = spec_number(item, key, 0, SPEC_RATE_MAX, known[i].number, err);
		if (r == -ENOENT)
			return error_set(err, -EINVAL, "unknown member '%s' of %s", key, member);
		if (r < 0)
			return r;
	}
	return 0;
}

bool spec_is_rate(const struct rate *rate)
{
	return rate->bytes_per_s <= SPEC_RATE_MAX && rate->ops_per_s <= SPEC_RATE_MAX &&
	       rate->burst_bytes <= SPEC_RATE_MAX && rate->burst_ops <= SPEC_RATE_MAX;
}
