// SPDX-License-Identifier: Apache-2.0
#include "supervisor/storage/platform.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/util.h"

#define OURS "linux/amd64"

unsigned platform_level_of(const char *variant)
{
	if (!variant || !variant[0])
		return 1;
	return variant[0] == 'v' && variant[1] >= '1' && variant[1] <= '4' && !variant[2]
		       ? (unsigned)(variant[1] - '0')
		       : 0;
}

/* By what a level adds that came last. */
unsigned platform_level_here(void)
{
	if (!__builtin_cpu_supports("sse4.2") || !__builtin_cpu_supports("popcnt"))
		return 1;
	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi2") ||
	    !__builtin_cpu_supports("fma"))
		return 2;
	if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
	    !__builtin_cpu_supports("avx512vl"))
		return 3;
	return 4;
}

/* Two or three words of small letters, digits, '.', '_' and '-'. */
static bool is_platform(const char *text)
{
	unsigned slashes = 0;
	char previous = '/';

	for (const char *c = text; *c; previous = *c++) {
		if (*c == '/' && (previous == '/' || ++slashes > 2))
			return false;
		if (*c != '/' && !(*c >= 'a' && *c <= 'z') && !(*c >= '0' && *c <= '9') &&
		    !strchr("._-", *c))
			return false;
	}
	return slashes && previous != '/';
}

int platform_parse(const char *text, unsigned *level, struct error *err)
{
	const char *variant = text + strlen(OURS);

	*level = PLATFORM_LEVEL_ANY;
	if (!text[0])
		return 0;
	if (!is_platform(text))
		return error_set(err, -EINVAL, "'%.64s' is no platform; give OS/ARCH[/VARIANT]",
				 text);
	if (strncmp(text, OURS, strlen(OURS)) != 0 || (*variant && *variant != '/'))
		return error_set(err, -ENOTSUP,
				 "images for %.64s cannot run here: zones of this host run " OURS,
				 text);
	if (!*variant)
		return 0;
	*level = platform_level_of(variant + 1);
	if (!*level)
		return error_set(err, -EINVAL, OURS " has the variants v1 to v4, not '%.32s'",
				 variant + 1);
	if (*level > platform_level_here())
		return error_set(err, -ENOTSUP,
				 "images for " OURS
				 "/v%u cannot run here: this host's processor has v%u",
				 *level, platform_level_here());
	return 0;
}
