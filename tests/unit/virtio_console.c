// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/harness.h"
#include "tests/unit/virtio_driver.h"

#include <string.h>

#include <linux/virtio_config.h>
#include <linux/virtio_console.h>

#include "virtio/console.h"

UNIT_SUITE(virtio_console);

struct output {
	uint64_t len;
	uint64_t sum;
	size_t chunk_max;
	uint64_t agent_len;
	char agent[64];
};

static void on_output(void *user, unsigned port, const void *data, size_t len)
{
	struct output *output = user;

	if (port == CONSOLE_PORT_AGENT) {
		if (output->agent_len + len < sizeof(output->agent))
			memcpy(output->agent + output->agent_len, data, len);
		output->agent_len += len;
		return;
	}

	output->len += len;
	if (len > output->chunk_max)
		output->chunk_max = len;
	for (size_t i = 0; i < len; i++)
		output->sum = output->sum * 31 + ((const uint8_t *)data)[i];
}

static void start(struct driver *d, struct output *output, uint64_t features)
{
	struct virtio_dev *dev;

	cr_assert_eq(driver_init(d), 0);
	cr_assert_eq(virtio_console_new(&dev, on_output, output), 0);
	cr_assert_eq(driver_attach(d, dev), 0);
	driver_start(d, features, 64);
}

Test(virtio_console, output_in_order_from_many_segments)
{
	struct driver d;
	struct output output = {0}, expected = {0};
	struct segment segments[5];

	start(&d, &output, DRIVER_COMMON_FEATURES | DRIVER_EVENT_IDX);
	for (unsigned round = 0; round < 200; round++) {
		for (unsigned i = 0; i < 5; i++) {
			uint32_t len = 1 + (round * 7 + i * 13) % 100;

			segments[i] = (struct segment){driver_alloc(&d, len), len, false};
			memset(driver_at(&d, segments[i].gpa), 'a' + (int)(round + i) % 26, len);
			on_output(&expected, 0, driver_at(&d, segments[i].gpa), len);
		}
		if (round % 2)
			driver_add_indirect(&d, 1, segments, 5);
		else
			driver_add(&d, 1, segments, 5);
		driver_kick(&d, 1);
		cr_assert(driver_wait_used(&d, 1, NULL, NULL));
	}
	cr_assert_eq(output.len, expected.len);
	cr_assert_eq(output.sum, expected.sum);
	driver_deinit(&d);
}

/* CVE-2020-27174: what is passed on in one go is bounded; a huge chain takes turns. */
Test(virtio_console, huge_chains_take_turns)
{
	struct driver d;
	struct output output = {0};
	struct segment segments[32];

	start(&d, &output, DRIVER_COMMON_FEATURES);
	for (unsigned i = 0; i < 32; i++) /* overlapping, and over the border of two regions */
		segments[i] = (struct segment){DRIVER_DATA, 0x180000, false};
	driver_add(&d, 1, segments, 32);
	driver_kick(&d, 1);
	driver_run(&d, 1);
	cr_assert_lt(output.len, 32u * 0x180000, "not all in one turn");
	cr_assert(driver_wait_used(&d, 1, NULL, NULL));
	cr_assert_eq(output.len, 32u * 0x180000);
	cr_assert_leq(output.chunk_max, 65536);
	driver_deinit(&d);
}

Test(virtio_console, reset_in_the_middle_of_a_chain)
{
	struct driver d;
	struct output output = {0};
	struct segment segments[32];

	start(&d, &output, DRIVER_COMMON_FEATURES);
	for (unsigned i = 0; i < 32; i++)
		segments[i] = (struct segment){DRIVER_DATA, 0x180000, false};
	driver_add(&d, 1, segments, 32);
	driver_kick(&d, 1);
	driver_run(&d, 1);
	cr_assert(driver_reset(&d));
	driver_start(&d, DRIVER_COMMON_FEATURES, 64);
	output.len = 0;
	driver_add(&d, 1, &(struct segment){DRIVER_DATA, 3, false}, 1);
	driver_kick(&d, 1);
	cr_assert(driver_wait_used(&d, 1, NULL, NULL));
	cr_assert_eq(output.len, 3);
	driver_deinit(&d);
}

/* The chain that was under way is no longer the queue's: going on with it would be a head given
 * back that is not in flight. */
Test(virtio_console, reset_of_a_queue_in_the_middle_of_a_chain)
{
	struct driver d;
	struct output output = {0};
	struct segment segments[32];

	start(&d, &output, DRIVER_COMMON_FEATURES | DRIVER_RING_RESET);
	for (unsigned i = 0; i < 32; i++)
		segments[i] = (struct segment){DRIVER_DATA, 0x180000, false};
	for (unsigned round = 0; round < 4; round++) {
		driver_add(&d, 1, segments, 32);
		driver_kick(&d, 1);
		driver_run(&d, 1);
		cr_assert(driver_reset_queue(&d, 1));
		output.len = 0;
		driver_run(&d, 1);
		cr_assert_eq(output.len, 0, "it went on");
		driver_setup_queue(&d, 1, round % 2 ? 64 : 32);
		driver_add(&d, 1, &(struct segment){DRIVER_DATA, 3, false}, 1);
		driver_kick(&d, 1);
		cr_assert(driver_wait_used(&d, 1, NULL, NULL));
		cr_assert_eq(output.len, 3);
	}
	cr_assert_eq(driver_status(&d), 15);
	driver_deinit(&d);
}

Test(virtio_console, destroyed_while_busy)
{
	struct driver d;
	struct output output = {0};
	struct segment segments[32];

	start(&d, &output, DRIVER_COMMON_FEATURES);
	for (unsigned i = 0; i < 32; i++)
		segments[i] = (struct segment){DRIVER_DATA, 0x180000, false};
	driver_add(&d, 1, segments, 32);
	driver_kick(&d, 1);
	driver_deinit(&d);
}

Test(virtio_console, input_buffers_are_left_alone)
{
	struct driver d;
	struct output output = {0};

	start(&d, &output, DRIVER_COMMON_FEATURES);
	driver_add(&d, 0, &(struct segment){DRIVER_DATA, 64, true}, 1);
	driver_kick(&d, 0);
	driver_run(&d, 3);
	cr_assert(!driver_take_used(&d, 0, NULL, NULL));
	cr_assert_eq(driver_status(&d), 15);
	driver_deinit(&d);
}

#define CONTROL_RX 2u
#define CONTROL_TX 3u
#define AGENT_TX   5u
#define RX_LEN	   64u
#define MULTIPORT  (DRIVER_COMMON_FEATURES | 1ull << VIRTIO_CONSOLE_F_MULTIPORT)

static void give_control_buffers(struct driver *d, unsigned n, uint32_t len)
{
	for (unsigned i = 0; i < n; i++)
		driver_add(d, CONTROL_RX, &(struct segment){driver_alloc(d, RX_LEN), len, true}, 1);
	driver_kick(d, CONTROL_RX);
}

static void tell(struct driver *d, uint32_t id, uint16_t event, uint16_t value)
{
	const struct virtio_console_control message = {id, event, value};
	gpa_t gpa = driver_alloc(d, sizeof(message));

	memcpy(driver_at(d, gpa), &message, sizeof(message));
	driver_add(d, CONTROL_TX, &(struct segment){gpa, sizeof(message), false}, 1);
	driver_kick(d, CONTROL_TX);
	cr_assert(driver_wait_used(d, CONTROL_TX, NULL, NULL));
}

/* The next control message for the guest must be this one. */
static void hears(struct driver *d, uint32_t id, uint16_t event, const char *name)
{
	struct virtio_console_control message;
	uint32_t head, len;
	const uint8_t *at;

	cr_assert(driver_wait_used(d, CONTROL_RX, &head, &len));
	at = driver_at(d, d->queues[CONTROL_RX].desc[head].addr);
	memcpy(&message, at, sizeof(message));
	cr_assert_eq(message.id, id);
	cr_assert_eq(message.event, event, "event %u", message.event);
	cr_assert_eq(message.value, 1);
	cr_assert_eq(len, sizeof(message) + strlen(name));
	cr_assert_eq(memcmp(at + sizeof(message), name, strlen(name)), 0);
}

static void hears_nothing(struct driver *d)
{
	driver_run(d, 3);
	cr_assert(!driver_take_used(d, CONTROL_RX, NULL, NULL));
}

static void agent_says(struct driver *d, const char *text)
{
	gpa_t gpa = driver_alloc(d, (uint32_t)strlen(text));

	memcpy(driver_at(d, gpa), text, strlen(text));
	driver_add(d, AGENT_TX, &(struct segment){gpa, (uint32_t)strlen(text), false}, 1);
	driver_kick(d, AGENT_TX);
}

/* As Linux goes about it. */
Test(virtio_console, two_ports_are_introduced)
{
	struct driver d;
	struct output output = {0};

	start(&d, &output, MULTIPORT);
	cr_assert_eq(driver_reg_read(&d, 0x1000 + 4, 4), CONSOLE_PORTS);
	give_control_buffers(&d, 8, RX_LEN);
	hears_nothing(&d);
	tell(&d, VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_DEVICE_READY, 1);
	hears(&d, 0, VIRTIO_CONSOLE_PORT_ADD, "");
	hears(&d, 1, VIRTIO_CONSOLE_PORT_ADD, "");
	tell(&d, 0, VIRTIO_CONSOLE_PORT_READY, 1);
	hears(&d, 0, VIRTIO_CONSOLE_CONSOLE_PORT, "");
	tell(&d, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	hears(&d, 1, VIRTIO_CONSOLE_PORT_NAME, "agent");
	hears(&d, 1, VIRTIO_CONSOLE_PORT_OPEN, "");
	tell(&d, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	hears_nothing(&d);
	agent_says(&d, "hello");
	cr_assert(driver_wait_used(&d, AGENT_TX, NULL, NULL));
	cr_assert_str_eq(output.agent, "hello");
	cr_assert_eq(output.len, 0);
	driver_deinit(&d);
}

/* Of a queue for control: what is due by then is said in its next life. */
Test(virtio_console, reset_of_control_queues)
{
	struct driver d;
	struct output output = {0};

	start(&d, &output, MULTIPORT | DRIVER_RING_RESET);
	give_control_buffers(&d, 1, RX_LEN);
	tell(&d, VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_DEVICE_READY, 1);
	hears(&d, 0, VIRTIO_CONSOLE_PORT_ADD, "");
	cr_assert(driver_reset_queue(&d, CONTROL_RX));
	cr_assert(driver_reset_queue(&d, CONTROL_TX));
	driver_kick(&d, CONTROL_RX);
	driver_run(&d, 2);
	driver_setup_queue(&d, CONTROL_RX, 64);
	driver_setup_queue(&d, CONTROL_TX, 64);
	give_control_buffers(&d, 8, RX_LEN);
	hears(&d, 1, VIRTIO_CONSOLE_PORT_ADD, "");
	tell(&d, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	hears(&d, 1, VIRTIO_CONSOLE_PORT_NAME, "agent");
	agent_says(&d, "hello");
	cr_assert(driver_wait_used(&d, AGENT_TX, NULL, NULL));
	cr_assert(driver_reset_queue(&d, AGENT_TX));
	driver_setup_queue(&d, AGENT_TX, 16);
	agent_says(&d, " again");
	cr_assert(driver_wait_used(&d, AGENT_TX, NULL, NULL));
	cr_assert_str_eq(output.agent, "hello again");
	cr_assert_eq(driver_status(&d), 15);
	driver_deinit(&d);
}

Test(virtio_console, one_port_without_the_feature)
{
	struct driver d;
	struct output output = {0};

	start(&d, &output, DRIVER_COMMON_FEATURES);
	give_control_buffers(&d, 8, RX_LEN);
	agent_says(&d, "hello");
	hears_nothing(&d);
	cr_assert_eq(output.agent_len, 0);
	driver_deinit(&d);
}

/* However often the guest asks, what is due is said once; the rest waits for buffers. */
Test(virtio_console, control_messages_are_bounded)
{
	struct driver d;
	struct output output = {0};

	start(&d, &output, MULTIPORT);
	for (unsigned i = 0; i < 500; i++) {
		tell(&d, VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_DEVICE_READY, 1);
		tell(&d, i % CONSOLE_PORTS, VIRTIO_CONSOLE_PORT_READY, 1);
	}
	give_control_buffers(&d, 1, RX_LEN);
	hears(&d, 0, VIRTIO_CONSOLE_PORT_ADD, "");
	hears_nothing(&d);
	give_control_buffers(&d, 20, RX_LEN);
	hears(&d, 0, VIRTIO_CONSOLE_CONSOLE_PORT, "");
	hears(&d, 1, VIRTIO_CONSOLE_PORT_ADD, "");
	hears(&d, 1, VIRTIO_CONSOLE_PORT_NAME, "agent");
	hears(&d, 1, VIRTIO_CONSOLE_PORT_OPEN, "");
	hears_nothing(&d);
	driver_deinit(&d);
}

Test(virtio_console, nonsense_is_ignored)
{
	struct driver d;
	struct output output = {0};

	start(&d, &output, MULTIPORT);
	give_control_buffers(&d, 8, RX_LEN);
	for (unsigned event = 0; event < 70000; event += event < 12 ? 1 : 9973) {
		if (event != VIRTIO_CONSOLE_DEVICE_READY)
			tell(&d, CONSOLE_PORTS, (uint16_t)event, 1);
		tell(&d, UINT32_MAX - 1, (uint16_t)event, 0);
	}
	tell(&d, 1, VIRTIO_CONSOLE_PORT_ADD, 1);
	tell(&d, 1, VIRTIO_CONSOLE_PORT_READY, 0);
	hears_nothing(&d);
	cr_assert_eq(driver_status(&d), 15);
	driver_deinit(&d);
}

static void expect_broken(struct driver *d)
{
	driver_run(d, 3);
	cr_assert(driver_status(d) & VIRTIO_CONFIG_S_NEEDS_RESET);
	cr_assert(driver_reset(d));
	driver_start(d, MULTIPORT, 64);
}

Test(virtio_console, hostile_control_chains_break_the_device)
{
	struct driver d;
	struct output output = {0};
	gpa_t gpa;

	start(&d, &output, MULTIPORT);
	gpa = driver_alloc(&d, RX_LEN);
	driver_add(&d, CONTROL_TX, &(struct segment){gpa, 7, false}, 1);
	driver_kick(&d, CONTROL_TX);
	expect_broken(&d);
	driver_add(&d, CONTROL_TX, &(struct segment){gpa, RX_LEN, true}, 1);
	driver_kick(&d, CONTROL_TX);
	expect_broken(&d);
	give_control_buffers(&d, 1, sizeof(struct virtio_console_control) - 1);
	tell(&d, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	expect_broken(&d);
	give_control_buffers(&d, 1, sizeof(struct virtio_console_control));
	tell(&d, 1, VIRTIO_CONSOLE_PORT_READY, 1); /* no room for its name */
	expect_broken(&d);
	driver_add(&d, CONTROL_RX, &(struct segment){gpa, RX_LEN, false}, 1);
	driver_kick(&d, CONTROL_RX);
	tell(&d, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	expect_broken(&d);
	/* Nothing of before is left: it is not told what it did not ask for. */
	give_control_buffers(&d, 8, RX_LEN);
	hears_nothing(&d);
	driver_deinit(&d);
}

/* A port that writes without end takes turns with the other. */
Test(virtio_console, ports_do_not_hold_up_each_other)
{
	struct driver d;
	struct output output = {0};
	struct segment segments[32];

	start(&d, &output, MULTIPORT);
	for (unsigned i = 0; i < 32; i++)
		segments[i] = (struct segment){DRIVER_DATA, 0x180000, false};
	driver_add(&d, 1, segments, 32);
	driver_kick(&d, 1);
	agent_says(&d, "hello");
	cr_assert(driver_wait_used(&d, AGENT_TX, NULL, NULL));
	cr_assert_str_eq(output.agent, "hello");
	cr_assert_lt(output.len, 32u * 0x180000);
	driver_deinit(&d);
}
