// SPDX-License-Identifier: Apache-2.0
/*
 * Archives of images, as a stream: oci-archive (an OCI layout as tar), docker-archive (`docker
 * save`), plain or compressed as a whole, members in any order. Every file in the archive goes into
 * a scratch file of the store and is known by its digest from then on; its path is only a key in
 * memory. The archive is hostile: bounded are the members, their names and all bytes. One thread.
 */
#pragma once

#include "supervisor/storage/image.h"
#include "supervisor/storage/layer_reader.h"

#define ARCHIVE_MEMBERS_MAX 2048u

struct archive_member;

struct archive_import {
	struct image_source source;
	struct store *store; /* borrowed */
	struct archive_member *members;
	uint32_t n_members;
	int spool_fd; /* all members' bytes, one behind the other */
	uint64_t spool_bytes;
};

/*
 * Reads a whole archive from read(context, …). Returns 0 or a negative errno with *err set;
 * archive_import_close() in either case.
 */
int archive_import_open(struct archive_import *import, struct store *store, layer_read_fn read,
			void *context, struct job *job, struct error *err);
void archive_import_close(struct archive_import *import);

/* As layout_choose(); in a docker-archive the tag may also be a whole name. */
int archive_import_choose(struct archive_import *import, const char *tag,
			  struct image_manifest *manifest, char **ref_name, struct job *job,
			  struct error *err);
