// SPDX-License-Identifier: Apache-2.0
#include "supervisor/network/state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/util.h"
#include "supervisor/network/links.h"

#define STATE_BYTES_MAX (64u * 1024 * 1024)

/* A NIC as the schema has it, with room for its texts. */
struct written {
	Protect__Network__Nic nic;
	Protect__Network__Publish publish[NIC_PUBLISH_MAX], *pointers[NIC_PUBLISH_MAX];
	char uuid[UUID_TEXT_SIZE], mac[MAC_TEXT_SIZE];
	char ipv4[ADDRESS_TEXT_SIZE], ipv6[ADDRESS_TEXT_SIZE];
	char hosts[NIC_PUBLISH_MAX][ADDRESS_TEXT_SIZE];
};

static void write_nic(struct written *out, const struct nic *nic)
{
	protect__network__nic__init(&out->nic);
	uuid_format(&nic->zone, out->uuid);
	out->nic.zone_uuid = out->uuid;
	out->nic.slot = nic->slot;
	out->nic.index = nic->index;
	mac_format(nic->mac, out->mac);
	address_format(&nic->ipv4, out->ipv4);
	address_format(&nic->ipv6, out->ipv6);
	out->nic.mac = out->mac;
	out->nic.ipv4 = out->ipv4;
	out->nic.ipv6 = out->ipv6;
	out->nic.mtu = nic->mtu;
	for (unsigned i = 0; i < nic->n_publish; i++) {
		Protect__Network__Publish *publish = &out->publish[i];

		protect__network__publish__init(publish);
		address_format(&nic->publish[i].host, out->hosts[i]);
		publish->host_address = out->hosts[i];
		publish->host_port = nic->publish[i].host_port;
		publish->zone_port = nic->publish[i].zone_port;
		publish->udp = nic->publish[i].udp;
		out->pointers[i] = publish;
	}
	out->nic.publish = out->pointers;
	out->nic.n_publish = nic->n_publish;
}

/* A list is the concatenation of lists of one: that is how the encoding adds up. */
static int append(FILE *out, const struct nic *nic, struct written *room)
{
	Protect__Network__Reconcile one = PROTECT__NETWORK__RECONCILE__INIT;
	Protect__Network__Nic *pointer = &room->nic;
	_cleanup_(freep) uint8_t *packed = NULL;
	size_t len;

	write_nic(room, nic);
	one.nics = &pointer;
	one.n_nics = 1;
	len = protect__network__reconcile__get_packed_size(&one);
	packed = malloc(len);
	if (!packed)
		return -ENOMEM;
	protect__network__reconcile__pack(&one, packed);
	return fwrite(packed, 1, len, out) == len ? 0 : -ENOMEM;
}

/* #syscalls network: openat write fsync renameat unlinkat getpid close */
int state_save(const char *path, const struct link *first)
{
	_cleanup_(freep) struct written *room = malloc(sizeof(*room));
	_cleanup_(freep) char *data = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&data, &len);
	int r = out && room ? 0 : -ENOMEM;

	for (const struct link *link = first; r == 0 && link; link = link->next)
		r = append(out, &link->nic, room);
	if (out && fclose(out) != 0)
		r = -ENOMEM;
	return r < 0 ? r : io_replace_file(AT_FDCWD, path, data, len, 0600);
}

int state_check(Protect__Network__Nic *const *requests, size_t n_requests, bool skip_bad,
		const struct settings *settings, struct nic **nics, unsigned *n, struct error *err)
{
	_cleanup_(freep) struct nic *list = NULL;
	size_t size;

	*n = 0;
	if (!checked_mul(n_requests + 1, sizeof(*list), &size) || !(list = malloc(size)))
		return error_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < n_requests; i++) {
		struct error reason = ERROR_NULL;
		int r = nic_check(requests[i], settings, &list[*n], &reason);

		if (r == 0)
			(*n)++;
		else if (skip_bad)
			log_warning("err=\"%s\" msg=\"link left out\"", reason.text);
		else
			return error_set(err, r, "%s", reason.text);
	}
	*nics = steal_ptr(&list);
	return 0;
}

int state_load(const char *path, const struct settings *settings, struct nic **nics, unsigned *n)
{
	Protect__Network__Reconcile *list;
	_cleanup_(freep) char *data = NULL;
	size_t len;
	int r = io_read_file(AT_FDCWD, path, STATE_BYTES_MAX, &data, &len);

	*nics = NULL;
	*n = 0;
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	list = protect__network__reconcile__unpack(NULL, len, (const uint8_t *)data);
	if (!list)
		return -EBADMSG;
	r = state_check(list->nics, list->n_nics, true, settings, nics, n, NULL);
	protect__network__reconcile__free_unpacked(list, NULL);
	return r;
}
