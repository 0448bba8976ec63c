// SPDX-License-Identifier: Apache-2.0
#include "xen-compat/domain.h"

#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "xen-compat/build.h"
#include "xen-compat/disks.h"
#include "xen-compat/store.h"

#define LIST_CHUNK    64u
#define GRANT_FRAMES  32
#define EVENT_PORTS   1023u
#define SLACK_KIB     1024u /* what Xen itself charges a domain for, as libxl has it */
#define POOL_VCPU_KIB 1024u /* of a domain with hardware paging: for its page tables */
#define POOL_MIB_KIB  8u

static int create(struct xen *xen, const struct zone_spec *spec, struct domain *domain,
		  struct error *err)
{
	struct xen_domctl_createdomain config = {
		.flags = domain->hvm ? XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap : 0,
		.max_vcpus = spec->max_vcpus,
		.max_evtchn_port = EVENT_PORTS,
		.max_grant_frames = GRANT_FRAMES,
		.max_maptrack_frames = 0, /* zones map nobody's memory */
		.grant_opts = XEN_DOMCTL_GRANT_version(1),
		.arch.emulation_flags = domain->hvm ? XEN_X86_EMU_LAPIC : 0,
	};

	memcpy(config.handle, spec->uuid.bytes, sizeof(config.handle));
	if (xc_domain_create(xen->control, &domain->id, &config) < 0)
		return xen_failed(xen, err,
				  domain->hvm ? "Xen makes no PVH domain here (xl info: xen_caps "
						"must name hvm)"
					      : "Xen makes no PV domain here");
	return 0;
}

static int set_limits(struct xen *xen, const struct zone_spec *spec, const struct domain *domain,
		      struct error *err)
{
	uint64_t max_kib = spec->max_memory_mib * KIB;
	uint64_t pool =
		(POOL_VCPU_KIB * spec->max_vcpus + POOL_MIB_KIB * spec->max_memory_mib) * KIB;

	if (xc_domain_max_vcpus(xen->control, domain->id, spec->max_vcpus) < 0)
		return xen_failed(xen, err, "the zone's vCPUs");
	if (xc_domain_setmaxmem(xen->control, domain->id, max_kib + SLACK_KIB) < 0)
		return xen_failed(xen, err, "the zone's memory limit");
	if (domain->hvm &&
	    xc_set_paging_mempool_size(xen->control, domain->id, align_up(pool, MIB)) < 0)
		return xen_failed(xen, err, "memory for the zone's page tables");
	if (xc_cpuid_apply_policy(xen->control, domain->id, false, NULL, 0, true, false, false,
				  NULL, NULL) < 0)
		return xen_failed(xen, err, "the zone's processor features");
	return 0;
}

static int make_ports(struct xen *xen, struct domain *domain, struct error *err)
{
	int console = xc_evtchn_alloc_unbound(xen->control, domain->id, 0);
	int store = xc_evtchn_alloc_unbound(xen->control, domain->id, 0);

	if (console < 0 || store < 0)
		return xen_failed(xen, err, "the zone's event channels");
	domain->console_port = (uint32_t)console;
	domain->store_port = (uint32_t)store;
	return 0;
}

int domain_make(struct xen *xen, const struct zone_spec *spec, struct domain *domain,
		struct error *err)
{
	int r;

	*domain = (struct domain){.hvm = spec->backend == SPEC_BACKEND_PVH};
	if (domain_find(xen, &spec->uuid))
		return error_set(err, -EEXIST,
				 "a domain of this zone is there already; 'zone-xen "
				 "--destroy UUID' ends it");
	r = create(xen, spec, domain, err);
	if (r == 0)
		r = set_limits(xen, spec, domain, err);
	if (r == 0)
		r = make_ports(xen, domain, err);
	if (r == 0)
		r = build_domain(xen, spec, domain, err);
	if (r < 0) {
		domain_destroy(xen, domain->id);
		domain->id = 0;
	}
	return r;
}

int domain_start(struct xen *xen, const struct domain *domain, struct error *err)
{
	if (!xs_introduce_domain(xen->store, domain->id, domain->store_frame, domain->store_port))
		return error_set_errno(err, -errno, "xenstored does not take the zone");
	if (xc_domain_unpause(xen->control, domain->id) < 0)
		return xen_failed(xen, err, "the zone cannot be started");
	return 0;
}

static enum domain_state state_of(const xc_dominfo_t *info)
{
	static const enum domain_state states[] = {
		[SHUTDOWN_poweroff] = DOMAIN_POWEROFF, [SHUTDOWN_reboot] = DOMAIN_REBOOT,
		[SHUTDOWN_suspend] = DOMAIN_CRASH,     [SHUTDOWN_crash] = DOMAIN_CRASH,
		[SHUTDOWN_watchdog] = DOMAIN_WATCHDOG, [SHUTDOWN_soft_reset] = DOMAIN_REBOOT,
	};

	if (info->dying)
		return DOMAIN_GONE;
	if (!info->shutdown)
		return DOMAIN_RUNS;
	return info->shutdown_reason < ARRAY_SIZE(states) ? states[info->shutdown_reason]
							  : DOMAIN_CRASH;
}

void domain_look(struct xen *xen, const struct domain *domain, struct domain_info *info)
{
	xc_dominfo_t found;

	*info = (struct domain_info){.state = DOMAIN_GONE};
	if (xc_domain_getinfo(xen->control, domain->id, 1, &found) != 1 ||
	    found.domid != domain->id)
		return;
	*info = (struct domain_info){.state = state_of(&found),
				     .memory_bytes = (uint64_t)found.nr_pages * XC_PAGE_SIZE,
				     .cpu_ns = found.cpu_time,
				     .online_vcpus = found.nr_online_vcpus,
				     .paused = found.paused};
}

uint32_t domain_find(struct xen *xen, const struct uuid *uuid)
{
	xc_dominfo_t list[LIST_CHUNK];
	uint32_t next = 1;
	int n;

	do {
		n = xc_domain_getinfo(xen->control, next, LIST_CHUNK, list);
		for (int i = 0; i < n; i++) {
			if (!list[i].dying &&
			    memcmp(list[i].handle, uuid->bytes, sizeof(uuid->bytes)) == 0)
				return list[i].domid;
			next = list[i].domid + 1;
		}
	} while (n == (int)LIST_CHUNK);
	return 0;
}

int domain_destroy(struct xen *xen, uint32_t id)
{
	int r;

	if (id == 0)
		return 0;
	r = xc_domain_destroy(xen->control, id) < 0 ? -errno : 0;
	disks_forget(xen, id);
	store_remove(xen, id);
	return r == -ESRCH ? 0 : r;
}
