// SPDX-License-Identifier: Apache-2.0
/* Apart from the rest of the store: it reads what a zone wrote, and is tested without Xen. */
#include "xen-compat/store.h"

#include <errno.h>

#include "base/util.h"

int store_parse_number(const char *text, size_t len, uint64_t max, uint64_t *value)
{
	uint64_t number = 0;

	if (len == 0)
		return -EBADMSG;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9' || !checked_mul(number, 10u, &number) ||
		    !checked_add(number, (uint64_t)(text[i] - '0'), &number))
			return -EBADMSG;
	}
	if (number > max)
		return -EBADMSG;
	*value = number;
	return 0;
}
