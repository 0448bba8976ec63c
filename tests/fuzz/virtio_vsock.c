// SPDX-License-Identifier: Apache-2.0
/* Packets of a hostile guest, with several on the host's side who come, call, write, read and go.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/virtio_vsock.h>

#include "base/cleanup.h"
#include "tests/unit/virtio_driver.h"
#include "virtio/vsock.h"

#define GUEST_CID 3
#define PORT	  1024u
#define SERVED	  1025u
#define RX_LEN	  2048u
#define STEPS_MAX 300
#define TX_GPA	  0x200000u
#define ENDS	  4u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One step of an input. */
struct step {
	uint8_t what;
	uint8_t op;
	uint8_t guest_port; /* few, so that they meet; from 4 on with a call of the host's */
	uint8_t odd;	    /* which fields of the header are not as they should be */
	uint32_t value, len;
};

struct fuzz {
	struct driver d;
	int fds[ENDS]; /* the host's ends, or -1 */
};

static void send_packet(struct fuzz *f, const struct step *step)
{
	uint32_t served = step->guest_port & 128 ? SERVED : PORT;
	uint32_t port =
		step->guest_port & 4 ? VSOCK_CALL_PORT_MIN + (step->guest_port >> 3) : served;
	struct virtio_vsock_hdr header = {.src_cid = step->odd & 1 ? step->value : GUEST_CID,
					  .dst_cid = step->odd & 2 ? step->value : 2,
					  .src_port = step->guest_port % 4,
					  .dst_port = step->odd & 4 ? step->value : port,
					  .len = step->odd & 8 ? step->value : step->len % 70000,
					  .type = step->odd & 16 ? 2 : VIRTIO_VSOCK_TYPE_STREAM,
					  .op = step->odd & 32 ? step->op : step->op % 9,
					  .flags = step->value,
					  .buf_alloc = step->odd & 64 ? step->value : 65536,
					  .fwd_cnt = step->odd & 128 ? step->value : 0};
	struct segment segments[] = {{TX_GPA, sizeof(header), false},
				     {TX_GPA + 64, step->len % 70000, false}};

	memcpy(driver_at(&f->d, TX_GPA), &header, sizeof(header));
	driver_add(&f->d, 1, segments, segments[1].len ? 2 : 1);
	driver_kick(&f->d, 1);
	driver_run(&f->d, 0);
	while (driver_take_used(&f->d, 1, NULL, NULL))
		;
}

/* Somebody new comes, by an offer or a call. */
static void come(struct fuzz *f, const struct step *step)
{
	int *end = &f->fds[step->op % ENDS], pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		abort();
	close_fdp(end);
	*end = pair[1];
	fcntl(*end, F_SETFL, O_NONBLOCK);
	if (step->odd & 2)
		virtio_vsock_connect(f->d.dev, step->guest_port % 4, pair[0]);
	else if (step->odd & 4)
		virtio_vsock_serve(f->d.dev, SERVED, pair[0]);
	else
		virtio_vsock_offer(f->d.dev, step->odd & 1 ? step->value : PORT, pair[0]);
}

static void post_rx(struct fuzz *f, unsigned n)
{
	while (driver_take_used(&f->d, 0, NULL, NULL))
		;
	for (unsigned i = 0; i < n; i++)
		driver_add(&f->d, 0, &(struct segment){DRIVER_DATA + i * RX_LEN, RX_LEN, true}, 1);
	driver_kick(&f->d, 0);
}

static void start(struct fuzz *f)
{
	driver_start(&f->d, DRIVER_COMMON_FEATURES | DRIVER_EVENT_IDX | DRIVER_RING_RESET, 128);
}

static void run_step(struct fuzz *f, const struct step *step)
{
	static uint8_t bytes[65536];
	int *end = &f->fds[step->op % ENDS];
	ssize_t n = 0;

	switch (step->what % 10) {
	case 0:
		come(f, step);
		break;
	case 1:
		n = send(*end, bytes, step->len % sizeof(bytes), MSG_NOSIGNAL);
		break;
	case 2:
		n = read(*end, bytes, sizeof(bytes));
		break;
	case 3:
		post_rx(f, step->len % 64);
		break;
	case 4:
		driver_run(&f->d, 0);
		break;
	case 5:
		if (step->odd & 1)
			shutdown(*end, step->odd & 2 ? SHUT_WR : SHUT_RD);
		else
			close_fdp(end);
		break;
	case 6:
		if (step->odd % 8 == 0) {
			if (!driver_reset(&f->d))
				abort();
			start(f);
		} else if (step->odd % 8 == 1 && f->d.dev->active) {
			if (!driver_reset_queue(&f->d, step->op % 3))
				abort();
			driver_setup_queue(&f->d, step->op % 3, 128);
		}
		break;
	default:
		send_packet(f, step);
		break;
	}
	(void)n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = {.fds = {-1, -1, -1, -1}};
	struct virtio_dev *dev;

	if (driver_init(&f.d) < 0 || virtio_vsock_new(&dev, f.d.loop, GUEST_CID) < 0)
		abort();
	if (driver_attach(&f.d, dev) < 0)
		abort();
	dev->log_limit.used = UINT32_MAX / 2;
	start(&f);
	for (unsigned n = 0; size >= sizeof(struct step) && n < STEPS_MAX; n++) {
		struct step step;

		memcpy(&step, data, sizeof(step));
		data += sizeof(step);
		size -= sizeof(step);
		run_step(&f, &step);
	}
	for (unsigned i = 0; i < ENDS; i++)
		close_fdp(&f.fds[i]);
	driver_deinit(&f.d);
	return 0;
}
