// SPDX-License-Identifier: Apache-2.0
#include "zone-guest/user.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"

#define FIELDS_MAX 7u
#define ID_MAX	   ((uint64_t)INT32_MAX) /* as other runtimes; -1 means "leave it" to the kernel */

struct field {
	const char *text; /* not terminated */
	size_t len;
};

/*
 * Splits the line at *at at its colons and moves *at behind it. Returns the number of fields, 0 at
 * the end of the text.
 */
static size_t next_line(const char **at, struct field fields[FIELDS_MAX])
{
	const char *line = *at, *end = strchrnul(line, '\n');
	size_t n = 0;

	if (!*line)
		return 0;
	*at = *end ? end + 1 : end;
	while (n < FIELDS_MAX) {
		const char *colon = memchr(line, ':', (size_t)(end - line));

		if (!colon || n == FIELDS_MAX - 1)
			colon = end;
		fields[n++] = (struct field){.text = line, .len = (size_t)(colon - line)};
		if (colon == end)
			break;
		line = colon + 1;
	}
	return n;
}

static bool field_is(const struct field *field, const char *text)
{
	return field->len == strlen(text) && !memcmp(field->text, text, field->len);
}

static bool field_number(const struct field *field, uint32_t *out)
{
	uint64_t value = 0;

	if (!field->len || field->len > 10)
		return false;
	for (size_t i = 0; i < field->len; i++) {
		if (field->text[i] < '0' || field->text[i] > '9')
			return false;
		value = value * 10 + (uint64_t)(field->text[i] - '0');
	}
	*out = (uint32_t)value;
	return value <= ID_MAX;
}

static bool text_number(const char *text, uint32_t *out)
{
	struct field field = {.text = text, .len = strlen(text)};

	return field_number(&field, out);
}

/*
 * name:x:uid:gid:comment:home:shell. Fills uid, gid, home and the entry's name from the first match
 * by name or number.
 */
static bool find_user(const char *passwd, const char *wanted, struct user *out, struct field *name)
{
	struct field f[FIELDS_MAX];
	uint32_t number, uid, gid;
	bool numeric = text_number(wanted, &number);
	size_t n;

	while ((n = next_line(&passwd, f)) > 0) {
		if (n < 6 || !field_number(&f[2], &uid) || !field_number(&f[3], &gid))
			continue;
		if (!field_is(&f[0], wanted) && !(numeric && uid == number))
			continue;
		out->uid = uid;
		out->gid = gid;
		if (f[5].len && f[5].len < sizeof(out->home)) {
			memcpy(out->home, f[5].text, f[5].len);
			out->home[f[5].len] = '\0';
		}
		*name = f[0];
		return true;
	}
	return false;
}

/* name:x:gid:member,member */
static bool find_group(const char *group, const char *wanted, gid_t *out)
{
	struct field f[FIELDS_MAX];
	uint32_t gid;
	size_t n;

	while ((n = next_line(&group, f)) > 0) {
		if (n < 3 || !field_number(&f[2], &gid) || !field_is(&f[0], wanted))
			continue;
		*out = gid;
		return true;
	}
	return false;
}

static bool has_member(const struct field *members, const struct field *name)
{
	const char *at = members->text, *end = at + members->len;

	while (name->len && at < end) {
		const char *comma = memchr(at, ',', (size_t)(end - at));
		size_t len = (size_t)((comma ? comma : end) - at);

		if (len == name->len && !memcmp(at, name->text, len))
			return true;
		at += len + 1;
	}
	return false;
}

static void add_groups(const char *group, const struct field *name, struct user *out)
{
	struct field f[FIELDS_MAX];
	uint32_t gid;
	size_t n;

	while ((n = next_line(&group, f)) > 0 && out->n_groups < USER_GROUPS_MAX) {
		if (n < 4 || !field_number(&f[2], &gid) || gid == out->gid)
			continue;
		if (has_member(&f[3], name))
			out->groups[out->n_groups++] = gid;
	}
}

int user_resolve(const char *spec, const char *passwd, const char *group, struct user *out,
		 struct error *err)
{
	_cleanup_(freep) char *copy = strdup(*spec ? spec : "0");
	struct field name = {.text = "", .len = 0};
	char *group_spec;
	uint32_t number;

	if (!copy)
		return error_set_errno(err, -ENOMEM, "user");
	*out = (struct user){.home = "/"};
	group_spec = strchr(copy, ':');
	if (group_spec)
		*group_spec++ = '\0';
	if (!find_user(passwd, *copy ? copy : "0", out, &name)) {
		if (*copy && !text_number(copy, &number))
			return error_set(err, -ENOENT,
					 "user '%s' is not in the image's /etc/passwd", copy);
		out->uid = *copy ? number : 0;
	}
	if (!group_spec || !*group_spec) {
		add_groups(group, &name, out);
		return 0;
	}
	if (find_group(group, group_spec, &out->gid))
		return 0;
	if (!text_number(group_spec, &number))
		return error_set(err, -ENOENT, "group '%s' is not in the image's /etc/group",
				 group_spec);
	out->gid = number;
	return 0;
}

/* The text of a regular file, or an empty one. A longer file than allowed counts as none. */
static char *read_text(const char *path)
{
	/* Not to hang on a FIFO that an image has in its place. */
	_cleanup_(close_fdp) int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;
	char *text;
	size_t len;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    io_read_fd(fd, USER_FILE_MAX, &text, &len) < 0)
		return strdup("");
	return text;
}

int user_lookup(const char *spec, struct user *out, struct error *err)
{
	_cleanup_(freep) char *passwd = read_text("/etc/passwd"), *group = read_text("/etc/group");

	if (!passwd || !group)
		return error_set_errno(err, -ENOMEM, "user");
	return user_resolve(spec, passwd, group, out, err);
}
