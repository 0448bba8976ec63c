// SPDX-License-Identifier: Apache-2.0
#include "base/cpu_list.h"

#include <stddef.h>

/* Reads a number of 1 to 4 digits and moves *text behind it. */
static bool read_cpu(const char **text, unsigned *cpu)
{
	unsigned digits = 0;

	*cpu = 0;
	for (; **text >= '0' && **text <= '9' && digits < 5; digits++, ++*text)
		*cpu = *cpu * 10 + (unsigned)(**text - '0');
	return digits > 0 && digits < 5 && *cpu <= CPU_LIST_CPU_MAX;
}

bool cpu_list_valid(const char *text)
{
	for (;;) {
		unsigned first, last;

		if (!read_cpu(&text, &first))
			return false;
		last = first;
		if (*text == '-') {
			text++;
			if (!read_cpu(&text, &last) || last < first)
				return false;
		}
		if (*text == '\0')
			return true;
		if (*text++ != ',')
			return false;
	}
}
