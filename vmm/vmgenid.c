// SPDX-License-Identifier: Apache-2.0
#include "vmm/vmgenid.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "vmm/layout.h"

#define GUID_LEN 16

/* #syscalls loop: getrandom(_, _, 0) */
int vmgenid_init(const struct mem *mem)
{
	uint8_t guid[GUID_LEN];
	void *to = mem_ptr(mem, LAYOUT_VMGENID, GUID_LEN);

	if (!to)
		return -EFAULT;
	if (getrandom(guid, sizeof(guid), 0) != GUID_LEN)
		return -EIO;
	memcpy(to, guid, sizeof(guid));
	return 0;
}
