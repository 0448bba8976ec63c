// SPDX-License-Identifier: Apache-2.0
/* The runner's socket against clients that are silent, slow, gone or wrong. */
#include "tests/unit/harness.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/util.h"
#include "proto/runner.pb-c.h"
#include "virtio/vsock.h"
#include "vmm/machine.h"
#include "tests/unit/open_files.h"

UNIT_SUITE(runner_server, .timeout = 60);

struct fixture {
	struct machine *machine;
	struct sockaddr_un address;
	socklen_t address_len;
	struct loop_timer stop;
};

static void stop_now(struct loop_op *op, int res, uint32_t cqe_flags)
{
	struct fixture *f = container_of(op, struct fixture, stop.op);

	(void)res, (void)cqe_flags;
	loop_stop(f->machine->loop);
}

/* Lets the server work for some time. */
static void run(struct fixture *f, unsigned ms)
{
	f->stop.op.done = stop_now;
	loop_timer_start(f->machine->loop, &f->stop, clock_now_ns() + ms * NS_PER_MS);
	cr_assert_eq(loop_run(f->machine->loop), 0);
}

static void make(struct fixture *f)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memset(f, 0, sizeof(*f));
	f->machine = calloc(1, sizeof(*f->machine));
	cr_assert_eq(loop_new(&f->machine->loop, 64, 64), 0);
	console_hub_init(&f->machine->console, f->machine->loop);
	cr_assert_eq(virtio_vsock_new(&f->machine->vsock, f->machine->loop, 3), 0);
	f->address.sun_family = AF_UNIX;
	f->address_len = sizeof(f->address);
	cr_assert_eq(bind(fd, (struct sockaddr *)&f->address, sizeof(sa_family_t)), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&f->address, &f->address_len), 0);
	cr_assert_eq(listen(fd, 64), 0);
	cr_assert_eq(machine_listen(f->machine, fd), 0);
}

static void finish(struct fixture *f)
{
	runner_server_close(&f->machine->server);
	run(f, 20);
	cr_assert(runner_server_is_closed(&f->machine->server));
	f->machine->vsock->ops->destroy(f->machine->vsock);
	loop_free(f->machine->loop);
	free(f->machine);
}

static int connect_to(const struct fixture *f)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_eq(connect(fd, (const struct sockaddr *)&f->address, f->address_len), 0);
	return fd;
}

static void say_hello(int fd)
{
	const struct runner_hello hello = {.magic = RUNNER_MAGIC, .kind = RUNNER_CONTROL};

	cr_assert_eq(io_write_full(fd, &hello, sizeof(hello)), 0);
}

static void ask_status(int fd)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__Status status = PROTECT__RUNNER__STATUS__INIT;
	uint8_t frame[64];
	uint32_t len;

	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_STATUS;
	request.status = &status;
	len = (uint32_t)protect__runner__request__pack(&request, frame + sizeof(len));
	memcpy(frame, &len, sizeof(len));
	cr_assert_eq(io_write_full(fd, frame, sizeof(len) + len), 0);
}

static bool is_answered(int fd)
{
	uint8_t reply[256];

	return recv(fd, reply, sizeof(reply), MSG_DONTWAIT) > (ssize_t)sizeof(uint32_t);
}

/* Whether the server has hung up. */
static bool is_over(int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT);

	return n == 0 || (n < 0 && errno != EAGAIN);
}

Test(runner_server, a_request_is_answered)
{
	struct fixture f;
	int fd;

	make(&f);
	fd = connect_to(&f);
	say_hello(fd);
	for (unsigned i = 0; i < 3; i++) {
		ask_status(fd);
		run(&f, 10);
		cr_assert(is_answered(fd));
	}
	close(fd);
	finish(&f);
}

Test(runner_server, who_asks_and_leaves_harms_nobody)
{
	struct fixture f;
	int fd;

	make(&f);
	for (unsigned i = 0; i < 2 * RUNNER_CLIENTS_MAX; i++) {
		fd = connect_to(&f);
		say_hello(fd);
		run(&f, 2);
		ask_status(fd);
		close(fd);
		run(&f, 2);
	}
	fd = connect_to(&f);
	say_hello(fd);
	ask_status(fd);
	run(&f, 10);
	cr_assert(is_answered(fd));
	close(fd);
	finish(&f);
}

Test(runner_server, half_a_hello_and_half_a_frame_wait)
{
	const uint32_t magic = RUNNER_MAGIC;
	const uint8_t half[] = {200, 0, 0, 0, 1};
	struct fixture f;
	int hello, frame;

	make(&f);
	hello = connect_to(&f);
	frame = connect_to(&f);
	cr_assert_eq(io_write_full(hello, &magic, sizeof(magic)), 0);
	say_hello(frame);
	run(&f, 5);
	cr_assert_eq(io_write_full(frame, half, sizeof(half)), 0);
	run(&f, 5);
	cr_assert(!is_over(hello));
	cr_assert(!is_over(frame));
	close(hello);
	close(frame);
	finish(&f);
}

/* A call names its port, in however many pieces; it is over at once where nobody can answer. */
Test(runner_server, a_vsock_hello_has_a_port)
{
	const struct runner_vsock_hello hello = {
		.hello = {.magic = RUNNER_MAGIC, .kind = RUNNER_VSOCK}, .port = 6000};
	const uint8_t *bytes = (const uint8_t *)&hello;
	struct fixture f;
	int fd;

	make(&f);
	for (unsigned piece = 1; piece <= sizeof(hello); piece++) {
		fd = connect_to(&f);
		for (unsigned at = 0; at < sizeof(hello); at += piece) {
			size_t left = sizeof(hello) - at;

			cr_assert(!is_over(fd), "piece %u at %u", piece, at);
			cr_assert_eq(io_write_full(fd, bytes + at, left < piece ? left : piece), 0);
			run(&f, 2);
		}
		cr_assert(is_over(fd));
		close(fd);
	}
	finish(&f);
}

/* Who serves a port waits in line for the zone; the agent's port is not to be had. */
Test(runner_server, a_port_is_served)
{
	struct runner_vsock_hello hello = {.hello = {.magic = RUNNER_MAGIC, .kind = RUNNER_SERVE},
					   .port = 7000};
	struct virtio_counter counters[VIRTIO_COUNTERS_MAX];
	struct fixture f;
	int fd, agent;
	unsigned n;

	make(&f);
	cr_assert_eq(virtio_vsock_listen(f.machine->vsock, IDM_PORT), 0);
	fd = connect_to(&f);
	cr_assert_eq(io_write_full(fd, &hello, sizeof(hello)), 0);
	agent = connect_to(&f);
	hello.port = IDM_PORT;
	cr_assert_eq(io_write_full(agent, &hello, sizeof(hello)), 0);
	run(&f, 10);
	cr_assert(!is_over(fd));
	cr_assert(is_over(agent));
	n = f.machine->vsock->ops->counters(f.machine->vsock, counters, VIRTIO_COUNTERS_MAX);
	cr_assert_str_eq(counters[n - 1].name, "in_line");
	cr_assert_eq(counters[n - 1].value, 1);
	close(fd);
	close(agent);
	finish(&f);
}

Test(runner_server, what_breaks_the_protocol_is_cut_off)
{
	const uint8_t bad[][12] = {{0, 0, 0, 0}, {0xff, 0xff, 0xff, 0xff}, {0, 0x80, 0, 0}};
	struct fixture f;

	make(&f);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		int fd = connect_to(&f);

		say_hello(fd);
		cr_assert_eq(io_write_full(fd, bad[i], sizeof(bad[i])), 0);
		run(&f, 5);
		cr_assert(is_over(fd), "frame %u", i);
		close(fd);
	}
	finish(&f);
}

/* As many as there are places, and more, all silent at `stage`: the next one is served. */
static void crowd(bool hello)
{
	int silent[RUNNER_CLIENTS_MAX + 8], fd;
	struct fixture f;

	make(&f);
	for (unsigned i = 0; i < ARRAY_SIZE(silent); i++) {
		silent[i] = connect_to(&f);
		if (hello)
			say_hello(silent[i]);
		run(&f, 1);
	}
	fd = connect_to(&f);
	say_hello(fd);
	ask_status(fd);
	run(&f, 200);
	cr_assert(is_answered(fd));
	cr_assert(is_over(silent[0]));
	cr_assert(!is_over(silent[ARRAY_SIZE(silent) - 1]));
	close(fd);
	for (unsigned i = 0; i < ARRAY_SIZE(silent); i++)
		close(silent[i]);
	finish(&f);
}

Test(runner_server, clients_without_a_hello_lock_nobody_out)
{
	crowd(false);
}

Test(runner_server, idle_control_connections_lock_nobody_out)
{
	crowd(true);
}

/* A request brings at most RUNNER_FDS_MAX descriptors; they are closed when it is answered, and at
 * once if they are too many or are not followed by a request. */
Test(runner_server, descriptors_of_requests_are_closed)
{
	static const uint8_t status_frame[] = {2, 0, 0, 0, 0x1a, 0};
	int fds[RUNNER_FDS_MAX + 1], fd;
	unsigned before;
	struct fixture f;

	make(&f);
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = STDERR_FILENO;
	fd = connect_to(&f);
	say_hello(fd);
	run(&f, 5);
	before = count_open_files();
	cr_assert_gt(io_send_fds(fd, status_frame, sizeof(status_frame), fds, RUNNER_FDS_MAX, 0),
		     0);
	run(&f, 5);
	cr_assert(is_answered(fd));
	cr_assert_eq(count_open_files(), before);
	for (unsigned i = 0; i < 3; i++) {
		cr_assert_gt(io_send_fds(fd, &status_frame[i], 1, fds, RUNNER_FDS_MAX, 0), 0);
		run(&f, 5);
	}
	cr_assert_leq(count_open_files(), before + RUNNER_FDS_MAX);
	cr_assert_gt(io_send_fds(fd, status_frame + 3, 1, fds, RUNNER_FDS_MAX + 1, 0), 0);
	run(&f, 5);
	cr_assert(is_over(fd));
	close(fd);
	finish(&f);
	cr_assert_lt(count_open_files(), before);
}
