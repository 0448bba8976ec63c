// SPDX-License-Identifier: Apache-2.0
#include "supervisor/storage/cpio.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/util.h"

#define ALIGNMENT 4

static int put(struct cpio *cpio, const void *data, size_t len)
{
	cpio->offset += len;
	return io_write_full(cpio->fd, data, len);
}

static int pad(struct cpio *cpio, uint64_t align)
{
	static const char zeros[CPIO_BLOCK];

	return put(cpio, zeros, (size_t)(align_up(cpio->offset, align) - cpio->offset));
}

static int add(struct cpio *cpio, const char *name, uint32_t mode, const void *data, size_t len)
{
	char header[6 + 13 * 8 + 1];
	size_t name_size = strlen(name) + 1;
	int r;

	if (len > UINT32_MAX)
		return -EFBIG;
	snprintf(header, sizeof(header),
		 "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", cpio->inode++, mode,
		 0u, 0u, 1u, 0u, (unsigned)len, 0u, 0u, 0u, 0u, (unsigned)name_size, 0u);
	r = put(cpio, header, sizeof(header) - 1);
	if (r == 0)
		r = put(cpio, name, name_size);
	if (r == 0)
		r = pad(cpio, ALIGNMENT);
	if (r == 0)
		r = put(cpio, data, len);
	return r < 0 ? r : pad(cpio, ALIGNMENT);
}

int cpio_begin(struct cpio *cpio, int fd, uint64_t offset)
{
	*cpio = (struct cpio){.fd = fd, .offset = offset, .inode = 1};
	return pad(cpio, CPIO_BLOCK);
}

int cpio_add_dir(struct cpio *cpio, const char *name, mode_t mode)
{
	return add(cpio, name, S_IFDIR | mode, "", 0);
}

int cpio_add_file(struct cpio *cpio, const char *name, mode_t mode, const void *data, size_t len)
{
	return add(cpio, name, S_IFREG | mode, data, len);
}

int cpio_end(struct cpio *cpio)
{
	int r = add(cpio, "TRAILER!!!", 0, "", 0);

	return r < 0 ? r : pad(cpio, CPIO_BLOCK);
}
