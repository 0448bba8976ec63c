// SPDX-License-Identifier: Apache-2.0
#include "vmm/machine_devices.h"

#include "base/runner.h"
#include "base/util.h"
#include "virtio/balloon.h"
#include "virtio/console.h"
#include "virtio/rng.h"
#include "virtio/vsock.h"
#include "vmm/machine.h"

#define GUEST_CID 3 /* the first that is not reserved; ours alone, no host kernel knows it */

enum { SLOT_CONSOLE = 1, SLOT_VSOCK, SLOT_RNG, SLOT_BALLOON, SLOT_MEMDEV };

static int add_basic_devices(struct machine *machine)
{
	struct virtio_dev *console, *rng;
	int r;

	r = virtio_console_new(&console, console_hub_port_write, &machine->console);
	if (r == 0)
		r = slots_plug_fixed(&machine->slots, SLOT_CONSOLE, console);
	if (r == 0)
		r = virtio_vsock_new(&machine->vsock, machine->loop, GUEST_CID);
	if (r == 0)
		r = slots_plug_fixed(&machine->slots, SLOT_VSOCK, machine->vsock);
	if (r == 0)
		r = virtio_vsock_listen(machine->vsock, IDM_PORT);
	if (r == 0)
		r = virtio_rng_new(&rng, machine->loop);
	if (r == 0)
		r = slots_plug_fixed(&machine->slots, SLOT_RNG, rng);
	return r;
}

/* Balloon and virtio-mem, and what turns a target into both. */
static int add_memory_devices(struct machine *machine, const struct zone_spec *spec,
			      struct error *err)
{
	struct virtio_dev *balloon = NULL, *memdev = NULL;
	int r = 0;

	if (spec->balloon) {
		r = virtio_balloon_new(&balloon, guest_memory_discard, &machine->memory);
		if (r == 0)
			r = slots_plug_fixed(&machine->slots, SLOT_BALLOON, balloon);
	}
	if (r == 0 && machine->memory.hotplug_len) {
		r = hotplug_memory_new(&memdev, &machine->hotplug_memory, &machine->memory,
				       machine->kvm.vm, &machine->slots, err);
		if (r == 0)
			r = slots_plug_fixed(&machine->slots, SLOT_MEMDEV, memdev);
	}
	if (r == 0)
		resources_init(&machine->resources, spec->memory_mib * MIB,
			       spec->max_memory_mib * MIB, balloon, memdev);
	return r;
}

int machine_add_devices(struct machine *machine, const struct zone_spec *spec, struct error *err)
{
	int r = add_basic_devices(machine);

	if (r == 0)
		r = add_memory_devices(machine, spec, err);
	if (r < 0)
		return error_set_errno(err, r, "cannot make the zone's devices");
	for (unsigned i = 0; i < spec->n_disks && r == 0; i++)
		r = disks_attach(&machine->disks, &spec->disks[i], false, err);
	for (unsigned i = 0; i < spec->n_nics && r == 0; i++)
		r = nics_attach(&machine->nics, &spec->nics[i], false, err);
	return r;
}
