// SPDX-License-Identifier: Apache-2.0
#include "protect/cli/settings.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/caps.h"
#include "base/cleanup.h"
#include "base/util.h"
#include "protect/cli/output.h"
#include "protect/cli/seccomp.h"

#define OOM_SCORE_ADJ_MAX 1000
#define CPUS_MAX	  1000.0

typedef Protect__Agent__Settings settings_t;

void settings_message_free(settings_t *settings)
{
	if (settings)
		protect__agent__settings__free_unpacked(settings, NULL);
}

static int out_of_memory(void)
{
	output_error("out of memory");
	return CLI_ERROR;
}

int settings_size(const char *text, uint64_t *out)
{
	static const char units[] = "bkmgt";
	size_t len = strspn(text, "0123456789");
	const char *unit = text[len] ? strchr(units, text[len] | 0x20) : units;
	_cleanup_(freep) char *digits = strndup(text, len);

	if (!digits || !unit || (text[len] && text[len + 1]) ||
	    args_number(digits, 0, UINT64_MAX, out) < 0)
		return -EINVAL;
	for (; unit > units; unit--)
		if (!checked_mul(*out, KIB, out))
			return -EINVAL;
	return 0;
}

/* Adds an object to a repeated field; NULL without memory. */
static void *add(void *list, size_t *n, size_t size)
{
	void ***items = list;
	void **grown = reallocarray(*items, *n + 1, sizeof(*grown));
	void *item = grown ? calloc(1, size) : NULL;

	if (grown)
		*items = grown;
	if (item)
		grown[(*n)++] = item;
	return item;
}

static int add_text(char ***list, size_t *n, const char *text)
{
	char **grown = reallocarray(*list, *n + 1, sizeof(*grown)), *copy = strdup(text);

	if (grown)
		*list = grown;
	if (!grown || !copy) {
		free(copy);
		return out_of_memory();
	}
	grown[(*n)++] = copy;
	return CLI_OK;
}

static int tmpfs_option(const struct args *args, Protect__Agent__Tmpfs *tmpfs, const char *word)
{
	char *end;

	if (strncmp(word, "size=", 5) == 0 && settings_size(word + 5, &tmpfs->size_bytes) == 0)
		return CLI_OK;
	if (strncmp(word, "mode=", 5) == 0) {
		unsigned long mode = strtoul(word + 5, &end, 8);

		tmpfs->set_mode = true;
		tmpfs->mode = (uint32_t)mode;
		if (word[5] && !*end && mode <= 07777)
			return CLI_OK;
	}
	if (strcmp(word, "exec") == 0)
		return tmpfs->exec = true, CLI_OK;
	if (strcmp(word, "suid") == 0)
		return tmpfs->suid = true, CLI_OK;
	if (strcmp(word, "dev") == 0)
		return tmpfs->dev = true, CLI_OK;
	if (strcmp(word, "ro") == 0)
		return tmpfs->read_only = true, CLI_OK;
	if (strcmp(word, "rw") == 0 || strcmp(word, "noexec") == 0 || strcmp(word, "nosuid") == 0 ||
	    strcmp(word, "nodev") == 0)
		return CLI_OK;
	return args_usage_error(args, "--tmpfs: '%s' is not one of its options", word);
}

static int take_tmpfs(const struct args *args, settings_t *s, const char *text)
{
	Protect__Agent__Tmpfs *tmpfs = add(&s->tmpfs, &s->n_tmpfs, sizeof(*tmpfs));
	_cleanup_(freep) char *copy = strdup(text);
	char *rest = copy, *path, *word;
	int status = CLI_OK;

	if (!tmpfs || !copy)
		return out_of_memory();
	protect__agent__tmpfs__init(tmpfs);
	path = strsep(&rest, ":");
	tmpfs->path = strdup(path);
	if (*path != '/')
		return args_usage_error(args, "--tmpfs: '%s' is not an absolute path", path);
	while (!status && (word = strsep(&rest, ",")) != NULL)
		status = tmpfs_option(args, tmpfs, word);
	return tmpfs->path ? status : out_of_memory();
}

static int take_device(const struct args *args, settings_t *s, const char *text)
{
	Protect__Agent__Device *device = add(&s->devices, &s->n_devices, sizeof(*device));
	const char *colon = strchr(text, ':');

	if (!device)
		return out_of_memory();
	protect__agent__device__init(device);
	device->path = strndup(text, colon ? (size_t)(colon - text) : strlen(text));
	if (colon)
		device->path_inside = strdup(colon + 1);
	if (!device->path || !device->path_inside)
		return out_of_memory();
	if (*text != '/' || (colon && colon[1] != '/'))
		return args_usage_error(args, "--device: '%s' is not an absolute path", text);
	return CLI_OK;
}

static int find_limit(const char *name, size_t len)
{
	static const struct {
		const char *name;
		int resource;
	} limits[] = {
		{"core", RLIMIT_CORE},	       {"cpu", RLIMIT_CPU},
		{"data", RLIMIT_DATA},	       {"fsize", RLIMIT_FSIZE},
		{"locks", RLIMIT_LOCKS},       {"memlock", RLIMIT_MEMLOCK},
		{"msgqueue", RLIMIT_MSGQUEUE}, {"nice", RLIMIT_NICE},
		{"nofile", RLIMIT_NOFILE},     {"nproc", RLIMIT_NPROC},
		{"rss", RLIMIT_RSS},	       {"rtprio", RLIMIT_RTPRIO},
		{"rttime", RLIMIT_RTTIME},     {"sigpending", RLIMIT_SIGPENDING},
		{"stack", RLIMIT_STACK},
	};

	for (size_t i = 0; i < ARRAY_SIZE(limits); i++)
		if (strlen(limits[i].name) == len && memcmp(limits[i].name, name, len) == 0)
			return limits[i].resource;
	return -1;
}

static bool limit_value(const char *text, uint64_t *out)
{
	if (strcmp(text, "unlimited") != 0 && strcmp(text, "-1") != 0)
		return args_number(text, 0, INT64_MAX, out) == 0;
	*out = RLIM_INFINITY;
	return true;
}

static int take_ulimit(const struct args *args, settings_t *s, const char *text)
{
	Protect__Agent__Ulimit *ulimit = add(&s->ulimits, &s->n_ulimits, sizeof(*ulimit));
	size_t len = strcspn(text, "=");
	int resource = find_limit(text, len);
	_cleanup_(freep) char *soft = text[len] ? strdup(text + len + 1) : NULL;
	char *hard = soft ? strchr(soft, ':') : NULL;

	if (!ulimit)
		return out_of_memory();
	protect__agent__ulimit__init(ulimit);
	if (hard)
		*hard++ = '\0';
	if (resource < 0 || !soft || !limit_value(soft, &ulimit->soft) ||
	    !limit_value(hard ? hard : soft, &ulimit->hard) || ulimit->soft > ulimit->hard)
		return args_usage_error(args, "--ulimit: '%s' is not NAME=SOFT[:HARD]", text);
	ulimit->resource = (uint32_t)resource;
	return CLI_OK;
}

static int take_sysctl(const struct args *args, settings_t *s, const char *text)
{
	const char *equals = strchr(text, '=');

	if (!equals || equals == text)
		return args_usage_error(args, "--sysctl: '%s' is not KEY=VALUE", text);
	return add_text(&s->sysctls, &s->n_sysctls, text);
}

static int take_caps(const struct args *args, const struct arg_list *list, const char *option,
		     uint64_t *mask)
{
	*mask = 0;
	for (size_t i = 0; i < list->n; i++) {
		uint64_t one = caps_mask(list->items[i]);

		if (!one)
			return args_usage_error(args, "--%s: '%s' is no capability", option,
						list->items[i]);
		*mask |= one;
	}
	return CLI_OK;
}

/* As Docker: "drop ALL" comes first, so that what is added stays. */
static int set_caps(const struct args *args, const struct settings_values *values, settings_t *s)
{
	uint64_t added, dropped;
	int status = take_caps(args, &values->cap_add, "cap-add", &added);

	if (!status)
		status = take_caps(args, &values->cap_drop, "cap-drop", &dropped);
	if (status || (!added && !dropped))
		return status;
	s->set_capabilities = true;
	if (added == CAPS_ALL)
		s->capabilities = CAPS_ALL & ~dropped;
	else if (dropped == CAPS_ALL)
		s->capabilities = added;
	else
		s->capabilities = (CAPS_DEFAULT | added) & ~dropped;
	s->ambient = added & s->capabilities;
	return CLI_OK;
}

static int take_seccomp(settings_t *s, const char *profile)
{
	uint64_t caps = s->set_capabilities ? s->capabilities : CAPS_DEFAULT;

	if (strcmp(profile, "unconfined") == 0) {
		s->seccomp = PROTECT__AGENT__SECCOMP__SECCOMP_UNCONFINED;
		return CLI_OK;
	}
	if (s->seccomp_program.data)
		return output_error("only one seccomp profile can be given"), CLI_USAGE;
	s->seccomp = PROTECT__AGENT__SECCOMP__SECCOMP_PROGRAM;
	return seccomp_compile(profile, s->privileged ? CAPS_ALL : caps, &s->seccomp_program.data,
			       &s->seccomp_program.len) < 0
		       ? CLI_ERROR
		       : CLI_OK;
}

static int take_security(const struct args *args, settings_t *s, const char *text)
{
	if (strncmp(text, "seccomp=", 8) == 0)
		return take_seccomp(s, text + 8);
	if (strncmp(text, "mask=/", 6) == 0)
		return add_text(&s->masked_paths, &s->n_masked_paths, text + 5);
	if (strncmp(text, "ro=/", 4) == 0)
		return add_text(&s->read_only_paths, &s->n_read_only_paths, text + 3);
	if (strcmp(text, "systempaths=unconfined") == 0)
		return s->unmasked = true, CLI_OK;
	if (strcmp(text, "no-new-privileges") == 0 || strcmp(text, "no-new-privileges=true") == 0)
		return s->no_new_privileges = true, CLI_OK;
	return args_usage_error(args, "--security-opt: '%s' is not one of its options", text);
}

static int set_numbers(const struct args *args, const struct settings_values *values, settings_t *s)
{
	char *end = NULL;

	if (values->memory &&
	    (settings_size(values->memory, &s->memory_bytes) < 0 || !s->memory_bytes))
		return args_usage_error(args, "--memory: '%s' is no size", values->memory);
	if (values->cpus) {
		double cpus = strtod(values->cpus, &end);

		if (end == values->cpus || *end || !(cpus >= 0.01 && cpus <= CPUS_MAX))
			return args_usage_error(args, "--cpus: '%s' is not a number of CPUs",
						values->cpus);
		s->cpu_millis = (uint32_t)lround(cpus * 1000);
	}
	if (values->oom_score_adj) {
		long adj = strtol(values->oom_score_adj, &end, 10);

		if (end == values->oom_score_adj || *end || labs(adj) > OOM_SCORE_ADJ_MAX)
			return args_usage_error(args, "--oom-score-adj: '%s' is not -1000 to 1000",
						values->oom_score_adj);
		s->oom_score_adj = (int32_t)adj;
	}
	s->pids = (uint32_t)values->pids;
	return CLI_OK;
}

static int take_all(const struct args *args, const struct arg_list *list, settings_t *s,
		    int (*take)(const struct args *args, settings_t *s, const char *text))
{
	int status = CLI_OK;

	for (size_t i = 0; !status && i < list->n; i++)
		status = take(args, s, list->items[i]);
	return status;
}

static int fill(const struct args *args, const struct settings_values *values, settings_t *s)
{
	int status;

	s->read_only = values->read_only;
	s->privileged = values->privileged;
	s->no_new_privileges = values->no_new_privileges;
	s->own_users = values->own_users;
	if (values->hostname)
		s->hostname = strdup(values->hostname);
	if (!s->hostname)
		return out_of_memory();
	status = set_caps(args, values, s); /* before seccomp, which asks for them */
	if (!status)
		status = set_numbers(args, values, s);
	if (!status)
		status = take_all(args, &values->tmpfs, s, take_tmpfs);
	if (!status)
		status = take_all(args, &values->devices, s, take_device);
	if (!status)
		status = take_all(args, &values->ulimits, s, take_ulimit);
	if (!status)
		status = take_all(args, &values->sysctls, s, take_sysctl);
	return status ? status : take_all(args, &values->security, s, take_security);
}

int settings_message_new(const struct args *args, const struct settings_values *values,
			 settings_t **out)
{
	settings_t *s = malloc(sizeof(*s));
	int status;

	if (!s)
		return out_of_memory();
	protect__agent__settings__init(s);
	status = fill(args, values, s);
	if (status)
		settings_message_free(s);
	else
		*out = s;
	return status;
}
