// SPDX-License-Identifier: Apache-2.0
/*
 * What protect-daemon may ask of the kernel, by stages. It executes nothing, starts no thread and
 * no process, and sends no signal. The calls stand beside the code that makes them
 * (tools/seccomp/README.md).
 *
 * Once its ring is there and before it reads the first file of its state:
 * #filter daemon_start: libc libc.abort libc.heap libc.mutex libc.time denied filter log notify
 *	notify.listener io io.path io.fds io.nonblock io.listen io.connect io.peer uuid sqlite ring
 *	poll daemon daemon.start
 *
 * Before the first client:
 * #filter daemon_running: libc libc.abort libc.heap libc.mutex libc.time denied log notify io
 *	io.path io.fds io.nonblock io.listen io.connect io.peer uuid sqlite ring poll daemon
 */
#pragma once

/* For the only thread. Return 0 or a negative errno, and then the daemon must not go on. */
int filters_confine_start(void);
int filters_confine_running(void);
