// SPDX-License-Identifier: Apache-2.0
/*
 * The system calls that a workload may not make. The one thing they keep it from is the zone's way
 * to the host: whoever opens a vsock in a zone could pose as its agent. A filter of a few
 * instructions for each entry of the kernel (64 bit, x32, 32 bit), kept over every exec. It trusts
 * nothing; the caller is a child between clone and exec, alone in its address space.
 */
#pragma once

#include "base/error.h"

/*
 * From now on, for this process and all it starts: socket(AF_VSOCK) is EAFNOSUPPORT; what would
 * make a socket past that check is ENOSYS (io_uring; socketcall(SYS_SOCKET) of 32-bit programs,
 * whose arguments lie in memory; musl and glibc 2.23 on do not need it). Needs CAP_SYS_ADMIN.
 * Returns 0 or a negative errno with text.
 */
int filter_apply(struct error *err);
