// SPDX-License-Identifier: Apache-2.0
/*
 * A small world for protect-network: the host is a network namespace of the test's own, with the
 * real service in it, under a user without privilege but the service's two capabilities; a "public"
 * namespace behind a veth knows no way back to zones. A zone's guest is a namespace too: its tap is
 * joined to the service's, frame by frame, by a thread, so that it is a real Linux that asks for
 * neighbours and speaks TCP; what no honest guest would send is written to the service's tap as it
 * is. Needs root. Not a packet leaves these namespaces.
 */
#pragma once

#include "harness.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/network.pb-c.h"

#define HOST_IPV4    "192.0.2.1" /* of the host to the public */
#define HOST_IPV6    "2001:db8::1"
#define PUBLIC_IPV4  "192.0.2.2"
#define PUBLIC_IPV6  "2001:db8::2"
#define GATEWAY_IPV4 "10.75.0.1"
#define GATEWAY_IPV6 "fdd4:1476:6c7e::1"

enum place { HOST, PUBLIC, ZONE_A, ZONE_B, N_PLACES };

struct zone {
	enum place place;
	unsigned slot;
	char mac[18], ipv4[16], ipv6[46];
	uint8_t mac_bytes[6], host_mac[6]; /* the guest's; the host's on this link */
	int tap, peer;			   /* the service's, the guest's; -1 = none */
	pthread_t pump;
	atomic_bool stop;
	bool pumps;
};

struct world {
	char dir[32];
	char socket[64], state[64], config[64], log[64];
	pid_t service;
	int places[N_PLACES]; /* network namespaces */
	struct zone a, b;
};

/* Makes all of it, but for the zones' links, with these lines in the section [network]. A host on
 * which this cannot be tried skips the test and says so. */
void world_open(struct world *w, const char *config);
void world_close(struct world *w);

void world_start_service(struct world *w);
void world_kill_service(struct world *w, int signal_number);

/* Whether the service's log has this text; waits up to 5 s for it. */
bool world_log_has(const struct world *w, const char *text);

/* Whether a service that is started now ends by itself and says this. */
bool world_service_refuses(struct world *w, const char *text);

/* Runs a shell command in a place; its exit status. */
int run_in(const struct world *w, enum place place, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* What a command prints, up to 64 KiB; the caller frees it. */
char *output_of(const struct world *w, enum place place, const char *command);

/* One operation. The caller frees the reply; NULL when the service hung up. */
Protect__Network__Reply *ask(const struct world *w, const Protect__Network__Request *request,
			     int *fds, unsigned *n_fds);

/* Asks for a zone's link; NULL or what is wrong with it, to be freed. */
char *attach(struct world *w, struct zone *zone, unsigned queues,
	     Protect__Network__Publish **publish, size_t n_publish, int *fds);

/* Detaches a link; NULL or what is wrong, to be freed. */
char *detach(const struct world *w, unsigned slot, unsigned index);

/* A published port; host NULL = all of the host's. */
struct port {
	const char *host;
	unsigned host_port, zone_port;
	bool udp;
};

#define PORTS_MAX 8u

/* Attaches a link with n published ports, gives it to an honest guest. */
void zone_open(struct world *w, struct zone *zone, const struct port *ports, size_t n);
void zone_close(struct world *w, struct zone *zone);

/* From here on the test itself is the guest. */
void zone_stop_pump(struct zone *zone);

/* Fills the NIC of a zone; its texts are the zone's. */
void zone_nic(struct zone *zone, Protect__Network__Nic *nic);

/* A socket of a place; -1 with errno. */
int socket_in(const struct world *w, enum place place, int family, int type, int protocol);

/* Sends a frame as the zone's device would. */
void zone_send(const struct zone *zone, const void *frame, size_t len);

/* The same for a request of one's own, which borrows `publish`. */
void publish_init(Protect__Network__Publish *publish, const char *host, unsigned host_port,
		  unsigned zone_port, bool udp);

/* A listening or bound socket of a place, for both families; -1 with errno. */
int serve_in(const struct world *w, enum place place, int type, unsigned port);

/* Whether a client of `from` reaches the server (serve_in()) by that address and port: five bytes
 * there and back. `peer` (may be NULL) becomes whom the server saw. */
bool reaches(const struct world *w, enum place from, const char *to, unsigned port, int type,
	     int server, char peer[64]);

/* Whether an echo request from a place is answered, within about a second. */
bool ping(const struct world *w, enum place from, const char *to);
