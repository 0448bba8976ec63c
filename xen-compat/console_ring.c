// SPDX-License-Identifier: Apache-2.0
/* Apart from the rest of the console: it reads what a zone wrote, and is tested without Xen. */
#include <sys/types.h>

#include "xen-compat/console.h"

#include <xen/io/console.h>

size_t console_take(const struct xencons_interface *page, uint32_t *at, uint8_t *to, size_t size)
{
	uint32_t end = __atomic_load_n(&page->out_prod, __ATOMIC_ACQUIRE);
	uint32_t n = end - *at;

	if (n > sizeof(page->out)) {
		*at = end;
		return 0;
	}
	if (n > size)
		n = (uint32_t)size;
	for (uint32_t i = 0; i < n; i++)
		to[i] = (uint8_t)page->out[MASK_XENCONS_IDX(*at + i, page->out)];
	*at += n;
	return n;
}
