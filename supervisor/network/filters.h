// SPDX-License-Identifier: Apache-2.0
/*
 * What protect-network may ask of the kernel, by stages. It executes nothing, starts no thread and
 * signals nobody. The calls stand beside the code that makes them (tools/seccomp/README.md).
 *
 * Before it looks at the host, its settings and what it left:
 * #filter network_start: libc libc.abort libc.heap libc.mutex libc.time libc.noload denied filter
 *	log notify notify.listener io io.path io.fds io.nonblock io.listen io.accept io.peer uuid
 *	network network.start
 *
 * Before the first client: no file of a folder's list, no netlink socket but those that are open.
 * #filter network_running: libc libc.abort libc.heap libc.mutex libc.time libc.noload denied log
 *	notify io io.path io.fds io.accept io.peer uuid network
 */
#pragma once

/* For the only thread. Return 0 or a negative errno, and then the service must not go on. */
int filters_confine_start(void);
int filters_confine_running(void);
