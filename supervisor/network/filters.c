// SPDX-License-Identifier: Apache-2.0
#include "supervisor/network/filters.h"

#include "base/filter.h"
#include "network_filters.h"

int filters_confine_start(void)
{
	return filter_load(&filter_network_start);
}

int filters_confine_running(void)
{
	return filter_load(&filter_network_running);
}
