// SPDX-License-Identifier: Apache-2.0
/*
 * Packets of a hostile zone as those who look on are shown them: the input is a packet as it is on
 * the wire. Whatever it holds, the line is text of bounded length without control characters, and
 * nothing of an environment's values is in it.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "idm-vsock/wire.h"
#include "proto/agent.pb-c.h"
#include "proto/idm.pb-c.h"
#include "supervisor/daemon/snoop_json.h"

/* A member of a list costs at least 4 of the budget, and an escaped byte takes 6 characters. */
#define SHOWN_MAX  (16u * SNOOP_BUDGET)
#define SECRET	   "hunter2hunter2"
#define BOOTSTRAP  PROTECT__AGENT__METHOD__METHOD_BOOTSTRAP
#define IS_REQUEST PROTECT__IDM__FORM__FORM_REQUEST

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t len);

static void check_line(json_t *line, bool secret)
{
	char *text = json_dumps(line, JSON_COMPACT | JSON_ENSURE_ASCII);

	assert(text && strlen(text) < SHOWN_MAX);
	for (const char *at = text; *at; at++)
		assert(*at >= ' ' && *at < 0x7f);
	assert(!secret || !strstr(text, SECRET));
	free(text);
	json_decref(line);
}

static void show(const struct wire_packet *wire, bool from_zone, bool secret)
{
	struct snoop_packet packet = {.from_zone = from_zone,
				      .form = wire->form,
				      .id = wire->id,
				      .channel = wire->channel,
				      .len = wire->len,
				      .data = wire->data,
				      .have = snoop_keep(wire->form, wire->len)};
	json_t *line = snoop_packet_json(&packet);

	assert(line && packet.have <= packet.len);
	check_line(line, secret);
}

/* The same bytes as a bootstrap with one variable more, whose value must not come out. */
static void show_with_secret(const struct wire_packet *wire)
{
	Protect__Agent__Bootstrap message = PROTECT__AGENT__BOOTSTRAP__INIT;
	struct wire_packet with = *wire;
	size_t name_len = wire->len < 300 ? wire->len : 300;
	char text[400], *env[] = {text};
	uint8_t packed[512];

	memcpy(text, wire->data, name_len);
	for (size_t i = 0; i < name_len; i++)
		if (text[i] == '\0' || text[i] == '=')
			text[i] = '.';
	memcpy(text + name_len, "=" SECRET, sizeof("=" SECRET));
	message.env = env;
	message.n_env = 1;
	if (memmem(text, name_len, "hunter2", 7))
		return;
	with.form = IS_REQUEST;
	with.channel = BOOTSTRAP;
	with.data = packed;
	with.len = protect__agent__bootstrap__pack(&message, packed);
	show(&with, false, true);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t len)
{
	struct wire_packet wire;

	if (wire_packet_decode(input, len, &wire) < 0)
		return 0;
	show(&wire, len % 2, false);
	if (wire.len)
		show_with_secret(&wire);
	return 0;
}
