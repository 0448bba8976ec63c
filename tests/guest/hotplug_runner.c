// SPDX-License-Identifier: Apache-2.0
#include "hotplug_runner.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/runner.h"

#define EXIT_KILLED   6
#define CONSOLE_MAX   65536
#define WAIT_STEP_US  20000u
#define WAIT_STEPS    1000u
#define CONNECT_TRIES 500u

static char dir[] = "/tmp/hotplug.XXXXXX";
static pid_t vmm = -1;
static int control = -1;

const char *runner_path(const char *name)
{
	static char path[64];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void clean_up(void)
{
	static const char *const names[] = {"socket", "spec.json", "console", "disk", "other"};

	if (vmm > 0)
		kill(vmm, SIGKILL);
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unlink(runner_path(names[i]));
	rmdir(dir);
}

static void write_spec(const char *guest, const char *cmdline, const char *members)
{
	FILE *spec = fopen(runner_path("spec.json"), "w");

	CHECK(spec);
	fprintf(spec,
		"{\"memory_mib\": 32, \"kernel\": {\"path\": \"%s\"}, \"cmdline\": \"%s\", "
		"\"console\": {\"path\": \"%s/console\"}, \"socket\": {\"path\": "
		"\"%s/socket\"}%s%s}\n",
		guest, cmdline, dir, dir, *members ? ", " : "", members);
	CHECK(fclose(spec) == 0);
}

int runner_connect(const void *hello, size_t len)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", dir);
	for (unsigned i = 0; connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0; i++) {
		CHECK(i < CONNECT_TRIES);
		usleep(WAIT_STEP_US);
	}
	CHECK(io_write_full(fd, hello, len) == 0);
	return fd;
}

void runner_need_kvm(void)
{
	if (access("/dev/kvm", W_OK) == 0)
		return;
	puts("SKIP: /dev/kvm is not there or not ours to open");
	exit(RUNNER_EXIT_SKIP);
}

void runner_start(const char *program, const char *guest, const char *cmdline, const char *members)
{
	const struct runner_hello hello = {.magic = RUNNER_MAGIC, .kind = RUNNER_CONTROL};
	const char *under = getenv("RUN_UNDER");

	CHECK(mkdtemp(dir));
	atexit(clean_up);
	write_spec(guest, cmdline, members);
	vmm = fork();
	CHECK(vmm >= 0);
	if (vmm == 0) {
		if (under)
			execl(under, under, program, "--spec", runner_path("spec.json"),
			      (char *)NULL);
		else
			execl(program, program, "--spec", runner_path("spec.json"), (char *)NULL);
		_exit(EXIT_FAILURE);
	}
	control = runner_connect(&hello, sizeof(hello));
}

static Protect__Runner__Reply *read_reply(void)
{
	static uint8_t frame[RUNNER_FRAME_MAX];
	Protect__Runner__Reply *reply;
	uint32_t len;

	CHECK(io_read_full(control, &len, sizeof(len)) == sizeof(len) && len <= sizeof(frame));
	CHECK(io_read_full(control, frame, len) == (ssize_t)len);
	reply = protect__runner__reply__unpack(NULL, len, frame);
	CHECK(reply);
	return reply;
}

int runner_ask(const Protect__Runner__Request *request, const int *fds, unsigned n_fds,
	       Protect__Runner__Reply **reply_out)
{
	uint8_t frame[512];
	uint32_t len = (uint32_t)protect__runner__request__pack(request, frame + sizeof(len));
	Protect__Runner__Reply *reply;
	int error;

	memcpy(frame, &len, sizeof(len));
	CHECK(io_send_fds(control, frame, sizeof(len) + len, fds, n_fds, 0) > 0);
	reply = read_reply();
	error = (int)reply->error;
	if (error)
		printf("reply: %s\n", reply->text);
	if (reply_out)
		*reply_out = reply;
	else
		protect__runner__reply__free_unpacked(reply, NULL);
	return error;
}

void runner_kill(void)
{
	uint8_t frame[64];
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__Kill body = PROTECT__RUNNER__KILL__INIT;
	uint32_t len;
	int status;

	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_KILL;
	request.kill = &body;
	len = (uint32_t)protect__runner__request__pack(&request, frame + sizeof(len));
	memcpy(frame, &len, sizeof(len));
	CHECK(io_write_full(control, frame, sizeof(len) + len) == 0);
	CHECK(waitpid(vmm, &status, 0) == vmm);
	vmm = -1;
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_KILLED);
	close(control);
}

Protect__Runner__StatusReply runner_status(void)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__Status body = PROTECT__RUNNER__STATUS__INIT;
	Protect__Runner__StatusReply copy;
	Protect__Runner__Reply *reply;

	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_STATUS;
	request.status = &body;
	CHECK(runner_ask(&request, NULL, 0, &reply) == 0 && reply->status);
	copy = *reply->status;
	protect__runner__reply__free_unpacked(reply, NULL);
	return copy;
}

int runner_set_resources(uint64_t memory_bytes, uint32_t vcpus)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__Resources body = PROTECT__RUNNER__RESOURCES__INIT;

	body.memory_bytes = memory_bytes;
	body.vcpus = vcpus;
	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_RESOURCES;
	request.resources = &body;
	return runner_ask(&request, NULL, 0, NULL);
}

int runner_attach_disk(const char *serial, int fd)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__DiskAttach body = PROTECT__RUNNER__DISK_ATTACH__INIT;

	body.serial = (char *)(uintptr_t)serial;
	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_DISK_ATTACH;
	request.disk_attach = &body;
	return runner_ask(&request, &fd, 1, NULL);
}

int runner_detach_disk(const char *serial, uint32_t timeout_ms, bool force)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__DiskDetach body = PROTECT__RUNNER__DISK_DETACH__INIT;

	body.serial = (char *)(uintptr_t)serial;
	body.timeout_ms = timeout_ms;
	body.force = force;
	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_DISK_DETACH;
	request.disk_detach = &body;
	return runner_ask(&request, NULL, 0, NULL);
}

int runner_swap_disk(const char *serial, int fd)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__DiskSwap body = PROTECT__RUNNER__DISK_SWAP__INIT;

	body.serial = (char *)(uintptr_t)serial;
	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_DISK_SWAP;
	request.disk_swap = &body;
	return runner_ask(&request, &fd, 1, NULL);
}

int runner_resize_disk(const char *serial)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__DiskResize body = PROTECT__RUNNER__DISK_RESIZE__INIT;

	body.serial = (char *)(uintptr_t)serial;
	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_DISK_RESIZE;
	request.disk_resize = &body;
	return runner_ask(&request, NULL, 0, NULL);
}

int runner_attach_nic(const char *name, const uint8_t mac[6], int fd)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__NicAttach body = PROTECT__RUNNER__NIC_ATTACH__INIT;

	body.name = (char *)(uintptr_t)name;
	body.mac.data = (uint8_t *)(uintptr_t)mac;
	body.mac.len = 6;
	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_NIC_ATTACH;
	request.nic_attach = &body;
	return runner_ask(&request, &fd, 1, NULL);
}

int runner_link_nic(const char *name, bool up)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__NicLink body = PROTECT__RUNNER__NIC_LINK__INIT;

	body.name = (char *)(uintptr_t)name;
	body.up = up;
	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_NIC_LINK;
	request.nic_link = &body;
	return runner_ask(&request, NULL, 0, NULL);
}

int runner_detach_nic(const char *name, uint32_t timeout_ms, bool force)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__NicDetach body = PROTECT__RUNNER__NIC_DETACH__INIT;

	body.name = (char *)(uintptr_t)name;
	body.timeout_ms = timeout_ms;
	body.force = force;
	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_NIC_DETACH;
	request.nic_detach = &body;
	return runner_ask(&request, NULL, 0, NULL);
}

/* What the console file holds, as text; valid until the next call. */
static const char *console(void)
{
	static char text[CONSOLE_MAX];
	int fd = open(runner_path("console"), O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : io_read_full(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

bool runner_console_says(const char *text, unsigned times)
{
	for (unsigned i = 0; i < WAIT_STEPS; i++, usleep(WAIT_STEP_US)) {
		unsigned n = 0;

		for (const char *at = console(); (at = strstr(at, text)); at++)
			n++;
		if (n >= times)
			return true;
	}
	return false;
}

void runner_show_console(void)
{
	fprintf(stderr, "%s", console());
}
