// SPDX-License-Identifier: Apache-2.0
#include "supervisor/storage/oci.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "supervisor/storage/platform.h"

#define REF_NAME      "org.opencontainers.image.ref.name"
#define MANIFEST_TYPE "application/vnd.oci.image.manifest.v1+json"
#define CONFIG_TYPE   "application/vnd.oci.image.config.v1+json"
#define LAYER_TYPE    "application/vnd.oci.image.layer.v1.tar"

/* jansson bounds the depth of nesting itself; duplicates are refused so that two readers cannot see
 * two images. */
static json_t *load(const char *text, size_t len, const char *what, struct error *err)
{
	json_error_t reason;
	json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &reason);

	if (!root || !json_is_object(root)) {
		error_set(err, -EBADMSG, "the image's %s is not valid JSON: %s", what,
			  root ? "not an object" : reason.text);
		json_decref(root);
		return NULL;
	}
	return root;
}

int oci_kind_of(const char *json, size_t len, enum oci_kind *kind, struct error *err)
{
	_cleanup_(json_decrefp) json_t *root = load(json, len, "manifest", err);
	int manifests, layers;

	if (!root)
		return -EBADMSG;
	manifests = json_is_array(json_object_get(root, "manifests"));
	layers = json_object_get(root, "layers") || json_object_get(root, "config");
	if (json_object_get(root, "fsLayers"))
		return error_set(err, -ENOTSUP,
				 "the image has Docker's old manifest (schema 1); push it again "
				 "with a current tool");
	if (manifests == layers)
		return error_set(err, -EBADMSG,
				 "the image's manifest is neither a manifest nor an index");
	*kind = manifests ? OCI_INDEX : OCI_MANIFEST;
	return 0;
}

static int parse_descriptor(const json_t *json, struct oci_descriptor *out, struct error *err)
{
	const char *digest = json_string_value(json_object_get(json, "digest"));
	const json_t *size = json_object_get(json, "size");
	int r;

	if (!digest || !json_is_integer(size) || json_integer_value(size) < 0)
		return error_set(err, -EBADMSG,
				 "the image's manifest has a descriptor without digest or size");
	r = digest_parse(digest, &out->digest);
	if (r == -ENOTSUP)
		return error_set(err, r, "the image has a digest other than sha256: '%.80s'",
				 digest);
	if (r < 0)
		return error_set(err, -EBADMSG, "the image has a digest that is none: '%.80s'",
				 digest);
	out->size_bytes = (uint64_t)json_integer_value(size);
	return 0;
}

int oci_parse_manifest(const char *json, size_t len, struct oci_manifest *out, struct error *err)
{
	_cleanup_(json_decrefp) json_t *root = load(json, len, "manifest", err);
	const json_t *layers;
	int r;

	if (!root)
		return -EBADMSG;
	layers = json_object_get(root, "layers");
	if (!json_is_array(layers) || !json_is_object(json_object_get(root, "config")))
		return error_set(err, -EBADMSG, "the image's manifest has no config or layers");
	if (json_array_size(layers) > LAYERS_MAX)
		return error_set(err, -E2BIG, "the image has more than %d layers", LAYERS_MAX);
	r = parse_descriptor(json_object_get(root, "config"), &out->config, err);
	if (r == 0 && out->config.size_bytes > OCI_JSON_MAX)
		r = error_set(err, -EFBIG, "the image's configuration is larger than 4 MiB");
	out->n_layers = (uint32_t)json_array_size(layers);
	for (uint32_t i = 0; i < out->n_layers && r == 0; i++)
		r = parse_descriptor(json_array_get(layers, i), &out->layers[i], err);
	return r;
}

/* The level of x86-64 that an entry of an index needs; 0 = it is none for linux/amd64. */
static unsigned level_of(const json_t *entry)
{
	const json_t *platform = json_object_get(entry, "platform");
	const char *os = json_string_value(json_object_get(platform, "os"));
	const char *arch = json_string_value(json_object_get(platform, "architecture"));

	if (!platform)
		return 1;
	if (!os || !arch || strcmp(os, "linux") != 0 || strcmp(arch, "amd64") != 0)
		return 0;
	return platform_level_of(json_string_value(json_object_get(platform, "variant")));
}

static const char *ref_name(const json_t *entry)
{
	return json_string_value(json_object_get(json_object_get(entry, "annotations"), REF_NAME));
}

/* Whether name is the tag, or NAME:tag. */
static int has_tag(const char *name, const char *tag)
{
	size_t name_len, tag_len = strlen(tag);

	if (!name)
		return 0;
	name_len = strlen(name);
	if (name_len < tag_len || strcmp(name + name_len - tag_len, tag) != 0)
		return 0;
	return name_len == tag_len || name[name_len - tag_len - 1] == ':';
}

static int say_none(const char *tag, unsigned level, unsigned beyond, struct error *err)
{
	char variant[16] = "", with_tag[160] = "";

	if (beyond)
		return error_set(
			err, -ENOTSUP,
			"the image is for linux/amd64/v%u only, which cannot run here: this "
			"host's processor has v%u",
			beyond, platform_level_here());
	if (level)
		snprintf(variant, sizeof(variant), "/v%u", level);
	if (tag)
		snprintf(with_tag, sizeof(with_tag), " with the tag '%.128s'", tag);
	return error_set(err, -ENOENT, "there is no image for linux/amd64%s%s", variant, with_tag);
}

int oci_select(const char *json, size_t len, const char *tag, int only, unsigned level,
	       struct oci_descriptor *out, struct error *err)
{
	_cleanup_(json_decrefp) json_t *root = load(json, len, "index", err);
	unsigned here = platform_level_here(), found = 0, beyond = 0;
	json_t *entry;
	size_t i;
	int r;

	if (!root)
		return -EBADMSG;
	json_array_foreach(json_object_get(root, "manifests"), i, entry)
	{
		struct oci_descriptor candidate;
		unsigned needs = level_of(entry);

		if (!needs || (level && needs != level) || (tag && !has_tag(ref_name(entry), tag)))
			continue;
		if (needs > here) {
			beyond = needs;
			continue;
		}
		r = parse_descriptor(entry, &candidate, err);
		if (r < 0)
			return r;
		if (found == needs && only && !digest_equal(&candidate.digest, &out->digest))
			return error_set(err, -EINVAL,
					 "there are several images; say which one by its tag");
		if (!found || needs < found) {
			*out = candidate;
			found = needs;
		}
	}
	return found ? 0 : say_none(tag, level, beyond, err);
}

char *oci_ref_name(const char *json, size_t len, const struct digest *digest)
{
	_cleanup_(json_decrefp) json_t *root = load(json, len, "index", NULL);
	char text[DIGEST_TEXT_SIZE];
	json_t *entry;
	size_t i;

	digest_text(digest, text);
	json_array_foreach(json_object_get(root, "manifests"), i, entry)
	{
		const char *candidate = json_string_value(json_object_get(entry, "digest"));

		if (candidate && strcmp(candidate, text) == 0 && ref_name(entry))
			return strdup(ref_name(entry));
	}
	return NULL;
}

static int check_platform(const json_t *root, struct error *err)
{
	const char *os = json_string_value(json_object_get(root, "os"));
	const char *arch = json_string_value(json_object_get(root, "architecture"));
	unsigned level = platform_level_of(json_string_value(json_object_get(root, "variant")));

	if ((os && strcmp(os, "linux") != 0) || (arch && strcmp(arch, "amd64") != 0))
		return error_set(err, -ENOTSUP, "the image is for %.32s/%.32s, not for linux/amd64",
				 os ? os : "linux", arch ? arch : "amd64");
	if (level > platform_level_here())
		return error_set(err, -ENOTSUP,
				 "the image is for linux/amd64/v%u, which cannot run here: this "
				 "host's processor has v%u",
				 level, platform_level_here());
	return 0;
}

int oci_parse_rootfs(const char *json, size_t len, struct oci_rootfs *out, struct error *err)
{
	_cleanup_(json_decrefp) json_t *root = load(json, len, "configuration", err);
	const json_t *ids;
	int r;

	if (!root)
		return -EBADMSG;
	ids = json_object_get(json_object_get(root, "rootfs"), "diff_ids");
	if (!json_is_array(ids))
		return error_set(err, -EBADMSG, "the image's configuration has no rootfs.diff_ids");
	if (json_array_size(ids) > LAYERS_MAX)
		return error_set(err, -E2BIG, "the image has more than %d layers", LAYERS_MAX);
	out->n_diff_ids = (uint32_t)json_array_size(ids);
	for (uint32_t i = 0; i < out->n_diff_ids; i++) {
		const char *text = json_string_value(json_array_get(ids, i));

		r = text ? digest_parse(text, &out->diff_ids[i]) : -EINVAL;
		if (r < 0)
			return error_set(err, -EBADMSG,
					 "the image's configuration has a bad diff_id");
	}
	return check_platform(root, err);
}

void oci_docker_image_clear(struct oci_docker_image *image)
{
	free(image->config);
	free(image->name);
	for (uint32_t i = 0; i < image->n_layers; i++)
		free(image->layers[i]);
	memset(image, 0, sizeof(*image));
}

static int fill_docker(const json_t *entry, const char *name, struct oci_docker_image *out,
		       struct error *err)
{
	const char *config = json_string_value(json_object_get(entry, "Config"));
	const json_t *layers = json_object_get(entry, "Layers");

	memset(out, 0, sizeof(*out));
	if (!config || !json_is_array(layers))
		return error_set(err, -EBADMSG, "manifest.json has no Config or Layers");
	if (json_array_size(layers) > LAYERS_MAX)
		return error_set(err, -E2BIG, "the image has more than %d layers", LAYERS_MAX);
	out->config = strdup(config);
	out->name = name ? strdup(name) : NULL;
	for (size_t i = 0; i < json_array_size(layers); i++) {
		const char *layer = json_string_value(json_array_get(layers, i));

		out->layers[i] = layer ? strdup(layer) : NULL;
		if (!out->layers[i])
			return error_set(err, -EBADMSG, "manifest.json has a layer without a path");
		out->n_layers++;
	}
	return out->config ? 0 : error_set(err, -ENOMEM, "out of memory");
}

/* The entry's first name that fits. *fits tells whether the entry is the one asked for. */
static const char *docker_name(const json_t *entry, const char *tag, int *fits)
{
	const json_t *tags = json_object_get(entry, "RepoTags");

	*fits = !tag || !tag[0];
	for (size_t i = 0; i < json_array_size(tags); i++) {
		const char *name = json_string_value(json_array_get(tags, i));

		if (*fits || has_tag(name, tag)) {
			*fits = 1;
			return name;
		}
	}
	return NULL;
}

int oci_parse_docker(const char *json, size_t len, const char *tag, struct oci_docker_image *out,
		     struct error *err)
{
	_cleanup_(json_decrefp) json_t *root = json_loadb(json, len, JSON_REJECT_DUPLICATES, NULL);
	const json_t *chosen = NULL;
	const char *name = NULL;
	json_t *entry;
	size_t i;
	int r;

	if (!json_is_array(root))
		return error_set(err, -EBADMSG, "manifest.json is not a JSON array");
	json_array_foreach(root, i, entry)
	{
		int fits;
		const char *this_name = docker_name(entry, tag, &fits);

		if (fits && chosen)
			return error_set(err, -EINVAL,
					 "there are several images; say which one by its tag");
		if (fits) {
			chosen = entry;
			name = this_name;
		}
	}
	if (!chosen)
		return error_set(err, -ENOENT, "there is no image '%.128s' in the archive",
				 tag ? tag : "");
	r = fill_docker(chosen, name, out, err);
	if (r < 0)
		oci_docker_image_clear(out);
	return r;
}

static json_t *make_descriptor(const struct oci_descriptor *from, const char *type)
{
	char digest[DIGEST_TEXT_SIZE];

	digest_text(&from->digest, digest);
	return json_pack("{s:s, s:s, s:I}", "mediaType", type, "digest", digest, "size",
			 (json_int_t)from->size_bytes);
}

char *oci_make_manifest(const struct oci_manifest *manifest)
{
	_cleanup_(json_decrefp) json_t *layers = json_array();
	_cleanup_(json_decrefp) json_t *root = NULL;

	for (uint32_t i = 0; i < manifest->n_layers; i++)
		if (json_array_append_new(layers,
					  make_descriptor(&manifest->layers[i], LAYER_TYPE)) < 0)
			return NULL;
	root = json_pack("{s:i, s:s, s:o, s:O}", "schemaVersion", 2, "mediaType", MANIFEST_TYPE,
			 "config", make_descriptor(&manifest->config, CONFIG_TYPE), "layers",
			 layers);
	return root ? json_dumps(root, JSON_COMPACT) : NULL;
}
