// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/storage_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "proto/storage.pb-c.h"
#include "supervisor/storage/server.h"
#include "tests/unit/harness.h"

static struct fixture fixture;

static void set_up(void)
{
	fixture_open(&fixture, 64 * MIB);
}

UNIT_SUITE(storage_server, .init = set_up);

static void *serve(void *context)
{
	int *socket = context;

	ops_serve(&fixture.storage, *socket);
	close(*socket);
	return NULL;
}

static void send_request(int socket, const Protect__Storage__Request *request, int fd)
{
	uint8_t packet[4096];
	size_t len = protect__storage__request__pack(request, packet);

	cr_assert_eq(io_send_fds(socket, packet, len, &fd, fd >= 0, 0), (ssize_t)len);
}

/* One reply; *n_fds as for io_recv_fds(). The caller frees it. */
static Protect__Storage__Reply *receive(int socket, int *fds, unsigned *n_fds)
{
	uint8_t *packet = malloc(OPS_PACKET_MAX);
	ssize_t n = io_recv_fds(socket, packet, OPS_PACKET_MAX, fds, n_fds, 0);
	Protect__Storage__Reply *reply =
		n < 0 ? NULL : protect__storage__reply__unpack(NULL, (size_t)n, packet);

	free(packet);
	cr_assert_not_null(reply);
	return reply;
}

/* Does one operation; the last reply, progress skipped. */
static Protect__Storage__Reply *call(const Protect__Storage__Request *request, int fd, int *fds,
				     unsigned *n_fds)
{
	Protect__Storage__Reply *reply;
	int pair[2];
	pthread_t thread;

	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	send_request(pair[0], request, fd);
	cr_assert_eq(pthread_create(&thread, NULL, serve, &pair[1]), 0);
	for (;;) {
		unsigned n = *n_fds;

		reply = receive(pair[0], fds, &n);
		if (!reply->progress) {
			*n_fds = n;
			break;
		}
		protect__storage__reply__free_unpacked(reply, NULL);
	}
	pthread_join(thread, NULL);
	close(pair[0]);
	return reply;
}

static void write_image(void)
{
	struct tar *tar = tar_new("gzip");

	tar_file(tar, "bin/x", "content");
	tar_end(tar);
	layout_write(&fixture, &tar, 1, NULL);
	tar_free(tar);
}

Test(storage_server, import_open_list_remove)
{
	Protect__Storage__Request request = PROTECT__STORAGE__REQUEST__INIT;
	Protect__Storage__Import import = PROTECT__STORAGE__IMPORT__INIT;
	Protect__Storage__Open open_image = PROTECT__STORAGE__OPEN__INIT;
	Protect__Storage__List list = PROTECT__STORAGE__LIST__INIT;
	Protect__Storage__Remove remove_image = PROTECT__STORAGE__REMOVE__INIT;
	Protect__Storage__Reply *reply;
	int fds[4], archive;
	unsigned n_fds = 0;
	char path[128], magic[4];

	write_image();
	free(output_of("tar -C %s -cf %s/archive .", fixture.layout, fixture.dir));
	snprintf(path, sizeof(path), "%s/archive", fixture.dir);
	archive = open(path, O_RDONLY | O_CLOEXEC);
	import.name = (char *)(uintptr_t) "mine";
	request.what_case = PROTECT__STORAGE__REQUEST__WHAT_IMPORT;
	request.import = &import;
	reply = call(&request, archive, fds, &n_fds);
	close(archive);
	cr_assert_eq(reply->error, 0, "%s", reply->text);
	cr_expect_str_eq(reply->image->name, "mine:latest");
	cr_expect_str_eq(reply->image->config->cmd[1], "y");
	cr_expect_str_eq(reply->image->config->env[0], "A=b");
	cr_expect_str_eq(reply->image->config->user, "12:34");
	cr_expect_str_eq(reply->image->config->working_directory, "/w");
	cr_expect_str_eq(reply->image->config->stop_signal, "SIGINT");
	protect__storage__reply__free_unpacked(reply, NULL);

	open_image.ref = (char *)(uintptr_t) "mine";
	request.what_case = PROTECT__STORAGE__REQUEST__WHAT_OPEN;
	request.open = &open_image;
	n_fds = 4;
	reply = call(&request, -1, fds, &n_fds);
	cr_assert_eq(reply->error, 0, "%s", reply->text);
	cr_assert_eq(n_fds, 1);
	cr_expect_eq(fcntl(fds[0], F_GETFL) & O_ACCMODE, O_RDONLY);
	cr_expect(pread(fds[0], magic, 4, 0) == 4 && memcmp(magic, "hsqs", 4) == 0);
	close(fds[0]);
	protect__storage__reply__free_unpacked(reply, NULL);

	request.what_case = PROTECT__STORAGE__REQUEST__WHAT_LIST;
	request.list = &list;
	reply = call(&request, -1, fds, &n_fds);
	cr_assert_eq(reply->n_images, 1);
	cr_expect_str_eq(reply->images[0]->name, "mine:latest");
	protect__storage__reply__free_unpacked(reply, NULL);

	remove_image.ref = (char *)(uintptr_t) "mine";
	request.what_case = PROTECT__STORAGE__REQUEST__WHAT_REMOVE;
	request.remove = &remove_image;
	for (int i = 0; i < 2; i++) {
		reply = call(&request, -1, fds, &n_fds);
		cr_expect_eq(reply->error, i ? ENOENT : 0, "%s", reply->text);
		protect__storage__reply__free_unpacked(reply, NULL);
	}
	fixture_close(&fixture);
}

Test(storage_server, nonsense_is_answered)
{
	static const uint8_t garbage[] = {0xff, 0xff, 0xff, 0xff, 0x0f};
	Protect__Storage__Request request = PROTECT__STORAGE__REQUEST__INIT;
	Protect__Storage__Import import = PROTECT__STORAGE__IMPORT__INIT;
	Protect__Storage__Reply *reply;
	int pair[2], fds[1];
	unsigned n_fds = 0;
	pthread_t thread;

	reply = call(&request, -1, fds, &n_fds);
	cr_expect_eq(reply->error, EBADMSG, "an empty packet");
	protect__storage__reply__free_unpacked(reply, NULL);
	request.what_case = PROTECT__STORAGE__REQUEST__WHAT_IMPORT;
	request.import = &import;
	reply = call(&request, -1, fds, &n_fds);
	cr_expect_eq(reply->error, EINVAL, "an import without a descriptor");
	protect__storage__reply__free_unpacked(reply, NULL);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	cr_assert_eq(send(pair[0], garbage, sizeof(garbage), 0), (ssize_t)sizeof(garbage));
	cr_assert_eq(pthread_create(&thread, NULL, serve, &pair[1]), 0);
	reply = receive(pair[0], fds, &n_fds);
	cr_expect_eq(reply->error, EBADMSG);
	protect__storage__reply__free_unpacked(reply, NULL);
	pthread_join(thread, NULL);
	close(pair[0]);
	fixture_close(&fixture);
}

Test(storage_server, long_lists_come_in_parts)
{
	Protect__Storage__Request request = PROTECT__STORAGE__REQUEST__INIT;
	Protect__Storage__List list = PROTECT__STORAGE__LIST__INIT;
	struct store_image image = {.size_bytes = 1};
	unsigned n_fds = 0, replies = 0;
	size_t images = 0;
	pthread_t thread;
	bool more = true;
	int pair[2], fds[1];

	for (int i = 0; i < 800; i++) {
		image.manifest.bytes[0] = (uint8_t)i;
		image.manifest.bytes[1] = (uint8_t)(i >> 8);
		snprintf(image.name, sizeof(image.name), "some-image-with-a-name:%d", i);
		cr_assert_eq(store_add(fixture.storage.store, &image, NULL), 0);
	}
	request.what_case = PROTECT__STORAGE__REQUEST__WHAT_LIST;
	request.list = &list;
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	send_request(pair[0], &request, -1);
	cr_assert_eq(pthread_create(&thread, NULL, serve, &pair[1]), 0);
	while (more) {
		Protect__Storage__Reply *reply = receive(pair[0], fds, &n_fds);

		more = reply->progress != NULL;
		images += reply->n_images;
		replies++;
		protect__storage__reply__free_unpacked(reply, NULL);
	}
	pthread_join(thread, NULL);
	close(pair[0]);
	cr_expect_eq(images, 800);
	cr_expect_gt(replies, 1);
	fixture_close(&fixture);
}

Test(storage_server, leaving_cancels)
{
	Protect__Storage__Request request = PROTECT__STORAGE__REQUEST__INIT;
	Protect__Storage__Import import = PROTECT__STORAGE__IMPORT__INIT;
	int pair[2], pipe_fds[2];
	uint64_t start_ns;
	pthread_t thread;

	/* A pipe on which nothing ever comes, and which is never closed. */
	cr_assert_eq(pipe2(pipe_fds, O_CLOEXEC), 0);
	request.what_case = PROTECT__STORAGE__REQUEST__WHAT_IMPORT;
	request.import = &import;
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	send_request(pair[0], &request, pipe_fds[0]);
	cr_assert_eq(pthread_create(&thread, NULL, serve, &pair[1]), 0);
	start_ns = clock_now_ns();
	close(pair[0]);
	pthread_join(thread, NULL);
	cr_expect_lt(clock_now_ns() - start_ns, 5 * NS_PER_S);
	cr_expect(tmp_is_empty(&fixture));
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	fixture_close(&fixture);
}

struct service {
	struct server_options options;
	struct error err;
	int result;
};

static void *run_service(void *context)
{
	struct service *service = context;

	service->result =
		server_run(&fixture.storage, &service->options, NULL, NULL, &service->err);
	return NULL;
}

static int connect_when_ready(const char *path)
{
	for (int i = 0; i < 500; i++) {
		int fd = io_unix_connect(path, SOCK_SEQPACKET);

		if (fd >= 0)
			return fd;
		usleep(10000);
	}
	return -1;
}

Test(storage_server, many_clients_and_the_end)
{
	Protect__Storage__Request request = PROTECT__STORAGE__REQUEST__INIT;
	Protect__Storage__Ping ping = PROTECT__STORAGE__PING__INIT;
	struct service service = {.err = ERROR_NULL};
	int idle[SERVER_WORKERS_MAX], socket, fds[1];
	unsigned n_fds = 0;
	char path[128];
	pthread_t thread;
	sigset_t signals;
	Protect__Storage__Reply *reply;

	snprintf(path, sizeof(path), "%s/sock", fixture.dir);
	service.options =
		(struct server_options){.path = path, .mode = 0600, .allowed_uid = getuid()};
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	cr_assert_eq(pthread_create(&thread, NULL, run_service, &service), 0);
	for (unsigned i = 0; i < SERVER_WORKERS_MAX; i++)
		idle[i] = connect_when_ready(path);
	request.what_case = PROTECT__STORAGE__REQUEST__WHAT_PING;
	request.ping = &ping;
	socket = connect_when_ready(path);
	cr_assert_geq(socket, 0);
	send_request(socket, &request, -1);
	usleep(100000);
	close(idle[0]); /* only now is a worker free for the ninth */
	reply = receive(socket, fds, &n_fds);
	cr_expect_eq(reply->error, 0);
	protect__storage__reply__free_unpacked(reply, NULL);
	close(socket);
	kill(getpid(), SIGTERM);
	pthread_join(thread, NULL);
	cr_expect_eq(service.result, 0, "%s", service.err.text);
	cr_expect_neq(access(path, F_OK), 0);
	for (unsigned i = 1; i < SERVER_WORKERS_MAX; i++)
		close(idle[i]);
	fixture_close(&fixture);
}
