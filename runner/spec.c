// SPDX-License-Identifier: Apache-2.0
#include "runner/spec.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "runner/spec_value.h"

static int parse_uuid(json_t *value, struct zone_spec *spec, struct error *err)
{
	const char *text = json_string_value(value);

	if (!text || uuid_parse(text, &spec->uuid) < 0)
		return error_set(err, -EINVAL, "uuid must be a UUID");
	return 0;
}

static int parse_memory(const char *key, json_t *value, uint64_t *mib, struct error *err)
{
	return spec_number(value, key, SPEC_MEMORY_MIB_MIN, SPEC_MEMORY_MIB_MAX, mib, err);
}

static int parse_backend(json_t *value, struct zone_spec *spec, struct error *err)
{
	static const char *const names[] = {
		[SPEC_BACKEND_KVM] = "kvm", [SPEC_BACKEND_PV] = "pv", [SPEC_BACKEND_PVH] = "pvh"};
	const char *text = json_string_value(value);

	for (unsigned i = SPEC_BACKEND_KVM; text && i < ARRAY_SIZE(names); i++)
		if (strcmp(names[i], text) == 0) {
			spec->backend = (enum spec_backend)i;
			return 0;
		}
	return error_set(err, -EINVAL, "backend must be kvm, pv or pvh");
}

static int parse_machine(const char *key, json_t *value, struct zone_spec *spec, struct error *err)
{
	if (strcmp(key, "uuid") == 0)
		return parse_uuid(value, spec, err);
	if (strcmp(key, "backend") == 0)
		return parse_backend(value, spec, err);
	if (strcmp(key, "name") == 0)
		return spec_text(value, key, spec->name, sizeof(spec->name), err);
	if (strcmp(key, "cmdline") == 0)
		return spec_text(value, key, spec->cmdline, sizeof(spec->cmdline), err);
	if (strcmp(key, "memory_mib") == 0)
		return parse_memory(key, value, &spec->memory_mib, err);
	if (strcmp(key, "max_memory_mib") == 0)
		return parse_memory(key, value, &spec->max_memory_mib, err);
	if (strcmp(key, "huge_pages") == 0)
		return spec_bool(value, key, &spec->huge_pages, err);
	if (strcmp(key, "balloon") == 0)
		return spec_bool(value, key, &spec->balloon, err);
	if (strcmp(key, "vcpus") == 0)
		return spec_unsigned(value, key, 1, SPEC_VCPUS_MAX, &spec->vcpus, err);
	if (strcmp(key, "max_vcpus") == 0)
		return spec_unsigned(value, key, 1, SPEC_VCPUS_MAX, &spec->max_vcpus, err);
	return error_set(err, -EINVAL, "unknown member '%s'; docs/zone-spec.md lists them", key);
}

static int parse_member(const char *key, json_t *value, struct zone_spec *spec, struct error *err)
{
	if (strcmp(key, "kernel") == 0)
		return spec_file(spec, value, key, SPEC_FILE_READ, &spec->kernel_fd, err);
	if (strcmp(key, "initrd") == 0)
		return spec_file(spec, value, key, SPEC_FILE_READ, &spec->initrd_fd, err);
	if (strcmp(key, "socket") == 0)
		return spec_file(spec, value, key, SPEC_FILE_SOCKET, &spec->socket_fd, err);
	if (strcmp(key, "exit") == 0)
		return spec_file(spec, value, key, SPEC_FILE_WRITE, &spec->exit_fd, err);
	if (strcmp(key, "console") == 0)
		return spec_file(spec, value, key, SPEC_FILE_WRITE, &spec->console_fd, err);
	if (strcmp(key, "disks") == 0)
		return spec_disks(value, spec, err);
	if (strcmp(key, "nics") == 0)
		return spec_nics(value, spec, err);
	return parse_machine(key, value, spec, err);
}

/* What several members say together. */
static int finish(struct zone_spec *spec, struct error *err)
{
	if (spec->kernel_fd < 0)
		return error_set(err, -EINVAL, "a kernel is missing");
	if (!spec->max_memory_mib)
		spec->max_memory_mib = spec->memory_mib;
	if (!spec->max_vcpus)
		spec->max_vcpus = spec->vcpus;
	if (spec->memory_mib > spec->max_memory_mib)
		return error_set(err, -EINVAL, "memory_mib is more than max_memory_mib");
	if (spec->vcpus > spec->max_vcpus)
		return error_set(err, -EINVAL, "vcpus is more than max_vcpus");
	return spec_finish_nics(spec, err);
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
				   .balloon = true,
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
	if (r == 0)
		r = finish(spec, err);
	spec_close_handed(spec);
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
	for (unsigned i = 0; i < spec->n_nics; i++)
		for (unsigned j = 0; j < spec->nics[i].n_taps; j++)
			close_fdp(&spec->nics[i].taps[j]);
}
