// SPDX-License-Identifier: Apache-2.0
/*
 * vsock_host ZONE_VMM GUEST TEST, as whoever has the runner's socket may: "listen" connects to what
 * listens in the guest (vsock_listen.c): bytes both ways, many at once, halves that end apart,
 * refusals; "served" serves a port that the guest connects to (vsock_served.c).
 */
#include "hotplug_runner.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/runner.h"
#include "vsock.h"

#define CHUNK	      4000u
#define ROUNDS	      50u
#define MANY	      40u
#define SOURCE_TOTAL  (256u * 1024)
#define PATIENCE_MS   20000
#define NO_ANSWER_MIN (9 * NS_PER_S)

static int hello_to(uint32_t port, enum runner_kind kind)
{
	const struct runner_vsock_hello hello = {.hello = {.magic = RUNNER_MAGIC, .kind = kind},
						 .port = port};

	return runner_connect(&hello, sizeof(hello));
}

static int call(uint32_t port)
{
	return hello_to(port, RUNNER_VSOCK);
}

static ssize_t read_some(int fd, void *to, size_t len)
{
	struct pollfd pollfd = {.fd = fd, .events = POLLIN};

	CHECK(poll(&pollfd, 1, PATIENCE_MS) == 1);
	return read(fd, to, len);
}

static void read_all(int fd, uint8_t *to, size_t len)
{
	for (size_t got = 0; got < len;) {
		ssize_t n = read_some(fd, to + got, len - got);

		CHECK(n > 0);
		got += (size_t)n;
	}
}

/* The other end is closed, without another byte. */
static void is_closed(int fd)
{
	char byte;

	CHECK(read_some(fd, &byte, 1) <= 0);
	close(fd);
}

static void test_echo(void)
{
	static uint8_t sent[CHUNK], got[CHUNK];
	int fd = call(VSOCK_PORT_ECHO);

	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < CHUNK; i++)
			sent[i] = (uint8_t)(round * 7 + i);
		CHECK(io_write_full(fd, sent, CHUNK) == 0);
		read_all(fd, got, CHUNK);
		CHECK(memcmp(sent, got, CHUNK) == 0);
	}
	CHECK(io_write_full(fd, "last", 4) == 0);
	CHECK(shutdown(fd, SHUT_WR) == 0);
	read_all(fd, got, 4);
	CHECK(memcmp(got, "last", 4) == 0);
	is_closed(fd);
}

static void test_many(void)
{
	int fds[MANY];
	uint8_t byte;

	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < MANY; i++) {
			fds[i] = call(VSOCK_PORT_ECHO);
			byte = (uint8_t)(i + round);
			CHECK(io_write_full(fds[i], &byte, 1) == 0);
		}
		for (unsigned i = MANY; i-- > 0;) {
			read_all(fds[i], &byte, 1);
			CHECK(byte == (uint8_t)(i + round));
			CHECK(shutdown(fds[i], SHUT_WR) == 0);
			is_closed(fds[i]); /* so their places are free for the next round */
		}
	}
}

static void test_source(void)
{
	static uint8_t got[SOURCE_TOTAL];
	int fd = call(VSOCK_PORT_SOURCE);

	CHECK(io_write_full(fd, "x", 1) == 0);
	read_all(fd, got, sizeof(got));
	for (unsigned i = 0; i < SOURCE_TOTAL; i++)
		CHECK(got[i] == (uint8_t)(i >> 4));
	CHECK(read_some(fd, got, 1) == 0);
	CHECK(io_write_full(fd, "it may still be told things", 27) == 0);
	close(fd);
}

static void test_refusals(void)
{
	uint64_t start_ns;

	is_closed(call(VSOCK_PORT_REFUSES));
	is_closed(call(VSOCK_PORT_WRONG));
	start_ns = clock_now_ns();
	is_closed(call(VSOCK_PORT_SILENT));
	CHECK(clock_now_ns() - start_ns > NO_ANSWER_MIN);
}

static void test_listen(void)
{
	CHECK(runner_console_says("READY", 1));
	test_echo();
	test_many();
	test_source();
	test_refusals();
	test_echo();
	is_closed(call(VSOCK_PORT_DONE));
}

static void answer(int fd)
{
	uint8_t byte;

	read_all(fd, &byte, 1);
	byte++;
	CHECK(io_write_full(fd, &byte, 1) == 0);
}

static void test_served(void)
{
	int fds[VSOCK_SERVERS + 1];

	is_closed(hello_to(IDM_PORT, RUNNER_SERVE));
	close(hello_to(VSOCK_PORT_SERVED, RUNNER_SERVE)); /* who left is passed over */
	for (unsigned i = 0; i < VSOCK_SERVERS; i++)
		fds[i] = hello_to(VSOCK_PORT_SERVED, RUNNER_SERVE);
	for (unsigned i = VSOCK_SERVERS; i-- > 0;)
		answer(fds[i]);
	CHECK(runner_console_says("WAITING", 1));
	fds[VSOCK_SERVERS] = hello_to(VSOCK_PORT_SERVED, RUNNER_SERVE);
	answer(fds[VSOCK_SERVERS]);
}

int main(int argc, char **argv)
{
	if (argc != 4)
		return EXIT_FAILURE;
	runner_need_kvm();
	runner_start(argv[1], argv[2], "", "");
	if (strcmp(argv[3], "listen") == 0)
		test_listen();
	else
		test_served();
	CHECK(runner_console_says("PASS", 1));
	runner_kill();
	puts("PASS");
	return EXIT_SUCCESS;
}
