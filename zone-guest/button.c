// SPDX-License-Identifier: Apache-2.0
#include "zone-guest/button.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/genetlink.h>
#include <linux/netlink.h>

#include "base/cleanup.h"
#include "base/util.h"

#define FAMILY	    "acpi_event"
#define GROUP	    "acpi_mc_group"
#define POWER_CLASS "button/power"
#define ATTR_EVENT  1 /* ACPI_GENL_ATTR_EVENT: the struct begins with the class, of 20 bytes */
#define CLASS_SIZE  20u
#define MESSAGE_MAX 2048u
#define EVENTS_MAX  64
/* As NLMSG_HDRLEN, GENL_HDRLEN, NLA_HDRLEN and so on, which are signed. */
#define PAYLOAD_HEAD (sizeof(struct nlmsghdr) + sizeof(struct genlmsghdr))
#define HEAD	     sizeof(struct nlattr)
#define ALIGN_BYTES  4u
#define TYPE_MASK    0x3fffu

struct span {
	const char *data;
	size_t len;
};

/* The next attribute of *rest, which it is taken from: its type, 0 at the end. */
static unsigned next_attribute(struct span *rest, struct span *value)
{
	struct nlattr attribute;
	size_t step;

	if (rest->len < sizeof(attribute))
		return 0;
	memcpy(&attribute, rest->data, sizeof(attribute));
	if (attribute.nla_len < HEAD || attribute.nla_len > rest->len)
		return 0;
	*value = (struct span){rest->data + HEAD, attribute.nla_len - HEAD};
	step = align_up(attribute.nla_len, ALIGN_BYTES);
	if (step > rest->len)
		step = rest->len;
	rest->data += step;
	rest->len -= step;
	return attribute.nla_type & TYPE_MASK;
}

static bool find_attribute(struct span in, unsigned type, struct span *value)
{
	unsigned found;

	while ((found = next_attribute(&in, value)))
		if (found == type)
			return true;
	return false;
}

/* The attributes of the generic netlink message that came, if it is one. */
static bool receive(int fd, char *room, struct span *attributes)
{
	struct sockaddr_nl from = {.nl_family = AF_NETLINK};
	socklen_t from_len = sizeof(from);
	ssize_t len = recvfrom(fd, room, MESSAGE_MAX, 0, (struct sockaddr *)&from, &from_len);
	struct nlmsghdr header;

	if (len < (ssize_t)PAYLOAD_HEAD || from.nl_pid != 0)
		return false; /* nl_pid 0 is the kernel */
	memcpy(&header, room, sizeof(header));
	if (header.nlmsg_type < NLMSG_MIN_TYPE || header.nlmsg_len < PAYLOAD_HEAD ||
	    header.nlmsg_len > (size_t)len)
		return false;
	*attributes = (struct span){room + PAYLOAD_HEAD, header.nlmsg_len - PAYLOAD_HEAD};
	return true;
}

static int ask_for_family(int fd)
{
	struct {
		struct nlmsghdr netlink;
		struct genlmsghdr generic;
		struct nlattr attribute;
		char name[(sizeof(FAMILY) + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES];
	} request = {
		.netlink = {.nlmsg_len = sizeof(request),
			    .nlmsg_type = GENL_ID_CTRL,
			    .nlmsg_flags = NLM_F_REQUEST},
		.generic = {.cmd = CTRL_CMD_GETFAMILY, .version = 1},
		.attribute = {.nla_len = HEAD + sizeof(FAMILY), .nla_type = CTRL_ATTR_FAMILY_NAME},
		.name = FAMILY,
	};

	return send(fd, &request, sizeof(request), 0) < 0 ? -errno : 0;
}

/* The number of the family's group of events; the kernel answers at once. */
static int find_group(int fd, uint32_t *group)
{
	char room[MESSAGE_MAX];
	struct span family, groups, entry, value;
	int r = ask_for_family(fd);

	if (r < 0)
		return r;
	if (!receive(fd, room, &family) || !find_attribute(family, CTRL_ATTR_MCAST_GROUPS, &groups))
		return -ENOENT;
	while (next_attribute(&groups, &entry)) {
		if (!find_attribute(entry, CTRL_ATTR_MCAST_GRP_NAME, &value) ||
		    value.len != sizeof(GROUP) || memcmp(value.data, GROUP, sizeof(GROUP)) != 0)
			continue;
		if (!find_attribute(entry, CTRL_ATTR_MCAST_GRP_ID, &value) ||
		    value.len != sizeof(*group))
			continue;
		memcpy(group, value.data, sizeof(*group));
		return 0;
	}
	return -ENOENT;
}

int button_open(void)
{
	_cleanup_(close_fdp) int fd =
		socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_GENERIC);
	struct sockaddr_nl address = {.nl_family = AF_NETLINK};
	uint32_t group;
	int r;

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	r = find_group(fd, &group);
	if (r < 0)
		return r;
	if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
		return -errno;
	return steal_fd(&fd);
}

bool button_was_pressed(int fd)
{
	char room[MESSAGE_MAX];
	struct span attributes, event;
	bool pressed = false;

	for (int i = 0; i < EVENTS_MAX && receive(fd, room, &attributes); i++)
		pressed |= find_attribute(attributes, ATTR_EVENT, &event) &&
			   event.len >= CLASS_SIZE &&
			   memcmp(event.data, POWER_CLASS, sizeof(POWER_CLASS)) == 0;
	return pressed;
}
