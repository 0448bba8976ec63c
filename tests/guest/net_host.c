// SPDX-License-Identifier: Apache-2.0
/*
 * net_host ZONE_VMM GUEST: runs a guest (net.c) with a tap in a network namespace of its own and
 * sends every frame of the guest back to it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/if_tun.h>

#include "tests/unit/virtio_net_wire.h"

#define EXIT_SKIP   77
#define TIMEOUT_S   60u
#define CONSOLE_MAX 4096u

static char dir[] = "/tmp/net.XXXXXX";
static pid_t vmm = -1;

static const char *in_dir(const char *name)
{
	static char path[64];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void clean_up(void)
{
	if (vmm > 0)
		kill(vmm, SIGKILL);
	unlink(in_dir("spec.json"));
	unlink(in_dir("console"));
	rmdir(dir);
}

static void fail(const char *what)
{
	fprintf(stderr, "FAIL: %s: %s\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

static void start_vmm(const char *program, const char *guest, int tap)
{
	FILE *spec = fopen(in_dir("spec.json"), "w");
	const char *under = getenv("RUN_UNDER");

	if (!spec)
		fail("the spec");
	fprintf(spec,
		"{\"memory_mib\": 32, \"kernel\": {\"path\": \"%s\"}, \"console\": {\"path\": "
		"\"%s/console\"}, \"nics\": [{\"file\": {\"fd\": %d}, \"mac\": "
		"\"02:00:00:00:00:07\"}]}\n",
		guest, dir, tap);
	fclose(spec);
	vmm = fork();
	if (vmm == 0) {
		if (under)
			execl(under, under, program, "--spec", in_dir("spec.json"), (char *)NULL);
		else
			execl(program, program, "--spec", in_dir("spec.json"), (char *)NULL);
		_exit(EXIT_FAILURE);
	}
}

/* Until the VMM ends: its status. */
static int send_back(int packet)
{
	static uint8_t frame[WIRE_FRAME_MAX];
	int status;

	for (unsigned i = 0; i < TIMEOUT_S * 100; i++) {
		struct pollfd ready = {.fd = packet, .events = POLLIN};
		ssize_t n;

		if (waitpid(vmm, &status, WNOHANG) == vmm) {
			vmm = -1;
			return status;
		}
		poll(&ready, 1, 10);
		while ((n = recv(packet, frame, sizeof(frame), 0)) > 0)
			if (send(packet, frame, (size_t)n, 0) != n)
				fail("send");
	}
	errno = ETIMEDOUT;
	fail("the guest does not end");
	return -1;
}

static bool has_passed(void)
{
	char text[CONSOLE_MAX] = "";
	FILE *console = fopen(in_dir("console"), "r");

	if (!console)
		return false;
	text[fread(text, 1, sizeof(text) - 1, console)] = '\0';
	fclose(console);
	fputs(text, stdout);
	return strstr(text, "PASS") != NULL;
}

int main(int argc, char **argv)
{
	int tap, packet, status;

	if (argc != 3 || access("/dev/kvm", W_OK) < 0 || wire_enter_namespace() < 0) {
		puts("SKIP: no /dev/kvm or no tap to be had here");
		return EXIT_SKIP;
	}
	if (!mkdtemp(dir))
		fail("mkdtemp");
	atexit(clean_up);
	tap = wire_open_tap("guest0", IFF_VNET_HDR);
	packet = wire_open_packet("guest0", 1500, WIRE_PROTOCOL);
	if (tap < 0 || packet < 0 || fcntl(tap, F_SETFD, 0) < 0)
		fail("the tap");
	start_vmm(argv[1], argv[2], tap);
	close(tap);
	status = send_back(packet);
	if (!has_passed() || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		fprintf(stderr, "FAIL: status %d\n", status);
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}
