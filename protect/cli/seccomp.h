// SPDX-License-Identifier: Apache-2.0
/*
 * Seccomp profiles as Docker and containerd know them (JSON), compiled here, with the caller's
 * rights, so that neither the daemon nor the zone parses them: what travels is the program.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * Compiles the profile in a file for a program with these capabilities. *program is the caller's.
 * Returns 0 or a negative errno, having said what is wrong.
 */
int seccomp_compile(const char *path, uint64_t caps, uint8_t **program, size_t *len);
