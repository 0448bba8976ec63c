// SPDX-License-Identifier: Apache-2.0
#include "xen-compat/channel.h"

#include <errno.h>
#include <sys/mman.h>

#include "xen-compat/store.h"

#define REFERENCE_NODE VCHAN_IDM_NODE "/ring-ref"
#define PORT_NODE      VCHAN_IDM_NODE "/event-channel"
#define PORT_MAX       131071u /* of the FIFO ABI, the larger one */

static int failed(void)
{
	return errno ? -errno : -EIO;
}

static int map_rings(struct idm_channel *channel, struct xen *xen, uint32_t domid)
{
	struct vchan_layout layout;
	int r = vchan_read_layout(channel->page, &layout);

	if (r < 0)
		return r;
	channel->left = xengnttab_map_domain_grant_refs(xen->grants, layout.n_left, domid,
							layout.grants, PROT_READ | PROT_WRITE);
	if (!channel->left)
		return failed();
	channel->n_left = layout.n_left;
	channel->right = xengnttab_map_domain_grant_refs(xen->grants, layout.n_right, domid,
							 layout.grants + layout.n_left,
							 PROT_READ | PROT_WRITE);
	if (!channel->right)
		return failed();
	channel->n_right = layout.n_right;
	vchan_init_client(&channel->vchan, channel->page, &layout, channel->left, channel->right);
	return 0;
}

int channel_open(struct idm_channel *channel, struct xen *xen, struct events *events,
		 uint32_t domid, void (*fired)(void *user), void *user)
{
	uint64_t reference = 0, port = 0;
	int r = store_get_number(xen, domid, REFERENCE_NODE, UINT32_MAX, &reference);

	*channel = (struct idm_channel){.page = NULL};
	if (r == 0)
		r = store_get_number(xen, domid, PORT_NODE, PORT_MAX, &port);
	if (r < 0)
		return r;
	channel->page = xengnttab_map_grant_ref(xen->grants, domid, (uint32_t)reference,
						PROT_READ | PROT_WRITE);
	if (!channel->page)
		return failed();
	r = events_bind(events, domid, (evtchn_port_t)port, fired, user);
	if (r > 0) {
		channel->port = (evtchn_port_t)r;
		r = map_rings(channel, xen, domid);
	}
	if (r < 0)
		channel_close(channel, xen, events);
	else
		events_notify(events, channel->port); /* the agent waits for us */
	return r;
}

void channel_close(struct idm_channel *channel, struct xen *xen, struct events *events)
{
	if (channel->vchan.page) {
		vchan_leave(&channel->vchan);
		events_notify(events, channel->port);
	}
	if (channel->port)
		events_unbind(events, channel->port);
	if (channel->left)
		xengnttab_unmap(xen->grants, channel->left, channel->n_left);
	if (channel->right)
		xengnttab_unmap(xen->grants, channel->right, channel->n_right);
	if (channel->page)
		xengnttab_unmap(xen->grants, channel->page, 1);
	*channel = (struct idm_channel){.page = NULL};
}
