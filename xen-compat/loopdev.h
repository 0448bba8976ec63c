// SPDX-License-Identifier: Apache-2.0
/*
 * Files as block devices, which blkback wants: loop devices (loop(4)) that go by themselves when
 * nobody has them open, so a killed runner leaves none behind. Loop thread.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/*
 * Makes the file of descriptor fd (borrowed) a block device; direct: past the page cache. *device
 * is its number. Returns a descriptor that holds it, or a negative errno: -EOPNOTSUPP if the file
 * cannot be read directly.
 */
int loopdev_bind(int fd, bool read_only, bool direct, dev_t *device);
