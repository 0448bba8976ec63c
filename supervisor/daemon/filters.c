// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/filters.h"

#include "base/filter.h"
#include "daemon_filters.h"

int filters_confine_start(void)
{
	return filter_load(&filter_daemon_start);
}

int filters_confine_running(void)
{
	return filter_load(&filter_daemon_running);
}
