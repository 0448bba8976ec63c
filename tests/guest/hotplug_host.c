// SPDX-License-Identifier: Apache-2.0
/*
 * hotplug_host ZONE_VMM GUEST TEST: has devices attached to a running guest (hotplug.c), changed
 * and detached, over the runner's socket as the daemon does, while the guest uses them. After every
 * detach a disk's file must be closed: nobody else may have it open, which the kernel tells by
 * granting a write lease (fcntl(2)). Taps live in a network namespace of the test's own.
 */
#include "hotplug_runner.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROUNDS	       6u
#define DISK_SIZE      (256 * 1024)
#define DETACH_MS      20000u
#define IMPATIENT_MS   300u
#define CLOSED_TRIES   50u
#define CLOSED_WAIT_US 100000u
#define ETHERTYPE_TEST 0x88b5 /* IEEE 802 local experimental */
#define FRAME_LEN      64u
#define ANSWER_MS      10000

/* Whether nobody else has the file open, soon. */
static bool is_closed(const char *name)
{
	int fd = open(runner_path(name), O_RDWR | O_CLOEXEC), r = -1;

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

static int open_disk(const char *name, char content, off_t size)
{
	int fd = open(runner_path(name), O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	CHECK(fd >= 0 && ftruncate(fd, size) == 0);
	CHECK(pwrite(fd, &content, 1, 0) == 1);
	return fd;
}

static void one_round(void)
{
	int fd = open_disk("disk", 'A', DISK_SIZE);

	CHECK(runner_attach_disk("hot0", fd) == 0);
	CHECK(runner_attach_disk("hot0", fd) == EEXIST);
	close(fd);
	CHECK(runner_detach_disk("hot0", DETACH_MS, false) == 0);
	CHECK(runner_detach_disk("hot0", DETACH_MS, false) == ENOENT);
	CHECK(is_closed("disk"));
}

static void test_disk(void)
{
	for (unsigned i = 0; i < ROUNDS; i++)
		one_round();
}

/* The disk becomes another file, then grows, and the guest reads on all the time. */
static void test_swap(void)
{
	int first = open_disk("disk", 'A', DISK_SIZE), other = open_disk("other", 'B', DISK_SIZE);
	int smaller;

	CHECK(runner_attach_disk("hot0", first) == 0);
	close(first);
	CHECK(runner_console_says("DATA A", 1));
	CHECK(runner_swap_disk("nobody", other) == ENOENT);
	CHECK(runner_swap_disk("hot0", other) == 0);
	close(other);
	CHECK(runner_console_says("DATA B", 1));
	CHECK(is_closed("disk"));
	smaller = open_disk("disk", 'C', DISK_SIZE / 2);
	CHECK(runner_swap_disk("hot0", smaller) != 0);
	CHECK(ftruncate(smaller, (off_t)DISK_SIZE * 2) == 0);
	CHECK(runner_swap_disk("hot0", smaller) == 0);
	CHECK(runner_console_says("DATA C", 1));
	CHECK(runner_console_says("SECTORS 00000400", 1));
	CHECK(ftruncate(smaller, (off_t)DISK_SIZE * 4) == 0);
	CHECK(runner_resize_disk("hot0") == 0);
	close(smaller);
	CHECK(runner_console_says("SECTORS 00000800", 1));
	CHECK(runner_detach_disk("hot0", DETACH_MS, false) == 0);
	CHECK(is_closed("disk"));
}

/* A guest that was asked and goes on using what it has. */
static void test_force(void)
{
	for (unsigned i = 1; i <= 2; i++) {
		int fd = open_disk("disk", 'A', DISK_SIZE);

		CHECK(runner_attach_disk("hot0", fd) == 0);
		close(fd);
		CHECK(runner_console_says("DATA A", i));
		CHECK(runner_detach_disk("hot0", IMPATIENT_MS, false) == ETIMEDOUT);
		CHECK(runner_detach_disk("hot0", IMPATIENT_MS, true) == 0);
		CHECK(is_closed("disk"));
		CHECK(runner_console_says("REVOKED", i));
		CHECK(runner_console_says("GONE", i));
	}
	CHECK(runner_console_says("ASKED", 4));
	CHECK(runner_console_says("EVENT 00000004", 2));
}

/* A namespace of our own; /dev/net/tun may be missing, or not be ours to use. */
static int make_tap(void)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int fd;

	if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) {
		puts("SKIP: no network namespace of our own can be made");
		exit(RUNNER_EXIT_SKIP);
	}
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	snprintf(request.ifr_name, sizeof(request.ifr_name), "hot0");
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0) {
		puts("SKIP: /dev/net/tun is not there or not ours to use");
		exit(RUNNER_EXIT_SKIP);
	}
	return fd;
}

/* The tap's other end, up. */
static int open_wire(void)
{
	struct sockaddr_ll address = {.sll_family = AF_PACKET,
				      .sll_protocol = htons(ETHERTYPE_TEST)};
	struct ifreq request = {.ifr_flags = IFF_UP};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETHERTYPE_TEST));

	snprintf(request.ifr_name, sizeof(request.ifr_name), "hot0");
	CHECK(fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &request) == 0);
	CHECK(ioctl(fd, SIOCGIFINDEX, &request) == 0);
	address.sll_ifindex = request.ifr_ifindex;
	CHECK(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	return fd;
}

static const uint8_t mac[6] = {2, 0, 0x5e, 0x10, 0, 1};

static void send_ping(int wire)
{
	uint8_t frame[FRAME_LEN] = {[12] = ETHERTYPE_TEST >> 8, [13] = ETHERTYPE_TEST & 0xff};

	memcpy(frame, mac, sizeof(mac));
	frame[6] = 2;
	if (send(wire, frame, sizeof(frame), 0) < 0)
		CHECK(errno == ENOBUFS);
}

/* Pings until the guest answers: a frame whose sender is the NIC's address. What it said before
 * does not count. */
static bool is_answered(int wire)
{
	struct pollfd readable = {.fd = wire, .events = POLLIN};
	uint8_t frame[FRAME_LEN * 2];

	while (recv(wire, frame, sizeof(frame), MSG_DONTWAIT) > 0)
		;
	for (int left_ms = ANSWER_MS; left_ms > 0; left_ms -= 10) {
		send_ping(wire);
		if (poll(&readable, 1, 10) == 1 && recv(wire, frame, sizeof(frame), 0) > 12 &&
		    memcmp(frame + 6, mac, sizeof(mac)) == 0)
			return true;
	}
	return false;
}

static void test_nic(bool consents)
{
	int tap = make_tap(), wire = open_wire();

	for (unsigned i = 1; i <= 3; i++) {
		CHECK(runner_attach_nic("eth0", mac, tap) == 0);
		CHECK(runner_attach_nic("eth0", mac, tap) == EEXIST);
		CHECK(runner_attach_nic("eth1", mac, tap) == EEXIST);
		CHECK(is_answered(wire));
		CHECK(runner_link_nic("eth0", false) == 0);
		CHECK(runner_console_says("LINK DOWN", i));
		CHECK(runner_link_nic("eth0", true) == 0);
		CHECK(runner_console_says("LINK UP", i));
		for (unsigned j = 0; j < 100; j++)
			send_ping(wire);
		if (!consents)
			CHECK(runner_detach_nic("eth0", IMPATIENT_MS, false) == ETIMEDOUT);
		CHECK(runner_detach_nic("eth0", consents ? DETACH_MS : IMPATIENT_MS, !consents) ==
		      0);
		CHECK(runner_detach_nic("eth0", 0, true) == ENOENT);
		CHECK(runner_console_says("GONE", i));
	}
	close(tap);
	close(wire);
}

int main(int argc, char **argv)
{
	const char *test = argc == 4 ? argv[3] : "";
	bool stubborn = strcmp(test, "force") == 0 || strcmp(test, "force_nic") == 0;

	runner_need_kvm();
	runner_start(argv[1], argv[2], stubborn ? "stubborn" : "", "");
	if (strcmp(test, "disk") == 0)
		test_disk();
	else if (strcmp(test, "swap") == 0)
		test_swap();
	else if (strcmp(test, "force") == 0)
		test_force();
	else if (strcmp(test, "nic") == 0)
		test_nic(true);
	else if (strcmp(test, "force_nic") == 0)
		test_nic(false);
	else
		return EXIT_FAILURE;
	runner_kill();
	puts("PASS");
	return EXIT_SUCCESS;
}
