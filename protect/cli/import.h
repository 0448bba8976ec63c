// SPDX-License-Identifier: Apache-2.0
/*
 * Images of the caller's own files: oci:DIR[:TAG], oci-archive:FILE[:TAG],
 * docker-archive:FILE[:TAG]. The files are opened here, with the caller's rights, and streamed; the
 * daemon never opens them. A layout directory goes as a tar of itself, small files first. Nothing
 * of their content is believed here: the store checks it. Main thread only.
 */
#pragma once

#include "protect/cli/connect.h"

enum import_kind { IMPORT_OCI, IMPORT_OCI_ARCHIVE, IMPORT_DOCKER_ARCHIVE };

struct import_source {
	enum import_kind kind;
	char path[4096];
	char tag[256]; /* empty = the only one */
};

#define IMPORT_NAME_MAX 128

/* Reads a reference. Returns 1 if it is one of the above, 0 if it is none, -EINVAL or
 * -ENAMETOOLONG, having said so. */
int import_parse(const char *text, struct import_source *out);

/* The name for an image without one: what its path ends in, in the letters that names of images may
 * have. */
void import_default_name(const struct import_source *source, char name[IMPORT_NAME_MAX]);

/*
 * Streams it to the daemon; name NULL = the default. Returns the image, to be freed with
 * message_freep(); NULL having said why.
 */
ProtobufCMessage *import_run(struct connection *connection, const struct import_source *source,
			     const char *name);

/*
 * What a launch should name: ref itself, or, if ref is of the caller's files, the digest of the
 * image that was imported from them. *out is the caller's to free. Returns 0 or a negative errno,
 * having said so.
 */
int import_if_local(struct connection *connection, const char *ref, char **out);
