// SPDX-License-Identifier: Apache-2.0
/*
 * What protect-launch may ask of the kernel. Its filter is inherited: by the child that
 * goes through the stages of base/isolate.h, over its exec, by zone-vmm, whose threads
 * then take on filters of their own, and by zone-fs, which does the same. So it holds what all of
 *these need and nothing that none does: no ptrace, no bpf, no key, no module, no time to set, no
 *socket but AF_UNIX; and, by their arguments, no exec but that of the one descriptor that is gone
 *afterwards, no namespace but a cgroup's (clone3 apart, whose arguments are out of a filter's
 *sight), no mount but those of an empty root, no code but the program's own.
 *
 * #filter launch: libc libc.abort libc.heap libc.mutex libc.cond libc.join libc.thread
 *	libc.stacks libc.setxid libc.time denied filter log notify io io.path io.fds
 *	io.nonblock io.accept io.peer uuid launch spawn runner vcpu loop ring poll poll.worker fs
 */
#pragma once

/* For the only thread, when all rights that are not needed have been given up. Returns 0 or a
 * negative errno, and then nothing must be launched. */
int filters_confine_launch(void);
