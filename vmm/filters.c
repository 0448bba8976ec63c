// SPDX-License-Identifier: Apache-2.0
#include "vmm/filters.h"

#include "base/filter.h"
#include "base/landlock.h"
#include "base/log.h"
#include "vmm_filters.h"

int filters_confine_process(void)
{
	/* LeakSanitizer reads /proc at the end. */
	int abi = FILTERS_SANITIZED ? 1 : landlock_deny_all();

	if (abi == 0)
		log_info("msg=\"this kernel has no Landlock; namespaces and filters hold alone\"");
	return abi < 0 ? abi : 0;
}

int filters_confine_vcpu(void)
{
	return filter_load(&filter_vmm_vcpu);
}

int filters_confine_loop(bool polling)
{
	return filter_load(polling ? &filter_vmm_loop_polling : &filter_vmm_loop);
}

int filters_confine_minder(void)
{
	return filter_load(&filter_vmm_minder);
}

int filters_confine_worker(void)
{
	return filter_load(&filter_vmm_worker);
}
