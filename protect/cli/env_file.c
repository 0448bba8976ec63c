// SPDX-License-Identifier: Apache-2.0
#include "protect/cli/env_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "protect/cli/output.h"

static int add(struct env_file *file, char *assignment)
{
	char **grown = reallocarray(file->items, file->n + 1, sizeof(*grown));

	if (grown)
		file->items = grown;
	if (!grown || !assignment) {
		free(assignment);
		return -ENOMEM;
	}
	grown[file->n++] = assignment;
	return 0;
}

static int take_line(struct env_file *file, const char *line)
{
	const char *equals = strchr(line, '='), *value;
	char *assignment;

	if (!*line || *line == '#')
		return 0;
	if (equals == line)
		return -EINVAL;
	if (equals)
		return add(file, strdup(line));
	value = getenv(line);
	if (!value)
		return 0;
	return add(file, asprintf(&assignment, "%s=%s", line, value) < 0 ? NULL : assignment);
}

int env_file_read(const char *path, struct env_file *out)
{
	char *rest, *line;
	size_t len;
	unsigned number = 0;
	int r;

	*out = (struct env_file){.n = 0};
	r = io_read_file(AT_FDCWD, path, ENV_FILE_MAX, &out->text, &len);
	if (r < 0) {
		output_error("%s cannot be read: %s", path, strerror(-r));
		return r;
	}
	rest = strlen(out->text) == len ? out->text : NULL;
	if (!rest)
		r = -EINVAL;
	while (r == 0 && (line = strsep(&rest, "\n")) != NULL) {
		number++;
		r = take_line(out, line);
	}
	if (r == -EINVAL)
		output_error("%s: line %u is not KEY=VALUE", path, number);
	return r;
}

void env_file_deinit(struct env_file *file)
{
	for (size_t i = 0; i < file->n; i++)
		free(file->items[i]);
	free(file->items);
	free(file->text);
	*file = (struct env_file){.n = 0};
}
