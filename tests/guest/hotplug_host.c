// SPDX-License-Identifier: Apache-2.0
/*
 * hotplug_host ZONE_VMM GUEST: attaches disks to a running guest (hotplug.c) and has them detached,
 * over the runner's socket as the daemon does. After every detach the disk's file must be closed:
 * nobody else may have it open, which the kernel tells by granting a write lease (fcntl(2)).
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/runner.h"
#include "proto/runner.pb-c.h"

#define ROUNDS	       6u
#define DISK_SIZE      (256 * 1024)
#define DETACH_MS      20000u
#define CLOSED_TRIES   50u
#define CLOSED_WAIT_US 100000u
#define EXIT_SKIP      77
#define EXIT_KILLED    6

static char dir[] = "/tmp/hotplug.XXXXXX";
static pid_t vmm = -1;

static void clean_up(void)
{
	static const char *const names[] = {"socket", "spec.json", "console", "disk"};
	char path[64];

	if (vmm > 0)
		kill(vmm, SIGKILL);
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	rmdir(dir);
}

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "FAIL: %s:%d: %s (errno %d)\n", __FILE__, __LINE__,        \
				#condition, errno);                                                \
			exit(EXIT_FAILURE);                                                        \
		}                                                                                  \
	} while (0)

static const char *in_dir(const char *name)
{
	static char path[64];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void start_vmm(const char *program, const char *guest)
{
	FILE *spec = fopen(in_dir("spec.json"), "w");

	CHECK(spec);
	fprintf(spec,
		"{\"memory_mib\": 32, \"kernel\": {\"path\": \"%s\"}, "
		"\"console\": {\"path\": \"%s/console\"}, \"socket\": {\"path\": \"%s/socket\"}}\n",
		guest, dir, dir);
	CHECK(fclose(spec) == 0);
	vmm = fork();
	CHECK(vmm >= 0);
	if (vmm == 0) {
		execl(program, program, "--spec", in_dir("spec.json"), (char *)NULL);
		_exit(EXIT_FAILURE);
	}
}

static int connect_to_vmm(void)
{
	const struct runner_hello hello = {.magic = RUNNER_MAGIC, .kind = RUNNER_CONTROL};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", dir);
	for (unsigned i = 0; connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0; i++) {
		CHECK(i < 100);
		usleep(100000);
	}
	CHECK(io_write_full(fd, &hello, sizeof(hello)) == 0);
	return fd;
}

/* Sends a request with a descriptor (-1: none) and returns the reply's error. */
static int ask(int socket_fd, const Protect__Runner__Request *request, int fd)
{
	uint8_t frame[512];
	uint32_t len = (uint32_t)protect__runner__request__pack(request, frame + sizeof(len));
	Protect__Runner__Reply *reply;
	int error;

	memcpy(frame, &len, sizeof(len));
	CHECK(io_send_fds(socket_fd, frame, sizeof(len) + len, &fd, fd >= 0, 0) > 0);
	if (request->what_case == PROTECT__RUNNER__REQUEST__WHAT_KILL)
		return 0;
	CHECK(io_read_full(socket_fd, &len, sizeof(len)) == sizeof(len) && len <= sizeof(frame));
	CHECK(io_read_full(socket_fd, frame, len) == (ssize_t)len);
	reply = protect__runner__reply__unpack(NULL, len, frame);
	CHECK(reply);
	error = (int)reply->error;
	if (error)
		printf("reply: %s\n", reply->text);
	protect__runner__reply__free_unpacked(reply, NULL);
	return error;
}

static int attach(int socket_fd, char *serial, int fd)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__DiskAttach body = PROTECT__RUNNER__DISK_ATTACH__INIT;

	body.serial = serial;
	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_DISK_ATTACH;
	request.disk_attach = &body;
	return ask(socket_fd, &request, fd);
}

static int detach(int socket_fd, char *serial)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__DiskDetach body = PROTECT__RUNNER__DISK_DETACH__INIT;

	body.serial = serial;
	body.timeout_ms = DETACH_MS;
	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_DISK_DETACH;
	request.disk_detach = &body;
	return ask(socket_fd, &request, -1);
}

/* Whether nobody else has the disk open, soon. */
static bool is_closed(void)
{
	int fd = open(in_dir("disk"), O_RDWR | O_CLOEXEC), r = -1;

	for (unsigned i = 0; r < 0 && i < CLOSED_TRIES; i++) {
		r = fcntl(fd, F_SETLEASE, F_WRLCK);
		CHECK(r == 0 || errno == EAGAIN || errno == EBUSY);
		if (r < 0)
			usleep(CLOSED_WAIT_US);
		else
			printf("closed within %u ms\n", i * CLOSED_WAIT_US / 1000);
	}
	close(fd);
	return r == 0;
}

static int open_disk(void)
{
	int fd = open(in_dir("disk"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	CHECK(fd >= 0 && ftruncate(fd, DISK_SIZE) == 0);
	return fd;
}

static void one_round(int control)
{
	char serial[] = "hot0";
	int fd = open_disk();

	CHECK(attach(control, serial, fd) == 0);
	CHECK(attach(control, serial, fd) == EEXIST);
	close(fd);
	CHECK(detach(control, serial) == 0);
	CHECK(detach(control, serial) == ENOENT);
	CHECK(is_closed());
}

static void kill_vmm(int control)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__Kill body = PROTECT__RUNNER__KILL__INIT;
	int status;

	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_KILL;
	request.kill = &body;
	ask(control, &request, -1);
	CHECK(waitpid(vmm, &status, 0) == vmm);
	vmm = -1;
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_KILLED);
}

int main(int argc, char **argv)
{
	int control;

	if (argc != 3 || access("/dev/kvm", W_OK) < 0) {
		puts("SKIP: /dev/kvm is not there or not ours to open");
		return EXIT_SKIP;
	}
	CHECK(mkdtemp(dir));
	atexit(clean_up);
	start_vmm(argv[1], argv[2]);
	control = connect_to_vmm();
	for (unsigned i = 0; i < ROUNDS; i++)
		one_round(control);
	kill_vmm(control);
	puts("PASS");
	return EXIT_SUCCESS;
}
