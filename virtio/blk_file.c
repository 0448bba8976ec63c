// SPDX-License-Identifier: Apache-2.0
#include "virtio/blk_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/fs.h>

#include "base/cleanup.h"
#include "base/util.h"

#define ALIGN_MAX 4096u

/*
 * #syscalls loop: newfstatat(_, _, _, AT_EMPTY_PATH) lseek(_, _, SEEK_END) pread64 close
 *	fcntl(_, F_GETFL) fcntl(_, F_SETFL) fcntl(_, F_DUPFD_CLOEXEC) ioctl(_, BLKSSZGET)
 */
static int check(int fd, bool read_only)
{
	int flags = fcntl(fd, F_GETFL);
	struct stat st;

	if (flags < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return -EINVAL;
	if ((flags & O_ACCMODE) != O_RDWR && ((flags & O_ACCMODE) != O_RDONLY || !read_only))
		return -EACCES;
	return 0;
}

int blk_file_measure(struct blk_file *file)
{
	struct stat st;
	off_t end;

	if (fstat(file->fd, &st) < 0)
		return -errno;
	/* Of a block device only the end tells, and nobody uses its position. */
	end = S_ISBLK(st.st_mode) ? lseek(file->fd, 0, SEEK_END) : st.st_size;
	if (end < 0)
		return -errno;
	if ((uint64_t)end < file->block)
		return -EINVAL;
	file->size = (uint64_t)end / file->block * file->block;
	return 0;
}

/* Whether memory that is aligned to `align`, and not better, can be read into directly, and as few
 * bytes. Trying is the only way to know on every file system and kernel. */
static bool can_read(int fd, uint32_t align)
{
	_cleanup_(freep) uint8_t *memory = aligned_alloc(2 * ALIGN_MAX, 2 * ALIGN_MAX);
	ssize_t n;

	if (!memory)
		return false;
	do {
		n = pread(fd, memory + align, align, 0);
	} while (n < 0 && errno == EINTR);
	return n > 0;
}

/* A block device tells the block it wants, whatever way it is used. */
static int find_block(struct blk_file *file)
{
	struct stat st;
	int block;

	file->block = BLK_SECTOR;
	if (fstat(file->fd, &st) < 0)
		return -errno;
	if (!S_ISBLK(st.st_mode))
		return 0;
	if (ioctl(file->fd, BLKSSZGET, &block) < 0)
		return -errno;
	if (block < (int)BLK_SECTOR || !is_power_of_two((uint64_t)block))
		return -EINVAL;
	file->block = (uint32_t)block;
	return 0;
}

static int make_direct(struct blk_file *file)
{
	int flags = fcntl(file->fd, F_GETFL);

	if (flags < 0)
		return -errno;
	if (fcntl(file->fd, F_SETFL, flags | O_DIRECT) < 0)
		return errno == EINVAL ? -EOPNOTSUPP : -errno;
	for (file->align = BLK_SECTOR; !can_read(file->fd, file->align); file->align *= 2)
		if (file->align == ALIGN_MAX) {
			fcntl(file->fd, F_SETFL, flags);
			return -EOPNOTSUPP;
		}
	if (file->block < file->align)
		file->block = file->align;
	return blk_file_measure(file);
}

int blk_file_open(struct blk_file **out, struct loop *loop, int fd, bool read_only, bool direct)
{
	struct blk_file *file;
	int r = check(fd, read_only);

	if (r < 0)
		return r;
	file = malloc(sizeof(*file));
	if (!file)
		return -ENOMEM;
	*file = (struct blk_file){.loop = loop, .slot = -1, .align = 1, .n_users = 1};
	file->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	r = file->fd < 0 ? -errno : 0;
	if (r == 0)
		r = find_block(file);
	if (r == 0)
		r = blk_file_measure(file);
	if (r == 0 && direct)
		r = make_direct(file);
	if (r == 0) {
		file->slot = loop_slot_add(loop, file->fd);
		r = file->slot < 0 ? file->slot : 0;
	}
	if (r < 0) {
		blk_file_put(file);
		return r;
	}
	*out = file;
	return 0;
}

void blk_file_put(struct blk_file *file)
{
	if (--file->n_users > 0)
		return;
	loop_slot_remove(file->loop, file->slot);
	close_fdp(&file->fd);
	free(file);
}
