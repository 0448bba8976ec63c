// SPDX-License-Identifier: Apache-2.0
/* The text of a config.json. What it becomes can always be packed. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/error.h"
#include "protect/shim/spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err = ERROR_NULL;
	struct spec spec;

	if (spec_parse((const char *)data, size, &spec, &err) == 0) {
		if (!spec.process.n_argv ||
		    protobuf_c_message_get_packed_size(&spec.settings.base) > 16 * SPEC_MAX ||
		    protobuf_c_message_get_packed_size(&spec.process.base) > 16 * SPEC_MAX)
			abort();
	} else if (!err.code) {
		abort();
	}
	spec_deinit(&spec);
	return 0;
}
