// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/spec.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

static const char cmdline[] = "console=hvc0 quiet panic=-1 reboot=acpi tsc=reliable no_timer_check "
			      "8250.nr_uarts=0 cryptomgr.notests random.trust_cpu=on";

char *spec_cmdline(const char *extra)
{
	char *line;

	if (asprintf(&line, "%s%s%s", cmdline, extra && *extra ? " " : "", extra ? extra : "") < 0)
		return NULL;
	return line;
}

static json_t *file(int fd)
{
	return json_pack("{s:i}", "fd", fd);
}

static json_t *disks(const struct spec *spec)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < spec->n_disks; i++)
		json_array_append_new(list,
				      json_pack("{s:o, s:b, s:s}", "file", file(spec->disks[i].fd),
						"readonly", 1, "serial", spec->disks[i].serial));
	return list;
}

static json_t *nics(const struct spec_nic *nic)
{
	json_t *taps = json_array(), *value;

	for (unsigned i = 0; i < nic->n_fds; i++)
		json_array_append_new(taps, file(nic->first_fd + (int)i));
	value = json_pack("{s:s, s:s, s:o}", "name", "eth0", "mac", nic->mac, "file", taps);
	if (value && nic->mtu)
		json_object_set_new(value, "mtu", json_integer(nic->mtu));
	return json_pack("[o]", value);
}

static char *to_text(const struct spec *spec)
{
	json_t *root =
		json_pack("{s:s, s:s, s:I, s:I, s:o, s:o, s:s, s:o, s:o, s:o}", "uuid", spec->uuid,
			  "name", spec->name, "memory_mib", (json_int_t)spec->memory_mib, "vcpus",
			  (json_int_t)spec->vcpus, "kernel", file(spec->kernel_fd), "initrd",
			  file(spec->initrd_fd), "cmdline", spec->cmdline, "disks", disks(spec),
			  "socket", file(spec->socket_fd), "exit", file(spec->exit_fd));
	char *text;

	/* Only where it says something: a runner of before the targets takes all other specs. */
	if (root && spec->max_memory_mib > spec->memory_mib)
		json_object_set_new(root, "max_memory_mib",
				    json_integer((json_int_t)spec->max_memory_mib));
	if (root && spec->max_vcpus > spec->vcpus)
		json_object_set_new(root, "max_vcpus", json_integer(spec->max_vcpus));
	if (root && spec->backend)
		json_object_set_new(root, "backend", json_string(spec->backend));
	if (root && spec->nic.n_fds)
		json_object_set_new(root, "nics", nics(&spec->nic));
	text = root ? json_dumps(root, JSON_COMPACT) : NULL;

	json_decref(root);
	return text;
}

/* #syscalls daemon: memfd_create write lseek close */
int spec_write(const struct spec *spec, struct error *err)
{
	_cleanup_(freep) char *text = to_text(spec);
	_cleanup_(close_fdp) int fd = -1;
	int r;

	if (!text)
		return error_set(err, -EINVAL, "no spec can be written for zone '%s'", spec->name);
	fd = memfd_create("zone-spec", MFD_CLOEXEC);
	if (fd < 0)
		return error_set_errno(err, -errno, "memfd for the zone's spec");
	r = io_write_full(fd, text, strlen(text));
	if (r < 0)
		return error_set_errno(err, r, "the zone's spec");
	if (lseek(fd, 0, SEEK_SET) < 0)
		return error_set_errno(err, -errno, "the zone's spec");
	return steal_fd(&fd);
}
