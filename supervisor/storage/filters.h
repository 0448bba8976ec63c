// SPDX-License-Identifier: Apache-2.0
/*
 * What protect-storage may ask of the kernel. The calls stand beside the code that makes them
 * (tools/seccomp/README.md).
 *
 * All of its threads are equal, for each of them handles a stranger's bytes: files, registries, and
 * threads of its own kind, but no program and no library. The first filter is for the start, the
 * other comes before the first client.
 * #filter storage_start: libc libc.abort libc.heap libc.mutex libc.cond libc.join libc.thread
 *	libc.threads libc.stacks libc.setxid libc.noload libc.time denied filter log
 *	notify.listener io io.path io.fds io.nonblock io.listen io.peer uuid sqlite storage
 *	storage.start curl
 * #filter storage_running: libc libc.abort libc.heap libc.mutex libc.cond libc.join libc.thread
 *	libc.threads libc.stacks libc.setxid libc.noload libc.time denied log io io.path io.fds
 *	io.peer uuid sqlite storage curl
 *
 * The helper (helper.h) may execute what lies open at one number, once for each process it forks,
 * and allows what the programs need.
 * #filter storage_helper: libc libc.heap libc.mutex libc.cond libc.thread libc.threads
 *	libc.stacks libc.time filter log io helper loader program
 *
 * mksquashfs and unsquashfs, from before their exec on. They take from strangers the names and the
 * bytes that they pack or unpack.
 * #filter storage_program: libc libc.heap libc.mutex libc.cond libc.thread libc.threads
 *	libc.stacks libc.time loader program program.exec
 */
#pragma once

/* Return 0 or a negative errno, and then the caller must not go on. */
int filters_confine_start(void);
int filters_confine_running(void);
int filters_confine_helper(void);
int filters_confine_program(void);
