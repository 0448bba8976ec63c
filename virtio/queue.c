// SPDX-License-Identifier: Apache-2.0
#include "virtio/queue.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

#include <linux/virtio_ring.h>

#include "base/util.h"

/* A walk through one chain: the table it is in and how much of it has been seen. */
struct walk {
	const uint8_t *table; /* an indirect one may lie at any address */
	uint32_t table_len;
	uint32_t steps;
	bool indirect;
};

static uint16_t load16(const uint16_t *p)
{
	return le16toh(__atomic_load_n(p, __ATOMIC_RELAXED));
}

static void store16(uint16_t *p, uint16_t value)
{
	__atomic_store_n(p, htole16(value), __ATOMIC_RELAXED);
}

static uint16_t available_index(const struct vq *vq)
{
	/* Pairs with the driver's barrier: entries are read after the index that covers them. */
	return le16toh(__atomic_load_n(&vq->avail->idx, __ATOMIC_ACQUIRE));
}

/* The driver's used_event lies behind its ring, the device's avail_event behind ours (virtio 1.2
 * §2.7.6, §2.7.8). */
static uint16_t used_event(const struct vq *vq)
{
	return load16(&vq->avail->ring[vq->size]);
}

static void set_avail_event(struct vq *vq, uint16_t value)
{
	store16((uint16_t *)(void *)&vq->used->ring[vq->size], value);
}

/* Where the rings are in our memory; false if one of them is not in the guest's. Two bytes more
 * each for the event index, which is there whether it is used or not. */
static bool find_rings(const struct vq *vq, void **desc, void **avail, void **used)
{
	uint64_t size = vq->size;

	*desc = mem_ptr(vq->mem, vq->desc_gpa, size * sizeof(struct vring_desc));
	*avail = mem_ptr(vq->mem, vq->driver_gpa, sizeof(struct vring_avail) + size * 2 + 2);
	*used = mem_ptr(vq->mem, vq->device_gpa,
			sizeof(struct vring_used) + size * sizeof(struct vring_used_elem) + 2);
	return *desc && *avail && *used;
}

int vq_enable(struct vq *vq, bool event_idx)
{
	uint64_t size = vq->size;
	void *desc, *avail, *used;

	if (!is_power_of_two(size) || size > vq->max_size || size > VQ_SIZE_MAX)
		return -EINVAL;
	if (vq->desc_gpa % 16 || vq->driver_gpa % 2 || vq->device_gpa % 4)
		return -EINVAL;
	if (!find_rings(vq, &desc, &avail, &used))
		return -EINVAL;
	vq->desc = desc;
	vq->avail = avail;
	vq->used = used;
	vq->event_idx = event_idx;
	vq->broken = false;
	vq->next_avail = vq->next_used = vq->published_used = 0;
	vq->n_in_flight = 0;
	memset(vq->in_flight, 0, sizeof(vq->in_flight));
	vq->enabled = true;
	return 0;
}

bool vq_is_lost(const struct vq *vq)
{
	void *desc, *avail, *used;

	return vq->enabled && !find_rings(vq, &desc, &avail, &used);
}

void vq_reset(struct vq *vq)
{
	vq->enabled = vq->broken = vq->event_idx = false;
	vq->desc = NULL;
	vq->avail = NULL;
	vq->used = NULL;
	vq->n_in_flight = 0;
	memset(vq->in_flight, 0, sizeof(vq->in_flight));
}

static bool is_in_flight(const struct vq *vq, uint16_t head)
{
	return vq->in_flight[head / 64] & (UINT64_C(1) << (head % 64));
}

/* Copies one descriptor; every later look is at the copy. */
static struct vring_desc read_desc(const uint8_t *table, uint32_t index)
{
	struct vring_desc desc;

	memcpy(&desc, table + index * sizeof(desc), sizeof(desc));
	desc.addr = le64toh(desc.addr);
	desc.len = le32toh(desc.len);
	desc.flags = le16toh(desc.flags);
	desc.next = le16toh(desc.next);
	return desc;
}

/* Goes on in the table a descriptor refers to (virtio 1.2 §2.7.5.3). */
static int enter_indirect(const struct vq *vq, struct walk *walk, const struct vring_desc *desc)
{
	if (walk->indirect || (desc->flags & (VRING_DESC_F_NEXT | VRING_DESC_F_WRITE)))
		return -EBADMSG;
	if (desc->len == 0 || desc->len % sizeof(struct vring_desc))
		return -EBADMSG;
	walk->table = mem_ptr(vq->mem, desc->addr, desc->len);
	if (!walk->table)
		return -EBADMSG;
	walk->table_len = desc->len / (uint32_t)sizeof(struct vring_desc);
	walk->indirect = true;
	return 0;
}

/* Appends the segments of one descriptor. */
static int add_segments(const struct vq *vq, struct vq_chain *chain, const struct vring_desc *desc)
{
	bool in = desc->flags & VRING_DESC_F_WRITE;
	uint32_t *total = in ? &chain->in_len : &chain->out_len;
	unsigned used = chain->n_out + chain->n_in;
	int n;

	if (!in && chain->n_in > 0) /* readable ones come first: virtio 1.2 §2.7.4.2 */
		return -EBADMSG;
	n = mem_iov(vq->mem, desc->addr, desc->len, &chain->iov[used], VQ_IOV_MAX - used);
	if (n < 0 || !checked_add(*total, desc->len, total))
		return -EBADMSG;
	if (in)
		chain->n_in += (unsigned)n;
	else
		chain->n_out += (unsigned)n;
	return 0;
}

/* Reads the chain that starts at head. Each step takes a segment of non-zero length, and no chain
 * has more than `size`. */
static int read_chain(const struct vq *vq, uint16_t head, struct vq_chain *chain)
{
	struct walk walk = {.table = (const uint8_t *)vq->desc, .table_len = vq->size};
	uint32_t index = head;

	chain->head = head;
	chain->n_out = chain->n_in = 0;
	chain->out_len = chain->in_len = 0;
	for (;;) {
		struct vring_desc desc;
		int r;

		if (index >= walk.table_len || walk.steps == vq->size)
			return -EBADMSG;
		desc = read_desc(walk.table, index);
		if (desc.flags & VRING_DESC_F_INDIRECT) {
			r = vq->indirect ? enter_indirect(vq, &walk, &desc) : -EBADMSG;
			if (r < 0)
				return r;
			index = 0;
			continue;
		}
		walk.steps++;
		r = add_segments(vq, chain, &desc);
		if (r < 0)
			return r;
		if (!(desc.flags & VRING_DESC_F_NEXT))
			return 0;
		index = desc.next;
	}
}

int vq_pop(struct vq *vq, struct vq_chain *out)
{
	uint16_t waiting, head;

	if (vq->broken)
		return -EBADMSG;
	if (!vq->enabled || vq->stopped)
		return 0;
	waiting = (uint16_t)(available_index(vq) - vq->next_avail);
	if (waiting == 0)
		return 0;
	head = load16(&vq->avail->ring[vq->next_avail & (vq->size - 1)]);
	if (waiting > vq->size || head >= vq->size || is_in_flight(vq, head) ||
	    read_chain(vq, head, out) < 0) {
		vq->broken = true;
		return -EBADMSG;
	}
	vq->next_avail++;
	vq->in_flight[head / 64] |= UINT64_C(1) << (head % 64);
	vq->n_in_flight++;
	return 1;
}

void vq_push(struct vq *vq, uint16_t head, uint32_t written)
{
	struct vring_used_elem *elem;

	assert(vq->enabled && head < vq->size && is_in_flight(vq, head));
	vq->in_flight[head / 64] &= ~(UINT64_C(1) << (head % 64));
	vq->n_in_flight--;
	elem = &vq->used->ring[vq->next_used & (vq->size - 1)];
	elem->id = htole32(head);
	elem->len = htole32(written);
	vq->next_used++;
}

static bool wants_interrupt(const struct vq *vq, uint16_t old)
{
	if (vq->event_idx)
		return vring_need_event(used_event(vq), vq->next_used, old);
	return !(load16(&vq->avail->flags) & VRING_AVAIL_F_NO_INTERRUPT);
}

void vq_flush(struct vq *vq)
{
	uint16_t old = vq->published_used;

	if (!vq->enabled || vq->stopped || old == vq->next_used)
		return;
	__atomic_store_n(&vq->used->idx, htole16(vq->next_used), __ATOMIC_RELEASE);
	vq->published_used = vq->next_used;
	/* The driver sets its wish and then looks at idx; we publish idx and then look at its wish.
	 */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (vq->interrupt && wants_interrupt(vq, old))
		vq->interrupt(vq->interrupt_user);
}

bool vq_want_kicks_after(struct vq *vq, unsigned n)
{
	if (!vq->enabled || vq->broken || vq->stopped)
		return false;
	if (!vq->event_idx)
		n = 1;
	assert(n > 0 && n <= vq->size);
	if (vq->event_idx)
		set_avail_event(vq, (uint16_t)(vq->next_avail + n - 1));
	else
		store16(&vq->used->flags, 0);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return (uint16_t)(available_index(vq) - vq->next_avail) >= n;
}

bool vq_want_kicks(struct vq *vq)
{
	return vq_want_kicks_after(vq, 1);
}

void vq_no_kicks(struct vq *vq)
{
	/* With EVENT_IDX an avail_event that lies behind already asks for none. */
	if (vq->enabled && !vq->stopped && !vq->event_idx)
		store16(&vq->used->flags, VRING_USED_F_NO_NOTIFY);
}

enum direction { FROM_GUEST, TO_GUEST };

static size_t copy(const struct iovec *iov, unsigned n, size_t offset, uint8_t *ours, size_t len,
		   enum direction direction)
{
	size_t done = 0;

	for (unsigned i = 0; i < n && done < len; i++) {
		uint8_t *theirs = iov[i].iov_base;
		size_t part = iov[i].iov_len;

		if (offset >= part) {
			offset -= part;
			continue;
		}
		part -= offset;
		if (part > len - done)
			part = len - done;
		if (direction == FROM_GUEST)
			memcpy(ours + done, theirs + offset, part);
		else
			memcpy(theirs + offset, ours + done, part);
		done += part;
		offset = 0;
	}
	return done;
}

size_t vq_copy_out(const struct vq_chain *chain, size_t offset, void *to, size_t len)
{
	return copy(chain->iov, chain->n_out, offset, to, len, FROM_GUEST);
}

size_t vq_copy_in(const struct vq_chain *chain, size_t offset, const void *from, size_t len)
{
	/* TO_GUEST only reads our side. */
	return copy(chain->iov + chain->n_out, chain->n_in, offset, (uint8_t *)(uintptr_t)from, len,
		    TO_GUEST);
}
