// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/state_network.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "proto/control.pb-c.h"

/* n texts of size bytes each, one behind the other, up to an empty one. */
static json_t *texts_json(const char *texts, size_t size, unsigned n)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < n && texts[i * size]; i++)
		json_array_append_new(array, json_string(texts + i * size));
	return array;
}

static void texts_parse(json_t *array, char *texts, size_t size, unsigned n)
{
	unsigned k = 0;
	json_t *item;
	size_t i;

	json_array_foreach(array, i, item)
	{
		const char *text = json_string_value(item);

		if (text && *text && strlen(text) < size && k < n)
			memcpy(texts + size * k++, text, strlen(text) + 1);
	}
}

#define TEXTS(table)	    &(table)[0][0], sizeof((table)[0]), sizeof(table) / sizeof((table)[0])
#define TEXTS_JSON(table)   texts_json(TEXTS(table))
#define TEXTS_PARSE(a, out) texts_parse(a, TEXTS(out))

static json_t *links_json(const struct zone_network *network)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < NETWORK_LINKS_MAX; i++) {
		const struct network_link *link = &network->links[i];

		if (link->used)
			json_array_append_new(array,
					      json_pack("{s:i, s:s, s:o, s:o, s:i, s:b}", "index",
							i, "mac", link->mac, "addresses",
							TEXTS_JSON(link->addresses), "gateways",
							TEXTS_JSON(link->gateways), "mtu",
							(int)link->mtu, "service", link->service));
	}
	return array;
}

static void link_parse(json_t *value, struct zone_network *out)
{
	json_t *addresses = NULL, *gateways = NULL;
	int index = -1, mtu = 0, service = 0;
	const char *mac = NULL;
	struct network_link *link;

	if (json_unpack(value, "{s:i, s:s, s:o, s:o, s:i, s:b}", "index", &index, "mac", &mac,
			"addresses", &addresses, "gateways", &gateways, "mtu", &mtu, "service",
			&service) < 0 ||
	    index < 0 || index >= (int)NETWORK_LINKS_MAX || strlen(mac) >= NETWORK_MAC_SIZE)
		return;
	link = &out->links[index];
	*link = (struct network_link){.used = true, .mtu = (uint32_t)mtu, .service = service};
	snprintf(link->mac, sizeof(link->mac), "%s", mac);
	TEXTS_PARSE(addresses, link->addresses);
	TEXTS_PARSE(gateways, link->gateways);
}

static json_t *ports_json(const struct zone_network *network)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < NETWORK_PORTS && network->ports[i].host_port; i++) {
		const struct network_port *port = &network->ports[i];

		json_array_append_new(array, json_pack("{s:s, s:i, s:i, s:b}", "address",
						       port->host_address, "host", port->host_port,
						       "zone", port->zone_port, "udp", port->udp));
	}
	return array;
}

/* Returns whether it is one. */
static bool port_parse(json_t *value, struct network_port *out)
{
	int host = 0, zone = 0, udp = 0;
	const char *address = NULL;

	if (json_unpack(value, "{s:s, s:i, s:i, s:b}", "address", &address, "host", &host, "zone",
			&zone, "udp", &udp) < 0 ||
	    host < 1 || host > UINT16_MAX || zone < 1 || zone > UINT16_MAX ||
	    strlen(address) >= sizeof(out->host_address))
		return false;
	*out = (struct network_port){
		.host_port = (uint16_t)host, .zone_port = (uint16_t)zone, .udp = udp};
	snprintf(out->host_address, sizeof(out->host_address), "%s", address);
	return true;
}

char *zone_network_print(const struct zone_network *network)
{
	json_t *root =
		json_pack("{s:i, s:o, s:o, s:o, s:o}", "backend", (int)network->backend, "links",
			  links_json(network), "routes", TEXTS_JSON(network->routes), "nameservers",
			  TEXTS_JSON(network->nameservers), "ports", ports_json(network));
	char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;

	json_decref(root);
	return text;
}

void zone_network_parse(const char *text, struct zone_network *out)
{
	json_t *root = text && *text ? json_loads(text, 0, NULL) : NULL, *item;
	unsigned n_ports = 0;
	size_t i;

	*out = (struct zone_network){.backend = PROTECT__CONTROL__NETWORK_BACKEND__NETWORK_NONE};
	if (!root)
		return;
	out->backend = (uint32_t)json_integer_value(json_object_get(root, "backend"));
	json_array_foreach(json_object_get(root, "links"), i, item) link_parse(item, out);
	TEXTS_PARSE(json_object_get(root, "routes"), out->routes);
	TEXTS_PARSE(json_object_get(root, "nameservers"), out->nameservers);
	json_array_foreach(json_object_get(root, "ports"), i, item)
	{
		if (n_ports < NETWORK_PORTS && port_parse(item, &out->ports[n_ports]))
			n_ports++;
	}
	json_decref(root);
}
