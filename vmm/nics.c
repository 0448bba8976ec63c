// SPDX-License-Identifier: Apache-2.0
#include "vmm/nics.h"

#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "virtio/net.h"

void nics_init(struct nics *nics, struct slots *slots)
{
	memset(nics, 0, sizeof(*nics));
	nics->slots = slots;
}

static struct nic *find(struct nics *nics, const char *name)
{
	for (unsigned i = 0; i < NICS_MAX; i++)
		if (strcmp(nics->nics[i].name, name) == 0)
			return &nics->nics[i];
	return NULL;
}

static bool has_mac(const struct nics *nics, const uint8_t mac[6])
{
	for (unsigned i = 0; i < NICS_MAX; i++)
		if (nics->nics[i].name[0] && memcmp(nics->nics[i].mac, mac, 6) == 0)
			return true;
	return false;
}

static void gone(struct slot *slot)
{
	container_of(slot, struct nic, slot)->name[0] = '\0';
}

static int check(struct nics *nics, const struct spec_nic *spec, struct error *err)
{
	if (!spec_is_nic_name(spec->name))
		return error_set(err, -EINVAL, "the name of a NIC is 1 to %d printable characters",
				 SPEC_NIC_NAME_MAX);
	if (!spec_is_mac(spec->mac))
		return error_set(err, -EINVAL, "NIC '%s' has no unicast address", spec->name);
	if (spec->mtu && spec->mtu < SPEC_MTU_MIN)
		return error_set(err, -EINVAL, "the MTU of NIC '%s' is below %d", spec->name,
				 SPEC_MTU_MIN);
	if (!spec_is_rate(&spec->rx) || !spec_is_rate(&spec->tx))
		return error_set(err, -EINVAL, "a rate of NIC '%s' is above 2^40", spec->name);
	if (find(nics, spec->name))
		return error_set(err, -EEXIST, "a NIC '%s' is attached already", spec->name);
	if (has_mac(nics, spec->mac))
		return error_set(err, -EEXIST, "a NIC with the address of '%s' is attached already",
				 spec->name);
	return 0;
}

static int plug(struct nics *nics, struct nic *nic, const struct spec_nic *spec, bool hot)
{
	struct virtio_net_config config = {.n_pairs = spec->n_taps,
					   .mtu = spec->mtu,
					   .queue_size = spec->queue_size,
					   .rx = spec->rx,
					   .tx = spec->tx};
	struct virtio_dev *dev;
	int r;

	memcpy(config.taps, spec->taps, sizeof(config.taps));
	memcpy(config.mac, spec->mac, sizeof(config.mac));
	r = virtio_net_new(&dev, nics->slots->loop, &config);
	return r < 0 ? r : slot_plug(nics->slots, &nic->slot, dev, hot, gone);
}

int nics_attach(struct nics *nics, const struct spec_nic *spec, bool hot, struct error *err)
{
	struct nic *nic;
	int r = check(nics, spec, err);

	if (r < 0)
		return r;
	nic = find(nics, "");
	if (!nic)
		return error_set(err, -ENOSPC, "the zone has %d NICs already", NICS_MAX);
	r = plug(nics, nic, spec, hot);
	if (r < 0)
		return error_set_errno(err, r, "cannot attach NIC '%s'", spec->name);
	memcpy(nic->mac, spec->mac, sizeof(nic->mac));
	memcpy(nic->name, spec->name, strlen(spec->name) + 1);
	return 0;
}

int nics_set_link(struct nics *nics, const char *name, bool up, struct error *err)
{
	struct nic *nic = name[0] ? find(nics, name) : NULL;

	if (!nic || !nic->slot.dev)
		return error_set(err, -ENOENT, "the zone has no NIC '%s'", name);
	virtio_net_set_link(nic->slot.dev, up);
	return 0;
}

struct slot *nics_slot(struct nics *nics, const char *name)
{
	struct nic *nic = name[0] ? find(nics, name) : NULL;

	return nic ? &nic->slot : NULL;
}
