// SPDX-License-Identifier: Apache-2.0
#include "vmm/shares.h"

#include <errno.h>
#include <string.h>

#include "base/util.h"

void shares_init(struct shares *shares, struct slots *slots)
{
	memset(shares, 0, sizeof(*shares));
	shares->slots = slots;
}

static struct share *find(struct shares *shares, const char *tag)
{
	for (unsigned i = 0; i < SHARES_MAX; i++)
		if (strcmp(shares->shares[i].tag, tag) == 0)
			return &shares->shares[i];
	return NULL;
}

static bool is_tag(const char *text)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < len; i++)
		if (text[i] <= ' ' || text[i] >= 0x7f)
			return false;
	return len >= 1 && len <= VIRTIO_FS_TAG_MAX;
}

static void gone(struct slot *slot)
{
	container_of(slot, struct share, slot)->tag[0] = '\0';
}

static int plug(struct shares *shares, struct share *share, const char *tag, int fd)
{
	const struct virtio_fs_params params = {.fd = fd, .tag = tag};
	struct virtio_dev *dev;
	int r = virtio_fs_new(&dev, shares->slots->loop, &params);

	return r < 0 ? r : slot_plug(shares->slots, &share->slot, dev, true, gone);
}

int shares_attach(struct shares *shares, const char *tag, int fd, struct error *err)
{
	struct share *share;
	int r;

	if (!is_tag(tag))
		return error_set(err, -EINVAL, "a tag is 1 to %d printable characters",
				 VIRTIO_FS_TAG_MAX);
	share = find(shares, tag);
	if (share && slot_is_leaving(&share->slot))
		return error_set(err, -EBUSY, "folder '%s' is just being detached", tag);
	if (share)
		return error_set(err, -EEXIST, "a folder '%s' is attached already", tag);
	share = find(shares, "");
	if (!share)
		return error_set(err, -ENOSPC, "the zone has %d folders already", SHARES_MAX);
	r = plug(shares, share, tag, fd);
	if (r < 0)
		return error_set_errno(err, r, "cannot attach folder '%s'", tag);
	memcpy(share->tag, tag, strlen(tag) + 1);
	return 0;
}

struct slot *shares_slot(struct shares *shares, const char *tag)
{
	struct share *share = tag[0] ? find(shares, tag) : NULL;

	return share ? &share->slot : NULL;
}
