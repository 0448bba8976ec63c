// SPDX-License-Identifier: Apache-2.0
/* modules.dep of a hostile kernel image: the list is bounded, its paths stay inside, its order has
 * no repetitions. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/storage/kernel_modules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct kernel_modules modules;
	char *text = malloc(len + 1);

	memcpy(text, data, len);
	text[len] = '\0';
	kernel_modules_plan(&modules, text);
	for (unsigned i = 0; i < modules.n; i++) {
		if (modules.list[i].path[0] == '/' || strstr(modules.list[i].path, "..") ||
		    strchr(modules.list[i].name, '/'))
			abort();
		for (unsigned k = 0; k < i; k++)
			if (strcmp(modules.list[i].name, modules.list[k].name) == 0)
				abort();
	}
	kernel_modules_clear(&modules);
	free(text);
	return 0;
}
