// SPDX-License-Identifier: Apache-2.0
/*
 * Scope-bound cleanup: a variable marked _cleanup_(f) is handed to f when its scope ends. Ownership
 * leaves the scope only through steal_fd() or steal_ptr(), so an early return can neither leak nor
 * release twice.
 */
#pragma once

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))

/* Closes *fd unless it is negative and sets it to -1; errno is kept. */
static inline void close_fdp(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved;
}

/* Frees what the pointer variable behind p holds (p is the address of a pointer of any type). */
static inline void freep(void *p)
{
	free(*(void **)p);
}

/* Moves a descriptor out of its variable: the variable then holds -1. */
static inline int steal_fd(int *fd)
{
	int stolen = *fd;

	*fd = -1;
	return stolen;
}

/* Moves a pointer out of its variable: the variable then holds NULL. */
#define steal_ptr(p)                                                                               \
	({                                                                                         \
		__typeof__(*(p)) stolen_ = *(p);                                                   \
		*(p) = NULL;                                                                       \
		stolen_;                                                                           \
	})
