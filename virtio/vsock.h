// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-vsock (virtio 1.2 §5.10) ended in this process, no vhost and no CID of the host kernel:
 * stream connections are joined to unix stream sockets. Two ways in: the guest connects to a port
 * of the host that is served, and meets whoever was offered there; the host connects to a port on
 * which something in the guest listens. Bytes are moved, never parsed. Credits both ways: what the
 * guest may send is bounded by a buffer a connection, what it was sent by its own credit; a reader
 * on either side that stops holds up only its connection. At most VSOCK_CONNECTIONS_MAX
 * connections, of which neither the host's nor those to ports in line can ever take those that a
 * rendezvous needs.
 */
#pragma once

#include "base/loop.h"
#include "virtio/device.h"
#include "virtio/vsock_table.h"

#define VSOCK_CALLS_MAX		48 /* of these, the host's */
#define VSOCK_SERVED_MAX	12 /* and the guest's to ports that virtio_vsock_serve() serves */
#define VSOCK_BACKLOG_MAX	8  /* of these, as wait at one port */
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
 * Linux does) for an offer, instead of being refused. An offer does so as well. Returns 0, -EINVAL
 * for the ports that connections of the host come from (VSOCK_CALL_PORT_MIN and above), or -ENOSPC:
 * 16 ports are served at most.
 */
int virtio_vsock_listen(struct virtio_dev *dev, uint32_t port);

/*
 * fd (a connected unix stream socket, owned from here on; also on failure) waits in line at host
 * port `port` and meets one connection of the guest's, which are taken in the order they come; any
 * number may be open at a port. The guest's requests wait as for a rendezvous, VSOCK_BACKLOG_MAX a
 * port, while somebody is in line there or a connection to it is left; else they are refused.
 * Whoever closes his end while waiting is passed over. Returns 0, -EINVAL (as above), -EADDRINUSE
 * (the port is a rendezvous), -EUSERS (VSOCK_LINE_MAX wait), or another negative errno; then fd is
 * shut and closed.
 */
int virtio_vsock_serve(struct virtio_dev *dev, uint32_t port, int fd);

/*
 * Connects fd (a connected unix stream socket, owned from here on; also on failure) to the guest's
 * port: REQUEST, and once the guest answers RESPONSE the bytes flow, those that were written before
 * as well. A guest that refuses, or has not answered after 10 s, closes it without a byte. A half
 * that either side ends is ended on the other; a socket that is closed wholly ends both. Returns 0,
 * -ENOTCONN while the guest has no driver for the device, -EUSERS when VSOCK_CALLS_MAX are there,
 * or another negative errno.
 */
int virtio_vsock_connect(struct virtio_dev *dev, uint32_t guest_port, int fd);
