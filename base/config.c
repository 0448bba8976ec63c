// SPDX-License-Identifier: Apache-2.0
#include "base/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/util.h"

/* Every section there is: a misspelt name is found, whichever service reads. */
static const char *const sections[] = {"storage", "daemon", "network", "launch"};

/* Where the parser is. */
struct config_parser {
	const char *path, *section;
	const struct config_key *keys;
	size_t n;
	void *values;
	unsigned line;
	bool ours, in_section;
	bool given[CONFIG_KEYS_MAX];
};

static char *trim(char *text)
{
	char *end = text + strlen(text);

	text += strspn(text, " \t");
	while (end > text && strchr(" \t\r", end[-1]))
		*--end = '\0';
	return text;
}

static int open_section(struct config_parser *parser, char *line, struct error *err)
{
	size_t len = strlen(line);

	if (line[len - 1] != ']')
		return error_set(err, -EINVAL, "%s:%u: '%.64s' is not [SECTION]", parser->path,
				 parser->line, line);
	line[len - 1] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(sections); i++) {
		if (strcmp(line + 1, sections[i]) != 0)
			continue;
		parser->in_section = true;
		parser->ours = strcmp(sections[i], parser->section) == 0;
		return 0;
	}
	return error_set(err, -EINVAL, "%s:%u: there is no section [%.64s]", parser->path,
			 parser->line, line + 1);
}

static int set_key(struct config_parser *parser, size_t key, const char *value, struct error *err)
{
	struct error reason = ERROR_NULL;
	int r;

	if (parser->given[key] && !parser->keys[key].repeats)
		return error_set(err, -EINVAL, "%s:%u: '%s' is given twice", parser->path,
				 parser->line, parser->keys[key].name);
	parser->given[key] = true;
	r = *value ? parser->keys[key].set(parser->values, value, &reason) : -EINVAL;
	if (r == 0)
		return 0;
	return error_set(err, r, "%s:%u: %s = '%.128s': %s", parser->path, parser->line,
			 parser->keys[key].name, value,
			 !*value	  ? "the value is missing"
			 : reason.text[0] ? reason.text
					  : "not valid");
}

static int read_pair(struct config_parser *parser, char *line, struct error *err)
{
	char *equals = strchr(line, '='), *key;

	if (!equals)
		return error_set(err, -EINVAL,
				 "%s:%u: '%.64s' is neither [SECTION] nor KEY = VALUE",
				 parser->path, parser->line, line);
	if (!parser->in_section)
		return error_set(err, -EINVAL, "%s:%u: a [SECTION] must come before '%.64s'",
				 parser->path, parser->line, line);
	if (!parser->ours)
		return 0;
	*equals = '\0';
	key = trim(line);
	for (size_t i = 0; i < parser->n; i++)
		if (strcmp(key, parser->keys[i].name) == 0)
			return set_key(parser, i, trim(equals + 1), err);
	return error_set(err, -EINVAL, "%s:%u: [%s] has no key '%.64s'", parser->path, parser->line,
			 parser->section, key);
}

static int read_line(struct config_parser *parser, char *line, struct error *err)
{
	line = trim(line);
	if (!*line || *line == '#' || *line == ';')
		return 0;
	return *line == '[' ? open_section(parser, line, err) : read_pair(parser, line, err);
}

int config_parse(char *text, size_t len, const char *path, const char *section,
		 const struct config_key *keys, size_t n, void *values, struct error *err)
{
	struct config_parser parser = {
		.path = path, .section = section, .keys = keys, .n = n, .values = values};
	char *next = text;
	int r = 0;

	if (n > CONFIG_KEYS_MAX)
		return error_set(err, -EINVAL, "[%s] knows too many keys", section);
	if (memchr(text, '\0', len))
		return error_set(err, -EINVAL, "%s: not a text file", path);
	while (r == 0 && next) {
		char *line = strsep(&next, "\n");

		parser.line++;
		r = read_line(&parser, line, err);
	}
	return r;
}

int config_read(const char *path, bool required, const char *section, const struct config_key *keys,
		size_t n, void *values, struct error *err)
{
	_cleanup_(freep) char *text = NULL;
	size_t len;
	int r = io_read_file(AT_FDCWD, path, CONFIG_SIZE_MAX, &text, &len);

	if (r == -ENOENT && !required)
		return 0;
	if (r < 0)
		return error_set_errno(err, r, "cannot read the configuration %s", path);
	return config_parse(text, len, path, section, keys, n, values, err);
}

int config_size(const char *value, uint64_t *out)
{
	static const char units[] = "KMGT";
	const char *unit;
	uint64_t size;
	char *end;

	if (value[0] < '0' || value[0] > '9')
		return -EINVAL;
	errno = 0;
	size = strtoull(value, &end, 10);
	unit = *end ? strchr(units, *end) : NULL;
	if (errno || (*end && (!unit || end[1])) || size == 0)
		return -EINVAL;
	for (const char *u = units; unit && u <= unit; u++)
		if (!checked_mul(size, KIB, &size))
			return -EINVAL;
	*out = size;
	return 0;
}

int config_number(const char *value, uint32_t min, uint32_t max, uint32_t *out)
{
	unsigned long number;
	char *end;

	if (value[0] < '0' || value[0] > '9')
		return -EINVAL;
	errno = 0;
	number = strtoul(value, &end, 10);
	if (errno || *end || number < min || number > max)
		return -EINVAL;
	*out = (uint32_t)number;
	return 0;
}
