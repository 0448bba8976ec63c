// SPDX-License-Identifier: Apache-2.0
/*
 * What a client and an image can say about how a workload is confined: the bytes of a Settings
 * message. What passes the check is within its bounds.
 */
#include <assert.h>
#include <string.h>
#include <sys/resource.h>

#include "base/caps.h"
#include "zone-guest/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t len);

static void check(const settings_t *s)
{
	assert(s->n_tmpfs <= SETTINGS_MOUNTS_MAX && s->n_volumes <= SETTINGS_MOUNTS_MAX);
	assert(s->n_devices <= SETTINGS_MOUNTS_MAX && s->n_sysctls <= SETTINGS_SYSCTLS_MAX);
	assert(s->n_masked_paths <= SETTINGS_PATHS_MAX);
	assert(s->seccomp_program.len <= 8u * SETTINGS_FILTER_MAX);
	for (size_t i = 0; i < s->n_tmpfs; i++)
		assert(s->tmpfs[i]->path[0] == '/' && s->tmpfs[i]->mode <= 07777);
	for (size_t i = 0; i < s->n_volumes; i++)
		assert(s->volumes[i][0] == '/');
	for (size_t i = 0; i < s->n_sysctls; i++)
		assert(strchr(s->sysctls[i], '=') && !strchr(s->sysctls[i], '\n'));
	for (size_t i = 0; i < s->n_ulimits; i++)
		assert(s->ulimits[i]->resource < RLIM_NLIMITS);
	assert(!(settings_caps(s) & ~CAPS_ALL));
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t len)
{
	settings_t *message = protect__agent__settings__unpack(NULL, len, input), *copy = NULL;
	struct error err = ERROR_NULL;

	if (!message)
		return 0;
	if (settings_new(message, &copy, &err) == 0)
		check(copy);
	else
		assert(err.code < 0 && err.text[0]);
	settings_free(copy);
	protect__agent__settings__free_unpacked(message, NULL);
	return 0;
}
