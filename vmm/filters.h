// SPDX-License-Identifier: Apache-2.0
/*
 * What zone-vmm still may once its guest runs. Each thread loads its filter before it looks at
 * anything of the guest's, and cannot get rid of it; whatever a filter does not name kills the
 * process. All threads exist by then, so none can be made later: a filter is inherited, and the
 * loop's has no KVM_RUN.
 *
 * The calls stand beside the code that makes them (tools/seccomp/README.md):
 *
 * The thread of a vCPU runs it, rings the loop and sleeps; when it ends, it says why.
 * #filter vmm_vcpu: libc libc.abort libc.thread log vcpu
 *
 * The loop owns devices and sockets. One ring, which is restricted by itself, is all it has of
 * io_uring.
 * #filter vmm_loop: libc libc.abort libc.heap libc.mutex libc.join log io io.fds io.nonblock
 *	ring loop
 *
 * The same on a host without io_uring, and what then reads and writes the disks.
 * #filter vmm_loop_polling: libc libc.abort libc.heap libc.mutex libc.join log io io.fds
 *	io.nonblock poll loop
 * #filter vmm_worker: libc libc.abort libc.mutex libc.cond libc.thread poll.worker
 *
 * Of a zone that was started alone, the process outside its pid namespace.
 * #filter vmm_minder: libc minder
 */
#pragma once

#include <stdbool.h>

/* Landlock, where the kernel has it; before the first thread. Returns 0 or a negative errno. */
int filters_confine_process(void);

/*
 * For the calling thread. Return 0 or a negative errno, and then the zone must not start. Builds
 * with sanitizers allow what those need besides; no other build differs.
 */
int filters_confine_vcpu(void);
int filters_confine_loop(bool polling);
int filters_confine_worker(void);
int filters_confine_minder(void);
