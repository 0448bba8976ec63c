// SPDX-License-Identifier: Apache-2.0
/*
 * The part of the bootstrap that touches the zone's system as a whole; the declarations are in
 * bootstrap.h.
 */
#include "zone-guest/bootstrap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "zone-guest/disk.h"
#include "zone-guest/kernel.h"
#include "zone-guest/net.h"

#define ENTROPY_MAX	512u
#define ADDONS_DIR	"/run/addons"
#define ADDONS_WAIT_NS	(2 * NS_PER_S)
#define ADDONS_PAUSE_NS (10 * NS_PER_MS)

#define VIRTIO_DEVICES	   "/sys/bus/virtio/devices"
#define VIRTIO_DEVICES_MAX 32u
#define DRIVERS_MAX	   8u
#define BUTTON_DRIVER	   "/sys/bus/acpi/drivers/button"
#define BUTTON_ALIAS	   "acpi:PNP0C0C:"

#define CLOCK_AHEAD_MAX_S 3600 /* no bootstrap waits that long */
#define TIME_STEP_NS	  (500 * NS_PER_MS)
#define TIME_MAX_NS	  (UINT64_MAX / 2) /* what a kernel can count */

static int write_file(const char *path, const char *text)
{
	_cleanup_(close_fdp) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0)
		return -errno;
	return io_write_full(fd, text, strlen(text));
}

/* Credits it as well: the host's generator is as good as any source a zone has. random(4). */
static int add_entropy(const ProtobufCBinaryData *entropy)
{
	_cleanup_(close_fdp) int fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
	union {
		struct rand_pool_info info;
		uint8_t room[sizeof(struct rand_pool_info) + ENTROPY_MAX];
	} pool;
	int r = 0;

	if (fd < 0)
		return -errno;
	if (entropy->len > ENTROPY_MAX)
		return -E2BIG;
	pool.info.entropy_count = (int)entropy->len * 8;
	pool.info.buf_size = (int)entropy->len;
	memcpy(pool.room + offsetof(struct rand_pool_info, buf), entropy->data, entropy->len);
	if (entropy->len && ioctl(fd, RNDADDENTROPY, &pool.info) < 0)
		r = -errno;
	explicit_bzero(&pool, sizeof(pool));
	return r;
}

/*
 * The host's time is that of when the bootstrap was sent, which waits in the runner while this
 * kernel boots: it is too early by that. A clock that is not behind it, as the hypervisor gives
 * one, is the better one, unless it is far ahead.
 */
static int set_clock(uint64_t time_ns)
{
	const struct timespec sent = {
		.tv_sec = (time_t)(time_ns / NS_PER_S),
		.tv_nsec = (long)(time_ns % NS_PER_S),
	};
	struct timespec now;

	if (!time_ns || clock_gettime(CLOCK_REALTIME, &now) < 0 ||
	    (now.tv_sec >= sent.tv_sec && now.tv_sec - sent.tv_sec < CLOCK_AHEAD_MAX_S))
		return 0;
	return clock_settime(CLOCK_REALTIME, &sent) < 0 ? -errno : 0;
}

int system_set_time(uint64_t time_ns)
{
	const struct timespec sent = {
		.tv_sec = (time_t)(time_ns / NS_PER_S),
		.tv_nsec = (long)(time_ns % NS_PER_S),
	};
	struct timespec now;
	uint64_t now_ns;

	if (!time_ns || time_ns > TIME_MAX_NS)
		return -EINVAL;
	if (clock_gettime(CLOCK_REALTIME, &now) < 0)
		return -errno;
	now_ns = (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
	if ((now_ns > time_ns ? now_ns - time_ns : time_ns - now_ns) < TIME_STEP_NS)
		return 0;
	return clock_settime(CLOCK_REALTIME, &sent) < 0 ? -errno : 0;
}

static int write_etc(const struct zone *zone)
{
	char text[512];
	int r;

	mkdir("/etc", 0755);
	snprintf(text, sizeof(text),
		 "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n127.0.1.1\t%s\n",
		 zone->hostname);
	r = write_file("/etc/hosts", text);
	if (r == 0)
		r = write_file("/etc/resolv.conf", zone->resolv);
	if (r == 0)
		r = write_file("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
	if (r == 0)
		r = write_file("/etc/group", "root:x:0:\n");
	snprintf(text, sizeof(text), "%s\n", zone->hostname);
	return r < 0 ? r : write_file("/etc/hostname", text);
}

/* It is there since boot, or its driver is about to find it. */
static int await_disk(const struct zone *zone, const char *serial, char *path, size_t size)
{
	uint64_t deadline_ns = clock_now_ns() + ADDONS_WAIT_NS;
	const struct timespec pause = {.tv_nsec = ADDONS_PAUSE_NS};
	int r;

	while ((r = zone->find_disk(serial, path, size)) == -ENODEV && clock_now_ns() < deadline_ns)
		nanosleep(&pause, NULL);
	return r;
}

/* Mounts the kernel's other modules where modprobe looks for them, unless that was done. */
static int mount_addons(const struct zone *zone, const char *serial)
{
	char disk[64], modules[sizeof("/lib/modules/") + sizeof(((struct utsname *)0)->release)];
	struct utsname name;
	int r;

	if (access(ADDONS_DIR "/modules", F_OK) == 0)
		return 0;
	if (uname(&name) < 0)
		return -errno;
	r = await_disk(zone, serial, disk, sizeof(disk));
	if (r < 0)
		return r;
	snprintf(modules, sizeof(modules), "/lib/modules/%s", name.release);
	mkdir(ADDONS_DIR, 0755);
	mkdir("/lib/modules", 0755);
	mkdir(modules, 0755);
	if (mount(disk, ADDONS_DIR, "squashfs", MS_RDONLY | MS_NODEV | MS_NOSUID, NULL) < 0 ||
	    mount(ADDONS_DIR "/modules", modules, NULL, MS_BIND, NULL) < 0)
		return -errno;
	return 0;
}

/* Modules first: they bring sysctls. */
static int set_kernel(const struct zone *zone, const Protect__Agent__Bootstrap *message,
		      struct error *err)
{
	int r = 0;

	if (message->n_modules && *message->addons_serial) {
		r = mount_addons(zone, message->addons_serial);
		if (r < 0)
			return error_set_errno(err, r, "mount the kernel's modules");
	}
	for (size_t i = 0; r == 0 && i < message->n_modules; i++)
		r = kernel_load_module(message->modules[i], err);
	for (size_t i = 0; r == 0 && i < message->n_sysctls; i++)
		r = kernel_set_sysctl(message->sysctls[i], err);
	return r;
}

int system_apply(struct zone *zone, const Protect__Agent__Bootstrap *message, struct error *err)
{
	int r = add_entropy(&message->entropy);

	if (r < 0)
		return error_set_errno(err, r, "add the host's entropy");
	r = set_clock(message->time_ns);
	if (r < 0)
		return error_set_errno(err, r, "set the clock");
	if (sethostname(zone->hostname, strlen(zone->hostname)) < 0)
		return error_set_errno(err, -errno, "set the host name");
	r = write_etc(zone);
	if (r < 0)
		return error_set_errno(err, r, "write /etc");
	for (size_t i = 0; i < message->n_links; i++) {
		r = net_apply(message->links[i], err);
		if (r < 0)
			return r;
	}
	return set_kernel(zone, message, err);
}

/*
 * Drivers that a zone can boot without and that its boot does not wait for, those of the balloon,
 * of memory that is plugged and of the power button, are modules in some kernels: each virtio
 * device without one gets it.
 */
static void load_drivers(void)
{
	char texts[DRIVERS_MAX][64], button[] = BUTTON_ALIAS, *aliases[DRIVERS_MAX + 2];
	unsigned n = 0;

	for (unsigned i = 0; i < VIRTIO_DEVICES_MAX && n < DRIVERS_MAX; i++) {
		_cleanup_(close_fdp) int fd = -1;
		char path[64];
		ssize_t len;

		snprintf(path, sizeof(path), VIRTIO_DEVICES "/virtio%u/driver", i);
		if (access(path, F_OK) == 0)
			continue;
		snprintf(path, sizeof(path), VIRTIO_DEVICES "/virtio%u/modalias", i);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		len = fd < 0 ? 0 : read(fd, texts[n], sizeof(texts[n]) - 1);
		if (len <= 0)
			continue;
		texts[n][len] = '\0';
		texts[n][strcspn(texts[n], "\n")] = '\0';
		aliases[n] = texts[n];
		n++;
	}
	if (access(BUTTON_DRIVER, F_OK) < 0)
		aliases[n++] = button;
	aliases[n] = NULL;
	if (n && kernel_load_modules_later(aliases) < 0)
		log_warning("what=drivers next=\"%u devices stay without\"", n);
}

void system_apply_later(struct zone *zone, const Protect__Agent__Bootstrap *message)
{
	int r;

	if (!*message->addons_serial)
		return;
	r = mount_addons(zone, message->addons_serial);
	if (r < 0)
		log_warning("what=addons next=\"modprobe finds no modules\" err=%s", strerror(-r));
	else
		load_drivers();
}
