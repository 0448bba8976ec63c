// SPDX-License-Identifier: Apache-2.0
#include "protect/shim/spec.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/resource.h>

#include <jansson.h>

#include "base/caps.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/util.h"
#include "protect/shim/parser.h"

#define OVERHEAD_MIB                                                                               \
	128u /* of a zone, beside what its containers may use: kernel, agent, page tables */
#define CPUS_MAX 64u

static void release_json(json_t **json)
{
	json_decref(*json);
}

static uint64_t caps_of(const json_t *list)
{
	const json_t *item;
	uint64_t caps = 0;
	size_t i;

	json_array_foreach(list, i, item)
	{
		const char *name = json_string_value(item);

		if (name)
			caps |= caps_mask(name);
	}
	return caps;
}

/* A workload has one set for root and one for others, who have what is ambient. */
static void take_capabilities(struct parser *p, const json_t *process)
{
	const json_t *caps = json_object_get(process, "capabilities");
	Protect__Agent__Settings *settings = &p->spec->settings;

	settings->set_capabilities = true;
	settings->capabilities =
		caps_of(list_at(p, caps, "bounding")) & caps_of(list_at(p, caps, "permitted"));
	settings->ambient = caps_of(list_at(p, caps, "ambient")) & settings->capabilities;
	if (!number_at(p, json_object_get(process, "user"), "uid"))
		settings->capabilities = caps_of(list_at(p, caps, "bounding"));
}

static int take_rlimits(struct parser *p, const json_t *process)
{
	static const struct {
		const char *name;
		uint32_t resource;
	} known[] = {
		{"RLIMIT_AS", RLIMIT_AS},	    {"RLIMIT_CORE", RLIMIT_CORE},
		{"RLIMIT_CPU", RLIMIT_CPU},	    {"RLIMIT_DATA", RLIMIT_DATA},
		{"RLIMIT_FSIZE", RLIMIT_FSIZE},	    {"RLIMIT_LOCKS", RLIMIT_LOCKS},
		{"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK}, {"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE},
		{"RLIMIT_NICE", RLIMIT_NICE},	    {"RLIMIT_NOFILE", RLIMIT_NOFILE},
		{"RLIMIT_NPROC", RLIMIT_NPROC},	    {"RLIMIT_RSS", RLIMIT_RSS},
		{"RLIMIT_RTPRIO", RLIMIT_RTPRIO},   {"RLIMIT_RTTIME", RLIMIT_RTTIME},
		{"RLIMIT_STACK", RLIMIT_STACK},	    {"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING},
	};
	const json_t *list = list_at(p, process, "rlimits"), *item;
	Protect__Agent__Settings *settings = &p->spec->settings;
	size_t i, k;

	if (json_array_size(list) > PARSER_LIST_MAX)
		return error_set(p->err, -E2BIG, "config.json has more than %u limits",
				 PARSER_LIST_MAX);
	settings->ulimits = parser_take(p, json_array_size(list), sizeof(*settings->ulimits));
	if (!settings->ulimits)
		return -ENOMEM;
	json_array_foreach(list, i, item)
	{
		Protect__Agent__Ulimit *ulimit = parser_take(p, 1, sizeof(*ulimit));
		const char *name = text_at(item, "type");

		for (k = 0; k < ARRAY_SIZE(known) && strcmp(known[k].name, name) != 0; k++)
			;
		if (k == ARRAY_SIZE(known))
			return error_set(p->err, -EINVAL, "there is no limit '%.64s'", name);
		if (!ulimit)
			return -ENOMEM;
		protect__agent__ulimit__init(ulimit);
		ulimit->resource = known[k].resource;
		ulimit->soft = (uint64_t)number_at(p, item, "soft");
		ulimit->hard = (uint64_t)number_at(p, item, "hard");
		settings->ulimits[settings->n_ulimits++] = ulimit;
	}
	return 0;
}

static int take_terminal(struct parser *p, const json_t *process)
{
	const json_t *size = json_object_get(process, "consoleSize");
	Protect__Control__Terminal *terminal;

	if (!flag_at(p, process, "terminal"))
		return 0;
	terminal = parser_take(p, 1, sizeof(*terminal));
	if (!terminal)
		return -ENOMEM;
	protect__control__terminal__init(terminal);
	terminal->rows = (uint32_t)bounded_at(p, size, "height", 0, UINT32_MAX);
	terminal->columns = (uint32_t)bounded_at(p, size, "width", 0, UINT32_MAX);
	p->spec->process.terminal = terminal;
	return 0;
}

static int take_process(struct parser *p, const json_t *process)
{
	Protect__Control__Process *out = &p->spec->process;
	const json_t *user = json_object_get(process, "user");
	int r = parser_strings(p, process, "args", "arguments", &out->argv, &out->n_argv);

	if (r == 0)
		r = parser_strings(p, process, "env", "variables", &out->env, &out->n_env);
	if (r < 0)
		return r;
	if (!out->n_argv)
		return error_set(p->err, -EINVAL, "config.json has no command");
	out->working_directory = parser_copy(p, text_at(process, "cwd"));
	out->user =
		parser_print(p, "%u:%u", (unsigned)bounded_at(p, user, "uid", 0, UINT32_MAX - 1),
			     (unsigned)bounded_at(p, user, "gid", 0, UINT32_MAX - 1));
	if (!out->working_directory || !out->user)
		return -ENOMEM;
	return take_terminal(p, process);
}

static int add_bind(struct parser *p, const json_t *mount)
{
	const json_t *options = list_at(p, mount, "options"), *option;
	struct spec_bind *bind = &p->spec->binds[p->spec->n_binds];
	size_t i;

	bind->source = parser_copy(p, text_at(mount, "source"));
	bind->target = parser_copy(p, text_at(mount, "destination"));
	if (!bind->source || !bind->target)
		return -ENOMEM;
	json_array_foreach(options, i, option)
	{
		if (strcmp(json_string_value(option) ? json_string_value(option) : "", "ro") == 0)
			bind->read_only = true;
	}
	p->spec->n_binds++;
	return 0;
}

/* "64k": of a tmpfs of the zone's a share of the memory ("50%") says nothing. */
static int take_tmpfs_size(const char *text, uint64_t *out)
{
	static const char units[] = "kmg";
	const char *unit;
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 10);
	unit = *end ? strchr(units, *end | 0x20) : NULL;
	if (!isdigit((unsigned char)*text) || errno || (*end && (!unit || end[1])))
		return -EINVAL;
	for (const char *u = units; unit && u <= unit; u++)
		if (!checked_mul(*out, KIB, out))
			return -EINVAL;
	return 0;
}

static int take_tmpfs_mode(const char *text, Protect__Agent__Tmpfs *tmpfs)
{
	char *end;

	tmpfs->mode = (uint32_t)strtoul(text, &end, 8) & 07777;
	tmpfs->set_mode = true;
	return *text && !*end ? 0 : -EINVAL;
}

static int take_tmpfs_option(Protect__Agent__Tmpfs *tmpfs, const char *option)
{
	if (strncmp(option, "size=", 5) == 0)
		return take_tmpfs_size(option + 5, &tmpfs->size_bytes);
	if (strncmp(option, "mode=", 5) == 0)
		return take_tmpfs_mode(option + 5, tmpfs);
	if (strcmp(option, "ro") == 0)
		tmpfs->read_only = true;
	else if (strcmp(option, "noexec") == 0)
		tmpfs->exec = false;
	else if (strcmp(option, "nosuid") == 0)
		tmpfs->suid = false;
	else if (strcmp(option, "nodev") == 0)
		tmpfs->dev = false;
	return 0;
}

static int add_tmpfs(struct parser *p, const json_t *mount)
{
	const json_t *options = list_at(p, mount, "options"), *option;
	Protect__Agent__Settings *settings = &p->spec->settings;
	Protect__Agent__Tmpfs *tmpfs = parser_take(p, 1, sizeof(*tmpfs));
	size_t i;

	if (!tmpfs)
		return -ENOMEM;
	protect__agent__tmpfs__init(tmpfs);
	tmpfs->exec = tmpfs->suid = tmpfs->dev = true;
	tmpfs->path = parser_copy(p, text_at(mount, "destination"));
	if (!tmpfs->path)
		return -ENOMEM;
	json_array_foreach(options, i, option)
	{
		const char *text = json_string_value(option);

		if (text && take_tmpfs_option(tmpfs, text) < 0)
			return error_set(p->err, -EINVAL,
					 "the tmpfs at %.128s: a zone cannot make sense of '%.64s'",
					 tmpfs->path, text);
	}
	settings->tmpfs[settings->n_tmpfs++] = tmpfs;
	return 0;
}

/* The zone gives every workload these. */
static bool is_the_zones(const char *target)
{
	static const char *const own[] = {"/proc",    "/sys",	     "/sys/fs/cgroup", "/dev",
					  "/dev/pts", "/dev/mqueue", "/dev/shm"};

	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		if (strcmp(own[i], target) == 0)
			return true;
	return false;
}

static int take_mount(struct parser *p, const json_t *mount)
{
	const char *type = text_at(mount, "type"), *target = text_at(mount, "destination");

	if (is_the_zones(target))
		return 0;
	if (strcmp(type, "tmpfs") == 0)
		return add_tmpfs(p, mount);
	if (strcmp(type, "bind") == 0)
		return add_bind(p, mount);
	return error_set(p->err, -ENOTSUP,
			 "a mount of the type '%.32s' (at %.128s) is not to be had in a zone", type,
			 target);
}

static int take_mounts(struct parser *p, const json_t *root)
{
	const json_t *mounts = list_at(p, root, "mounts"), *mount;
	size_t i, n = json_array_size(mounts);
	int r = 0;

	if (n > PARSER_LIST_MAX)
		return error_set(p->err, -E2BIG, "config.json has more than %u mounts",
				 PARSER_LIST_MAX);
	p->spec->binds = parser_take(p, n, sizeof(*p->spec->binds));
	p->spec->settings.tmpfs = parser_take(p, n, sizeof(*p->spec->settings.tmpfs));
	if (!p->spec->binds || !p->spec->settings.tmpfs)
		return -ENOMEM;
	json_array_foreach(mounts, i, mount)
	{
		if (r == 0)
			r = take_mount(p, mount);
	}
	return r;
}

/*
 * A namespace that is missing is the host's, which no zone has. One with a path is another
 * container's: of the pod's, which all share the zone's network anyway; of the host's process ids,
 * which cannot be told from a path, never.
 */
static int take_namespaces(struct parser *p, const json_t *linux_)
{
	static const struct {
		const char *type, *what;
	} wanted[] = {{"network", "hostNetwork"}, {"pid", "hostPID"}, {"ipc", "hostIPC"}};
	const json_t *list = list_at(p, linux_, "namespaces"), *item;
	bool found[ARRAY_SIZE(wanted)] = {false};
	size_t i;

	json_array_foreach(list, i, item)
	{
		const char *type = text_at(item, "type");

		if (strcmp(type, "user") == 0)
			return error_set(
				p->err, -ENOTSUP,
				"a zone's workloads have no user namespaces (hostUsers: false)");
		for (size_t k = 0; k < ARRAY_SIZE(wanted); k++)
			found[k] |= strcmp(type, wanted[k].type) == 0;
		if (strcmp(type, "network") == 0)
			p->spec->netns = parser_copy(p, text_at(item, "path"));
	}
	for (size_t k = 0; k < ARRAY_SIZE(wanted); k++)
		if (!found[k])
			return error_set(p->err, -ENOTSUP,
					 "a zone cannot have the host's %s namespace (%s: true); "
					 "use another runtime "
					 "class for this pod",
					 wanted[k].type, wanted[k].what);
	return 0;
}

static int take_sysctls(struct parser *p, const json_t *linux_)
{
	json_t *sysctls = json_object_get(linux_, "sysctl"), *value;
	Protect__Agent__Settings *settings = &p->spec->settings;
	const char *key;

	if (json_object_size(sysctls) > PARSER_LIST_MAX)
		return error_set(p->err, -E2BIG, "config.json has more than %u sysctls",
				 PARSER_LIST_MAX);
	settings->sysctls = parser_take(p, json_object_size(sysctls), sizeof(*settings->sysctls));
	if (!settings->sysctls)
		return -ENOMEM;
	json_object_foreach(sysctls, key, value)
	{
		/* The sandbox's are the zone's; CRI repeats them for no container. */
		if (p->spec->kind == SPEC_SANDBOX)
			continue;
		settings->sysctls[settings->n_sysctls] = parser_print(
			p, "%s=%s", key, json_string_value(value) ? json_string_value(value) : "");
		if (!settings->sysctls[settings->n_sysctls++])
			return -ENOMEM;
	}
	return 0;
}

static void take_resources(struct parser *p, const json_t *resources)
{
	const json_t *cpu = json_object_get(resources, "cpu");
	int64_t memory = number_at(p, json_object_get(resources, "memory"), "limit");
	int64_t quota = number_at(p, cpu, "quota"), period = number_at(p, cpu, "period"), millis;
	int64_t pids = number_at(p, json_object_get(resources, "pids"), "limit");
	Protect__Agent__Settings *settings = &p->spec->settings;

	if (memory > 0)
		settings->memory_bytes = (uint64_t)memory;
	if (quota > 0 && quota < INT64_MAX / 1000) {
		millis = quota * 1000 / (period > 0 ? period : 100000);
		settings->cpu_millis = (uint32_t)(millis < 1 ? 1 : MIN(millis, UINT32_MAX));
	}
	if (pids > 0 && pids <= UINT32_MAX)
		settings->pids = (uint32_t)pids;
}

static int take_linux(struct parser *p, const json_t *root)
{
	const json_t *linux_ = json_object_get(root, "linux");
	Protect__Agent__Settings *settings = &p->spec->settings;
	int r = take_namespaces(p, linux_);

	if (r == 0)
		r = take_sysctls(p, linux_);
	if (r == 0)
		r = parser_strings(p, linux_, "maskedPaths", "masked paths",
				   &settings->masked_paths, &settings->n_masked_paths);
	if (r == 0)
		r = parser_strings(p, linux_, "readonlyPaths", "read-only paths",
				   &settings->read_only_paths, &settings->n_read_only_paths);
	settings->unmasked = true; /* but for what config.json says */
	take_resources(p, json_object_get(linux_, "resources"));
	return r;
}

/* The zone holds what its containers may use, and itself. */
static void size_zone(struct parser *p, int64_t memory, int64_t quota, int64_t period)
{
	Protect__Control__ZoneLaunch *zone = &p->spec->zone;
	uint64_t cpus;

	if (memory > 0)
		zone->max_memory_mib = ((uint64_t)memory + MIB - 1) / MIB + OVERHEAD_MIB;
	if (quota > 0 && period > 0) {
		cpus = ((uint64_t)quota + (uint64_t)period - 1) / (uint64_t)period;
		zone->max_cpus = (uint32_t)(cpus < CPUS_MAX ? cpus : CPUS_MAX);
	}
}

/* `dev.protect/NAME`, or the same of Edera's. */
static const char *annotation(const json_t *annotations, const char *name)
{
	char key[96];
	const char *text;

	snprintf(key, sizeof(key), "dev.protect/%s", name);
	text = text_at(annotations, key);
	if (*text)
		return text;
	snprintf(key, sizeof(key), "dev.edera/%s", name);
	return text_at(annotations, key);
}

static int zone_number(struct parser *p, const json_t *annotations, const char *name, uint64_t max,
		       uint64_t *out)
{
	const char *text = annotation(annotations, name);
	char *end;

	if (!*text)
		return 0;
	errno = 0;
	*out = strtoull(text, &end, 10);
	if (errno || *end || *text == '-' || !*out || *out > max)
		return error_set(
			p->err, -EINVAL,
			"the annotation dev.protect/%s: '%.32s' is no number from 1 to %llu", name,
			text, (unsigned long long)max);
	return 0;
}

static int take_zone_annotations(struct parser *p, const json_t *annotations)
{
	Protect__Control__ZoneLaunch *zone = &p->spec->zone;
	const char *backend = annotation(annotations, "virt-backend");
	const char *policy = annotation(annotations, "resource-policy");
	uint64_t cpus = zone->max_cpus;
	int r = zone_number(p, annotations, "cpu", CPUS_MAX, &cpus);

	if (r == 0)
		r = zone_number(p, annotations, "initial-memory-request", 1024 * 1024,
				&zone->target_memory_mib);
	if (r < 0)
		return r;
	if (*backend && strcmp(backend, "kvm") != 0 && strcmp(backend, "auto") != 0)
		return error_set(p->err, -ENOTSUP,
				 "there is no virt-backend '%.32s' here; there is: kvm", backend);
	if (*policy && strcmp(policy, "static") != 0 && strcmp(policy, "dynamic") != 0)
		return error_set(p->err, -EINVAL,
				 "there is no resource-policy '%.32s': static or dynamic", policy);
	if (strcmp(policy, "dynamic") == 0)
		zone->policy = PROTECT__CONTROL__RESOURCE_POLICY__POLICY_DYNAMIC;
	zone->max_cpus = (uint32_t)cpus;
	if (zone->target_memory_mib > zone->max_memory_mib)
		zone->max_memory_mib = zone->target_memory_mib;
	zone->kernel = parser_copy(p, annotation(annotations, "kernel"));
	zone->kernel_variant = parser_copy(p, annotation(annotations, "kernel-variant"));
	return zone->kernel && zone->kernel_variant ? 0 : -ENOMEM;
}

static int64_t cri_number(const json_t *annotations, const char *name)
{
	char key[96];

	snprintf(key, sizeof(key), "io.kubernetes.cri.sandbox-%s", name);
	return strtoll(text_at(annotations, key), NULL, 10);
}

static int take_zone(struct parser *p, const json_t *root)
{
	const json_t *annotations = json_object_get(root, "annotations");
	const json_t *resources = json_object_get(json_object_get(root, "linux"), "resources");
	const json_t *cpu = json_object_get(resources, "cpu");

	if (p->spec->kind == SPEC_MEMBER)
		return 0;
	if (p->spec->kind == SPEC_SANDBOX)
		size_zone(p, cri_number(annotations, "memory"),
			  cri_number(annotations, "cpu-quota"),
			  cri_number(annotations, "cpu-period"));
	else
		size_zone(p, number_at(p, json_object_get(resources, "memory"), "limit"),
			  number_at(p, cpu, "quota"), number_at(p, cpu, "period"));
	return take_zone_annotations(p, annotations);
}

static bool is_id(const char *text)
{
	return *text && strlen(text) <= 128 && text[0] != '.' &&
	       strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") ==
		       strlen(text);
}

static int take_kind(struct parser *p, const json_t *root)
{
	const json_t *annotations = json_object_get(root, "annotations");
	const char *type = text_at(annotations, "io.kubernetes.cri.container-type");
	const char *sandbox = text_at(annotations, "io.kubernetes.cri.sandbox-id");

	p->spec->kind = strcmp(type, "container") == 0 ? SPEC_MEMBER
			: strcmp(type, "sandbox") == 0 ? SPEC_SANDBOX
						       : SPEC_ALONE;
	if (p->spec->kind == SPEC_MEMBER && !is_id(sandbox))
		return error_set(p->err, -EINVAL, "config.json names no pod for its container");
	p->spec->sandbox = parser_copy(p, sandbox);
	return p->spec->sandbox ? 0 : -ENOMEM;
}

static int take_rest(struct parser *p, const json_t *root)
{
	const json_t *process = json_object_get(root, "process");
	Protect__Agent__Settings *settings = &p->spec->settings;
	int r = take_process(p, process);

	if (r == 0)
		r = take_rlimits(p, process);
	if (r == 0)
		r = take_mounts(p, root);
	if (r == 0)
		r = take_linux(p, root);
	if (r == 0)
		r = take_zone(p, root);
	if (r < 0)
		return r;
	take_capabilities(p, process);
	settings->no_new_privileges = flag_at(p, process, "noNewPrivileges");
	settings->oom_score_adj = (int32_t)bounded_at(p, process, "oomScoreAdj", -1000, 1000);
	settings->read_only = flag_at(p, json_object_get(root, "root"), "readonly");
	settings->hostname = parser_copy(p, text_at(root, "hostname"));
	return settings->hostname ? 0 : -ENOMEM;
}

static void init(struct spec *spec)
{
	*spec = (struct spec){0};
	protect__control__process__init(&spec->process);
	protect__agent__settings__init(&spec->settings);
	protect__control__zone_launch__init(&spec->zone);
}

static json_t *load(const char *text, size_t len, struct error *err)
{
	json_error_t where;
	json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);

	if (!root && json_error_code(&where) == json_error_numeric_overflow)
		root = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL,
				  &where);
	if (json_is_object(root))
		return root;
	json_decref(root);
	error_set(err, -EINVAL, "the OCI configuration is no JSON object (line %d)", where.line);
	return NULL;
}

static int check_all(const struct parser *p, int r)
{
	if (r < 0 || !p->wrong)
		return r;
	return error_set(p->err, -EINVAL, "config.json: '%s' has a value that it cannot have",
			 p->wrong);
}

int spec_parse(const char *text, size_t len, struct spec *spec, struct error *err)
{
	_cleanup_(release_json) json_t *root = NULL;
	struct parser p = {.spec = spec, .err = err};
	int r;

	init(spec);
	root = load(text, len, err);
	if (!root)
		return err->code;
	r = take_kind(&p, root);
	if (r == 0)
		r = take_rest(&p, root);
	return check_all(&p, r);
}

int spec_parse_process(const char *text, size_t len, struct spec *spec, struct error *err)
{
	_cleanup_(release_json) json_t *root = NULL;
	struct parser p = {.spec = spec, .err = err};

	init(spec);
	root = load(text, len, err);
	return root ? check_all(&p, take_process(&p, root)) : err->code;
}

int spec_parse_resources(const char *text, size_t len, struct spec *spec, struct error *err)
{
	_cleanup_(release_json) json_t *root = NULL;
	struct parser p = {.spec = spec, .err = err};

	init(spec);
	root = load(text, len, err);
	if (!root)
		return err->code;
	take_resources(&p, root);
	return check_all(&p, 0);
}

static int read_text(const char *bundle, char **text, size_t *len, struct error *err)
{
	char path[4096];
	int r;

	if (snprintf(path, sizeof(path), "%s/config.json", bundle) >= (int)sizeof(path))
		return error_set(err, -ENAMETOOLONG, "the bundle's path is too long");
	r = io_read_file(AT_FDCWD, path, SPEC_MAX, text, len);
	return r < 0 ? error_set_errno(err, r, "%s", path) : 0;
}

int spec_read_kind(const char *bundle, struct spec *spec, struct error *err)
{
	_cleanup_(freep) char *text = NULL;
	_cleanup_(release_json) json_t *root = NULL;
	struct parser p = {.spec = spec, .err = err};
	size_t len;
	int r;

	init(spec);
	r = read_text(bundle, &text, &len, err);
	if (r < 0)
		return r;
	root = load(text, len, err);
	return root ? take_kind(&p, root) : err->code;
}

int spec_read(const char *bundle, struct spec *spec, struct error *err)
{
	_cleanup_(freep) char *text = NULL;
	size_t len;
	int r;

	init(spec);
	r = read_text(bundle, &text, &len, err);
	return r == 0 ? spec_parse(text, len, spec, err) : r;
}

void spec_deinit(struct spec *spec)
{
	parser_free_memory(spec);
	*spec = (struct spec){0};
}
