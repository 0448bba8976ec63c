// SPDX-License-Identifier: Apache-2.0
#include "virtio/console.h"

#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_config.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>

#include "base/util.h"

/* §5.3.2: a pair for port 0, a pair for control, then pairs for the other ports. */
#define QUEUE_CONTROL_RX 2u
#define QUEUE_CONTROL_TX 3u
#define N_QUEUES	 (2u + 2u * CONSOLE_PORTS)
#define CHUNK_LEN	 4096u
#define TURN_LEN	 (64u * 1024) /* bytes of a port passed on in one turn of the loop */
#define MULTIPORT	 (UINT64_C(1) << VIRTIO_CONSOLE_F_MULTIPORT)

/* What the guest is to hear of a port, in this order. */
enum { DUE_ADD = 1u, DUE_CONSOLE = 2u, DUE_NAME = 4u, DUE_OPEN = 8u, DUE_END = 16u };

struct port {
	bool busy; /* `chain` is under way, up to `done` */
	bool open; /* in the guest, as it says */
	uint32_t done;
	unsigned due;
	uint64_t bytes;
	struct vq_chain chain;
};

struct console {
	struct virtio_dev dev;
	console_output_fn *output;
	void *user;
	uint64_t n_ignored; /* control messages */
	struct port ports[CONSOLE_PORTS];
	struct vq_chain chain; /* of the control queues */
};

struct message {
	struct virtio_console_control head;
	char name[sizeof(CONSOLE_AGENT_NAME)];
};

static struct console *from_dev(struct virtio_dev *dev)
{
	return container_of(dev, struct console, dev);
}

static void config_read(struct virtio_dev *dev, uint32_t off, void *data, uint32_t len)
{
	const struct virtio_console_config config = {.max_nr_ports = htole32(CONSOLE_PORTS)};

	(void)dev;
	virtio_config_copy(&config, sizeof(config), off, data, len);
}

/* Of the counters nothing: they are since the start. */
static void forget(struct console *console)
{
	for (unsigned i = 0; i < CONSOLE_PORTS; i++) {
		console->ports[i].busy = console->ports[i].open = false;
		console->ports[i].due = 0;
	}
}

static int activate(struct virtio_dev *dev)
{
	forget(from_dev(dev));
	return 0;
}

/* A port's output. */

/* Passes on at most *budget bytes of the present chain, through a copy: the guest may still be
 * writing to its own. */
static void pass_on(struct console *console, unsigned index, uint32_t *budget)
{
	struct port *port = &console->ports[index];
	uint8_t chunk[CHUNK_LEN];

	while (*budget > 0) {
		size_t want = *budget < CHUNK_LEN ? *budget : CHUNK_LEN;
		size_t n = vq_copy_out(&port->chain, port->done, chunk, want);

		if (n == 0)
			return;
		console->output(console->user, index, chunk, n);
		port->done += (uint32_t)n;
		port->bytes += n;
		*budget -= (uint32_t)n;
	}
}

/* Works through the queue until it is empty (1), the turn's budget is used up (0), or it is broken
 * (negative). */
static int transmit(struct console *console, unsigned index, struct vq *vq)
{
	struct port *port = &console->ports[index];
	uint32_t budget = TURN_LEN;

	for (unsigned n = 0; n < vq->size && budget > 0; n++) {
		if (!port->busy) {
			int r = vq_pop(vq, &port->chain);

			if (r <= 0)
				return r < 0 ? r : 1;
			port->busy = true;
			port->done = 0;
		}
		pass_on(console, index, &budget);
		if (port->done < port->chain.out_len)
			return 0;
		vq_push(vq, port->chain.head, 0);
		port->busy = false;
	}
	return 0;
}

/* Control (§5.3.6.2). */

static void on_message(struct console *console, const struct virtio_console_control *message)
{
	uint32_t id = le32toh(message->id);
	struct port *port = id < CONSOLE_PORTS ? &console->ports[id] : NULL;
	bool yes = le16toh(message->value);

	switch (le16toh(message->event)) {
	case VIRTIO_CONSOLE_DEVICE_READY:
		for (unsigned i = 0; yes && i < CONSOLE_PORTS; i++)
			console->ports[i].due |= DUE_ADD;
		return;
	case VIRTIO_CONSOLE_PORT_READY:
		if (!port)
			break;
		if (yes)
			port->due |= id == CONSOLE_PORT_KERNEL ? DUE_CONSOLE : DUE_NAME | DUE_OPEN;
		return;
	case VIRTIO_CONSOLE_PORT_OPEN:
		if (!port)
			break;
		port->open = yes;
		return;
	default:
		break;
	}
	console->n_ignored++;
}

/* Takes the guest's messages; returns as transmit(). */
static int receive_control(struct console *console, struct vq *vq)
{
	struct virtio_console_control message;

	for (unsigned n = 0; n < vq->size; n++) {
		int r = vq_pop(vq, &console->chain);

		if (r <= 0)
			return r < 0 ? r : 1;
		if (console->chain.n_in > 0 ||
		    vq_copy_out(&console->chain, 0, &message, sizeof(message)) != sizeof(message))
			return -EBADMSG;
		on_message(console, &message);
		vq_push(vq, console->chain.head, 0);
	}
	return 0;
}

/* Makes what is due next about a port; returns its length. */
static uint32_t make_message(unsigned id, unsigned due, struct message *message)
{
	uint16_t event = VIRTIO_CONSOLE_PORT_ADD;
	uint32_t len = sizeof(message->head);

	if (due == DUE_CONSOLE)
		event = VIRTIO_CONSOLE_CONSOLE_PORT;
	else if (due == DUE_NAME)
		event = VIRTIO_CONSOLE_PORT_NAME;
	else if (due == DUE_OPEN) /* or a driver does not let anybody write */
		event = VIRTIO_CONSOLE_PORT_OPEN;
	message->head = (struct virtio_console_control){
		.id = htole32(id), .event = htole16(event), .value = htole16(1)};
	if (due == DUE_NAME) {
		memcpy(message->name, CONSOLE_AGENT_NAME, sizeof(message->name));
		len += (uint32_t)strlen(CONSOLE_AGENT_NAME);
	}
	return len;
}

/* A buffer for a message of len bytes: as vq_pop(). */
static int take_buffer(struct console *console, struct vq *vq, uint32_t len)
{
	int r = vq_pop(vq, &console->chain);

	if (r == 0 && vq_want_kicks(vq))
		r = vq_pop(vq, &console->chain);
	if (r == 1 && (console->chain.n_out > 0 || console->chain.in_len < len))
		return -EBADMSG;
	return r;
}

/* Says what is due, as far as there are buffers; negative when the queue is broken. */
static int send_control(struct console *console, struct vq *vq)
{
	struct message message;

	vq_no_kicks(vq);
	for (unsigned id = 0; id < CONSOLE_PORTS; id++) {
		struct port *port = &console->ports[id];

		for (unsigned due = DUE_ADD; due < DUE_END; due <<= 1) {
			uint32_t len;
			int r;

			if (!(port->due & due))
				continue;
			len = make_message(id, due, &message);
			r = take_buffer(console, vq, len);
			if (r <= 0)
				return r;
			vq_copy_in(&console->chain, 0, &message, len);
			vq_push(vq, console->chain.head, len);
			port->due &= ~due;
		}
	}
	return 0;
}

static void kick_control(struct console *console)
{
	struct virtio_dev *dev = &console->dev;
	struct vq *tx = &dev->queues[QUEUE_CONTROL_TX], *rx = &dev->queues[QUEUE_CONTROL_RX];
	int r = 1;

	if (tx->enabled) {
		vq_no_kicks(tx);
		r = receive_control(console, tx);
		vq_flush(tx);
	}
	if (r < 0) {
		virtio_dev_broken(dev, "its control transmit queue");
		return;
	}
	if (tx->enabled && (r == 0 || vq_want_kicks(tx)))
		dev->kick_again(dev, QUEUE_CONTROL_TX);
	if (rx->enabled && send_control(console, rx) < 0)
		virtio_dev_broken(dev, "its control receive queue");
	if (rx->enabled)
		vq_flush(rx);
}

static void kick_port(struct console *console, unsigned index, unsigned queue)
{
	struct virtio_dev *dev = &console->dev;
	struct vq *vq = &dev->queues[queue];
	int r;

	vq_no_kicks(vq);
	r = transmit(console, index, vq);
	vq_flush(vq);
	if (r < 0)
		virtio_dev_broken(dev, "a port's transmit queue");
	else if (r == 0 || vq_want_kicks(vq))
		dev->kick_again(dev, queue);
}

static bool is_port_output(unsigned queue)
{
	return queue % 2 && queue != QUEUE_CONTROL_TX;
}

static unsigned port_of(unsigned queue)
{
	return queue < QUEUE_CONTROL_RX ? 0 : queue / 2 - 1;
}

static void kick(struct virtio_dev *dev, unsigned queue)
{
	if (queue > 1 && !(dev->negotiated & MULTIPORT))
		return;
	if (queue == QUEUE_CONTROL_RX || queue == QUEUE_CONTROL_TX)
		kick_control(from_dev(dev));
	else if (is_port_output(queue))
		kick_port(from_dev(dev), port_of(queue), queue);
}

static void reset(struct virtio_dev *dev, void (*drained)(void *user), void *user)
{
	forget(from_dev(dev));
	drained(user);
}

/* Of a chain of output that is under way the rest is dropped; what the guest is to hear of a port
 * it hears by the queue's next life. */
static void reset_queue(struct virtio_dev *dev, unsigned queue, void (*drained)(void *user),
			void *user)
{
	if (is_port_output(queue))
		from_dev(dev)->ports[port_of(queue)].busy = false;
	drained(user);
}

static unsigned counters(const struct virtio_dev *dev, struct virtio_counter *out, unsigned max)
{
	const struct console *console = (const struct console *)(const void *)dev;
	const struct port *kernel = &console->ports[CONSOLE_PORT_KERNEL];
	const struct port *agent = &console->ports[CONSOLE_PORT_AGENT];
	const struct virtio_counter all[] = {
		{"kernel_bytes", kernel->bytes},
		{"agent_bytes", agent->bytes},
		{"agent_open", agent->open},
		{"ignored", console->n_ignored},
	};

	_Static_assert(offsetof(struct console, dev) == 0, "a cast that keeps the const");
	return virtio_counters_copy(all, ARRAY_SIZE(all), out, max);
}

static void destroy(struct virtio_dev *dev)
{
	free(from_dev(dev));
}

static const struct virtio_ops console_ops = {
	.id = VIRTIO_ID_CONSOLE,
	.pci_class = 0x078000, /* communication controller, other */
	.name = "console",
	.config_read = config_read,
	.activate = activate,
	.kick = kick,
	.reset = reset,
	.reset_queue = reset_queue,
	.counters = counters,
	.destroy = destroy,
};

int virtio_console_new(struct virtio_dev **out, console_output_fn *output, void *user)
{
	struct console *console = calloc(1, sizeof(*console));

	if (!console)
		return -ENOMEM;
	console->dev.ops = &console_ops;
	console->dev.n_queues = N_QUEUES;
	console->dev.queue_size_max = 64;
	console->dev.offered = UINT64_C(1) << VIRTIO_F_VERSION_1 | MULTIPORT |
			       UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC |
			       UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX;
	console->output = output;
	console->user = user;
	*out = &console->dev;
	return 0;
}
