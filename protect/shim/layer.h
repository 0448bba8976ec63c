// SPDX-License-Identifier: Apache-2.0
/*
 * What is to be in a container's image, as tar streams: the root file system, whose mounts
 * containerd describes but leaves to the shim, and the host's files that are mounted into it. Each
 * is read by a tar(1) of its own, in a mount namespace of its own in which alone the mounts are
 * made: they end with it, however it ends. Names in the root are the image's and hostile; nothing
 * here follows them, tar carries them along, and the store checks what came.
 */
#pragma once

#include <sys/types.h>

#include "base/error.h"
#include "protect/shim/proto/containerd.pb-c.h"
#include "protect/shim/spec.h"

/* A reader under way. */
struct layer_reader {
	int fd; /* the stream's read end, non-blocking; -1 = none */
	pid_t pid;
};

#define LAYER_READER_NULL                                                                          \
	{                                                                                          \
		.fd = -1, .pid = -1                                                                \
	}

/* Starts reading the root: n mounts, made at `folder` (the bundle's rootfs), or that folder as it
 * is. Returns 0 or a negative errno with *err set. */
int layer_read_root(struct layer_reader *reader, Protect__Shim__Mount **mounts, size_t n,
		    const char *folder, struct error *err);

/* Starts reading one file or folder of the host, named as it will be in the container. */
int layer_read_bind(struct layer_reader *reader, const struct spec_bind *bind, struct error *err);

/* After the stream's end: whether all was read. Returns 0 or -EIO. */
int layer_reader_finish(struct layer_reader *reader);

/* Ends it whatever it does. May run twice. */
void layer_reader_stop(struct layer_reader *reader);
