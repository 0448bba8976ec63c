// SPDX-License-Identifier: Apache-2.0
/* Any bytes as a ZoneSpec. No path and no tap is opened here: specs that name one are not handed
 * on.
 */
#include <stdint.h>
#include <string.h>

#include "runner/spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static unsigned count(const uint8_t *data, size_t len, const char *what)
{
	const uint8_t *end = data + len;
	unsigned n = 0;

	while ((data = memmem(data, (size_t)(end - data), what, strlen(what)))) {
		data++;
		n++;
	}
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct error err = ERROR_NULL;
	struct zone_spec spec;

	if (memmem(data, len, "path", 4) || memmem(data, len, "tap", 3) ||
	    memmem(data, len, "\\u", 2))
		return 0;
	/* Named descriptors get closed; only the standard ones, which stay, may be named. */
	if (count(data, len, "fd") != count(data, len, "\"fd\":2}"))
		return 0;
	if (spec_parse((const char *)data, len, &spec, &err) == 0)
		spec_close(&spec);
	return 0;
}
