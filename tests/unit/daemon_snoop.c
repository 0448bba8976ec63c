// SPDX-License-Identifier: Apache-2.0
/* What those who look on at IDM are shown: all of it, bounded, without secrets. */
#include "harness.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "proto/agent.pb-c.h"
#include "proto/idm.pb-c.h"
#include "supervisor/daemon/snoop_json.h"

UNIT_SUITE(daemon_snoop);

#define REQUEST PROTECT__IDM__FORM__FORM_REQUEST
#define DATA	PROTECT__IDM__FORM__FORM_STREAM_DATA

/* The line of a packet as text; the caller frees it. */
static char *line_of(uint32_t form, uint64_t channel, const void *data, size_t len)
{
	struct snoop_packet packet = {.form = form,
				      .id = 7,
				      .channel = channel,
				      .len = len,
				      .data = data,
				      .have = snoop_keep(form, len)};
	json_t *line = snoop_packet_json(&packet);
	char *text = json_dumps(line, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_SORT_KEYS);

	json_decref(line);
	cr_assert_not_null(text);
	return text;
}

static char *request_of(uint32_t method, const ProtobufCMessage *message)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	_cleanup_(freep) uint8_t *data = malloc(len + 1);

	protobuf_c_message_pack(message, data);
	return line_of(REQUEST, method, data, len);
}

Test(daemon_snoop, secrets_do_not_come_out)
{
	Protect__Agent__Bootstrap message = PROTECT__AGENT__BOOTSTRAP__INIT;
	char *env[] = {"TOKEN=hunter2", "hunter2", "EMPTY="};
	_cleanup_(freep) char *line = NULL;

	message.hostname = "a";
	message.entropy = (ProtobufCBinaryData){.data = (uint8_t *)"hunter2", .len = 7};
	message.env = env;
	message.n_env = 3;
	line = request_of(PROTECT__AGENT__METHOD__METHOD_BOOTSTRAP, &message.base);
	cr_assert_str_eq(line,
			 "{\"direction\":\"to-zone\",\"form\":\"request\",\"id\":7,\"message\":{"
			 "\"entropy\":{\"bytes\":7},\"env\":[\"TOKEN=***\",\"=***\",\"EMPTY=***\"],"
			 "\"hostname\":\"a\"},\"method\":\"bootstrap\"}");
}

Test(daemon_snoop, what_cannot_be_read_is_not_shown)
{
	_cleanup_(freep) char *bad =
		line_of(REQUEST, PROTECT__AGENT__METHOD__METHOD_EXEC, "hunter2", 7);
	_cleanup_(freep) char *unknown = line_of(REQUEST, 4711, "hunter2", 7);
	_cleanup_(freep) char *form = line_of(99, 1, "hunter2", 7);

	cr_assert_null(strstr(bad, "hunter2"));
	cr_assert_not_null(strstr(bad, "\"unreadable_bytes\":7"));
	cr_assert_null(strstr(unknown, "hunter2"));
	cr_assert_not_null(strstr(unknown, "\"method\":4711"));
	cr_assert_null(strstr(form, "hunter2"));
}

Test(daemon_snoop, streams_are_shown_by_a_prefix)
{
	char data[200] = "\033[2J\377";
	_cleanup_(freep) char *line = line_of(DATA, 5, data, sizeof(data));

	cr_assert_not_null(strstr(line, "\"bytes\":200,\"prefix\":\"\\\\x1b[2J\\\\xff\\\\x00"));
	cr_assert_lt(strlen(line), 200u + 4 * SNOOP_BYTES_MAX * 2);
}

Test(daemon_snoop, a_message_is_bounded)
{
	Protect__Agent__Metrics message = PROTECT__AGENT__METRICS__INIT;
	Protect__Agent__Metric metric[1000], *pointers[1000];
	char name[2000];
	json_t *json;
	_cleanup_(freep) char *text = NULL;

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	for (unsigned i = 0; i < 1000; i++) {
		protect__agent__metric__init(&metric[i]);
		metric[i].name = name;
		pointers[i] = &metric[i];
	}
	message.metrics = pointers;
	message.n_metrics = 1000;
	json = snoop_message_json(&message.base);
	text = json_dumps(json, JSON_COMPACT);
	cr_assert(json_is_true(json_object_get(json, "cut")));
	cr_assert_leq(json_array_size(json_object_get(json, "metrics")), SNOOP_LIST_MAX);
	cr_assert_lt(strlen(text), 2 * SNOOP_BUDGET);
	json_decref(json);
}
