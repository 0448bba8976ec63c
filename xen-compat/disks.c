// SPDX-License-Identifier: Apache-2.0
#include "xen-compat/disks.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <linux/fs.h>

#include <xen/io/xenbus.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/util.h"
#include "xen-compat/loopdev.h"
#include "xen-compat/store.h"

#define XVD_MAJOR   202u
#define XVD_SHIFT   4u /* fifteen partitions each */
#define LOOK_NS	    (20 * NS_PER_MS)
#define PATH_SIZE   96
#define TRIES	    16u
#define SERIAL_NODE "protect-serial" /* zone-guest/xen.h */
#define BACKEND	    "/local/domain/0/backend/vbd/%" PRIu32
#define FRONTEND    "/local/domain/%" PRIu32 "/device/vbd/%u"

/* Of the block layer's numbers: xvda is 51712. */
static unsigned number_of(const struct disks *disks, const struct disk *disk)
{
	return XVD_MAJOR << 8 | (unsigned)(disk - disks->all) << XVD_SHIFT;
}

static void backend_path(const struct disk *disk, char path[PATH_SIZE])
{
	snprintf(path, PATH_SIZE, BACKEND "/%u", disk->disks->domid, number_of(disk->disks, disk));
}

static void frontend_path(const struct disk *disk, char path[PATH_SIZE])
{
	snprintf(path, PATH_SIZE, FRONTEND, disk->disks->domid, number_of(disk->disks, disk));
}

static struct disk *find(struct disks *disks, const char *serial)
{
	for (unsigned i = 0; i < DISKS_MAX; i++)
		if (strcmp(disks->all[i].serial, serial) == 0)
			return &disks->all[i];
	return NULL;
}

/* One of several nodes of a transaction. Returns whether it is written. */
struct writer {
	struct xen *xen;
	xs_transaction_t transaction;
	const char *folder;
	bool done;
};

static void put(struct writer *writer, const char *name, const char *value)
{
	char path[PATH_SIZE + 32];

	snprintf(path, sizeof(path), "%s/%s", writer->folder, name);
	writer->done = writer->done && xs_write(writer->xen->store, writer->transaction, path,
						value, (unsigned)strlen(value));
}

static void put_number(struct writer *writer, const char *name, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	put(writer, name, text);
}

/* The folder, owned by one of both and readable for the other. */
static void make_folder(struct writer *writer, uint32_t owner, uint32_t reader)
{
	struct xs_permissions permissions[2] = {{.id = owner, .perms = XS_PERM_NONE},
						{.id = reader, .perms = XS_PERM_READ}};

	writer->done = writer->done &&
		       xs_mkdir(writer->xen->store, writer->transaction, writer->folder) &&
		       xs_set_permissions(writer->xen->store, writer->transaction, writer->folder,
					  permissions, 2);
}

static void put_frontend(struct writer *writer, const struct disk *disk, const char *backend)
{
	uint32_t domid = disk->disks->domid;

	make_folder(writer, domid, 0);
	put(writer, "backend", backend);
	put_number(writer, "backend-id", 0);
	put_number(writer, "state", XenbusStateInitialising);
	put_number(writer, "virtual-device", number_of(disk->disks, disk));
	put(writer, "device-type", "disk");
	put(writer, SERIAL_NODE, disk->serial);
}

static void put_backend(struct writer *writer, const struct disk *disk, const char *frontend,
			dev_t device)
{
	char name[8], number[24];

	snprintf(name, sizeof(name), "xvd%c", (char)('a' + (disk - disk->disks->all)));
	snprintf(number, sizeof(number), "%x:%x", major(device), minor(device));
	make_folder(writer, 0, disk->disks->domid);
	put(writer, "frontend", frontend);
	put_number(writer, "frontend-id", disk->disks->domid);
	put_number(writer, "online", 1);
	put_number(writer, "state", XenbusStateInitialising);
	put(writer, "dev", name);
	put(writer, "type", "phy");
	put(writer, "mode", disk->read_only ? "r" : "w");
	put(writer, "device-type", "disk");
	put(writer, "physical-device", number);
}

static int announce(const struct disk *disk, dev_t device)
{
	struct xen *xen = disk->disks->xen;
	char frontend[PATH_SIZE], backend[PATH_SIZE];

	frontend_path(disk, frontend);
	backend_path(disk, backend);
	for (unsigned i = 0; i < TRIES; i++) {
		struct writer writer = {.xen = xen,
					.transaction = xs_transaction_start(xen->store),
					.folder = frontend,
					.done = true};

		if (writer.transaction == XBT_NULL)
			return -errno;
		put_frontend(&writer, disk, backend);
		writer.folder = backend;
		put_backend(&writer, disk, frontend, device);
		if (!writer.done) {
			xs_transaction_end(xen->store, writer.transaction, true);
			return -EIO;
		}
		if (xs_transaction_end(xen->store, writer.transaction, false))
			return 0;
		if (errno != EAGAIN)
			return -errno;
	}
	return -EAGAIN;
}

static void forget(struct disk *disk)
{
	char path[PATH_SIZE];

	backend_path(disk, path);
	xs_rm(disk->disks->xen->store, XBT_NULL, path);
	frontend_path(disk, path);
	xs_rm(disk->disks->xen->store, XBT_NULL, path);
	close_fdp(&disk->device_fd);
	disk->serial[0] = '\0';
}

/* The block device of a file, and its size. Returns 0 or a negative errno. */
static int open_device(struct disk *disk, int fd, bool direct, dev_t *device)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISBLK(st.st_mode)) {
		*device = st.st_rdev;
		disk->device_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		return ioctl(fd, BLKGETSIZE64, &disk->size_bytes) < 0 || disk->device_fd < 0
			       ? -errno
			       : 0;
	}
	if (!S_ISREG(st.st_mode) || st.st_size <= 0)
		return -EINVAL;
	disk->size_bytes = (uint64_t)st.st_size;
	disk->device_fd = loopdev_bind(fd, disk->read_only, direct, device);
	if (disk->device_fd < 0 && direct)
		disk->device_fd = loopdev_bind(fd, disk->read_only, false, device);
	return disk->device_fd < 0 ? disk->device_fd : 0;
}

int disks_attach(struct disks *disks, const struct spec_disk *wanted, struct error *err)
{
	struct disk *disk = find(disks, "");
	dev_t device = 0;
	int r;

	if (find(disks, wanted->serial))
		return error_set(err, -EEXIST, "there is a disk '%s' already", wanted->serial);
	if (!disk)
		return error_set(err, -ENOSPC, "the zone has %u disks already", DISKS_MAX);
	if (wanted->rate.bytes_per_s || wanted->rate.ops_per_s)
		return error_set(err, -EOPNOTSUPP, "a disk on Xen has no limits of its own yet");
	*disk = (struct disk){.disks = disks, .device_fd = -1, .read_only = wanted->read_only};
	memcpy(disk->serial, wanted->serial, sizeof(disk->serial));
	r = open_device(disk, wanted->fd, wanted->direct, &device);
	if (r == 0)
		r = announce(disk, device);
	if (r < 0) {
		forget(disk);
		return error_set_errno(err, r, "disk '%s' cannot be attached", wanted->serial);
	}
	return 0;
}

/* How far blkback is; it is the kernel's word. */
static bool is_closed(const struct disk *disk)
{
	char backend[PATH_SIZE], path[PATH_SIZE + 8], *state;
	bool closed;

	backend_path(disk, backend);
	snprintf(path, sizeof(path), "%s/state", backend);
	state = xs_read(disk->disks->xen->store, XBT_NULL, path, NULL);
	closed = !state || *state == '0' + XenbusStateClosed || *state == '0' + XenbusStateUnknown;
	free(state);
	return closed;
}

static void ended(struct disk *disk, int code)
{
	disk_detached_fn *detached = disk->detached;

	disk->detached = NULL;
	if (code == 0 || disk->force)
		forget(disk);
	detached(disk->user, disk->force ? 0 : code);
}

static void look(struct loop_op *op, int res, uint32_t cqe_flags)
{
	struct disk *disk = container_of(op, struct disk, timer.op);
	uint64_t now_ns = clock_now_ns();

	(void)cqe_flags;
	if (is_closed(disk))
		ended(disk, 0);
	else if (res != -ETIME || now_ns >= disk->deadline_ns ||
		 loop_timer_start(disk->disks->loop, &disk->timer, now_ns + LOOK_NS) < 0)
		ended(disk, -ETIMEDOUT);
}

static bool ask_to_let_go(const struct disk *disk)
{
	char path[PATH_SIZE];
	struct writer writer = {.xen = disk->disks->xen, .folder = path, .done = true};

	backend_path(disk, path);
	put_number(&writer, "online", 0);
	put_number(&writer, "state", XenbusStateClosing);
	return writer.done;
}

int disks_detach(struct disks *disks, const char *serial, uint32_t timeout_ms, bool force,
		 disk_detached_fn *detached, void *user, struct error *err)
{
	struct disk *disk = *serial ? find(disks, serial) : NULL;

	if (!disk)
		return error_set(err, -ENOENT, "the zone has no disk '%s'", serial);
	if (disk->detached)
		return error_set(err, -EBUSY, "disk '%s' is being detached", serial);
	if (!ask_to_let_go(disk))
		return error_set_errno(err, -errno, "blkback cannot be told");
	disk->force = force;
	disk->deadline_ns = clock_now_ns() + timeout_ms * NS_PER_MS;
	disk->timer.op.done = look;
	if (loop_timer_start(disks->loop, &disk->timer, clock_now_ns() + LOOK_NS) < 0)
		return error_set(err, -EAGAIN, "out of room in the loop");
	disk->detached = detached;
	disk->user = user;
	return 0;
}

void disks_init(struct disks *disks, struct loop *loop, struct xen *xen, uint32_t domid)
{
	*disks = (struct disks){.loop = loop, .xen = xen, .domid = domid};
	for (unsigned i = 0; i < DISKS_MAX; i++)
		disks->all[i].device_fd = -1;
}

void disks_forget(struct xen *xen, uint32_t domid)
{
	char path[PATH_SIZE];

	snprintf(path, sizeof(path), BACKEND, domid);
	xs_rm(xen->store, XBT_NULL, path);
}

void disks_drop(struct disks *disks)
{
	for (unsigned i = 0; i < DISKS_MAX; i++)
		close_fdp(&disks->all[i].device_fd);
}
