// SPDX-License-Identifier: Apache-2.0
#include "supervisor/launch/filters.h"

#include "base/filter.h"
#include "launch_filters.h"

int filters_confine_launch(void)
{
	return filter_load(&filter_launch);
}
