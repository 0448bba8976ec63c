// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-console (virtio 1.2 §5.3) with two ports: 0 is the kernel's console, 1 is the agent's,
 * named so that the guest finds it (Linux: /sys/class/virtio-ports). A driver without
 * VIRTIO_CONSOLE_F_MULTIPORT has the first alone. What the guest writes goes to a function; input
 * queues are left alone. The guest never waits for who reads: the function takes everything at
 * once.
 *
 * Control messages are bounded: what is to be said about a port is a set of flags, whatever the
 * guest asks how often; what makes no sense is ignored and counted.
 */
#pragma once

#include "virtio/device.h"

enum { CONSOLE_PORT_KERNEL, CONSOLE_PORT_AGENT, CONSOLE_PORTS };

#define CONSOLE_AGENT_NAME "agent"

/* Gets the bytes as the guest wrote them to a port, in chunks of at most 4 KiB, in the loop thread.
 */
typedef void console_output_fn(void *user, unsigned port, const void *data, size_t len);

int virtio_console_new(struct virtio_dev **out, console_output_fn *output, void *user);
