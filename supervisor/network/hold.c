// SPDX-License-Identifier: Apache-2.0
#include "supervisor/network/hold.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"

static socklen_t make_name(const struct publish *publish, int family, struct sockaddr_storage *out)
{
	struct sockaddr_in ipv4 = {.sin_family = AF_INET, .sin_port = htons(publish->host_port)};
	struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6,
				    .sin6_port = htons(publish->host_port)};

	if (family == AF_INET) {
		memcpy(&ipv4.sin_addr, publish->host.bytes, 4);
		memcpy(out, &ipv4, sizeof(ipv4));
		return sizeof(ipv4);
	}
	memcpy(&ipv6.sin6_addr, publish->host.bytes, 16);
	memcpy(out, &ipv6, sizeof(ipv6));
	return sizeof(ipv6);
}

/*
 * #syscalls network: socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC)
 *	socket(AF_INET, SOCK_DGRAM|SOCK_CLOEXEC) socket(AF_INET6, SOCK_STREAM|SOCK_CLOEXEC)
 *	socket(AF_INET6, SOCK_DGRAM|SOCK_CLOEXEC) bind setsockopt(_, IPPROTO_IPV6, IPV6_V6ONLY)
 *	setsockopt(_, SOL_SOCKET, SO_RCVBUF) close
 */
static int hold_one(const struct publish *publish, int family)
{
	const int yes = 1, little = 0;
	struct sockaddr_storage name = {0};
	socklen_t len = make_name(publish, family, &name);
	_cleanup_(close_fdp) int fd =
		socket(family, (publish->udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes));
	/* Nobody reads what a flow from before the port was published still brings. */
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof(little));
	if (bind(fd, (struct sockaddr *)&name, len) < 0)
		return -errno;
	return steal_fd(&fd);
}

static int describe(int r, const struct publish *publish, struct error *err)
{
	const char *protocol = publish->udp ? "udp" : "tcp";
	char host[ADDRESS_TEXT_SIZE];

	address_format(&publish->host, host);
	if (r == -EADDRINUSE)
		return error_set(err, r, "port %u/%s%s%s of the host is taken", publish->host_port,
				 protocol, host[0] ? " at " : "", host);
	if (r == -EADDRNOTAVAIL)
		return error_set(err, r, "port %u/%s: %s is no address of this host",
				 publish->host_port, protocol, host);
	return error_set_errno(err, r, "port %u/%s cannot be held", publish->host_port, protocol);
}

int hold_ports(struct hold *hold, const struct nic *nic, struct error *err)
{
	*hold = (struct hold){.n = 0};
	for (unsigned i = 0; i < nic->n_publish; i++) {
		const struct publish *publish = &nic->publish[i];
		const int families[] = {nic->ipv4.family, nic->ipv6.family};

		for (unsigned k = 0; k < 2; k++) {
			int fd;

			if (!families[k] ||
			    (publish->host.family && publish->host.family != families[k]))
				continue;
			fd = hold_one(publish, families[k]);
			if (fd < 0) {
				hold_release(hold);
				return describe(fd, publish, err);
			}
			hold->fds[hold->n++] = fd;
		}
	}
	return 0;
}

void hold_release(struct hold *hold)
{
	while (hold->n)
		close_fdp(&hold->fds[--hold->n]);
}
