// SPDX-License-Identifier: Apache-2.0
/*
 * Zone kernels. An image that has the file kernel/image is one: instead of a squashfs its few files
 * are taken out under names of our own (kernels/HEX/). A zone boots from the kernel, an initrd and
 * a squashfs with the kernel's modules. The initrd is the base initramfs followed by a second cpio
 * archive with the modules that this kernel needs before it can reach that squashfs, in
 * /boot-modules/NN-name.ko, NN being the order to load them in. It is made once for each pair of
 * kernel and base initramfs. Any thread.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/error.h"
#include "proto/storage.pb-c.h"
#include "supervisor/storage/layers.h"
#include "supervisor/storage/store.h"

enum kernel_file { KERNEL_IMAGE, KERNEL_INITRD, KERNEL_ADDONS, KERNEL_FILES };

/* The base initramfs: its path, and the digest it had when it was last looked at. */
struct kernel_base {
	const char *path; /* borrowed; NULL = none was given */
	pthread_mutex_t lock;
	struct stat seen;
	struct digest digest;
};

#define KERNEL_BASE_INIT(path_)                                                                    \
	{                                                                                          \
		.path = (path_), .lock = PTHREAD_MUTEX_INITIALIZER                                 \
	}

/* Whether a plan is that of a kernel image. */
bool kernel_present(struct layers_plan *plan);

/*
 * Makes the folder `dir` and extracts the kernel's files into it; *size_bytes is their sum. budget
 * as in layer_reader_open(). On failure nothing is left. Returns 0 or a negative errno with *err
 * set.
 */
int kernel_extract(struct layers_plan *plan, const int *fds, uint32_t n, uint64_t *budget,
		   const char *dir, uint64_t *size_bytes, struct error *err);

/*
 * Opens the three files for a zone, read-only; the caller closes them. Makes the initrd if there is
 * none yet. Returns 0 or a negative errno with *err set, and then no descriptor is open.
 */
int kernel_open(struct store *store, const struct store_image *image, struct kernel_base *base,
		int fds[KERNEL_FILES], struct error *err);

#define KERNEL_VARIANT_MAX 64 /* with its NUL */

/* KERNEL_FLAVOR of kernel/metadata, "" if it says none or one that is no word of letters, digits,
 * '.', '_' and '-'. */
void kernel_variant(struct store *store, const struct store_image *image,
		    char variant[static KERNEL_VARIANT_MAX]);

/*
 * Finds the kernel of a variant: the default one (named `preferred`) if it is of that variant, else
 * the newest. Returns 0, -ENOENT with the variants that there are, or another negative errno with
 * *err set.
 */
int kernel_find_variant(struct store *store, const char *variant, const char *preferred,
			struct store_image *out, struct error *err);

/* What kernel/metadata says. The caller frees with
 * protect__storage__kernel_metadata__free_unpacked(). 0 or a negative errno. */
int kernel_read_metadata(struct store *store, const struct store_image *image,
			 Protect__Storage__KernelMetadata **out, struct error *err);
