// SPDX-License-Identifier: Apache-2.0
#include "zone-fs/filters.h"

#include "base/filter.h"
#include "zone_fs_filters.h"

int filters_confine_fs(void)
{
	return filter_load(&filter_zone_fs);
}
