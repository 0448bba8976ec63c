// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-vsock (virtio 1.2 §5.10) ended in this process, no vhost and no CID of the host kernel:
 * stream connections of the guest are joined to unix stream sockets. Bytes are moved, never parsed.
 * Credits both ways: what the guest may send is bounded by a buffer a connection, what it was sent
 * by its own credit; a reader on either side that stops holds up only its connection. At most
 * VSOCK_CONNECTIONS_MAX connections.
 */
#pragma once

#include "base/loop.h"
#include "virtio/device.h"

#define VSOCK_CONNECTIONS_MAX	64
#define VSOCK_CONNECTION_BUFFER (64u * 1024)

int virtio_vsock_new(struct virtio_dev **out, struct loop *loop, uint64_t guest_cid);

/*
 * A rendezvous: fd (a connected unix stream socket, owned from here on; also on failure) meets the
 * guest's connection to host port `port`. Whoever is first waits: a guest's connection request is
 * answered only when there is an fd (at most one of either kind waits a port; a newer fd replaces
 * and closes the one that waits or is joined: that connection is shut, and the guest connects
 * again). Other ports of the host are refused with RST. Returns 0 or a negative errno.
 */
int virtio_vsock_offer(struct virtio_dev *dev, uint32_t port, int fd);

/*
 * Makes `port` one that is served: the guest's connection request there waits (for 1.5 s, less than
 * Linux does) for an offer, instead of being refused. An offer does so as well. Returns 0, or
 * -ENOSPC: 16 ports are served at most.
 */
int virtio_vsock_listen(struct virtio_dev *dev, uint32_t port);
