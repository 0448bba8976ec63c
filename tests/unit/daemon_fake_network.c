// SPDX-License-Identifier: Apache-2.0
/*
 * daemon_fake_network SOCKET LOG IPV4-SUBNET IPV6-SUBNET: protect-network's side of the contract
 * (proto/network.proto) without a network: it answers and notes down, a line a request. Port 9999
 * is always taken. It shows that the daemon keeps its side, nothing else.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "proto/network.pb-c.h"

#define TAKEN_PORT 9999u
#define QUEUES_MAX 8u

static FILE *notes;
static bool is_going_on; /* a list that comes in several packets */

static void note_nic(const Protect__Network__Nic *nic)
{
	fprintf(notes, " %u/%u %s %s %s", nic->slot, nic->index, nic->mac, nic->ipv4, nic->ipv6);
	for (size_t i = 0; i < nic->n_publish; i++)
		fprintf(notes, " %s:%u:%u%s", nic->publish[i]->host_address,
			nic->publish[i]->host_port, nic->publish[i]->zone_port,
			nic->publish[i]->udp ? "/udp" : "");
}

static bool is_taken(const Protect__Network__Nic *nic)
{
	for (size_t i = 0; i < nic->n_publish; i++)
		if (nic->publish[i]->host_port == TAKEN_PORT)
			return true;
	return false;
}

/* Returns whether the request goes on with another packet. */
static bool answer(int client, const Protect__Network__Request *request, char **subnets)
{
	Protect__Network__Reply reply = PROTECT__NETWORK__REPLY__INIT;
	Protect__Network__StatusReply status = PROTECT__NETWORK__STATUS_REPLY__INIT;
	Protect__Network__Attached attached = PROTECT__NETWORK__ATTACHED__INIT;
	char gateway4[] = "10.75.0.1", gateway6[] = "fe80::1", server[] = "192.0.2.53";
	char *gateways[] = {gateway4, gateway6}, *servers[] = {server};
	char taken[] = "port 9999 of this host is taken";
	char ok[] = "ok";
	int fds[QUEUES_MAX];
	unsigned n_fds = 0;
	uint8_t packet[4096];

	if (request->what_case == PROTECT__NETWORK__REQUEST__WHAT_STATUS) {
		status.ipv4_subnet = subnets[0];
		status.ipv6_subnet = subnets[1];
		status.instance = (uint64_t)getpid();
		reply.status = &status;
	} else if (request->what_case == PROTECT__NETWORK__REQUEST__WHAT_ATTACH) {
		fprintf(notes, "attach queues=%u", request->attach->queues);
		note_nic(request->attach->nic);
		fprintf(notes, "\n");
		attached.gateways = gateways;
		attached.n_gateways = 2;
		attached.nameservers = servers;
		attached.n_nameservers = 1;
		attached.mtu = 1400;
		reply.attached = &attached;
		if (is_taken(request->attach->nic)) {
			reply.error = EADDRINUSE;
			reply.text = taken;
		}
		while (!reply.error && n_fds < request->attach->queues && n_fds < QUEUES_MAX)
			fds[n_fds++] = open("/dev/null", O_RDWR | O_CLOEXEC);
	} else if (request->what_case == PROTECT__NETWORK__REQUEST__WHAT_DETACH) {
		fprintf(notes, "detach %u/%u\n", request->detach->slot, request->detach->index);
	} else if (request->what_case == PROTECT__NETWORK__REQUEST__WHAT_RECONCILE) {
		fprintf(notes, "%s", is_going_on ? "" : "reconcile");
		is_going_on = request->reconcile->more;
		for (size_t i = 0; i < request->reconcile->n_nics; i++)
			note_nic(request->reconcile->nics[i]);
		if (request->reconcile->more)
			return true;
		fprintf(notes, "\n");
	}
	if (!*reply.text)
		reply.text = ok;
	fflush(notes);
	io_send_fds(client, packet, protect__network__reply__pack(&reply, packet), fds, n_fds, 0);
	while (n_fds)
		close(fds[--n_fds]);
	return false;
}

int main(int argc, char **argv)
{
	_cleanup_(close_fdp) int listener =
		argc == 5 ? io_unix_listen(argv[1], SOCK_SEQPACKET, 0666) : -EINVAL;
	static uint8_t packet[65536];

	notes = argc == 5 ? fopen(argv[2], "ae") : NULL;
	while (listener >= 0 && notes) {
		_cleanup_(close_fdp) int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		bool more = client >= 0;

		while (more) {
			ssize_t n = recv(client, packet, sizeof(packet), 0);
			Protect__Network__Request *request =
				n > 0 ? protect__network__request__unpack(NULL, (size_t)n, packet)
				      : NULL;

			more = request && answer(client, request, argv + 3);
			if (request)
				protect__network__request__free_unpacked(request, NULL);
		}
	}
	return EXIT_FAILURE;
}
