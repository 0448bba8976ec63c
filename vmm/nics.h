// SPDX-License-Identifier: Apache-2.0
/*
 * The NICs of a zone, known by name: virtio-net functions on the PCI bus, each on taps that were
 * handed over, those of the spec and those that come and go while it runs. Loop thread.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "vmm/slots.h"
#include "runner/spec.h"

#define NICS_MAX SPEC_NICS_MAX

struct nic {
	struct slot slot;
	char name[SPEC_NIC_NAME_MAX + 1]; /* "": free */
	uint8_t mac[6];
};

struct nics {
	struct slots *slots;
	struct nic nics[NICS_MAX];
};

/* slots is borrowed. */
void nics_init(struct nics *nics, struct slots *slots);

/*
 * Adds a NIC; its descriptors are borrowed. hot: the guest runs, tell it. Returns 0, -EEXIST (name
 * or address taken), -EINVAL, -ENOSPC (no slot), or another negative errno, with *err.
 */
int nics_attach(struct nics *nics, const struct spec_nic *spec, bool hot, struct error *err);

/* Tells the guest that the link is up or down; frames go on as they come, for the tap's other end
 * is whose link it is. Returns 0 or -ENOENT with *err. */
int nics_set_link(struct nics *nics, const char *name, bool up, struct error *err);

/* The place of the NIC of this name, to detach it; NULL: there is none. */
struct slot *nics_slot(struct nics *nics, const char *name);
