// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-balloon (virtio 1.2 §5.5): how memory that the guest does not need flows back to the host.
 * The host sets a target, the guest gives pages or takes them back (with DEFLATE_ON_OOM also by
 * itself), reports free pages without being asked, and statistics. Every address is checked; what
 * was given is discarded in pieces as large as they come, and work a turn is bounded. Page frame
 * numbers outside of memory are ignored and counted, statistics are read as far as there are
 * kinds of them. What the device says of itself (how much it gave, statistics) is the guest's word.
 * Loop thread.
 */
#pragma once

#include "virtio/device.h"

/* What the guest last said (§5.5.6.3), in bytes but for counts; UINT64_MAX: never said. */
struct balloon_stats {
	uint64_t swap_in, swap_out, major_faults, minor_faults;
	uint64_t free_bytes, total_bytes, available_bytes, cached_bytes;
	uint64_t taken_ns; /* clock_now_ns() when it came; 0: never */
};

/*
 * discard(user, host, len): guest memory at our addresses [host, host + len) holds nothing any
 * more; whole 4 KiB pages, all of them in memory as the queues' struct mem knows it. It may be
 * called for what was discarded already, and for memory that the guest goes on using: it then finds
 * zeroes there. user is borrowed. Returns 0 and *out, or -ENOMEM.
 */
int virtio_balloon_new(struct virtio_dev **out,
		       void (*discard)(void *user, void *host, uint64_t len), void *user);

/* How many bytes the guest should give; rounded down to pages, at most 16 TiB. It follows when it
 * can. */
void virtio_balloon_set_target(struct virtio_dev *dev, uint64_t bytes);

uint64_t virtio_balloon_target(const struct virtio_dev *dev);

/* How many bytes the guest says that it gave; 0 after a reset. */
uint64_t virtio_balloon_given(const struct virtio_dev *dev);

/* The last statistics; asks the guest for new ones, at most once a second. */
struct balloon_stats virtio_balloon_stats(struct virtio_dev *dev);
