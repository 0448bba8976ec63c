// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-console (virtio 1.2 §5.3), one port, no features: the guest's output goes to a function,
 * its input queue is left alone. The guest never waits for who reads: the function takes everything
 * at once.
 */
#pragma once

#include "base/loop.h"
#include "virtio/device.h"

/* output gets the bytes as the guest wrote them, in chunks of at most 64 KiB, in the loop thread.
 */
int virtio_console_new(struct virtio_dev **out,
		       void (*output)(void *user, const void *data, size_t len), void *user);
