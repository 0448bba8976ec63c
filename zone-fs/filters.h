// SPDX-License-Identifier: Apache-2.0
/*
 * What zone-fs may ask of the kernel: names in folders that it has a descriptor of, files that it
 * opened by such a name, its one socket. By their arguments: no link is followed at an open, no
 * file is made with set-user-id or set-group-id, no device, no mode changed to one of these, so
 * that even a server that was taken over leaves no program behind that runs with its rights.
 *
 * #filter zone_fs: libc libc.abort libc.heap fs
 */
#pragma once

/* For the only thread, before the first request. Returns 0 or a negative errno, and then nothing
 * must be served. */
int filters_confine_fs(void);
