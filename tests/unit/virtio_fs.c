// SPDX-License-Identifier: Apache-2.0
/* virtio-fs between a driver and a server, each of them hostile in turn. */
#include "tests/unit/harness.h"
#include "tests/unit/virtio_driver.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/fuse.h>
#include <linux/virtio_config.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/util.h"
#include "virtio/fs.h"
#include "zone-fs/fs.h"

UNIT_SUITE(virtio_fs);

enum { HIPRIO, REQUESTS };

#define ROOM 4096u

struct world {
	struct driver d;
	struct virtio_dev *dev;
	int server; /* the server's end */
	gpa_t in;   /* where the last request's answer goes */
};

static void start(struct world *w)
{
	struct virtio_fs_params params = {.tag = "share"};
	int ends[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	params.fd = ends[0];
	w->server = ends[1];
	cr_assert_eq(driver_init(&w->d), 0);
	cr_assert_eq(virtio_fs_new(&w->dev, w->d.loop, &params), 0);
	close(ends[0]);
	cr_assert_eq(driver_attach(&w->d, w->dev), 0);
	driver_start(&w->d, DRIVER_COMMON_FEATURES | DRIVER_EVENT_IDX, 64);
}

static void stop(struct world *w)
{
	close_fdp(&w->server);
	driver_deinit(&w->d);
}

/* A request with a body of `len` bytes 'x' and room for an answer. */
static void ask(struct world *w, unsigned queue, uint32_t opcode, uint64_t unique, uint32_t len,
		uint32_t room)
{
	struct fuse_in_header header = {
		.len = (uint32_t)sizeof(header) + len, .opcode = opcode, .unique = unique};
	gpa_t out = driver_alloc(&w->d, header.len);
	struct segment segments[3] = {{out, sizeof(header), false}};
	unsigned n = 1;

	memset(driver_at(&w->d, out), 'x', header.len);
	memcpy(driver_at(&w->d, out), &header, sizeof(header));
	w->in = driver_alloc(&w->d, ROOM);
	if (len)
		segments[n++] = (struct segment){out + sizeof(header), len, false};
	if (room)
		segments[n++] = (struct segment){w->in, room, true};
	driver_add_indirect(&w->d, queue, segments, n);
	driver_kick(&w->d, queue);
	driver_run(&w->d, 5);
}

/* What the server gets: the number to answer with. */
static uint64_t take(struct world *w, uint32_t opcode, size_t len)
{
	struct fuse_in_header header;
	uint8_t body[ROOM];

	cr_assert_eq(io_read_full(w->server, &header, sizeof(header)), sizeof(header));
	cr_assert_eq(header.opcode, opcode);
	cr_assert_eq(header.len, sizeof(header) + len);
	cr_assert_eq(io_read_full(w->server, body, len), (ssize_t)len);
	for (size_t i = 0; i < len; i++)
		cr_assert_eq(body[i], 'x');
	return header.unique;
}

static void reply(struct world *w, uint64_t unique, int error, const char *body)
{
	const struct fuse_out_header header = {
		.len = (uint32_t)(sizeof(header) + strlen(body)), .error = error, .unique = unique};

	cr_assert_eq(io_write_full(w->server, &header, sizeof(header)), 0);
	cr_assert_eq(io_write_full(w->server, body, strlen(body)), 0);
}

static struct fuse_out_header answer_at(struct world *w, gpa_t in)
{
	struct fuse_out_header header;

	memcpy(&header, driver_at(&w->d, in), sizeof(header));
	return header;
}

Test(virtio_fs, tells_its_tag)
{
	struct world w;
	char tag[37] = "";
	uint32_t n = 0;

	start(&w);
	w.dev->ops->config_read(w.dev, 0, tag, 36);
	w.dev->ops->config_read(w.dev, 36, &n, 4);
	cr_assert_str_eq(tag, "share");
	cr_assert_eq(n, 1);
	stop(&w);
}

Test(virtio_fs, what_is_no_server_or_no_tag)
{
	struct virtio_fs_params params = {.fd = STDIN_FILENO, .tag = "x"};
	struct virtio_dev *dev;
	struct driver d;
	int ends[2];

	cr_assert_eq(driver_init(&d), 0);
	cr_assert_eq(virtio_fs_new(&dev, d.loop, &params), -EINVAL);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	params.fd = ends[0];
	cr_assert_eq(virtio_fs_new(&dev, d.loop, &params), -EINVAL);
	close(ends[0]), close(ends[1]);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	params.fd = ends[0];
	params.tag = "";
	cr_assert_eq(virtio_fs_new(&dev, d.loop, &params), -EINVAL);
	params.tag = "0123456789012345678901234567890123456";
	cr_assert_eq(virtio_fs_new(&dev, d.loop, &params), -EINVAL);
	close(ends[0]), close(ends[1]);
	driver_deinit(&d);
}

Test(virtio_fs, answers_find_their_requests)
{
	uint64_t first, second;
	gpa_t first_in;
	uint32_t len;
	struct world w;

	start(&w);
	ask(&w, REQUESTS, FUSE_READ, 70, 100, ROOM);
	first_in = w.in;
	ask(&w, REQUESTS, FUSE_WRITE, 71, 1000, ROOM);
	first = take(&w, FUSE_READ, 100);
	second = take(&w, FUSE_WRITE, 1000);
	cr_assert_neq(first, second);
	/* In the other order. */
	reply(&w, second, -ENOSPC, "");
	cr_assert(driver_wait_used(&w.d, REQUESTS, NULL, &len));
	cr_assert_eq(len, sizeof(struct fuse_out_header));
	cr_assert_eq(answer_at(&w, w.in).unique, 71);
	cr_assert_eq(answer_at(&w, w.in).error, -ENOSPC);
	reply(&w, first, 0, "hello");
	cr_assert(driver_wait_used(&w.d, REQUESTS, NULL, &len));
	cr_assert_eq(len, sizeof(struct fuse_out_header) + 5);
	cr_assert_eq(answer_at(&w, first_in).unique, 70);
	cr_assert_eq(answer_at(&w, first_in).len, len);
	cr_assert_eq(memcmp((char *)driver_at(&w.d, first_in) + 16, "hello", 6), 0);
	stop(&w);
}

Test(virtio_fs, forget_has_no_answer)
{
	struct world w;
	uint32_t len;

	start(&w);
	ask(&w, HIPRIO, FUSE_FORGET, 1, 8, 0);
	cr_assert(driver_wait_used(&w.d, HIPRIO, NULL, &len));
	cr_assert_eq(len, 0);
	take(&w, FUSE_FORGET, 8);
	/* Nobody waits for one that comes all the same. */
	reply(&w, 1, 0, "");
	driver_run(&w.d, 20);
	cr_assert(virtio_fs_is_lost(w.dev));
	cr_assert_not(w.dev->broken);
	stop(&w);
}

/* More requests than there are places, a server that reads nothing for a while. */
Test(virtio_fs, a_slow_server_loses_nothing)
{
	struct world w;
	uint32_t len;

	start(&w);
	for (unsigned i = 0; i < 60; i++)
		ask(&w, REQUESTS, FUSE_WRITE, i, 30000, 64);
	for (unsigned i = 0; i < 60; i++) {
		struct fuse_in_header header;
		uint8_t body[30000];

		for (size_t n = 0; n < sizeof(header); driver_run(&w.d, 0)) {
			ssize_t got = recv(w.server, (uint8_t *)&header + n, sizeof(header) - n,
					   MSG_DONTWAIT);
			n += got > 0 ? (size_t)got : 0;
		}
		for (size_t n = 0; n < sizeof(body); driver_run(&w.d, 0)) {
			ssize_t got = recv(w.server, body + n, sizeof(body) - n, MSG_DONTWAIT);
			n += got > 0 ? (size_t)got : 0;
		}
		reply(&w, header.unique, 0, "");
	}
	for (unsigned i = 0; i < 60; i++)
		cr_assert(driver_wait_used(&w.d, REQUESTS, NULL, &len));
	cr_assert_not(virtio_fs_is_lost(w.dev));
	stop(&w);
}

/* An answer in single bytes. */
Test(virtio_fs, an_answer_may_come_in_pieces)
{
	struct fuse_out_header header = {.len = sizeof(header) + 3};
	uint8_t bytes[sizeof(header) + 3];
	struct world w;
	uint32_t len;

	start(&w);
	ask(&w, REQUESTS, FUSE_READ, 5, 10, ROOM);
	header.unique = take(&w, FUSE_READ, 10);
	memcpy(bytes, &header, sizeof(header));
	memcpy(bytes + sizeof(header), "abc", 3);
	for (unsigned i = 0; i < sizeof(bytes); i++) {
		cr_assert_not(driver_take_used(&w.d, REQUESTS, NULL, &len));
		cr_assert_eq(io_write_full(w.server, bytes + i, 1), 0);
		driver_run(&w.d, 2);
	}
	cr_assert(driver_wait_used(&w.d, REQUESTS, NULL, &len));
	cr_assert_eq(len, sizeof(bytes));
	stop(&w);
}

static void expect_eio(struct world *w)
{
	uint32_t len;

	cr_assert(driver_wait_used(&w->d, REQUESTS, NULL, &len));
	cr_assert_eq(len, sizeof(struct fuse_out_header));
	cr_assert_eq(answer_at(w, w->in).error, -EIO);
	cr_assert_eq(answer_at(w, w->in).len, sizeof(struct fuse_out_header));
	cr_assert(virtio_fs_is_lost(w->dev));
	cr_assert_not(w->dev->broken);
}

Test(virtio_fs, a_server_that_dies_is_eio)
{
	struct world w;

	start(&w);
	ask(&w, REQUESTS, FUSE_READ, 5, 10, ROOM);
	close_fdp(&w.server);
	expect_eio(&w);
	cr_assert_eq(answer_at(&w, w.in).unique, 5);
	/* And so is everything from now on. */
	ask(&w, REQUESTS, FUSE_OPEN, 6, 8, ROOM);
	expect_eio(&w);
	cr_assert_eq(answer_at(&w, w.in).unique, 6);
	stop(&w);
}

Test(virtio_fs, a_server_that_lies_is_lost)
{
	const struct fuse_out_header lies[] = {
		{.len = 15, .unique = 1},
		{.len = 0, .unique = 1},
		{.len = ROOM + 1, .unique = 1},
		{.len = UINT32_MAX, .unique = 1},
		{.len = 16, .unique = 0},
		{.len = 16, .unique = 2},
		{.len = 16, .unique = 65},
		{.len = 16, .unique = UINT64_MAX},
		{.len = 16, .unique = 1, .error = 1},
		{.len = 16, .unique = 1, .error = -4096},
		{.len = 16, .unique = 1, .error = INT32_MIN},
		{.len = 17, .unique = 1, .error = -EIO},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
		struct world w;

		start(&w);
		ask(&w, REQUESTS, FUSE_READ, 5, 10, ROOM);
		cr_assert_eq(take(&w, FUSE_READ, 10), 1);
		cr_assert_eq(io_write_full(w.server, &lies[i], sizeof(lies[i])), 0);
		expect_eio(&w);
		stop(&w);
	}
}

Test(virtio_fs, a_guest_that_lies_breaks_its_device)
{
	const struct {
		uint32_t len, out, in;
	} lies[] = {{40, 39, 64},	  {41, 40, 64}, {39, 40, 64},
		    {UINT32_MAX, 48, 64}, {0, 48, 64},	{48, 48, 15}};

	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
		struct fuse_in_header header = {.len = lies[i].len, .opcode = FUSE_READ};
		struct world w;
		char byte;

		start(&w);
		memcpy(driver_at(&w.d, DRIVER_DATA), &header, sizeof(header));
		driver_add(&w.d, REQUESTS,
			   (struct segment[]){{DRIVER_DATA, lies[i].out, false},
					      {DRIVER_DATA + 4096, lies[i].in, true}},
			   2);
		driver_kick(&w.d, REQUESTS);
		driver_run(&w.d, 5);
		cr_assert(w.dev->broken, "%u", i);
		cr_assert_eq(recv(w.server, &byte, 1, MSG_DONTWAIT), -1,
			     "the server hears nothing");
		cr_assert(driver_reset(&w.d));
		stop(&w);
	}
}

Test(virtio_fs, a_reset_ends_what_is_under_way)
{
	struct world w;
	uint32_t len;
	uint8_t byte;

	start(&w);
	/* At rest the server does not notice. */
	cr_assert(driver_reset(&w.d));
	driver_start(&w.d, DRIVER_COMMON_FEATURES, 64);
	ask(&w, REQUESTS, FUSE_READ, 5, 0, ROOM);
	reply(&w, take(&w, FUSE_READ, 0), 0, "");
	cr_assert(driver_wait_used(&w.d, REQUESTS, NULL, &len));
	/* Asked, it cannot be told to forget it. */
	ask(&w, REQUESTS, FUSE_READ, 5, 0, ROOM);
	take(&w, FUSE_READ, 0);
	cr_assert(driver_reset(&w.d));
	cr_assert_eq(read(w.server, &byte, 1), 0);
	driver_start(&w.d, DRIVER_COMMON_FEATURES, 64);
	ask(&w, REQUESTS, FUSE_READ, 6, 0, ROOM);
	expect_eio(&w);
	stop(&w);
}

Test(virtio_fs, the_end_of_the_device_is_the_end_of_the_server)
{
	struct world w;
	uint8_t byte;

	start(&w);
	ask(&w, REQUESTS, FUSE_READ, 5, 0, ROOM);
	take(&w, FUSE_READ, 0);
	driver_detach(&w.d);
	cr_assert_eq(read(w.server, &byte, 1), 0);
	stop(&w);
}

/* zone-fs's own server. */

static void *serve(void *user)
{
	int fd = *(int *)user;
	static uint8_t request[FS_REQUEST_MAX], answer[FS_REQUEST_MAX];
	struct fs *fs;

	if (fs_new(&fs, open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC), true) < 0)
		return NULL;
	while (io_read_full(fd, request, sizeof(struct fuse_in_header)) ==
	       (ssize_t)sizeof(struct fuse_in_header)) {
		int len = fs_request_len(request, sizeof(struct fuse_in_header));
		size_t rest = (size_t)len - sizeof(struct fuse_in_header), n;

		if (len < 0 || io_read_full(fd, request + sizeof(struct fuse_in_header), rest) !=
				       (ssize_t)rest)
			break;
		n = fs_serve(fs, request, (size_t)len, answer);
		if (n && io_write_full(fd, answer, n) < 0)
			break;
	}
	fs_free(fs);
	return NULL;
}

Test(virtio_fs, with_its_server)
{
	struct {
		struct fuse_in_header header;
		struct fuse_init_in body;
	} init = {{.len = sizeof(init), .opcode = FUSE_INIT, .unique = 9},
		  {.major = 7, .minor = 38, .flags = UINT32_MAX}};
	struct fuse_init_out out;
	pthread_t thread;
	struct world w;
	uint32_t len;

	start(&w);
	cr_assert_eq(pthread_create(&thread, NULL, serve, &w.server), 0);
	memcpy(driver_at(&w.d, DRIVER_DATA), &init, sizeof(init));
	w.in = DRIVER_DATA + 4096;
	driver_add(&w.d, REQUESTS,
		   (struct segment[]){{DRIVER_DATA, sizeof(init), false}, {w.in, ROOM, true}}, 2);
	driver_kick(&w.d, REQUESTS);
	cr_assert(driver_wait_used(&w.d, REQUESTS, NULL, &len));
	cr_assert_eq(answer_at(&w, w.in).unique, 9);
	cr_assert_eq(answer_at(&w, w.in).error, 0);
	memcpy(&out, (char *)driver_at(&w.d, w.in) + 16, sizeof(out));
	cr_assert_eq(out.major, 7);
	cr_assert_eq(out.max_write, FS_IO_MAX);
	driver_detach(&w.d);
	pthread_join(thread, NULL);
	stop(&w);
}
