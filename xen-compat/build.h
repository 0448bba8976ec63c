// SPDX-License-Identifier: Apache-2.0
/*
 * From a kernel and an initramfs to memory that a domain boots from, through libxenguest. The one
 * place of this runner that reads a format which a stranger wrote: the kernel.
 */
#pragma once

#include "base/error.h"
#include "runner/spec.h"
#include "xen-compat/domain.h"

/* Fills the new domain's memory and registers; domain->store_frame is known then. Returns 0 or a
 * negative errno with *err. */
int build_domain(struct xen *xen, const struct zone_spec *spec, struct domain *domain,
		 struct error *err);
