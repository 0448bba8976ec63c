// SPDX-License-Identifier: Apache-2.0
/* virtio-rng (virtio 1.2 §5.4) from getrandom(2). Bounded: at most 64 KiB a second after a first 64
 * KiB; what is asked beyond that waits. */
#pragma once

#include "base/loop.h"
#include "virtio/device.h"

int virtio_rng_new(struct virtio_dev **out, struct loop *loop);
