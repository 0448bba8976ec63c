// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-fs between a hostile driver and a hostile server: it writes into no memory but what the
 * driver gave it, says no more was written than there was room for, and comes to rest.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/fuse.h>

#include "tests/unit/virtio_driver.h"
#include "virtio/fs.h"

#define STEPS_MAX  100
#define QUEUE_SIZE 16
#define CANARY_LEN 4096u
#define MEMORY_END (DRIVER_RAM_LEN - CANARY_LEN)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What happens next: what the driver asks, or what the server says. */
struct step {
	uint8_t what, opcode, queue, honest;
	uint16_t out_len, in_len, place;
	uint8_t unique, error;
};

static void guest_asks(struct driver *d, const struct step *step)
{
	uint32_t out_len = step->out_len % 8192u + 1, in_len = step->in_len % 8192u;
	struct fuse_in_header header = {
		.len = step->honest & 1 ? MAX(out_len, (uint32_t)sizeof(header)) : step->in_len,
		.opcode = step->opcode,
		.unique = step->unique};
	gpa_t out = DRIVER_DATA + (step->place % 1024u) * 16u, in = out + 0x4000;
	struct segment segments[3] = {{out, sizeof(header) / 2, false}};
	unsigned n = 1;

	if (step->honest & 1)
		out_len = header.len;
	if (step->honest & 2)
		in = MEMORY_END - step->in_len % 8192u / 2;
	memcpy(driver_at(d, out), &header, sizeof(header));
	if (out_len > sizeof(header) / 2)
		segments[n++] = (struct segment){out + sizeof(header) / 2,
						 out_len - (uint32_t)sizeof(header) / 2, false};
	if (in_len)
		segments[n++] = (struct segment){in, in_len, true};
	if (step->honest & 4)
		driver_add_indirect(d, step->queue & 1, segments, n);
	else
		driver_add(d, step->queue & 1, segments, n);
	driver_kick(d, step->queue & 1);
}

static void server_says(int server, const struct step *step)
{
	struct fuse_out_header header = {.len = step->honest & 1 ? (uint32_t)sizeof(header) +
									   step->in_len % 8192u
								 : step->in_len,
					 .error = -(int)step->error,
					 .unique = step->unique % 66u};
	static const uint8_t body[8192];

	if (step->honest & 2)
		header.error = 0;
	send(server, &header, step->honest & 4 ? sizeof(header) : step->unique % 16u,
	     MSG_DONTWAIT | MSG_NOSIGNAL);
	send(server, body, step->out_len % sizeof(body), MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void server_reads(int server)
{
	uint8_t bytes[16384];

	while (recv(server, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
}

static void take_all(struct driver *d)
{
	uint32_t id, len;

	for (unsigned queue = 0; queue < 2; queue++)
		while (driver_take_used(d, queue, &id, &len))
			if (id >= QUEUE_SIZE || len > 8192u)
				abort();
}

static void start(struct driver *d)
{
	d->next_data = DRIVER_DATA + 0x100000;
	driver_start(d, DRIVER_COMMON_FEATURES, QUEUE_SIZE);
}

static void run_step(struct driver *d, int *server, const struct step *step)
{
	switch (step->what % 8) {
	case 0:
	case 1:
	case 2:
		guest_asks(d, step);
		break;
	case 3:
	case 4:
		server_says(*server, step);
		break;
	case 5:
		server_reads(*server);
		break;
	case 6:
		driver_make_available(d, step->queue & 1, step->place);
		driver_kick(d, step->queue & 1);
		break;
	default:
		if (step->place % 16 == 0)
			shutdown(*server, SHUT_RDWR);
		else if (step->place % 16 == 1)
			d->dev->ops->revoke(d->dev);
		break;
	}
	if (step->honest & 8)
		driver_run(d, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct virtio_fs_params params = {.tag = "fuzz"};
	struct virtio_dev *dev;
	struct driver d;
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0 || driver_init(&d) < 0)
		abort();
	params.fd = ends[0];
	if (virtio_fs_new(&dev, d.loop, &params) < 0)
		abort();
	close(ends[0]);
	dev->log_limit.used = UINT32_MAX / 2;
	if (driver_attach(&d, dev) < 0)
		abort();
	d.mem.regions[1].len -= CANARY_LEN;
	start(&d);
	for (unsigned n = 0; size >= sizeof(struct step) && n < STEPS_MAX; n++) {
		struct step step;

		memcpy(&step, data, sizeof(step));
		data += sizeof(step);
		size -= sizeof(step);
		run_step(&d, &ends[1], &step);
		take_all(&d);
		if (dev->broken || step.what == 0xff) {
			if (!driver_reset(&d))
				abort();
			start(&d);
		}
		if (d.next_data > MEMORY_END - 0x10000)
			break;
	}
	for (unsigned i = 0; i < CANARY_LEN; i++)
		if (d.ram[MEMORY_END + i])
			abort();
	driver_deinit(&d);
	close(ends[1]);
	return 0;
}
