// SPDX-License-Identifier: Apache-2.0
/* The options of `zone launch` that are about its network. Main thread only. */
#pragma once

#include "protect/cli/args.h"
#include "proto/control.pb-c.h"

#define NETWORK_N_OPTIONS 11

struct network_values {
	const char *backend, *reservation, *tap, *mac;
	struct arg_list ports, addresses, gateways, routes, nameservers;
	uint64_t mtu, queues;
};

extern const char *const network_backend_words[];

/* The entries for a command's table; at: the offset of the values. */
#define NETWORK_AT(at, field) ((at) + offsetof(struct network_values, field))
#define NETWORK_OPTIONS(at)                                                                        \
	{'p',                                                                                      \
	 "publish",                                                                                \
	 ARG_LIST,                                                                                 \
	 NETWORK_AT(at, ports),                                                                    \
	 "[ADDR:]HOST:ZONE[/udp]",                                                                 \
	 "a port of this host that leads to one of the zone",                                      \
	 0,                                                                                        \
	 0,                                                                                        \
	 NULL},                                                                                    \
		{0,                                                                                \
		 "network-backend",                                                                \
		 ARG_STRING,                                                                       \
		 NETWORK_AT(at, backend),                                                          \
		 "default|none|external|passthrough",                                              \
		 "where its network comes from (default: protect-network)",                        \
		 0,                                                                                \
		 0,                                                                                \
		 network_backend_words},                                                           \
		{0,	     "reservation",                                                        \
		 ARG_STRING, NETWORK_AT(at, reservation),                                          \
		 "NAME",     "addresses reserved before ('protect network reservation create')",   \
		 0,	     0,                                                                    \
		 NULL},                                                                            \
		{0,                                                                                \
		 "tap",                                                                            \
		 ARG_STRING,                                                                       \
		 NETWORK_AT(at, tap),                                                              \
		 "NAME|fd:N[,N...]",                                                               \
		 "external, passthrough: a tap that you made, or its descriptors",                 \
		 0,                                                                                \
		 0,                                                                                \
		 NULL},                                                                            \
		{0,	     "tap-queues",                                                         \
		 ARG_NUMBER, NETWORK_AT(at, queues),                                               \
		 "N",	     "how many queues of the tap NAME to use (default 1)",                 \
		 1,	     8,                                                                    \
		 NULL},                                                                            \
		{0,	     "mac",                                                                \
		 ARG_STRING, NETWORK_AT(at, mac),                                                  \
		 "ADDR",     "external, passthrough: the NIC's address",                           \
		 0,	     0,                                                                    \
		 NULL},                                                                            \
		{0,                                                                                \
		 "address",                                                                        \
		 ARG_LIST,                                                                         \
		 NETWORK_AT(at, addresses),                                                        \
		 "ADDR/PREFIX",                                                                    \
		 "external: an address of the zone",                                               \
		 0,                                                                                \
		 0,                                                                                \
		 NULL},                                                                            \
		{0,	   "gateway",                                                              \
		 ARG_LIST, NETWORK_AT(at, gateways),                                               \
		 "ADDR",   "external: where its default route goes",                               \
		 0,	   0,                                                                      \
		 NULL},                                                                            \
		{0,                                                                                \
		 "route",                                                                          \
		 ARG_LIST,                                                                         \
		 NETWORK_AT(at, routes),                                                           \
		 "DEST/PREFIX[,GATEWAY]",                                                          \
		 "external: a further route",                                                      \
		 0,                                                                                \
		 0,                                                                                \
		 NULL},                                                                            \
		{0,	   "nameserver",                                                           \
		 ARG_LIST, NETWORK_AT(at, nameservers),                                            \
		 "ADDR",   "external: whom it asks for names",                                     \
		 0,	   0,                                                                      \
		 NULL},                                                                            \
	{                                                                                          \
		0, "mtu", ARG_NUMBER, NETWORK_AT(at, mtu), "BYTES",                                \
			"external, passthrough: of the NIC (default 1500)", 68, 65535, NULL        \
	}

/* The message for the daemon, with what it points to. Zero-initialise. */
struct network_option {
	Protect__Control__ZoneNetwork message;
	Protect__Control__Publish *ports;
	Protect__Control__Publish **pointers;
	char **texts, **routes;
	size_t n_texts, n_routes;
	int taps[8]; /* to be sent with the request */
	unsigned n_taps;
	bool given; /* else nothing was asked for */
};

/* Frees it and closes the taps. May be called twice. */
void network_option_deinit(struct network_option *option);

/* Reads the values and opens the tap. Returns an exit status, having said what is wrong. */
int network_option_parse(const struct args *args, const struct network_values *values,
			 struct network_option *out);
