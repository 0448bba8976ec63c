// SPDX-License-Identifier: Apache-2.0
/* An OCI layout directory as a tar stream. Main thread only. */
#pragma once

#include "protect/cli/connect.h"

/* Where an image's bytes go. */
struct import_sink {
	struct connection *connection;
	struct idm_stream *stream; /* NULL once it is over */
	bool ended, peer_ended;
	struct reply *reply;
	uint64_t call_id;
};

/* Sends bytes, waiting for room. Returns 0, or -ECANCELED when the daemon wants no more (the reply
 * says why). */
int import_send(struct import_sink *sink, const void *data, size_t len);

/*
 * Sends `oci-layout`, `index.json` and the files of `blobs/`, the smaller before the larger ones,
 * so that a reader that goes through it once knows the manifests before the layers come. Returns 0,
 * -ECANCELED as above, or a negative errno, having said so.
 */
int import_layout_send(struct import_sink *sink, const char *path);
