// SPDX-License-Identifier: Apache-2.0
/* Bytes on a connection to the shim: frames, requests, and what each request may carry. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/util.h"
#include "protect/shim/proto/containerd.pb-c.h"
#include "protect/shim/proto/ttrpc.pb-c.h"
#include "protect/shim/spec.h"
#include "protect/shim/ttrpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_exec(const ProtobufCMessage *message)
{
	const Protect__Shim__ExecRequest *exec = (const Protect__Shim__ExecRequest *)message;
	struct error err = ERROR_NULL;
	struct spec spec;

	if (!exec->spec)
		return;
	spec_parse_process((const char *)exec->spec->value.data, exec->spec->value.len, &spec,
			   &err);
	spec_deinit(&spec);
}

static void read_payload(const Protect__Ttrpc__Request *request)
{
	static const ProtobufCMessageDescriptor *const types[] = {
		&protect__shim__create_request__descriptor,
		&protect__shim__process_request__descriptor,
		&protect__shim__kill_request__descriptor,
		&protect__shim__exec_request__descriptor,
		&protect__shim__update_request__descriptor,
	};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		ProtobufCMessage *message = protobuf_c_message_unpack(
			types[i], NULL, request->payload.len, request->payload.data);

		if (!message)
			continue;
		if (types[i] == &protect__shim__exec_request__descriptor)
			read_exec(message);
		protobuf_c_message_free_unpacked(message, NULL);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ttrpc_buffer in = {0}, out = {0};
	struct ttrpc_frame frame;

	for (size_t at = 0, len; at < size; at += len) {
		len = size - at < 7 ? size - at : 7; /* whatever the kernel would have cut */
		if (ttrpc_buffer_reserve(&in, len) < 0)
			abort();
		memcpy(in.data + in.end, data + at, len);
		in.end += len;
		while (ttrpc_next(&in, &frame) > 0) {
			Protect__Ttrpc__Request *request =
				protect__ttrpc__request__unpack(NULL, frame.len, frame.message);

			if (!request)
				continue;
			read_payload(request);
			if (ttrpc_append(&out, frame.stream, TTRPC_REQUEST, &request->base) < 0)
				out.start = out.end = 0;
			protect__ttrpc__request__free_unpacked(request, NULL);
		}
	}
	ttrpc_buffer_deinit(&in);
	ttrpc_buffer_deinit(&out);
	return 0;
}
