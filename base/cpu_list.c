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

/* Reads "A" or "A-B" and moves *text behind it. */
static bool read_range(const char **text, unsigned *first, unsigned *last)
{
	if (!read_cpu(text, first))
		return false;
	*last = *first;
	if (**text != '-')
		return true;
	++*text;
	return read_cpu(text, last) && *last >= *first;
}

bool cpu_list_valid(const char *text)
{
	for (;;) {
		unsigned first, last;

		if (!read_range(&text, &first, &last))
			return false;
		if (*text == '\0')
			return true;
		if (*text++ != ',')
			return false;
	}
}

static bool has_cpu(const char *list, unsigned cpu)
{
	unsigned first, last;

	do {
		if (!read_range(&list, &first, &last))
			return false;
		if (cpu >= first && cpu <= last)
			return true;
	} while (*list++ == ',');
	return false;
}

bool cpu_list_within(const char *list, const char *all)
{
	unsigned first, last;

	do {
		if (!read_range(&list, &first, &last))
			return false;
		for (unsigned cpu = first; cpu <= last; cpu++)
			if (!has_cpu(all, cpu))
				return false;
	} while (*list++ == ',');
	return true;
}
