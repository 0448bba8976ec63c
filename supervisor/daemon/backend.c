// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/util.h"

#define KVM_DEVICE   "/dev/kvm"
#define XEN_DEVICE   "/dev/xen/privcmd"
#define CAPABILITIES "/sys/hypervisor/properties/capabilities"

static const struct {
	const char *name;
	const char *device;
	const char *capability; /* of Xen */
} backends[BACKEND_COUNT] = {
	[BACKEND_KVM] = {"kvm", KVM_DEVICE, NULL},
	[BACKEND_PV] = {"pv", XEN_DEVICE, "xen-3.0-x86_64"},
	[BACKEND_PVH] = {"pvh", XEN_DEVICE, "hvm-3.0-x86_64"},
};

/* Most wanted first. */
static const enum backend automatic[] = {BACKEND_KVM, BACKEND_PV, BACKEND_PVH};

const char *backend_name(enum backend backend)
{
	return backends[backend].name;
}

bool backend_is_xen(enum backend backend)
{
	return backend != BACKEND_KVM;
}

/* #syscalls daemon: access openat read newfstatat(_, _, _, AT_EMPTY_PATH) close */
bool backend_is_here(enum backend backend)
{
	_cleanup_(freep) char *text = NULL;
	size_t len;

	if (access(backends[backend].device, F_OK) < 0)
		return false;
	if (!backends[backend].capability)
		return true;
	return io_read_file(AT_FDCWD, CAPABILITIES, 1024, &text, &len) == 0 &&
	       memmem(text, len, backends[backend].capability,
		      strlen(backends[backend].capability));
}

static int choose_automatically(enum backend *backend)
{
	*backend = BACKEND_KVM; /* whose runner says what is missing */
	for (unsigned i = 0; i < ARRAY_SIZE(automatic); i++)
		if (backend_is_here(automatic[i])) {
			*backend = automatic[i];
			break;
		}
	return 0;
}

int backend_choose(const char *name, enum backend *backend, struct error *err)
{
	if (!*name || strcmp(name, "auto") == 0)
		return choose_automatically(backend);
	for (unsigned i = 0; i < BACKEND_COUNT; i++) {
		if (strcmp(name, backends[i].name) != 0)
			continue;
		*backend = (enum backend)i;
		if (backend_is_here(*backend))
			return 0;
		return error_set(err, -ENODEV,
				 "this host has no %s (%s); 'protect host status' says what it "
				 "has, or leave --virt-backend out",
				 backend_is_xen(*backend) ? "Xen for that" : "KVM",
				 backends[i].device);
	}
	return error_set(err, -EINVAL, "'%.32s' is no backend; there are auto, kvm, pv, pvh", name);
}
