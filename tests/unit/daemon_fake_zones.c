// SPDX-License-Identifier: Apache-2.0
/*
 * Zones without a hypervisor, for work on the services where KVM cannot boot Linux: the runner's
 * contract (base/runner.h) played with the real agent of zone-guest, whose "zone" is a mount
 * namespace of this host and whose disks are loop devices. It shows that the daemon keeps its side
 * of the contracts; it shows nothing about virtual machines and stands in for no end-to-end test.
 *
 * One program, two roles. Called as a runner (--kvm-fd …, by protect-launch, without any right) it
 * hands its socket and exit record to the other role over a socket beside this program and waits.
 * Without
 * arguments it is that other role: as root, one child a zone.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/runner.h"
#include "base/util.h"
#include "proto/runner.pb-c.h"
#include "supervisor/launch/launch.h"
#include "zone-guest/agent.h"

#define DISKS_MAX     16
#define CONTROLS_MAX  8
#define NICS_MAX      4
#define HANGING_VCPUS 3u
#define HOLDING_VCPUS 5u /* lets go of a disk when it is asked for the second time */

struct disk {
	char serial[24];
	int fd, loop_fd, number;
	bool leaving;
};

static struct fake {
	struct zone zone;
	struct disk disks[DISKS_MAX];
	int runner, listener, exit_fd;
	int controls[CONTROLS_MAX], consoles[CONTROLS_MAX];
	unsigned n_controls, n_consoles;
	char nics[NICS_MAX][16]; /* that came later */
	uint64_t memory_bytes;
	uint32_t vcpus;
	bool paused;
	const char *ending;
} fake;

/* A file beside this program: the two roles share no network namespace. */
static int path_beside(const char *suffix, char *path, size_t size)
{
	ssize_t len = readlink("/proc/self/exe", path, size);

	if (len < 0 || (size_t)len + strlen(suffix) >= size)
		return -ENAMETOOLONG;
	memcpy(path + len, suffix, strlen(suffix) + 1);
	return 0;
}

static int run_runner(void)
{
	const int fds[] = {LAUNCH_FD_SOCKET, LAUNCH_FD_EXIT};
	char path[108], end;
	int fd = path_beside(".sock", path, sizeof(path));

	if (fd == 0)
		fd = io_unix_connect(path, SOCK_STREAM);
	if (fd < 0)
		return 1;
	io_write_full(STDERR_FILENO, "info event=boot\nwarning evil=\x1b[2J\xff\n\nlast", 40);
	io_send_fds(fd, "z", 1, fds, 2, 0);
	return io_read_full(fd, &end, 1) == 1 ? 0 : 2;
}

static int find_disk(const char *serial, char *path, size_t size)
{
	for (int i = 0; i < DISKS_MAX; i++)
		if (fake.disks[i].fd > 0 && strcmp(fake.disks[i].serial, serial) == 0) {
			snprintf(path, size, "/dev/loop%d", fake.disks[i].number);
			return 0;
		}
	return -ENODEV;
}

static int attach(const char *serial, bool read_only, int fd)
{
	struct loop_config config = {.fd = (uint32_t)fd,
				     .info.lo_flags = LO_FLAGS_AUTOCLEAR |
						      (read_only ? LO_FLAGS_READ_ONLY : 0)};
	_cleanup_(close_fdp) int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);

	for (int i = 0; i < DISKS_MAX; i++)
		if (fake.disks[i].fd > 0 && strcmp(fake.disks[i].serial, serial) == 0)
			return fake.disks[i].leaving ? -EBUSY : -EEXIST;
	for (int i = 0; i < DISKS_MAX; i++) {
		struct disk *disk = &fake.disks[i];
		char path[32];

		if (disk->fd > 0)
			continue;
		disk->number = ioctl(control, LOOP_CTL_GET_FREE);
		snprintf(path, sizeof(path), "/dev/loop%d", disk->number);
		disk->loop_fd = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
		if (ioctl(disk->loop_fd, LOOP_CONFIGURE, &config) < 0)
			return -errno;
		snprintf(disk->serial, sizeof(disk->serial), "%s", serial);
		disk->fd = fd;
		zone_disks_changed(&fake.zone);
		return 0;
	}
	return -ENOSPC;
}

static int detach(const char *serial)
{
	for (int i = 0; i < DISKS_MAX; i++) {
		struct disk *disk = &fake.disks[i];

		if (disk->fd <= 0 || strcmp(disk->serial, serial) != 0)
			continue;
		if (fake.vcpus == HOLDING_VCPUS && !disk->leaving) {
			disk->leaving = true;
			return -ETIMEDOUT;
		}
		disk->leaving = false;
		close_fdp(&disk->loop_fd);
		close_fdp(&disk->fd);
		return 0;
	}
	return -ENOENT;
}

static char *find_nic(const char *name)
{
	for (unsigned i = 0; i < NICS_MAX; i++)
		if (strcmp(fake.nics[i], name) == 0)
			return fake.nics[i];
	return NULL;
}

static int attach_nic(const char *name, int tap)
{
	char *place = find_nic("");

	if (tap < 0 || !place || find_nic(name))
		return -EINVAL;
	close(tap);
	snprintf(place, sizeof(fake.nics[0]), "%s", name);
	return 0;
}

static int detach_nic(const char *name)
{
	char *place = find_nic(name);

	if (place)
		*place = '\0';
	return place ? 0 : -ENOENT;
}

/* As a runner does, but no more than what the daemon's tests ask for. */
static const char *debug_info(void)
{
	static char text[256];

	snprintf(text, sizeof(text),
		 "{\"memory_bytes\":%llu,\"vcpus\":%u,\"paused\":%s,\"zone\":\"forged\"}",
		 (unsigned long long)fake.memory_bytes, fake.vcpus, fake.paused ? "true" : "false");
	return text;
}

static void reply(int fd, int error, Protect__Runner__StatusReply *status, const char *info)
{
	Protect__Runner__Reply message = PROTECT__RUNNER__REPLY__INIT;
	uint8_t frame[4096];
	uint32_t len;

	message.error = (uint32_t)-error;
	message.text = error ? strerror(-error) : message.text;
	message.status = status;
	if (info)
		message.debug_info = (char *)(uintptr_t)info;
	len = (uint32_t)protect__runner__reply__pack(&message, frame + 4);
	memcpy(frame, &len, 4);
	io_write_full(fd, frame, len + 4);
}

/* How much its guest uses, and for files, in MiB: what a test wrote into a file beside this
 * program; a guest that says nothing without one. */
static bool read_use(unsigned long long *used_mib, unsigned long long *cache_mib)
{
	char path[256];
	FILE *file = path_beside(".use", path, sizeof(path)) == 0 ? fopen(path, "re") : NULL;
	bool known;

	known = file && fscanf(file, "%llu %llu", used_mib, cache_mib) == 2;
	if (file)
		fclose(file);
	return known;
}

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

/* A guest that follows at once, and devices with names that no device may have. */
static void reply_stats(int fd)
{
	Protect__Runner__Reply message = PROTECT__RUNNER__REPLY__INIT;
	Protect__Runner__StatsReply stats = PROTECT__RUNNER__STATS_REPLY__INIT;
	Protect__Runner__DeviceStats disk = PROTECT__RUNNER__DEVICE_STATS__INIT;
	Protect__Runner__DeviceStats *disks[] = {&disk, &disk};
	char name[] = "a\"b\\c\n# d\xff{}=1";
	unsigned long long used_mib, cache_mib;
	uint8_t frame[4096];
	uint32_t len;

	disk.name = name;
	disk.read_bytes = 512;
	stats.exits = 12345;
	stats.plugged_memory_bytes = fake.memory_bytes;
	stats.disks = disks;
	stats.n_disks = 2;
	stats.console_bytes = UINT64_MAX;
	if (read_use(&used_mib, &cache_mib)) {
		stats.guest_age_ms = 1;
		stats.guest_total_bytes = fake.memory_bytes;
		stats.guest_available_bytes = less(fake.memory_bytes, used_mib * MIB);
		stats.guest_free_bytes = less(stats.guest_available_bytes, cache_mib * MIB);
	}
	message.stats = &stats;
	len = (uint32_t)protect__runner__reply__pack(&message, frame + 4);
	memcpy(frame, &len, 4);
	io_write_full(fd, frame, len + 4);
}

static void set_resources(const Protect__Runner__Resources *resources)
{
	if (resources->memory_bytes)
		fake.memory_bytes = resources->memory_bytes;
	if (resources->vcpus)
		fake.vcpus = resources->vcpus;
}

static void serve(int fd, const Protect__Runner__Request *request, int disk)
{
	Protect__Runner__StatusReply status = PROTECT__RUNNER__STATUS_REPLY__INIT;
	char *nics[NICS_MAX];
	const char *info = NULL;
	int r = 0;

	status.nics = nics;
	for (unsigned i = 0; i < NICS_MAX; i++)
		if (*fake.nics[i])
			nics[status.n_nics++] = fake.nics[i];
	status.pid = (uint32_t)getpid();
	status.paused = fake.paused;
	status.target_memory_bytes = fake.memory_bytes;
	status.target_vcpus = fake.vcpus;
	if (request->what_case == PROTECT__RUNNER__REQUEST__WHAT_DISK_DETACH &&
	    fake.vcpus == HANGING_VCPUS)
		return;
	if (request->what_case == PROTECT__RUNNER__REQUEST__WHAT_DISK_ATTACH)
		r = attach(request->disk_attach->serial, request->disk_attach->read_only, disk);
	else if (request->what_case == PROTECT__RUNNER__REQUEST__WHAT_DISK_DETACH)
		/* A guest that lets go of nothing: only force takes it. */
		r = request->disk_detach->force ? detach(request->disk_detach->serial) : -ETIMEDOUT;
	else if (request->what_case == PROTECT__RUNNER__REQUEST__WHAT_NIC_ATTACH)
		r = attach_nic(request->nic_attach->name, disk);
	else if (request->what_case == PROTECT__RUNNER__REQUEST__WHAT_NIC_DETACH)
		r = detach_nic(request->nic_detach->name);
	else if (request->what_case == PROTECT__RUNNER__REQUEST__WHAT_KILL)
		fake.ending = RUNNER_EXIT_KILLED;
	else if (request->what_case == PROTECT__RUNNER__REQUEST__WHAT_RESOURCES)
		set_resources(request->resources);
	else if (request->what_case == PROTECT__RUNNER__REQUEST__WHAT_PAUSE)
		fake.paused = true;
	else if (request->what_case == PROTECT__RUNNER__REQUEST__WHAT_RESUME)
		fake.paused = false;
	else if (request->what_case == PROTECT__RUNNER__REQUEST__WHAT_DEBUG_INFO)
		info = debug_info();
	if (request->what_case == PROTECT__RUNNER__REQUEST__WHAT_STATS) {
		reply_stats(fd);
		return;
	}
	/* A zone that was told to have this many processors has a runner that hangs. */
	if (info && fake.vcpus == HANGING_VCPUS)
		return;
	reply(fd, r, request->what_case == PROTECT__RUNNER__REQUEST__WHAT_STATUS ? &status : NULL,
	      info);
}

/* Returns 0 at the end of the connection. */
static int control_readable(int fd)
{
	Protect__Runner__Request *request;
	uint8_t body[RUNNER_FRAME_MAX];
	int fds[1];
	unsigned n_fds = 1;
	uint32_t len;

	if (io_recv_fds(fd, &len, 4, fds, &n_fds, 0) != 4 ||
	    io_read_full(fd, body, len) != (ssize_t)len)
		return 0;
	request = protect__runner__request__unpack(NULL, len, body);
	if (!request)
		return 0;
	serve(fd, request, n_fds ? fds[0] : -1);
	protect__runner__request__free_unpacked(request, NULL);
	return 1;
}

static void lost(void *user)
{
	(void)user;
}

static void accept_one(void)
{
	int fd = accept4(fake.listener, NULL, NULL, SOCK_CLOEXEC);
	struct runner_hello hello;

	if (fd < 0 || io_read_full(fd, &hello, sizeof(hello)) != sizeof(hello))
		return;
	if (hello.kind == RUNNER_IDM) {
		agent_start(&fake.zone, fd, lost, NULL);
	} else if (hello.kind == RUNNER_CONTROL && fake.n_controls < CONTROLS_MAX) {
		fake.controls[fake.n_controls++] = fd;
	} else if (hello.kind == RUNNER_CONSOLE && fake.n_consoles < CONTROLS_MAX) {
		io_write_full(fd, "Linux version fake\n", 19);
		fake.consoles[fake.n_consoles++] = fd;
	}
}

static void shut_down(struct zone *zone, bool reboot)
{
	(void)zone;
	fake.ending = reboot ? RUNNER_EXIT_REBOOT : RUNNER_EXIT_POWEROFF;
}

static void turn(void)
{
	struct pollfd polls[CONTROLS_MAX + 3] = {
		{.fd = fake.zone.reactor.epoll_fd, .events = POLLIN},
		{.fd = fake.runner, .events = POLLIN},
		{.fd = fake.listener, .events = POLLIN}};
	unsigned n_controls = fake.n_controls;

	for (unsigned i = 0; i < n_controls; i++)
		polls[3 + i] = (struct pollfd){.fd = fake.controls[i], .events = POLLIN};
	agent_flush(&fake.zone);
	poll(polls, n_controls + 3, 20);
	if (polls[1].revents)
		fake.ending = "";
	if (polls[2].revents)
		accept_one();
	for (unsigned i = n_controls; i-- > 0;)
		if (polls[3 + i].revents && !control_readable(fake.controls[i])) {
			close_fdp(&fake.controls[i]);
			fake.controls[i] = fake.controls[--fake.n_controls];
		}
	reactor_turn(&fake.zone.reactor, 0);
	zone_reap(&fake.zone);
	agent_flush(&fake.zone);
}

static int run_zone(int runner, int listener, int exit_fd)
{
	fake.runner = runner;
	fake.listener = listener;
	fake.exit_fd = exit_fd;
	if (unshare(CLONE_NEWNS | CLONE_NEWUTS) < 0 ||
	    mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", "/run", "tmpfs", 0, NULL) < 0 || mkdir("/run/workload", 0755) < 0 ||
	    zone_init(&fake.zone, NULL) < 0)
		return 1;
	fake.zone.find_disk = find_disk;
	fake.zone.shutdown = shut_down;
	while (!fake.ending)
		turn();
	if (*fake.ending)
		dprintf(exit_fd, "%s\n", fake.ending);
	zone_kill_all(&fake.zone);
	io_write_full(runner, "e", 1);
	return 0;
}

static int run_zones(void)
{
	char path[108];
	int listener = path_beside(".sock", path, sizeof(path));

	if (listener == 0)
		listener = io_unix_listen(path, SOCK_STREAM, 0666);
	signal(SIGPIPE, SIG_IGN);
	while (listener >= 0) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), fds[2];
		unsigned n_fds = 2;
		char z;

		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (fd < 0 || io_recv_fds(fd, &z, 1, fds, &n_fds, 0) != 1 || n_fds != 2)
			continue;
		if (fork() == 0)
			_exit(run_zone(fd, fds[0], fds[1]));
		close(fd);
		close(fds[0]);
		close(fds[1]);
	}
	return 1;
}

int main(int argc, char **argv)
{
	(void)argv;
	return argc > 1 ? run_runner() : run_zones();
}
