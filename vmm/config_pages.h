// SPDX-License-Identifier: Apache-2.0
/*
 * Configuration space that a guest reads without leaving it: the page of each function in the ECAM
 * is read-only memory of the guest (KVM API 4.35, KVM_MEM_READONLY); writes to it still exit. A
 * booting Linux reads configuration about 200 times for each function, which are half of its exits.
 * Only for functions whose configuration nothing but a write changes. Loop thread.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"

#define CONFIG_PAGES_SLOTS 32u /* of KVM's memory slots, its last ones */
#define CONFIG_PAGE_DWORDS 64u /* of a page; the rest is zero */

struct config_pages {
	int vm_fd;
	uint32_t first_slot; /* of KVM's memory slots, one for each PCI slot */
	uint8_t *pages;	     /* one a PCI slot */
	uint32_t shown;	     /* bit = PCI slot */
};

/*
 * vm_fd (KVM's VM) is borrowed. Returns 0, -ENOTSUP where KVM has no
 * read-only memory or too few slots, or another negative errno. config_pages_deinit() may follow in
 * any case, when no vCPU runs any more.
 */
int config_pages_init(struct config_pages *pages, int vm_fd);
void config_pages_deinit(struct config_pages *pages);

/* The page of a function becomes `dwords`, and the guest sees it. Where KVM refuses, it goes on
 * asking. */
void config_pages_show(struct config_pages *pages, unsigned slot,
		       const uint32_t dwords[static CONFIG_PAGE_DWORDS]);

/* The guest asks for each read again. */
void config_pages_hide(struct config_pages *pages, unsigned slot);
