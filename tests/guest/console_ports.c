// SPDX-License-Identifier: Apache-2.0
/*
 * The console's ports: found as a driver finds them, the agent's by its name; control messages that
 * are nonsense, floods of them without a buffer for an answer, resets in the middle, chains that
 * are no messages; after each both ports still work. run.sh looks for what is said on either.
 */
#include "virtio.h"

#define FEATURE_MULTIPORT 2u
#define BUFFER		  64u
#define FLOOD		  200u
#define ALL_PORTS	  0xffffffffu

enum {
	DEVICE_READY,
	PORT_ADD,
	PORT_REMOVE,
	PORT_READY,
	CONSOLE_PORT,
	RESIZE,
	PORT_OPEN,
	PORT_NAME
};

struct control {
	uint32_t id;
	uint16_t event, value;
};

static struct queue kernel, control_rx, control_tx, agent;
static struct device console;
static volatile struct control out;
static volatile uint8_t in[QUEUE_SIZE][BUFFER];

static void give_buffer(uint16_t head)
{
	control_rx.desc[head] = (struct desc){(uint32_t)in[head], BUFFER, DESC_WRITE, 0};
	virtio_submit(&control_rx, head);
}

static void start(bool buffers)
{
	virtio_start_with(&console, FEATURE_MULTIPORT, 1);
	virtio_queue(&console, &kernel, 1);
	virtio_queue(&console, &control_rx, 2);
	virtio_queue(&console, &control_tx, 3);
	virtio_queue(&console, &agent, 5);
	virtio_driver_ok(&console);
	for (uint16_t i = 0; buffers && i < QUEUE_SIZE; i++)
		give_buffer(i);
}

static void submit(uint32_t len, uint16_t flags)
{
	control_tx.desc[0] = (struct desc){(uint32_t)&out, len, flags, 0};
	virtio_submit(&control_tx, 0);
}

static void tell(uint32_t id, uint16_t event, uint16_t value)
{
	uint32_t len;

	out = (struct control){id, event, value};
	submit(sizeof(out), 0);
	CHECK(virtio_wait(&control_tx, &len), virtio_status(&console));
}

static void hears(uint32_t id, uint16_t event, const char *name)
{
	const volatile struct control *message;
	uint32_t len, name_len = 0;
	uint16_t head;

	CHECK(virtio_wait(&control_rx, &len), event);
	head = (uint16_t)control_rx.used_ring[(uint16_t)(control_rx.seen - 1) % QUEUE_SIZE].id;
	message = (const volatile struct control *)in[head];
	CHECK(message->id == id && message->event == event && message->value == 1, message->event);
	for (; name[name_len]; name_len++)
		CHECK(in[head][sizeof(*message) + name_len] == (uint8_t)name[name_len], name_len);
	CHECK(len == sizeof(*message) + name_len, len);
	give_buffer(head);
}

static void introduce(void)
{
	tell(ALL_PORTS, DEVICE_READY, 1);
	hears(0, PORT_ADD, "");
	hears(1, PORT_ADD, "");
	tell(0, PORT_READY, 1);
	hears(0, CONSOLE_PORT, "");
	tell(1, PORT_READY, 1);
	hears(1, PORT_NAME, "agent");
	hears(1, PORT_OPEN, "");
	tell(1, PORT_OPEN, 1);
}

static void say(struct queue *queue, const char *text, uint32_t len)
{
	uint32_t used;

	queue->desc[0] = (struct desc){(uint32_t)text, len, 0, 0};
	virtio_submit(queue, 0);
	CHECK(virtio_wait(queue, &used), queue->index);
}

/* None of it is answered: the next answer is to what comes after it. */
static void nonsense(void)
{
	for (uint32_t id = 0; id < 5; id++)
		for (uint16_t event = 0; event < 12; event++)
			if (event != DEVICE_READY && (event != PORT_READY || id > 1))
				tell(id == 4 ? ALL_PORTS : id, event, 1);
}

static void flood(void)
{
	start(false);
	for (unsigned i = 0; i < FLOOD; i++) {
		tell(ALL_PORTS, DEVICE_READY, 1);
		tell(i % 2, PORT_READY, 1);
	}
	give_buffer(0);
	hears(0, PORT_ADD, "");
	start(true); /* the rest of it is forgotten */
}

static void broken(void)
{
	submit(sizeof(out) - 1, 0);
	CHECK(virtio_wait_broken(&console), 1);
	start(false);
	submit(sizeof(out), DESC_WRITE);
	CHECK(virtio_wait_broken(&console), 2);
	start(false);
	control_rx.desc[0] = (struct desc){(uint32_t)in[0], sizeof(out) - 1, DESC_WRITE, 0};
	virtio_submit(&control_rx, 0);
	out = (struct control){ALL_PORTS, DEVICE_READY, 1};
	submit(sizeof(out), 0);
	CHECK(virtio_wait_broken(&console), 3);
	start(true);
}

void guest_main(const struct start_info *info)
{
	static const char mark[] = "ports\n", pass[] = "\nPASS\n";

	(void)info;
	CHECK(virtio_find(&console, VIRTIO_CONSOLE), 0);
	CHECK(read32(console.device + 4) == 2, read32(console.device + 4));
	start(true);
	introduce();
	nonsense();
	introduce();
	flood();
	introduce();
	broken();
	introduce();
	say(&agent, mark, sizeof(mark) - 1);
	say(&kernel, pass, sizeof(pass) - 1);
}
