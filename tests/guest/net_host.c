// SPDX-License-Identifier: Apache-2.0
/*
 * net_host ZONE_VMM GUEST [full]: runs a guest (net.c) with a tap in a network namespace of its own
 * and sends every frame of the guest back to it. With "full" (net_full.c) it floods the tap when
 * the guest says so, and tells it by a byte on its disk when the tap dropped frames while the guest
 * had no buffer left: both were full then.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/if_tun.h>

#include "tests/unit/virtio_net_wire.h"

#define EXIT_SKIP   77
#define TIMEOUT_S   60u
#define CONSOLE_MAX 4096u
#define TAP_FRAMES  64 /* that the tap keeps */
#define DISK_BYTES  (1 << 20)
#define DROPS_AFTER 16u /* the guest had no buffer left */
#define KIND_AT	    14u /* in a frame of net_full.c */
#define FLOOD_BURST 8u

enum kind { KIND_FLOOD = 'F', KIND_STARVED = 'S', KIND_ECHO = 'E' };

/* What net_full.c is made to see. */
struct flood {
	bool on;
	uint64_t starved_at; /* drops when the guest had no buffer left; 0: it has some */
	uint8_t rounds;
	int disk;
	int packet;
};

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
	unlink(in_dir("disk"));
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
		"\"%s/console\"}, \"disks\": [{\"file\": {\"path\": \"%s/disk\"}, \"serial\": "
		"\"sign\"}], \"nics\": [{\"file\": {\"fd\": %d}, \"mac\": "
		"\"02:00:00:00:00:07\"}]}\n",
		guest, dir, dir, tap);
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

/* Frames that the tap had no room for. */
static uint64_t count_drops(void)
{
	FILE *file = fopen("/proc/thread-self/net/dev", "r");
	unsigned long long drops = 0;
	char line[512];

	if (!file)
		fail("/proc/thread-self/net/dev");
	while (fgets(line, sizeof(line), file)) {
		const char *numbers = strstr(line, "guest0:");

		if (numbers)
			sscanf(numbers + strlen("guest0:"),
			       "%*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %llu", &drops);
	}
	fclose(file);
	return drops;
}

static void send_frame(int packet, const uint8_t *frame, size_t len)
{
	if (send(packet, frame, len, 0) < 0 && errno != ENOBUFS)
		fail("send");
}

/* More of them, until as many were dropped as it takes. */
static void flood(struct flood *flood)
{
	static const uint8_t frame[60] = {2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 0x88, 0xb5};

	for (unsigned i = 0; i < FLOOD_BURST; i++)
		send_frame(flood->packet, frame, sizeof(frame));
	if (flood->starved_at == 0 || count_drops() < flood->starved_at + DROPS_AFTER)
		return;
	flood->on = false;
	flood->rounds++;
	if (pwrite(flood->disk, &flood->rounds, 1, 0) != 1)
		fail("the disk");
}

static void obey(struct flood *flood, const uint8_t *frame, size_t len)
{
	if (frame[KIND_AT] == KIND_FLOOD) {
		flood->on = true;
		flood->starved_at = 0;
	} else if (frame[KIND_AT] == KIND_STARVED) {
		flood->starved_at = count_drops() + 1;
	} else {
		send_frame(flood->packet, frame, len);
	}
}

/* Until the VMM ends: its status. Without `flooding` every frame goes back. */
static int answer(int packet, struct flood *flooding)
{
	static uint8_t frame[WIRE_FRAME_MAX];
	time_t end = time(NULL) + TIMEOUT_S;
	int status;

	while (time(NULL) < end) {
		struct pollfd ready = {.fd = packet, .events = POLLIN};
		ssize_t n;

		if (waitpid(vmm, &status, WNOHANG) == vmm) {
			vmm = -1;
			return status;
		}
		poll(&ready, 1, flooding && flooding->on ? 1 : 10);
		while ((n = recv(packet, frame, sizeof(frame), 0)) > 0)
			if (flooding)
				obey(flooding, frame, (size_t)n);
			else if (send(packet, frame, (size_t)n, 0) != n)
				fail("send");
		if (flooding && flooding->on)
			flood(flooding);
	}
	errno = ETIMEDOUT;
	fail("the guest does not end");
	return -1;
}

/* So few that it is soon full. */
static void shorten_tap(int packet)
{
	struct ifreq request = {.ifr_qlen = TAP_FRAMES};

	snprintf(request.ifr_name, sizeof(request.ifr_name), "guest0");
	if (ioctl(packet, SIOCSIFTXQLEN, &request) < 0)
		fail("the tap's length");
}

static int make_disk(void)
{
	int fd = open(in_dir("disk"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, DISK_BYTES) < 0)
		fail("the disk");
	return fd;
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
	struct flood flooding = {0};
	int tap, packet, status;

	if (argc < 3 || access("/dev/kvm", W_OK) < 0 || wire_enter_namespace() < 0) {
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
	if (argc > 3)
		shorten_tap(packet);
	flooding.packet = packet;
	flooding.disk = make_disk();
	start_vmm(argv[1], argv[2], tap);
	close(tap);
	status = answer(packet, argc > 3 ? &flooding : NULL);
	close(flooding.disk);
	if (!has_passed() || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		fprintf(stderr, "FAIL: status %d\n", status);
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}
