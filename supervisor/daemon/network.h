// SPDX-License-Identifier: Apache-2.0
/*
 * What the daemon knows of the network: which addresses belong to whom (reservations, kept in the
 * state), and whether protect-network holds what it should. The subnets are protect-network's
 * setting: it tells them with its status, which every launch asks for anew; nobody else reads them.
 *
 * The service is asked for its status now and then as well; when it was started anew, it is given
 * the list of all links (RECONCILE). Until it has had it, no link that it lost is there again.
 */
#pragma once

#include "supervisor/daemon/daemon.h"
#include "supervisor/daemon/network_client.h"
#include "supervisor/daemon/subnet.h"

#define RESERVATIONS_MAX 8192u
#define NETWORK_OFF	 "off" /* in place of the service's socket */

struct reservation {
	struct reservation *next;
	struct reservation_row row;
};

struct network {
	struct daemon *daemon;
	struct network_client client;
	struct reservation *reservations; /* in the order of their creation */
	unsigned n_reservations;
	struct subnet ipv4, ipv6;	  /* as the service said last */
	struct address last4, last6;	  /* given last: the search goes on behind them */
	uint64_t instance;		  /* of the service, that had our list; 0 = none */
	uint64_t asked_instance;	  /* that is given our list just now */
	bool asking, reconciling, behind; /* behind: it did not take what it was told */
	struct timer tick;
	struct log_limit complaints;
};

/* Reads the reservations; the zones are there. Returns 0 or a negative errno. NULL where there is
 * no service (network_free(NULL) is allowed). */
int network_new(struct daemon *d, struct network **out);
struct network *network_free(struct network *network); /* always NULL */

/* Begins to watch over the service. */
void network_start(struct network *network);

/* Whether there is a protect-network at all; network may be NULL. */
bool network_has_service(const struct network *network);

/* Takes what the service says of itself; gives it our list if it was started anew. */
void network_learn(struct network *network, const Protect__Network__StatusReply *status);

/* The service did not take something back: it is given our list as soon as it answers. */
void network_lags(struct network *network);

/* By name or by an address. NULL with text. */
struct reservation *network_find(const struct network *network, const char *ref, struct error *err);

/* Of a zone's link; NULL if it has none. */
struct reservation *network_of_link(const struct network *network, const char *zone, uint32_t link);

/*
 * Makes one that nobody has; empty addresses: the next ones that are free. name may be "". Returns
 * it, or NULL with text.
 */
struct reservation *network_reserve(struct network *network, const struct reservation_row *wanted,
				    struct error *err);

/* Gives one to a zone's link. Returns 0 or a negative errno with text. */
int network_give(struct network *network, struct reservation *reservation, const char *zone,
		 uint32_t link, struct error *err);

/* Nobody has it any more; one without a name is gone after it. */
void network_take_back(struct network *network, struct reservation *reservation);

/* Removes it. */
void network_drop(struct network *network, struct reservation *reservation);

/* A random address of our own for a NIC, that no reservation has. Returns 0 or a negative errno. */
int network_make_mac(const struct network *network, char mac[NETWORK_MAC_SIZE]);

/* Whether text is the address of a NIC as we write them: lower case, for one device. */
bool network_is_mac(const char *text);

/* The links of all zones as the service should have them, in as many requests as they take. */
void network_reconcile(struct network *network);
