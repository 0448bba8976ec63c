// SPDX-License-Identifier: Apache-2.0
#include "protect/cli/seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

#include <jansson.h>

#include "base/caps.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/util.h"
#include "protect/cli/output.h"

#define PROFILE_MAX    (1024u * 1024)
#define PROGRAM_MAX    (4096u * 8)
#define CONDITIONS_MAX 6u

struct compiler {
	scmp_filter_ctx filter;
	uint32_t default_action;
	uint64_t caps;
};

static void release_filter(scmp_filter_ctx *filter)
{
	if (*filter)
		seccomp_release(*filter);
}

static void release_json(json_t **json)
{
	json_decref(*json);
}

static int find_action(const char *name, uint32_t error, uint32_t *out)
{
	const struct {
		const char *name;
		uint32_t action;
	} actions[] = {
		{"SCMP_ACT_ALLOW", SCMP_ACT_ALLOW},
		{"SCMP_ACT_ERRNO", SCMP_ACT_ERRNO(error & 0xffff)},
		{"SCMP_ACT_KILL", SCMP_ACT_KILL_THREAD},
		{"SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD},
		{"SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS},
		{"SCMP_ACT_TRAP", SCMP_ACT_TRAP},
		{"SCMP_ACT_LOG", SCMP_ACT_LOG},
	};

	for (size_t i = 0; name && i < ARRAY_SIZE(actions); i++)
		if (strcmp(actions[i].name, name) == 0) {
			*out = actions[i].action;
			return 0;
		}
	return -EINVAL;
}

static int find_comparison(const char *name, enum scmp_compare *out)
{
	static const struct {
		const char *name;
		enum scmp_compare op;
	} ops[] = {
		{"SCMP_CMP_NE", SCMP_CMP_NE},
		{"SCMP_CMP_LT", SCMP_CMP_LT},
		{"SCMP_CMP_LE", SCMP_CMP_LE},
		{"SCMP_CMP_EQ", SCMP_CMP_EQ},
		{"SCMP_CMP_GE", SCMP_CMP_GE},
		{"SCMP_CMP_GT", SCMP_CMP_GT},
		{"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ},
	};

	for (size_t i = 0; name && i < ARRAY_SIZE(ops); i++)
		if (strcmp(ops[i].name, name) == 0) {
			*out = ops[i].op;
			return 0;
		}
	return -EINVAL;
}

static uint32_t error_of(const json_t *object, const char *key, uint32_t otherwise)
{
	const json_t *value = json_object_get(object, key);

	return json_is_integer(value) ? (uint32_t)json_integer_value(value) : otherwise;
}

/* Whether a list of capabilities or architectures names one that we have. */
static bool names_ours(const struct compiler *c, const json_t *list, bool is_caps)
{
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		const char *name = json_string_value(item);

		if (!name)
			continue;
		if (is_caps ? (caps_mask(name) & c->caps) != 0
			    : strcmp(name, "amd64") == 0 || strcmp(name, "x86") == 0 ||
				      strcmp(name, "x32") == 0)
			return true;
	}
	return false;
}

static bool applies(const struct compiler *c, const json_t *rule)
{
	static const char *const keys[] = {"caps", "arches"};
	const json_t *includes = json_object_get(rule, "includes");
	const json_t *excludes = json_object_get(rule, "excludes");

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const json_t *wanted = json_object_get(includes, keys[i]);

		if (json_array_size(wanted) && !names_ours(c, wanted, i == 0))
			return false;
		if (names_ours(c, json_object_get(excludes, keys[i]), i == 0))
			return false;
	}
	return true;
}

static int read_condition(const json_t *json, struct scmp_arg_cmp *out)
{
	json_int_t index = json_integer_value(json_object_get(json, "index"));
	int r = find_comparison(json_string_value(json_object_get(json, "op")), &out->op);

	if (r < 0 || index < 0 || index >= (json_int_t)CONDITIONS_MAX)
		return -EINVAL;
	out->arg = (unsigned)index;
	out->datum_a = (scmp_datum_t)json_integer_value(json_object_get(json, "value"));
	out->datum_b = (scmp_datum_t)json_integer_value(json_object_get(json, "valueTwo"));
	return 0;
}

/* Conditions on one argument twice are meant as alternatives, as in the other runtimes. */
static bool has_twice(const struct scmp_arg_cmp *conditions, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < i; k++)
			if (conditions[i].arg == conditions[k].arg)
				return true;
	return false;
}

/* A name that this library does not know is a call that no program here makes. */
static int add_call(const struct compiler *c, const char *name, uint32_t action,
		    const struct scmp_arg_cmp *conditions, size_t n)
{
	int nr = seccomp_syscall_resolve_name(name), r = 0;

	if (nr == __NR_SCMP_ERROR || action == c->default_action)
		return 0;
	if (!has_twice(conditions, n))
		return seccomp_rule_add_array(c->filter, action, nr, (unsigned)n, conditions);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = seccomp_rule_add_array(c->filter, action, nr, 1, &conditions[i]);
	return r;
}

static int add_rule(const struct compiler *c, const json_t *rule)
{
	const json_t *names = json_object_get(rule, "names"), *args = json_object_get(rule, "args"),
		     *item;
	struct scmp_arg_cmp conditions[CONDITIONS_MAX];
	size_t n = json_array_size(args), i;
	uint32_t action;
	int r = find_action(json_string_value(json_object_get(rule, "action")),
			    error_of(rule, "errnoRet", EPERM), &action);

	if (r < 0 || n > CONDITIONS_MAX || !json_is_array(names))
		return -EINVAL;
	for (i = 0; r == 0 && i < n; i++)
		r = read_condition(json_array_get(args, i), &conditions[i]);
	json_array_foreach(names, i, item)
	{
		if (r == 0)
			r = json_is_string(item)
				    ? add_call(c, json_string_value(item), action, conditions, n)
				    : -EINVAL;
	}
	return r;
}

static int add_rules(const struct compiler *c, const json_t *profile)
{
	const json_t *rules = json_object_get(profile, "syscalls"), *rule;
	size_t i;
	int r = 0;

	json_array_foreach(rules, i, rule)
	{
		if (r == 0 && applies(c, rule))
			r = add_rule(c, rule);
	}
	return r;
}

static int make_filter(struct compiler *c, const json_t *profile)
{
	int r = find_action(json_string_value(json_object_get(profile, "defaultAction")),
			    error_of(profile, "defaultErrnoRet", EPERM), &c->default_action);

	if (r < 0)
		return r;
	c->filter = seccomp_init(c->default_action);
	if (!c->filter)
		return -ENOMEM;
	r = seccomp_arch_add(c->filter, SCMP_ARCH_X86);
	return r == 0 ? add_rules(c, profile) : r;
}

static int export_filter(const struct compiler *c, uint8_t **program, size_t *len)
{
	_cleanup_(close_fdp) int fd = memfd_create("seccomp", MFD_CLOEXEC);
	int r = fd < 0 ? -errno : seccomp_export_bpf(c->filter, fd);
	char *bytes;

	if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
		r = -errno;
	if (r == 0)
		r = io_read_fd(fd, PROGRAM_MAX, &bytes, len);
	if (r == 0)
		*program = (uint8_t *)bytes;
	return r;
}

int seccomp_compile(const char *path, uint64_t caps, uint8_t **program, size_t *len)
{
	_cleanup_(freep) char *text = NULL;
	_cleanup_(release_json) json_t *profile = NULL;
	struct compiler c = {.caps = caps};
	json_error_t where;
	size_t size;
	int r = io_read_file(AT_FDCWD, path, PROFILE_MAX, &text, &size);

	if (r < 0) {
		output_error("the seccomp profile %s cannot be read: %s", path, strerror(-r));
		return r;
	}
	profile = json_loadb(text, size, JSON_REJECT_DUPLICATES, &where);
	if (!json_is_object(profile)) {
		output_error("the seccomp profile %s is no JSON object (line %d)", path,
			     where.line);
		return -EINVAL;
	}
	r = make_filter(&c, profile);
	if (r == 0)
		r = export_filter(&c, program, len);
	release_filter(&c.filter);
	if (r < 0)
		output_error("the seccomp profile %s cannot be used: %s", path, strerror(-r));
	return r;
}
