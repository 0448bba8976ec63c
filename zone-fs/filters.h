// SPDX-License-Identifier: Apache-2.0
/*
 * What zone-fs may ask of the kernel: names in folders that it has a descriptor of, files that it
 * opened by such a name, its one socket. By their arguments: no link is followed at an open, no
 * file is made with set-user-id or set-group-id, no device, no mode changed to one of these, so
 * that even a server that was taken over leaves no program behind that runs with its rights.
 *
 * The filter of protect-launch, which this process inherits, has the calls of `fs`; those of
 * `fs.own` it has without regard to their arguments, and one filter cannot have both.
 *
 * #filter zone_fs: libc libc.abort libc.heap fs fs.own
 */
#pragma once

/* For the only thread, before the first request. Returns 0 or a negative errno, and then nothing
 * must be served. */
int filters_confine_fs(void);
