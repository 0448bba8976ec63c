// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-balloon (virtio 1.2 §5.5): how memory that the guest does not need flows back to the host.
 * The host sets a target, the guest gives pages or takes them back (with DEFLATE_ON_OOM also by
 * itself), reports free pages without being asked, and statistics. Everything given is checked and
 * discarded through the host's function; sizes that do not fit are ignored, and work a turn is
 * bounded. Loop thread.
 */
#pragma once

#include "base/loop.h"
#include "virtio/device.h"

/* What the guest last said (§5.5.6.3), in bytes but for counts; UINT64_MAX: never said. */
struct balloon_stats {
	uint64_t swap_in, swap_out, major_faults, minor_faults;
	uint64_t free_bytes, total_bytes, available_bytes, cached_bytes;
	uint64_t taken_ns; /* clock_now_ns() when it came; 0: never */
};

/*
 * discard(user, gpa, len): guest memory [gpa, gpa + len) holds nothing any more, page-aligned and
 * inside one region; may be called for what was discarded already. loop and user are borrowed.
 * Returns 0 and *out, or -ENOMEM.
 */
int virtio_balloon_new(struct virtio_dev **out, struct loop *loop,
		       void (*discard)(void *user, uint64_t gpa, uint64_t len), void *user);

/* How many bytes the guest should give; rounded down to pages. It follows when it can. */
void virtio_balloon_set_target(struct virtio_dev *dev, uint64_t bytes);

/* How many bytes the guest says that it gave. */
uint64_t virtio_balloon_given(const struct virtio_dev *dev);

/* The last statistics; asks the guest for new ones, at most once a second. */
struct balloon_stats virtio_balloon_stats(struct virtio_dev *dev);
