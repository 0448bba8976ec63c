// SPDX-License-Identifier: Apache-2.0
/*
 * The JSON of images: indexes, manifests and configurations of OCI image-spec 1.1 and of Docker's
 * "v2 schema 2", which have the same fields. All of it comes from outside; what leaves this file is
 * checked. Pure functions.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/util.h"
#include "proto/storage.pb-c.h"
#include "supervisor/storage/digest.h"
#include "supervisor/storage/layers.h"

#define OCI_JSON_MAX (4 * MIB) /* of a manifest, an index or a configuration */
#define OCI_CONFIG_TEXT_MAX                                                                        \
	(48 * KIB) /* of what a workload takes from a configuration: it must fit in a packet */

struct oci_descriptor {
	struct digest digest;
	uint64_t size_bytes;
};

struct oci_manifest {
	struct oci_descriptor config;
	uint32_t n_layers;
	struct oci_descriptor layers[LAYERS_MAX];
};

struct oci_rootfs {
	uint32_t n_diff_ids;
	struct digest diff_ids[LAYERS_MAX];
};

enum oci_kind { OCI_MANIFEST, OCI_INDEX };

/* Which of the two a document is. One that could be taken for both is refused. Returns 0 or
 * -EBADMSG with *err set. */
int oci_kind_of(const char *json, size_t len, enum oci_kind *kind, struct error *err);

/* Reads a manifest. Returns 0 or -EBADMSG, -ENOTSUP, -E2BIG with *err set. */
int oci_parse_manifest(const char *json, size_t len, struct oci_manifest *out, struct error *err);

/*
 * Picks the linux/amd64 image of an index; entries without a platform count as that. level is that
 * of x86-64 which it is to have (platform.h), or PLATFORM_LEVEL_ANY. With a tag (NULL = any), only
 * entries whose annotation org.opencontainers.image.ref.name is the tag, or ends in ":tag".
 * Without, several different images are an error if `only` is set, as for an archive, and the first
 * is taken otherwise, as for a registry. Returns 0, -ENOENT, -EBADMSG … with *err set.
 */
int oci_select(const char *json, size_t len, const char *tag, int only, unsigned level,
	       struct oci_descriptor *out, struct error *err);

/* The annotation org.opencontainers.image.ref.name of an index's entry with this digest, or NULL.
 * The caller frees it. */
char *oci_ref_name(const char *json, size_t len, const struct digest *digest);

/* Reads rootfs and platform of a configuration. Returns 0 or -EBADMSG, -ENOTSUP, -E2BIG with *err
 * set. */
int oci_parse_rootfs(const char *json, size_t len, struct oci_rootfs *out, struct error *err);

/*
 * Reads what a workload needs of a configuration. Returns 0 or a negative errno with *err set; the
 * caller frees *out with protect__storage__image_config__free_unpacked(…, NULL).
 */
int oci_parse_config(const char *json, size_t len, Protect__Storage__ImageConfig **out,
		     struct error *err);

/* What `docker save` says of one image (manifest.json): paths of members, not checked otherwise. */
struct oci_docker_image {
	char *config;
	char *name; /* the first of RepoTags, or NULL */
	uint32_t n_layers;
	char *layers[LAYERS_MAX];
};

/*
 * Picks an image of a docker-archive's manifest.json: the one that has RepoTag `tag` or one that
 * ends in ":tag" (NULL or empty = the only one). Returns 0 or a negative errno with *err set; the
 * caller frees with oci_docker_image_clear().
 */
int oci_parse_docker(const char *json, size_t len, const char *tag, struct oci_docker_image *out,
		     struct error *err);
void oci_docker_image_clear(struct oci_docker_image *image);

/* The manifest of an image whose blobs are known. Returns its text, which the caller frees, or NULL
 * when memory is short. */
char *oci_make_manifest(const struct oci_manifest *manifest);
