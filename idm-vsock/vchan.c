// SPDX-License-Identifier: Apache-2.0
#include "idm-vsock/vchan.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define NOTIFY_WRITE 0x1u /* when data was written */
#define NOTIFY_READ  0x2u /* when data was read */

static_assert(sizeof(struct vchan_page) <= VCHAN_PAGE_SIZE, "one page");

static uint32_t load(const uint32_t *at)
{
	return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

static void store(uint32_t *at, uint32_t value)
{
	__atomic_store_n(at, value, __ATOMIC_RELEASE);
}

void vchan_init_server(struct vchan *vchan, struct vchan_page *page, unsigned order, uint8_t *left,
		       uint8_t *right)
{
	assert(order >= VCHAN_ORDER_MIN && order <= VCHAN_ORDER_MAX);
	*page = (struct vchan_page){.left_order = (uint16_t)order,
				    .right_order = (uint16_t)order,
				    .cli_live = VCHAN_EXPECTED,
				    .srv_live = VCHAN_THERE,
				    .cli_notify = NOTIFY_WRITE};
	*vchan = (struct vchan){.page = page,
				.server = true,
				.read_size = 1u << order,
				.write_size = 1u << order,
				.read_ring = left,
				.write_ring = right};
}

int vchan_read_layout(const struct vchan_page *page, struct vchan_layout *layout)
{
	unsigned left = __atomic_load_n(&page->left_order, __ATOMIC_RELAXED);
	unsigned right = __atomic_load_n(&page->right_order, __ATOMIC_RELAXED);

	if (__atomic_load_n(&page->srv_live, __ATOMIC_ACQUIRE) != VCHAN_THERE)
		return -ENOTCONN;
	if (left < VCHAN_ORDER_MIN || left > VCHAN_ORDER_MAX || right < VCHAN_ORDER_MIN ||
	    right > VCHAN_ORDER_MAX)
		return -EBADMSG;
	*layout = (struct vchan_layout){.left_order = left,
					.right_order = right,
					.n_left = 1u << (left - VCHAN_ORDER_MIN),
					.n_right = 1u << (right - VCHAN_ORDER_MIN)};
	for (unsigned i = 0; i < layout->n_left + layout->n_right; i++)
		layout->grants[i] = __atomic_load_n(&page->grants[i], __ATOMIC_RELAXED);
	return 0;
}

void vchan_init_client(struct vchan *vchan, struct vchan_page *page,
		       const struct vchan_layout *layout, uint8_t *left, uint8_t *right)
{
	*vchan = (struct vchan){.page = page,
				.read_size = 1u << layout->right_order,
				.write_size = 1u << layout->left_order,
				.read_at = load(&page->right.cons),
				.write_at = load(&page->left.prod),
				.read_ring = right,
				.write_ring = left};
	__atomic_store_n(&page->srv_notify, NOTIFY_WRITE, __ATOMIC_RELEASE);
	__atomic_store_n(&page->cli_live, VCHAN_THERE, __ATOMIC_SEQ_CST);
}

/* The peer is to send an event when it does what `bit` says. */
static void want_event(struct vchan *vchan, uint8_t bit)
{
	uint8_t *notify = vchan->server ? &vchan->page->cli_notify : &vchan->page->srv_notify;

	__atomic_fetch_or(notify, bit, __ATOMIC_SEQ_CST);
}

/* Whether the peer wants to know that this end did what `bit` says; asked for once at a time. */
static bool take_wish(struct vchan *vchan, uint8_t bit)
{
	uint8_t *notify = vchan->server ? &vchan->page->srv_notify : &vchan->page->cli_notify;

	return __atomic_fetch_and(notify, (uint8_t)~bit, __ATOMIC_SEQ_CST) & bit;
}

static struct vchan_position *read_position(struct vchan *vchan)
{
	return vchan->server ? &vchan->page->left : &vchan->page->right;
}

static struct vchan_position *write_position(struct vchan *vchan)
{
	return vchan->server ? &vchan->page->right : &vchan->page->left;
}

static void copy_out(const struct vchan *vchan, uint8_t *to, uint32_t len)
{
	uint32_t at = vchan->read_at & (vchan->read_size - 1), room = vchan->read_size - at;
	uint32_t first = len < room ? len : room;

	memcpy(to, vchan->read_ring + at, first);
	memcpy(to + first, vchan->read_ring, len - first);
}

static void copy_in(const struct vchan *vchan, const uint8_t *from, uint32_t len)
{
	uint32_t at = vchan->write_at & (vchan->write_size - 1), room = vchan->write_size - at;
	uint32_t first = len < room ? len : room;

	memcpy(vchan->write_ring + at, from, first);
	memcpy(vchan->write_ring, from + first, len - first);
}

ssize_t vchan_read(struct vchan *vchan, void *data, size_t len, bool *event)
{
	struct vchan_position *position = read_position(vchan);
	uint32_t ready = load(&position->prod) - vchan->read_at;

	if (ready == 0) {
		want_event(vchan, NOTIFY_WRITE);
		ready = load(&position->prod) - vchan->read_at; /* it may have come meanwhile */
	}
	if (ready > vchan->read_size)
		return -EBADMSG;
	if (ready > len)
		ready = (uint32_t)len;
	if (ready == 0)
		return 0;
	copy_out(vchan, data, ready);
	vchan->read_at += ready;
	store(&position->cons, vchan->read_at);
	*event |= take_wish(vchan, NOTIFY_READ);
	return (ssize_t)ready;
}

ssize_t vchan_write(struct vchan *vchan, const void *data, size_t len, bool *event)
{
	struct vchan_position *position = write_position(vchan);
	uint32_t used = vchan->write_at - load(&position->cons), n;

	if (used == vchan->write_size) {
		want_event(vchan, NOTIFY_READ);
		used = vchan->write_at - load(&position->cons);
	}
	if (used > vchan->write_size)
		return -EBADMSG;
	n = vchan->write_size - used;
	if (n > len)
		n = (uint32_t)len;
	if (n == 0)
		return 0;
	copy_in(vchan, data, n);
	vchan->write_at += n;
	store(&position->prod, vchan->write_at);
	*event |= take_wish(vchan, NOTIFY_WRITE);
	return (ssize_t)n;
}

enum vchan_live vchan_peer(const struct vchan *vchan)
{
	uint8_t live = __atomic_load_n(
		vchan->server ? &vchan->page->cli_live : &vchan->page->srv_live, __ATOMIC_ACQUIRE);

	if (live == VCHAN_THERE)
		return VCHAN_THERE;
	return live == VCHAN_EXPECTED && vchan->server ? VCHAN_EXPECTED : VCHAN_GONE;
}

void vchan_leave(struct vchan *vchan)
{
	__atomic_store_n(vchan->server ? &vchan->page->srv_live : &vchan->page->cli_live,
			 VCHAN_GONE, __ATOMIC_SEQ_CST);
}
