// SPDX-License-Identifier: Apache-2.0
/* A hostile driver of a NIC with two pairs of queues, whose tap is in a network namespace of this
 * process: any framing in any queue, frames from the host in between, resets. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/socket.h>

#include "tests/unit/virtio_net_wire.h"

#define EXIT_SKIP    77
#define STEPS_MAX    100
#define SEGMENTS_MAX 6u
#define DATA	     (DRIVER_DATA + 0x100000u) /* behind the wire's own buffers, at the regions' border */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INDIRECT = 1, RUN = 2, HOST_SENDS = 4, LONG = 8, HEADER = 16, LINK = 32, RESET_QUEUE = 64 };

/* One step of an input: a chain for a queue, its first bytes, and what else happens. */
struct step {
	uint8_t queue, odd, n_segments, writable; /* writable: a bit a segment */
	uint8_t bytes[16];
	uint16_t lens[SEGMENTS_MAX];
};

static void nothing(void *user)
{
	(void)user;
}

static void add_chain(struct wire *wire, const struct step *step, unsigned queue)
{
	struct segment segments[SEGMENTS_MAX];
	unsigned n = 1 + step->n_segments % SEGMENTS_MAX;
	uint8_t *at = driver_at(&wire->d, DATA - 2048);

	memset(at, 0, sizeof(step->bytes));
	if (step->odd & HEADER || queue == 4)
		memcpy(at, step->bytes, sizeof(step->bytes));
	for (unsigned i = 0; i < n; i++) {
		bool writable = queue == 4  ? i + 1 == n
				: queue % 2 ? step->writable >> i & 1 & step->odd >> 7
					    : !(step->writable >> i & 1 & step->odd >> 7);

		segments[i] = (struct segment){DATA - 2048, step->lens[i], writable};
	}
	if (step->odd & INDIRECT)
		driver_add_indirect(&wire->d, queue, segments, n);
	else
		driver_add(&wire->d, queue, segments, n);
	driver_kick(&wire->d, queue);
}

static void run_step(struct wire *wire, const struct step *step)
{
	struct virtio_dev *dev = wire->d.dev;
	unsigned queue = step->queue % 5;

	if (step->odd & HOST_SENDS)
		wire_host_send(wire, step->odd & LONG ? 9000 : 60, step->queue);
	if (step->odd & LINK && step->queue >= 0x80)
		virtio_net_set_link(dev, step->queue & 1);
	add_chain(wire, step, queue);
	if (step->odd & RUN)
		driver_run(&wire->d, 0);
	if (step->odd & RESET_QUEUE && step->queue >= 0xf0 && dev->active) {
		dev->ops->reset_queue(dev, queue, nothing, NULL);
		driver_run(&wire->d, 0);
	}
}

/* Taps and socket serve all inputs, as making them takes long; nothing is left in them. */
static struct wire taps = {.config.n_pairs = 2, .packet = -1};

static void drain(void)
{
	static uint8_t frame[WIRE_FRAME_MAX];

	while (recv(taps.packet, frame, sizeof(frame), 0) > 0)
		;
	for (unsigned i = 0; i < taps.config.n_pairs; i++)
		while (read(taps.config.taps[i], frame, sizeof(frame)) > 0)
			;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	if (wire_enter_namespace() < 0 || wire_open_taps(&taps) < 0) {
		static const char message[] = "SKIP: no network namespace or tap to be had here\n";
		ssize_t n = write(STDERR_FILENO, message, sizeof(message) - 1);

		(void)n;
		exit(EXIT_SKIP);
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wire wire = taps;
	uint64_t features;

	if (size < 1)
		return 0;
	if (wire_attach(&wire, WIRE_BASIC, 64) < 0)
		abort();
	wire.d.dev->log_limit.used = UINT32_MAX / 2;
	features = data[0] & 1
			   ? wire.d.dev->offered
			   : WIRE_BASIC | 1ull << VIRTIO_NET_F_CTRL_VQ | 1ull << VIRTIO_NET_F_MQ;
	if (!driver_reset(&wire.d))
		abort();
	driver_start(&wire.d, features, 64);
	data++;
	size--;
	for (unsigned n = 0; size >= sizeof(struct step) && n < STEPS_MAX; n++) {
		struct step step;

		memcpy(&step, data, sizeof(step));
		data += sizeof(step);
		size -= sizeof(step);
		run_step(&wire, &step);
		if (wire.d.dev->broken || step.odd == 0xff) {
			if (!driver_reset(&wire.d))
				abort();
			wire.d.next_data = DATA + 0x1000;
			driver_start(&wire.d, features, 64);
		}
	}
	driver_deinit(&wire.d);
	drain();
	return 0;
}
