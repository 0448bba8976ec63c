// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/snoop_json.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "idm-vsock/wire.h"
#include "proto/agent.pb-c.h"
#include "proto/idm.pb-c.h"

#define FORM(name)   PROTECT__IDM__FORM__FORM_##name
#define METHOD(name) PROTECT__AGENT__METHOD__METHOD_##name
#define TYPE(name)   &protect__agent__##name##__descriptor

static const struct {
	const ProtobufCMessageDescriptor *request, *reply;
} methods[] = {
	[METHOD(PING)] = {TYPE(ping), TYPE(ping)},
	[METHOD(BOOTSTRAP)] = {TYPE(bootstrap), TYPE(zone_ready)},
	[METHOD(EXEC)] = {TYPE(exec), TYPE(exec_started)},
	[METHOD(WORKLOAD_LAUNCH)] = {TYPE(workload_launch), TYPE(workload_state)},
	[METHOD(WORKLOAD_ATTACH)] = {TYPE(workload_attach), TYPE(workload_state)},
	[METHOD(WORKLOAD_REMOVE)] = {TYPE(workload_id), TYPE(empty)},
	[METHOD(LIST)] = {TYPE(empty), TYPE(zone_state)},
	[METHOD(SIGNAL)] = {TYPE(signal), TYPE(empty)},
	[METHOD(RESIZE)] = {TYPE(resize), TYPE(empty)},
	[METHOD(METRICS)] = {TYPE(empty), TYPE(metrics)},
	[METHOD(SHUTDOWN)] = {TYPE(shutdown), TYPE(empty)},
	[METHOD(SET_TIME)] = {TYPE(set_time), TYPE(empty)},
	[METHOD(FORWARD)] = {TYPE(forward), TYPE(empty)},
	[METHOD(LINK)] = {TYPE(link), TYPE(empty)},
	[METHOD(WORKLOAD_UPDATE)] = {TYPE(workload_update), TYPE(empty)},
	[METHOD(WORKLOAD_START)] = {TYPE(workload_start), TYPE(workload_state)},
};

/* Fields by name, wherever they stand. */
static const char *const assignments[] = {"env"}; /* KEY=VALUE: the value is a secret */
static const char *const secrets[] = {"entropy"}; /* only their length */

struct printer {
	size_t left;
	unsigned depth;
	bool cut;
};

static json_t *message_json(struct printer *p, const ProtobufCMessage *message);

static bool is_named(const char *name, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

/* Whether there is room for so many characters more. */
static bool spend(struct printer *p, size_t n)
{
	if (p->left >= n) {
		p->left -= n;
		return true;
	}
	p->left = 0;
	p->cut = true;
	return false;
}

/* What is no printable ASCII as \xNN; `size` holds four times the bytes and a NUL. */
static void escape(const uint8_t *bytes, size_t len, char *out, size_t size)
{
	size_t used = 0;

	out[0] = '\0';
	for (size_t i = 0; i < len && used + 5 <= size; i++)
		used += (size_t)snprintf(out + used, size - used,
					 bytes[i] >= ' ' && bytes[i] < 0x7f ? "%c" : "\\x%02x",
					 bytes[i]);
}

static json_t *text_json(struct printer *p, const char *text, size_t len)
{
	char escaped[4 * SNOOP_TEXT_MAX + 1];
	json_t *json;

	if (len > SNOOP_TEXT_MAX) {
		len = SNOOP_TEXT_MAX;
		p->cut = true;
	}
	if (!spend(p, len))
		return json_null();
	/* JSON escapes all control characters but DEL. */
	json = memchr(text, 0x7f, len) ? NULL : json_stringn(text, len);
	if (json)
		return json;
	escape((const uint8_t *)text, len, escaped, sizeof(escaped)); /* or no UTF-8 */
	return json_string(escaped);
}

static json_t *bytes_json(struct printer *p, const uint8_t *bytes, size_t have, size_t len)
{
	char escaped[4 * SNOOP_BYTES_MAX + 1];

	if (have > SNOOP_BYTES_MAX)
		have = SNOOP_BYTES_MAX;
	if (!spend(p, 4 * have))
		have = 0;
	escape(bytes, have, escaped, sizeof(escaped));
	return json_pack("{s:I, s:s}", "bytes", (json_int_t)len, "prefix", escaped);
}

static json_t *string_json(struct printer *p, const ProtobufCFieldDescriptor *field,
			   const char *text)
{
	const char *value = strchr(text, '=');
	char name[SNOOP_TEXT_MAX + 1];

	if (!is_named(field->name, assignments, ARRAY_SIZE(assignments)))
		return text_json(p, text, strlen(text));
	/* What has no `=` could be anything. */
	snprintf(name, sizeof(name), "%.*s=***", value ? (int)(value - text) : 0, text);
	return text_json(p, name, strlen(name));
}

static json_t *enum_json(const ProtobufCEnumDescriptor *type, int value)
{
	const ProtobufCEnumValue *known = protobuf_c_enum_descriptor_get_value(type, value);

	return known ? json_string(known->name) : json_integer(value);
}

static json_t *data_json(struct printer *p, const ProtobufCFieldDescriptor *field,
			 const ProtobufCBinaryData *data)
{
	if (is_named(field->name, secrets, ARRAY_SIZE(secrets)))
		return json_pack("{s:I}", "bytes", (json_int_t)data->len);
	return bytes_json(p, data->data, data->len, data->len);
}

/* One value at `at`, or, for texts, bytes and messages, what stands there points to. */
static json_t *value_json(struct printer *p, const ProtobufCFieldDescriptor *field, const void *at)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
		return json_integer(*(const int32_t *)at);
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		return json_integer(*(const uint32_t *)at);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		return json_integer((json_int_t) * (const uint64_t *)at);
	case PROTOBUF_C_TYPE_FLOAT:
		return json_real((double)*(const float *)at);
	case PROTOBUF_C_TYPE_DOUBLE:
		return json_real(*(const double *)at);
	case PROTOBUF_C_TYPE_BOOL:
		return json_boolean(*(const protobuf_c_boolean *)at);
	case PROTOBUF_C_TYPE_ENUM:
		return enum_json(field->descriptor, *(const int *)at);
	case PROTOBUF_C_TYPE_STRING:
		return string_json(p, field, *(char *const *)at);
	case PROTOBUF_C_TYPE_BYTES:
		return data_json(p, field, at);
	case PROTOBUF_C_TYPE_MESSAGE:
		return message_json(p, *(ProtobufCMessage *const *)at);
	}
	return json_null();
}

static size_t value_size(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return 8;
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	default:
		return 4;
	}
}

static json_t *list_json(struct printer *p, const ProtobufCFieldDescriptor *field,
			 const uint8_t *values, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++) {
		if (i == SNOOP_LIST_MAX)
			p->cut = true;
		if (i == SNOOP_LIST_MAX || !spend(p, 4))
			break;
		json_array_append_new(list,
				      value_json(p, field, values + i * value_size(field->type)));
	}
	return list;
}

/* Whether a field of one value is there. proto3 leaves out what is 0; so does this. */
static bool is_set(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
		   const void *at)
{
	static const uint8_t zero[8];

	if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
		return *(const uint32_t *)((const uint8_t *)message + field->quantifier_offset) ==
		       field->id;
	if (field->type == PROTOBUF_C_TYPE_STRING)
		return *(char *const *)at && **(char *const *)at;
	if (field->type == PROTOBUF_C_TYPE_MESSAGE)
		return *(void *const *)at;
	if (field->type == PROTOBUF_C_TYPE_BYTES)
		return ((const ProtobufCBinaryData *)at)->len;
	return memcmp(at, zero, value_size(field->type)) != 0;
}

static json_t *field_json(struct printer *p, const ProtobufCMessage *message,
			  const ProtobufCFieldDescriptor *field)
{
	const uint8_t *base = (const uint8_t *)message;
	const void *at = base + field->offset;
	size_t n = 0;

	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		n = *(const size_t *)(const void *)(base + field->quantifier_offset);
	else if (!is_set(message, field, at))
		return NULL;
	if (field->label == PROTOBUF_C_LABEL_REPEATED && !n)
		return NULL;
	if (!spend(p, strlen(field->name) + 8))
		return NULL;
	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		return list_json(p, field, *(const uint8_t *const *)at, n);
	return value_json(p, field, at);
}

static json_t *message_json(struct printer *p, const ProtobufCMessage *message)
{
	const ProtobufCMessageDescriptor *type = message->descriptor;
	json_t *object;

	if (p->depth == SNOOP_DEPTH_MAX) {
		p->cut = true;
		return json_null();
	}
	object = json_object();
	p->depth++;
	for (unsigned i = 0; i < type->n_fields; i++) {
		json_t *value = field_json(p, message, &type->fields[i]);

		if (value)
			json_object_set_new(object, type->fields[i].name, value);
	}
	if (message->n_unknown_fields)
		json_object_set_new(object, "unknown_fields",
				    json_integer(message->n_unknown_fields));
	p->depth--;
	return object;
}

json_t *snoop_message_json(const ProtobufCMessage *message)
{
	struct printer p = {.left = SNOOP_BUDGET};
	json_t *object = message_json(&p, message);

	if (object && p.cut)
		json_object_set_new(object, "cut", json_true());
	return object;
}

/* Bytes as a message of a type, in line[key]; what cannot be read is shown by its length only: it
 * could hold anything. */
static void set_message(json_t *line, const ProtobufCMessageDescriptor *type, const uint8_t *data,
			size_t len)
{
	ProtobufCMessage *message = type ? protobuf_c_message_unpack(type, NULL, len, data) : NULL;
	json_t *shown = message ? snoop_message_json(message) : NULL;

	if (message)
		protobuf_c_message_free_unpacked(message, NULL);
	if (shown)
		json_object_set_new(line, "message", shown);
	else
		json_object_set_new(line, "unreadable_bytes", json_integer((json_int_t)len));
}

/* METHOD_PING as "ping". */
static json_t *name_json(const ProtobufCEnumDescriptor *type, const char *prefix, uint64_t value)
{
	const ProtobufCEnumValue *known =
		value <= INT32_MAX ? protobuf_c_enum_descriptor_get_value(type, (int)value) : NULL;
	char name[64];
	size_t skip = strlen(prefix);

	if (!known || strncmp(known->name, prefix, skip) != 0)
		return json_integer((json_int_t)value);
	snprintf(name, sizeof(name), "%s", known->name + skip);
	for (char *at = name; *at; at++)
		*at = *at == '_' ? '-' : (char)tolower((unsigned char)*at);
	return json_string(name);
}

static void show_call(json_t *line, const struct snoop_packet *packet)
{
	bool known = packet->channel < ARRAY_SIZE(methods);

	json_object_set_new(line, "id", json_integer((json_int_t)packet->id));
	json_object_set_new(
		line, "method",
		name_json(&protect__agent__method__descriptor, "METHOD_", packet->channel));
	if (packet->form == FORM(REQUEST))
		set_message(line, known ? methods[packet->channel].request : NULL, packet->data,
			    packet->have);
}

static void show_reply(json_t *line, const struct snoop_packet *packet)
{
	bool known = packet->channel < ARRAY_SIZE(methods);
	struct printer p = {.left = SNOOP_BUDGET};
	struct wire_reply reply;

	if (wire_reply_decode(packet->data, packet->have, &reply) < 0) {
		set_message(line, NULL, packet->data, packet->have);
	} else if (reply.error) {
		json_object_set_new(line, "error", json_integer(reply.error));
		json_object_set_new(
			line, "text",
			text_json(&p, reply.text ? (const char *)reply.text : "", reply.text_len));
	} else {
		set_message(line, known ? methods[packet->channel].reply : NULL, reply.payload,
			    reply.len);
	}
}

static void show_event(json_t *line, const struct snoop_packet *packet)
{
	bool exited = packet->channel == PROTECT__AGENT__EVENT_KIND__EVENT_EXITED;

	json_object_set_new(
		line, "event",
		name_json(&protect__agent__event_kind__descriptor, "EVENT_", packet->channel));
	set_message(line, exited ? TYPE(exited) : NULL, packet->data, packet->have);
}

static void show_stream(json_t *line, const struct snoop_packet *packet)
{
	struct printer p = {.left = SNOOP_BUDGET};

	json_object_set_new(line, "stream", json_integer((json_int_t)packet->channel));
	if (packet->form == FORM(STREAM_DATA))
		json_object_set_new(line, "data",
				    bytes_json(&p, packet->data, packet->have, packet->len));
	else
		json_object_set_new(line, packet->form == FORM(STREAM_CLOSE) ? "error" : "window",
				    json_integer((json_int_t)packet->id));
}

size_t snoop_keep(uint32_t form, size_t len)
{
	if (form == FORM(EVENT) || form == FORM(REQUEST) || form == FORM(RESPONSE))
		return len;
	return len < SNOOP_BYTES_MAX ? len : SNOOP_BYTES_MAX;
}

json_t *snoop_packet_json(const struct snoop_packet *packet)
{
	json_t *line = json_object();

	if (!line)
		return NULL;
	json_object_set_new(line, "direction",
			    json_string(packet->from_zone ? "from-zone" : "to-zone"));
	json_object_set_new(line, "form",
			    name_json(&protect__idm__form__descriptor, "FORM_", packet->form));
	switch (packet->form) {
	case FORM(REQUEST):
		show_call(line, packet);
		break;
	case FORM(RESPONSE):
		show_call(line, packet);
		show_reply(line, packet);
		break;
	case FORM(EVENT):
		show_event(line, packet);
		break;
	case FORM(STREAM_OPEN):
	case FORM(STREAM_DATA):
	case FORM(STREAM_WINDOW):
	case FORM(STREAM_CLOSE):
		show_stream(line, packet);
		break;
	default:
		json_object_set_new(line, "bytes", json_integer((json_int_t)packet->len));
	}
	return line;
}
