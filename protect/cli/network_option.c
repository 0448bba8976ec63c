// SPDX-License-Identifier: Apache-2.0
#include "protect/cli/network_option.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "protect/cli/output.h"

#define BACKEND(name) PROTECT__CONTROL__NETWORK_BACKEND__NETWORK_##name
#define PORT_MAX      65535u

const char *const network_backend_words[] = {[BACKEND(DEFAULT)] = "default",
					     [BACKEND(NONE)] = "none",
					     [BACKEND(EXTERNAL)] = "external",
					     [BACKEND(PASSTHROUGH)] = "passthrough",
					     [BACKEND(PASSTHROUGH) + 1] = NULL};

void network_option_deinit(struct network_option *option)
{
	for (size_t i = 0; i < option->n_texts; i++)
		free(option->texts[i]);
	free(option->texts);
	for (size_t i = 0; i < option->n_routes; i++)
		free(option->routes[i]);
	free(option->routes);
	free(option->ports);
	free(option->pointers);
	while (option->n_taps)
		close_fdp(&option->taps[--option->n_taps]);
	*option = (struct network_option){0};
}

/* Cuts "/udp" or "/tcp" off the end. Returns whether it was udp. */
static bool take_protocol(char *text)
{
	size_t len = strlen(text);
	bool udp = len > 4 && strcmp(text + len - 4, "/udp") == 0;

	if (udp || (len > 4 && strcmp(text + len - 4, "/tcp") == 0))
		text[len - 4] = '\0';
	return udp;
}

/* Cuts the last number off, from the colon before it on; without a colon the whole text is the
 * number. */
static int take_port(char *text, uint32_t *out)
{
	char *colon = strrchr(text, ':');
	uint64_t number;
	int r = args_number(colon ? colon + 1 : text, 1, PORT_MAX, &number);

	*(colon ? colon : text) = '\0';
	*out = (uint32_t)number;
	return r;
}

/* The address, out of its brackets. */
static char *bare_address(char *text)
{
	size_t len = strlen(text);

	if (len < 2 || text[0] != '[' || text[len - 1] != ']')
		return text;
	text[len - 1] = '\0';
	return text + 1;
}

static int parse_port(const struct args *args, const char *given, char *text,
		      Protect__Control__Publish *out)
{
	protect__control__publish__init(out);
	out->udp = take_protocol(text);
	if (!strchr(text, ':') || take_port(text, &out->zone_port) < 0 || !*text ||
	    take_port(text, &out->host_port) < 0)
		return args_usage_error(args,
					"--publish: '%s' is not [ADDRESS:]HOST:ZONE[/udp], HOST "
					"and ZONE ports from 1 to 65535; an IPv6 address stands in "
					"brackets",
					given);
	out->host_address = bare_address(text);
	return CLI_OK;
}

static int parse_ports(const struct args *args, const struct arg_list *list,
		       struct network_option *out)
{
	int status = CLI_OK;

	out->ports = calloc(list->n + 1, sizeof(*out->ports));
	out->pointers = calloc(list->n + 1, sizeof(Protect__Control__Publish *));
	out->texts = calloc(list->n + 1, sizeof(char *));
	for (size_t i = 0; status == CLI_OK && i < list->n; i++) {
		char *text = out->texts ? strdup(list->items[i]) : NULL;

		if (!out->ports || !out->pointers || !text) {
			free(text);
			output_error("out of memory");
			return CLI_ERROR;
		}
		out->texts[out->n_texts++] = text;
		out->pointers[i] = &out->ports[i];
		status = parse_port(args, list->items[i], text, &out->ports[i]);
	}
	out->message.ports = out->pointers;
	out->message.n_ports = list->n;
	return status;
}

/* "DEST,GATEWAY" is sent as "DEST GATEWAY". */
static int parse_routes(const struct arg_list *list, struct network_option *out)
{
	out->routes = calloc(list->n + 1, sizeof(char *));
	for (size_t i = 0; i < list->n; i++) {
		char *text = out->routes ? strdup(list->items[i]) : NULL, *comma;

		if (!text) {
			output_error("out of memory");
			return CLI_ERROR;
		}
		comma = strchr(text, ',');
		if (comma)
			*comma = ' ';
		out->routes[out->n_routes++] = text;
	}
	out->message.routes = out->routes;
	out->message.n_routes = out->n_routes;
	return CLI_OK;
}

static int open_queue(const char *name, bool many)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	_cleanup_(close_fdp) int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (many)
		request.ifr_flags |= IFF_MULTI_QUEUE;
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &request) < 0)
		return -errno;
	return steal_fd(&fd);
}

static int open_tap(const struct args *args, const char *name, uint64_t queues,
		    struct network_option *out)
{
	/* TUNSETIFF would make one, in vain: it would be gone with this command. */
	if (strlen(name) >= IFNAMSIZ || !if_nametoindex(name))
		return args_usage_error(args,
					"--tap: there is no device '%s' in this network namespace; "
					"'ip tuntap add mode tap %s' makes one",
					name, name);
	for (uint64_t i = 0; i < (queues ? queues : 1); i++) {
		int fd = open_queue(name, queues > 1);

		if (fd < 0) {
			output_error("the tap '%s' cannot be opened: %s", name, strerror(-fd));
			return CLI_ERROR;
		}
		out->taps[out->n_taps++] = fd;
	}
	return CLI_OK;
}

static int take_descriptors(const struct args *args, const char *list, struct network_option *out)
{
	while (*list) {
		size_t len = strcspn(list, ",");
		char text[16] = "";
		uint64_t number;
		int fd = -1;

		if (len < sizeof(text))
			memcpy(text, list, len);
		if (args_number(text, 0, INT32_MAX, &number) == 0 &&
		    out->n_taps < ARRAY_SIZE(out->taps))
			fd = fcntl((int)number, F_DUPFD_CLOEXEC, 3);
		if (fd < 0)
			return args_usage_error(
				args,
				"--tap: '%.*s' is no open descriptor, or there are more "
				"than 8",
				(int)len, list);
		out->taps[out->n_taps++] = fd;
		list += len + (list[len] == ',');
	}
	return CLI_OK;
}

static int take_tap(const struct args *args, const struct network_values *values,
		    struct network_option *out)
{
	bool prepared = out->message.backend == BACKEND(EXTERNAL) ||
			out->message.backend == BACKEND(PASSTHROUGH);
	int status;

	if (!prepared != !values->tap)
		return args_usage_error(args, "--tap goes with --network-backend external or "
					      "passthrough, and they with it");
	if (!values->tap)
		return CLI_OK;
	status = strncmp(values->tap, "fd:", 3) == 0
			 ? take_descriptors(args, values->tap + 3, out)
			 : open_tap(args, values->tap, values->queues, out);
	out->message.taps = out->n_taps;
	return status;
}

static Protect__Control__NetworkBackend backend_of(const char *word)
{
	for (unsigned i = 0; word && network_backend_words[i]; i++)
		if (strcmp(word, network_backend_words[i]) == 0)
			return (Protect__Control__NetworkBackend)i;
	return BACKEND(DEFAULT);
}

int network_option_parse(const struct args *args, const struct network_values *values,
			 struct network_option *out)
{
	Protect__Control__ZoneNetwork *message = &out->message;
	int status;

	protect__control__zone_network__init(message);
	out->given = values->backend || values->reservation || values->tap || values->mac ||
		     values->ports.n || values->addresses.n || values->gateways.n ||
		     values->routes.n || values->nameservers.n || values->mtu;
	message->backend = backend_of(values->backend);
	if (values->reservation)
		message->reservation = (char *)(uintptr_t)values->reservation;
	if (values->mac)
		message->mac = (char *)(uintptr_t)values->mac;
	message->addresses = values->addresses.items;
	message->n_addresses = values->addresses.n;
	message->gateways = values->gateways.items;
	message->n_gateways = values->gateways.n;
	message->nameservers = values->nameservers.items;
	message->n_nameservers = values->nameservers.n;
	message->mtu = (uint32_t)values->mtu;
	status = parse_ports(args, &values->ports, out);
	if (status == CLI_OK)
		status = parse_routes(&values->routes, out);
	return status == CLI_OK ? take_tap(args, values, out) : status;
}
