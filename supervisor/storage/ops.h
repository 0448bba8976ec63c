// SPDX-License-Identifier: Apache-2.0
/*
 * The operations of proto/storage.proto, and the same for the one-shot commands. Blocking code;
 * each call belongs to one thread, and any number of threads may be in here at once.
 */
#pragma once

#include <stdatomic.h>

#include "base/error.h"
#include "supervisor/storage/job.h"
#include "supervisor/storage/kernel.h"
#include "supervisor/storage/registry.h"
#include "supervisor/storage/settings.h"
#include "supervisor/storage/store.h"

#define OPS_DEFAULT_KERNEL "localhost/zone-kernel:default"
#define OPS_PACKET_MAX	   (64u * 1024)
#define OPS_LONG_MAX	   6u /* pulls and imports that work at once; further ones wait */

/* What every operation works on. Made by main, outlives all threads. */
struct storage {
	struct store *store;
	struct kernel_base base;
	const struct settings *settings;
	const char *mkfs;   /* the program that makes the file systems of volumes */
	atomic_uint n_long; /* pulls and imports that work */
};

/* Serves one connection (borrowed): reads the request, does it, answers. What a client does wrong
 * only ends its own operation. */
void ops_serve(struct storage *storage, int socket);

/* Answers a connection with an error without reading what it asks. Does not wait; the caller closes
 * it. */
void ops_refuse(int socket, int error, const char *text);

/* Pulls an image from a registry, for a platform (see platform_parse()), with a login or NULL.
 * Returns 0 or a negative errno with *err set. */
int ops_pull(struct storage *storage, const char *ref, const char *platform,
	     const struct registry_login *login, struct job *job, struct store_image *image,
	     struct error *err);

/* Imports an archive from a descriptor (borrowed; file or pipe). name empty = what the archive
 * says, tag empty = its only image. */
int ops_import_fd(struct storage *storage, int fd, const char *name, const char *tag,
		  struct job *job, struct store_image *image, struct error *err);

/* Imports from an OCI layout folder. tag may be NULL; name as in ops_import_fd(). */
int ops_import_layout(struct storage *storage, const char *path, const char *tag, const char *name,
		      struct job *job, struct store_image *image, struct error *err);

/* Opens a kernel's three files; ref empty = the one of that variant or, variant empty as well, the
 * default kernel. The caller closes them. 0 or a negative errno with *err set. */
int ops_open_kernel(struct storage *storage, const char *ref, const char *variant,
		    int fds[KERNEL_FILES], struct store_image *image, struct error *err);
