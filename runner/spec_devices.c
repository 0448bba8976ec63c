// SPDX-License-Identifier: Apache-2.0
/* The disks and NICs of a ZoneSpec. */
#include "runner/spec_value.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"
#include "base/util.h"

#define MAC_LOCAL     0x02u /* IEEE 802-2014 §8.2 */
#define MAC_GROUP     0x01u
#define FNV_OFFSET    UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME     UINT64_C(0x100000001b3)
#define MAC_TEXT_SIZE 18

static bool is_word(const char *text, size_t max)
{
	size_t len = strnlen(text, max + 1);

	for (size_t i = 0; i < len; i++)
		if (text[i] <= ' ' || text[i] >= 0x7f)
			return false;
	return len >= 1 && len <= max;
}

bool spec_is_serial(const char *text)
{
	return is_word(text, SPEC_SERIAL_MAX);
}

bool spec_is_nic_name(const char *text)
{
	return is_word(text, SPEC_NIC_NAME_MAX);
}

bool spec_is_mac(const uint8_t mac[6])
{
	static const uint8_t zero[6];

	return !(mac[0] & MAC_GROUP) && memcmp(mac, zero, sizeof(zero)) != 0;
}

static int take_serial(json_t *value, struct zone_spec *spec, struct spec_disk *disk,
		       struct error *err)
{
	int r = spec_text(value, "serial", disk->serial, sizeof(disk->serial), err);

	if (r == 0 && !spec_is_serial(disk->serial))
		return error_set(err, -EINVAL, "serial must be 1 to %d printable characters",
				 SPEC_SERIAL_MAX);
	for (unsigned i = 0; i < spec->n_disks && r == 0; i++)
		if (strcmp(spec->disks[i].serial, disk->serial) == 0)
			return error_set(err, -EEXIST, "two disks have the serial '%s'",
					 disk->serial);
	return r;
}

static int take_queue_size(json_t *value, unsigned *size, struct error *err)
{
	int r = spec_unsigned(value, "queue_size", VIRTIO_QUEUE_SIZE, VQ_SIZE_MAX, size, err);

	if (r == 0 && virtio_queue_size(*size) == 0)
		return error_set(err, -EINVAL, "queue_size must be a power of two");
	return r;
}

static int parse_disk(json_t *value, struct zone_spec *spec, struct error *err)
{
	struct spec_disk *disk = &spec->disks[spec->n_disks];
	json_t *file = NULL, *serial = NULL, *queues = NULL, *size = NULL, *rate = NULL;
	int read_only = 0, direct = 0, r;

	if (json_unpack(value, "{s:o, s:o, s?b, s?b, s?o, s?o, s?o!}", "file", &file, "serial",
			&serial, "readonly", &read_only, "direct", &direct, "queues", &queues,
			"queue_size", &size, "rate", &rate) < 0)
		return error_set(err, -EINVAL,
				 "a disk must have file, serial and maybe readonly, direct, "
				 "queues, queue_size, rate");
	*disk = (struct spec_disk){.fd = -1, .read_only = read_only, .direct = direct};
	r = take_serial(serial, spec, disk, err);
	if (r == 0 && queues)
		r = spec_unsigned(queues, "queues", 1, SPEC_QUEUES_MAX, &disk->n_queues, err);
	if (r == 0 && size)
		r = take_queue_size(size, &disk->queue_size, err);
	if (r == 0 && rate)
		r = spec_rate(rate, "rate", &disk->rate, err);
	if (r == 0)
		r = spec_file(spec, file, "disk", read_only ? SPEC_FILE_READ : SPEC_FILE_READ_WRITE,
			      &disk->fd, err);
	if (r == 0)
		spec->n_disks++;
	return r;
}

static int parse_each(json_t *value, const char *member, size_t max,
		      int (*parse)(json_t *item, struct zone_spec *spec, struct error *err),
		      struct zone_spec *spec, struct error *err)
{
	json_t *item;
	size_t i;

	if (!json_is_array(value) || json_array_size(value) > max)
		return error_set(err, -EINVAL, "%s must be an array of at most %zu", member, max);
	json_array_foreach(value, i, item)
	{
		int r = parse(item, spec, err);

		if (r < 0)
			return r;
	}
	return 0;
}

int spec_disks(json_t *value, struct zone_spec *spec, struct error *err)
{
	return parse_each(value, "disks", SPEC_DISKS_MAX, parse_disk, spec, err);
}

static int open_tap(const char *name, bool many)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	_cleanup_(close_fdp) int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return -errno;
	if (many)
		request.ifr_flags |= IFF_MULTI_QUEUE;
	memcpy(request.ifr_name, name, strlen(name) + 1);
	if (ioctl(fd, TUNSETIFF, &request) < 0)
		return -errno;
	return steal_fd(&fd);
}

static int open_taps(json_t *value, unsigned n_queues, struct spec_nic *nic, struct error *err)
{
	char name[IFNAMSIZ];
	int r = spec_text(value, "tap", name, sizeof(name), err);

	if (r == 0 && !spec_is_nic_name(name))
		return error_set(err, -EINVAL, "tap must be the name of an interface");
	for (unsigned i = 0; i < n_queues && r == 0; i++) {
		int fd = open_tap(name, n_queues > 1);

		if (fd < 0)
			return error_set_errno(err, fd, "cannot open the tap '%s'", name);
		nic->taps[nic->n_taps++] = fd;
	}
	return r;
}

/* One descriptor, or an array of one a queue pair. */
static int take_taps(json_t *value, struct zone_spec *spec, struct spec_nic *nic, struct error *err)
{
	json_t *item;
	size_t i;
	int r;

	if (!json_is_array(value)) {
		nic->n_taps = 1;
		return spec_file(spec, value, "file", SPEC_FILE_HANDED, &nic->taps[0], err);
	}
	if (json_array_size(value) < 1 || json_array_size(value) > VIRTIO_NET_PAIRS_MAX)
		return error_set(err, -EINVAL, "file must name 1 to %u descriptors",
				 VIRTIO_NET_PAIRS_MAX);
	json_array_foreach(value, i, item)
	{
		r = spec_file(spec, item, "file", SPEC_FILE_HANDED, &nic->taps[i], err);
		if (r < 0)
			return r;
		nic->n_taps++;
	}
	return 0;
}

/* The value of a hexadecimal digit, or 16. */
static unsigned digit(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = c ? strchr(digits, tolower((unsigned char)c)) : NULL;

	return at ? (unsigned)(at - digits) : 16;
}

/* Reads six pairs of digits with colons between them. */
static bool read_mac(const char *text, uint8_t mac[6])
{
	if (strlen(text) != MAC_TEXT_SIZE - 1)
		return false;
	for (unsigned i = 0; i < 6; i++, text += 3) {
		unsigned high = digit(text[0]), low = digit(text[1]);

		if (high > 15 || low > 15 || text[2] != (i < 5 ? ':' : '\0'))
			return false;
		mac[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

static int take_mac(json_t *value, struct spec_nic *nic, struct error *err)
{
	char text[MAC_TEXT_SIZE];
	int r = spec_text(value, "mac", text, sizeof(text), err);

	if (r == 0 && (!read_mac(text, nic->mac) || !spec_is_mac(nic->mac)))
		return error_set(err, -EINVAL, "mac must be a unicast address, 02:… for one");
	return r;
}

static int take_nic_name(json_t *value, struct zone_spec *spec, struct spec_nic *nic,
			 struct error *err)
{
	int r;

	if (!value) {
		snprintf(nic->name, sizeof(nic->name), "eth%u", spec->n_nics);
	} else {
		r = spec_text(value, "name", nic->name, sizeof(nic->name), err);
		if (r < 0)
			return r;
	}
	if (!spec_is_nic_name(nic->name))
		return error_set(err, -EINVAL, "the name of a NIC must be 1 to %d characters",
				 SPEC_NIC_NAME_MAX);
	for (unsigned i = 0; i < spec->n_nics; i++)
		if (strcmp(spec->nics[i].name, nic->name) == 0)
			return error_set(err, -EEXIST, "two NICs have the name '%s'", nic->name);
	return 0;
}

struct nic_members {
	json_t *file, *tap, *name, *mac, *mtu, *queues, *size, *rx, *tx;
};

static int take_nic_values(const struct nic_members *members, struct zone_spec *spec,
			   struct spec_nic *nic, unsigned *n_queues, struct error *err)
{
	unsigned mtu = 0;
	int r = take_nic_name(members->name, spec, nic, err);

	if (r == 0 && members->mac)
		r = take_mac(members->mac, nic, err);
	if (r == 0 && members->mtu)
		r = spec_unsigned(members->mtu, "mtu", SPEC_MTU_MIN, VIRTIO_NET_MTU_MAX, &mtu, err);
	if (r == 0 && members->queues)
		r = spec_unsigned(members->queues, "queues", 1, VIRTIO_NET_PAIRS_MAX, n_queues,
				  err);
	if (r == 0 && members->size)
		r = take_queue_size(members->size, &nic->queue_size, err);
	if (r == 0 && members->rx)
		r = spec_rate(members->rx, "rx", &nic->rx, err);
	if (r == 0 && members->tx)
		r = spec_rate(members->tx, "tx", &nic->tx, err);
	nic->mtu = (uint16_t)mtu;
	return r;
}

static int parse_nic(json_t *value, struct zone_spec *spec, struct error *err)
{
	struct spec_nic *nic = &spec->nics[spec->n_nics];
	struct nic_members m = {.file = NULL};
	unsigned n_queues = 1;
	int r;

	if (json_unpack(value, "{s?o, s?o, s?o, s?o, s?o, s?o, s?o, s?o, s?o!}", "file", &m.file,
			"tap", &m.tap, "name", &m.name, "mac", &m.mac, "mtu", &m.mtu, "queues",
			&m.queues, "queue_size", &m.size, "rx", &m.rx, "tx", &m.tx) < 0 ||
	    !m.file == !m.tap || (m.queues && !m.tap))
		return error_set(
			err, -EINVAL,
			"a NIC must have file or tap and maybe name, mac, mtu, queue_size, rx, tx, "
			"and queues with a tap");
	*nic = (struct spec_nic){.n_taps = 0};
	r = take_nic_values(&m, spec, nic, &n_queues, err);
	if (r < 0)
		return r;
	memset(nic->taps, 0xff, sizeof(nic->taps));
	spec->n_nics++; /* from here on its descriptors are closed with the spec */
	if (m.tap)
		return open_taps(m.tap, n_queues, nic, err);
	return take_taps(m.file, spec, nic, err);
}

int spec_nics(json_t *value, struct zone_spec *spec, struct error *err)
{
	return parse_each(value, "nics", SPEC_NICS_MAX, parse_nic, spec, err);
}

static void make_mac(const struct uuid *uuid, struct spec_nic *nic)
{
	const uint8_t *bytes = (const uint8_t *)uuid;
	uint64_t hash = FNV_OFFSET;

	for (size_t i = 0; i < sizeof(*uuid); i++)
		hash = (hash ^ bytes[i]) * FNV_PRIME;
	for (const char *c = nic->name; *c; c++)
		hash = (hash ^ (uint8_t)*c) * FNV_PRIME;
	for (unsigned i = 0; i < sizeof(nic->mac); i++)
		nic->mac[i] = (uint8_t)(hash >> 8 * i);
	nic->mac[0] = (uint8_t)((nic->mac[0] & ~MAC_GROUP) | MAC_LOCAL);
}

int spec_finish_nics(struct zone_spec *spec, struct error *err)
{
	for (unsigned i = 0; i < spec->n_nics; i++) {
		if (!spec_is_mac(spec->nics[i].mac))
			make_mac(&spec->uuid, &spec->nics[i]);
		for (unsigned j = 0; j < i; j++)
			if (memcmp(spec->nics[i].mac, spec->nics[j].mac,
				   sizeof(spec->nics[i].mac)) == 0)
				return error_set(err, -EEXIST,
						 "the NICs '%s' and '%s' have the same mac",
						 spec->nics[j].name, spec->nics[i].name);
	}
	return 0;
}
