// SPDX-License-Identifier: Apache-2.0
/*
 * vmm_vsock ZONE_VMM ECHO_ELF [RUNS]: a connection from the runner's socket through zone-vmm to a
 * guest: round trips of 64 bytes, and a stream towards the guest. The peer is another process
 * behind a unix socketpair that does the same.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/runner.h"
#include "base/util.h"
#include "zone.h"

#define RUNS_MAX     101u
#define N_PINGS	     2000u
#define PING_BYTES   64u
#define STREAM_BYTES (32 * MIB)
#define CHUNK_BYTES  65536u

/* As guest/echo.c: 'e' comes back, 's' is dropped. */
static void serve_peer(int fd)
{
	static char buffer[CHUNK_BYTES];
	ssize_t n;

	while ((n = read(fd, buffer, sizeof(buffer))) > 0)
		if (buffer[0] == 'e' && io_write_full(fd, buffer, (size_t)n) < 0)
			break;
	_exit(0);
}

static int connect_zone(const struct zone *zone)
{
	const struct runner_hello hello = {.magic = RUNNER_MAGIC, .kind = RUNNER_IDM};
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "%s/socket", zone->dir);
	for (unsigned i = 0; (fd = io_unix_connect(path, SOCK_STREAM)) < 0; i++) {
		if (i == 1000)
			bench_die("the runner's socket", fd);
		usleep(1000);
	}
	if (io_write_full(fd, &hello, sizeof(hello)) < 0)
		bench_die("the runner's socket", -errno);
	return fd;
}

static double ping_us(int fd)
{
	char message[PING_BYTES];
	uint64_t begin = clock_now_ns();

	memset(message, 'e', sizeof(message));
	for (unsigned i = 0; i < N_PINGS; i++) {
		if (io_write_full(fd, message, sizeof(message)) < 0 ||
		    io_read_full(fd, message, sizeof(message)) != sizeof(message))
			bench_die("a ping was lost", 0);
	}
	return (double)(clock_now_ns() - begin) / 1e3 / N_PINGS;
}

/* The echo behind the stream tells that all of it has been taken. */
static double stream_mib_per_s(int fd)
{
	static char chunk[CHUNK_BYTES];
	char last[PING_BYTES];
	uint64_t begin = clock_now_ns();

	memset(chunk, 's', sizeof(chunk));
	for (uint64_t sent = 0; sent < STREAM_BYTES; sent += sizeof(chunk))
		if (io_write_full(fd, chunk, sizeof(chunk)) < 0)
			bench_die("the stream broke", -errno);
	/* Packets are not messages: until one begins with it, nothing comes back. */
	for (unsigned i = 0; recv(fd, last, sizeof(last), MSG_DONTWAIT) <= 0; i++) {
		memset(last, 'e', sizeof(last));
		if (i % 100 == 0 && io_write_full(fd, last, sizeof(last)) < 0)
			bench_die("the stream broke", -errno);
		usleep(50);
	}
	return (double)STREAM_BYTES / (double)MIB / ((double)(clock_now_ns() - begin) / 1e9);
}

static void run_ours(const struct zone_options *options, double *rtt, double *stream)
{
	struct zone zone;
	int fd;

	zone_prepare(&zone, options);
	zone_exec(&zone, options);
	fd = connect_zone(&zone);
	zone_wait_for(&zone, '1');
	*rtt = ping_us(fd);
	*stream = stream_mib_per_s(fd);
	close(fd);
	zone_end(&zone);
}

static void run_peer(double *rtt, double *stream)
{
	int ends[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		bench_die("socketpair", -errno);
	pid = fork();
	if (pid == 0) {
		close(ends[0]);
		serve_peer(ends[1]);
	}
	close(ends[1]);
	*rtt = ping_us(ends[0]);
	*stream = stream_mib_per_s(ends[0]);
	close(ends[0]);
	waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
	static double rtt[RUNS_MAX], stream[RUNS_MAX], peer_rtt[RUNS_MAX], peer_stream[RUNS_MAX];
	struct zone_options options = {.memory_mib = 32, .vcpus = 1, .more = ""};
	unsigned runs = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 5;
	const char *peer = "unix socketpair, two processes";

	if (argc < 3 || runs < 1 || runs > RUNS_MAX) {
		fputs("usage: vmm_vsock ZONE_VMM ECHO_ELF [RUNS]\n", stderr);
		return 2;
	}
	options.program = argv[1];
	options.guest = argv[2];
	for (unsigned i = 0; i < runs; i++) {
		run_ours(&options, &rtt[i], &stream[i]);
		run_peer(&peer_rtt[i], &peer_stream[i]);
	}
	bench_report("vsock_rtt", "us", bench_median(rtt, runs), bench_median(peer_rtt, runs),
		     peer);
	bench_report("vsock_stream", "MiB/s", bench_median(stream, runs),
		     bench_median(peer_stream, runs), peer);
	return 0;
}
