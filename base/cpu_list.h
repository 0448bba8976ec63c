// SPDX-License-Identifier: Apache-2.0
/* Lists of processors as the kernel writes them ("0-3,8"). From clients: nothing is taken on trust.
 */
#pragma once

#include <stdbool.h>

#define CPU_LIST_CPU_MAX 8191u /* the highest number of a processor in any Linux so far */

/* Whether text is such a list: numbers and rising ranges with commas between them, no blanks, not
 * empty. */
bool cpu_list_valid(const char *text);

/* Whether every processor of a valid list is in the other valid list. */
bool cpu_list_within(const char *list, const char *all);
