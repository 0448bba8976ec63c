// SPDX-License-Identifier: Apache-2.0
/*
 * A vchan whose peer writes anything into the shared page between our calls, at either end. What
 * is moved stays within our buffers and rings (AddressSanitizer looks), and every answer is one of
 * those that the header names.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "idm-vsock/vchan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define STEP 6u /* what, where, and four bytes */

struct rings {
	struct vchan_page page;
	uint8_t *left, *right;
};

static void check(ssize_t n, size_t asked)
{
	if (n < 0 ? n != -EBADMSG : (size_t)n > asked)
		abort();
}

static void play(struct vchan *vchan, struct vchan_page *page, const uint8_t *data, size_t len)
{
	uint8_t bytes[300];
	bool event = false;

	memset(bytes, 0x5a, sizeof(bytes));
	for (; len >= STEP; data += STEP, len -= STEP) {
		size_t asked = data[1] | (data[2] & 1u) << 8;

		if (asked > sizeof(bytes))
			asked = sizeof(bytes);
		switch (data[0] % 3) {
		case 0:
			check(vchan_read(vchan, bytes, asked, &event), asked);
			break;
		case 1:
			check(vchan_write(vchan, bytes, asked, &event), asked);
			break;
		default:
			memcpy((uint8_t *)page + data[1] % 28, data + 2, 4);
			break;
		}
		vchan_peer(vchan);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct rings *rings = calloc(1, sizeof(*rings));
	struct vchan_layout layout;
	struct vchan vchan;

	if (!rings)
		return 0;
	if (len > 0 && data[0] & 1) {
		rings->left = malloc(1u << VCHAN_ORDER_MIN);
		rings->right = malloc(1u << VCHAN_ORDER_MIN);
		vchan_init_server(&vchan, &rings->page, VCHAN_ORDER_MIN, rings->left, rings->right);
		play(&vchan, &rings->page, data + 1, len - 1);
	} else if (len > 28) {
		/* A page that is all the peer's. */
		memcpy(&rings->page, data + 1, 28);
		if (vchan_read_layout(&rings->page, &layout) == 0) {
			rings->left = malloc(1u << layout.left_order);
			rings->right = malloc(1u << layout.right_order);
			vchan_init_client(&vchan, &rings->page, &layout, rings->left, rings->right);
			play(&vchan, &rings->page, data + 29, len - 29);
		}
	}
	free(rings->left);
	free(rings->right);
	free(rings);
	return 0;
}
