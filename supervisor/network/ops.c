// SPDX-License-Identifier: Apache-2.0
#include "supervisor/network/ops.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "supervisor/network/state.h"
#include "supervisor/network/sysctl.h"

#define LIST_MAX ((size_t)(NIC_SLOT_MAX + 1) * 2)

void answer_clear(struct answer *answer)
{
	while (answer->n_fds)
		close_fdp(&answer->fds[--answer->n_fds]);
	free(answer->packet);
	answer->packet = NULL;
}

void list_clear(struct list *list)
{
	for (size_t i = 0; i < list->n; i++)
		protect__network__nic__free_unpacked(list->nics[i], NULL);
	free(list->nics);
	*list = (struct list){.nics = NULL};
}

static void pack(struct answer *answer, const Protect__Network__Reply *reply)
{
	size_t len = protect__network__reply__get_packed_size(reply);

	answer->packet = malloc(len + 2);
	if (!answer->packet)
		return;
	protect__network__reply__pack(reply, answer->packet);
	/* An empty packet would look like the end of the connection: "error = 0" in full says the
	 * same. */
	if (len == 0) {
		answer->packet[len++] = 1 << 3;
		answer->packet[len++] = 0;
	}
	answer->len = len;
}

static int attach(struct ops *ops, const Protect__Network__Attach *request, struct answer *answer,
		  struct error *err)
{
	struct nic nic;
	int r;

	if (!request->nic)
		return error_set(err, -EINVAL, "a link without a NIC");
	r = nic_check(request->nic, ops->links->settings, &nic, err);
	if (r == 0)
		r = links_attach(ops->links, &nic, request->queues, answer->fds, err);
	if (r < 0)
		return r;
	answer->n_fds = request->queues;
	answer->slot = nic.slot;
	answer->index = nic.index;
	log_info("link=%s queues=%u ports=%u msg=\"made\"", nic.name, request->queues,
		 nic.n_publish);
	return 0;
}

/* What the guest is told of a link that was made. */
static void pack_attached(struct ops *ops, const Protect__Network__Nic *nic, struct answer *answer)
{
	const struct settings *settings = ops->links->settings;
	Protect__Network__Reply reply = PROTECT__NETWORK__REPLY__INIT;
	Protect__Network__Attached attached = PROTECT__NETWORK__ATTACHED__INIT;
	char gateway[ADDRESS_TEXT_SIZE], router[] = "fe80::1", name[IF_NAMESIZE];
	char servers[SETTINGS_NAMESERVERS_MAX][ADDRESS_TEXT_SIZE];
	char *gateways[2], *nameservers[SETTINGS_NAMESERVERS_MAX];
	struct address address;

	reply.attached = &attached;
	nic_name(nic->slot, nic->index, name, NULL);
	attached.ifname = name;
	attached.mtu = nic->mtu ? nic->mtu : settings->mtu;
	attached.gateways = gateways;
	if (*nic->ipv4) {
		subnet_gateway(&settings->ipv4, &address);
		address_format(&address, gateway);
		gateways[attached.n_gateways++] = gateway;
	}
	if (*nic->ipv6)
		gateways[attached.n_gateways++] = router;
	attached.nameservers = nameservers;
	for (unsigned i = 0; i < settings->n_nameservers; i++) {
		address_format(&settings->nameservers[i], servers[i]);
		nameservers[attached.n_nameservers++] = servers[i];
	}
	pack(answer, &reply);
}

static void pack_status(struct ops *ops, struct answer *answer)
{
	const struct settings *settings = ops->links->settings;
	Protect__Network__Reply reply = PROTECT__NETWORK__REPLY__INIT;
	Protect__Network__StatusReply status = PROTECT__NETWORK__STATUS_REPLY__INIT;
	char ipv4[ADDRESS_TEXT_SIZE], ipv6[ADDRESS_TEXT_SIZE];
	char no_ipv6[] = "this host has no IPv6: zones have IPv4 only";
	char no_servers[] =
		"no nameserver that zones can reach was found: give one with nameserver "
		"in the section [network] of protect.conf";
	char table[64], dropper[192];
	char *warnings[3];

	subnet_format(&settings->ipv4, ipv4);
	subnet_format(&settings->ipv6, ipv6);
	status.ipv4_subnet = ipv4;
	status.ipv6_subnet = ipv6;
	status.links = ops->links->n;
	status.instance = ops->instance;
	status.warnings = warnings;
	if (!sysctl_has_ipv6())
		warnings[status.n_warnings++] = no_ipv6;
	if (!settings->n_nameservers)
		warnings[status.n_warnings++] = no_servers;
	if (nft_finds_dropper(ops->links->nft, table, sizeof(table))) {
		snprintf(
			dropper, sizeof(dropper),
			"the table '%s' of nftables drops forwarded packets that it does not name: "
			"allow those from and to pz* there, or zones reach nobody",
			table);
		warnings[status.n_warnings++] = dropper;
	}
	reply.status = &status;
	pack(answer, &reply);
}

/* Takes the NICs of a piece out of it. */
static int gather(struct list *list, Protect__Network__Reconcile *piece, struct error *err)
{
	Protect__Network__Nic **grown;

	if (piece->n_nics > LIST_MAX - list->n)
		return error_set(err, -E2BIG, "more than %zu links", LIST_MAX);
	grown = realloc(list->nics, (list->n + piece->n_nics + 1) * sizeof(*grown));
	if (!grown)
		return error_set(err, -ENOMEM, "out of memory");
	list->nics = grown;
	if (piece->n_nics)
		memcpy(grown + list->n, piece->nics, piece->n_nics * sizeof(*grown));
	list->n += piece->n_nics;
	piece->n_nics = 0;
	return 0;
}

static int reconcile(struct ops *ops, struct list *list, struct error *err)
{
	_cleanup_(freep) struct nic *nics = NULL;
	unsigned n = 0;
	int r = state_check(list->nics, list->n, false, ops->links->settings, &nics, &n, err);

	if (r == 0)
		r = links_reconcile(ops->links, nics, n, err);
	if (r == 0)
		log_info("links=%u of=%u msg=\"reconciled\"", ops->links->n, n);
	return r;
}

static void pack_error(struct answer *answer, int r, struct error *err)
{
	Protect__Network__Reply reply = PROTECT__NETWORK__REPLY__INIT;

	reply.error = (uint32_t)-r;
	reply.text = err->text;
	pack(answer, &reply);
}

static int serve(struct ops *ops, struct list *list, Protect__Network__Request *request,
		 struct answer *answer, struct error *err)
{
	int r;

	switch (request->what_case) {
	case PROTECT__NETWORK__REQUEST__WHAT_ATTACH:
		r = attach(ops, request->attach, answer, err);
		if (r == 0)
			pack_attached(ops, request->attach->nic, answer);
		return r;
	case PROTECT__NETWORK__REQUEST__WHAT_DETACH:
		return links_detach(ops->links, request->detach->slot, request->detach->index, err);
	case PROTECT__NETWORK__REQUEST__WHAT_RECONCILE:
		r = gather(list, request->reconcile, err);
		if (r < 0 || request->reconcile->more)
			return r;
		return reconcile(ops, list, err);
	case PROTECT__NETWORK__REQUEST__WHAT_STATUS:
		pack_status(ops, answer);
		return 0;
	default:
		return error_set(err, -EINVAL, "protect-network does not know this request");
	}
}

bool ops_serve(struct ops *ops, struct list *list, const void *packet, size_t len,
	       struct answer *answer)
{
	Protect__Network__Request *request = protect__network__request__unpack(NULL, len, packet);
	struct error err = ERROR_NULL;
	bool is_piece;
	int r;

	*answer = (struct answer){.packet = NULL};
	r = request ? serve(ops, list, request, answer, &err)
		    : error_set(&err, -EPROTO, "the request cannot be read");
	is_piece = r == 0 && request->what_case == PROTECT__NETWORK__REQUEST__WHAT_RECONCILE &&
		   request->reconcile->more;
	if (request)
		protect__network__request__free_unpacked(request, NULL);
	if (is_piece)
		return false;
	if (r < 0)
		log_warning("err=\"%s\" msg=\"refused\"", err.text);
	if (!answer->packet)
		pack_error(answer, r, &err);
	return true;
}

void ops_undo(struct ops *ops, const struct answer *answer)
{
	if (answer->n_fds) {
		log_warning("slot=%u index=%u msg=\"nobody took the link, removed\"", answer->slot,
			    answer->index);
		links_detach(ops->links, answer->slot, answer->index, NULL);
	}
}
