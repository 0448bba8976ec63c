// SPDX-License-Identifier: Apache-2.0
#include "supervisor/storage/archive_import.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "supervisor/storage/platform.h"

#define CHUNK_SIZE (64u * 1024)
#define LINKS_MAX  4

struct archive_member {
	char *path;
	char *link; /* of symbolic and hard links: the path they stand for, else NULL */
	uint64_t offset, size_bytes;
	struct digest digest;
};

/* Resolves `.`, `..` and double slashes of path below folder (may be empty). Returns fresh memory
 * or NULL if it leads out. */
static char *plain_path(const char *folder, size_t folder_len, const char *path)
{
	char *out = malloc(folder_len + strlen(path) + 2);
	size_t used = path[0] == '/' ? 0 : folder_len;

	if (!out)
		return NULL;
	memcpy(out, folder, used);
	while (*path) {
		size_t len = strcspn(path, "/");

		if (len == 2 && memcmp(path, "..", 2) == 0) {
			if (used == 0) {
				free(out);
				return NULL;
			}
			while (used && out[used - 1] != '/')
				used--;
			used -= used ? 1 : 0;
		} else if (len && !(len == 1 && *path == '.')) {
			if (used)
				out[used++] = '/';
			memcpy(out + used, path, len);
			used += len;
		}
		path += len + (path[len] ? 1 : 0);
	}
	out[used] = '\0';
	return out;
}

static struct archive_member *find(struct archive_import *import, const char *path, int links)
{
	_cleanup_(freep) char *plain = plain_path("", 0, path);

	/* From the end: of two members with one name the later counts, as when unpacking. */
	for (uint32_t i = import->n_members; plain && i-- > 0;) {
		struct archive_member *member = &import->members[i];

		if (strcmp(member->path, plain) != 0)
			continue;
		if (!member->link)
			return member;
		return links < LINKS_MAX ? find(import, member->link, links + 1) : NULL;
	}
	return NULL;
}

static int spool(struct archive_import *import, struct archive_member *member,
		 struct layer_reader *reader, struct job *job, struct error *err)
{
	_cleanup_(digest_dropp) struct digest_stream *hash = digest_begin();
	char chunk[CHUNK_SIZE];
	ssize_t n;

	if (!hash)
		return error_set(err, -ENOMEM, "out of memory");
	member->offset = import->spool_bytes;
	while ((n = layer_reader_data(reader, chunk, sizeof(chunk), err)) > 0) {
		int r = io_write_full(import->spool_fd, chunk, (size_t)n);

		if (r < 0)
			return store_failed(import->store, r, "keep the archive", err);
		digest_add(hash, chunk, (size_t)n);
		member->size_bytes += (uint64_t)n;
		import->spool_bytes += (uint64_t)n;
		/* Sparse members can be larger than the bytes that were read. */
		if (import->spool_bytes > store_max_bytes(import->store))
			return error_set(err, -EFBIG,
					 "the archive is larger than allowed; raise --max-size");
		if (job_progress(job, "reading the archive", import->spool_bytes, 0) < 0)
			return error_set(err, -ECANCELED, "cancelled");
	}
	if (n < 0)
		return (int)n;
	digest_end(steal_ptr(&hash), &member->digest);
	return 0;
}

static int set_link(struct archive_member *member, struct archive_entry *entry)
{
	const char *hard = archive_entry_hardlink(entry), *soft = archive_entry_symlink(entry);
	const char *slash = strrchr(member->path, '/');

	if (hard)
		member->link = plain_path("", 0, hard);
	else if (soft)
		member->link =
			plain_path(member->path, slash ? (size_t)(slash - member->path) : 0, soft);
	return !hard && !soft ? 0 : member->link ? 1 : -EINVAL;
}

static int add_member(struct archive_import *import, struct archive_entry *entry,
		      struct layer_reader *reader, struct job *job, struct error *err)
{
	const char *raw = archive_entry_pathname(entry);
	mode_t type = archive_entry_filetype(entry);
	struct archive_member *member;
	int r;

	if (S_ISDIR(type) && !archive_entry_hardlink(entry))
		return 0;
	if (!raw || strlen(raw) >= LAYERS_PATH_MAX || import->n_members >= ARCHIVE_MEMBERS_MAX)
		return error_set(err, -E2BIG,
				 "the archive has too many or too long names for an image");
	member = &import->members[import->n_members];
	member->path = plain_path("", 0, raw);
	if (!member->path)
		return error_set(err, -EINVAL, "the archive has a member outside itself: '%.200s'",
				 raw);
	import->n_members++;
	r = set_link(member, entry);
	if (r < 0)
		return error_set(err, -EINVAL, "the archive has a link outside itself: '%.200s'",
				 raw);
	if (r > 0)
		return 0;
	if (!S_ISREG(type))
		return error_set(err, -EINVAL, "the archive has a member that is no file: '%.200s'",
				 raw);
	return spool(import, member, reader, job, err);
}

/* The member with the bytes of `what`: their digest was taken when they were spooled. NULL with
 * *err set if there is none of that digest and size. */
static const struct archive_member *member_of(const struct archive_import *import,
					      const struct oci_descriptor *what, struct error *err)
{
	char text[DIGEST_TEXT_SIZE];

	digest_text(&what->digest, text);
	for (uint32_t i = 0; i < import->n_members; i++) {
		const struct archive_member *member = &import->members[i];

		if (member->link || !digest_equal(&member->digest, &what->digest))
			continue;
		if (member->size_bytes == what->size_bytes)
			return member;
		error_set(err, -EBADMSG, "the archive's %s has not the size that is announced",
			  text);
		return NULL;
	}
	error_set(err, -EBADMSG,
		  "digest mismatch: the archive holds no bytes of %s; it is damaged or truncated, "
		  "get the image again",
		  text);
	return NULL;
}

static int check_blob(struct image_source *source, const struct oci_descriptor *what,
		      struct job *job, struct error *err)
{
	(void)job;
	return member_of(container_of(source, struct archive_import, source), what, err) ? 0
											 : -EBADMSG;
}

static int get_blob(struct image_source *source, const struct oci_descriptor *what, struct job *job,
		    struct error *err)
{
	struct archive_import *import = container_of(source, struct archive_import, source);
	const struct archive_member *member = member_of(import, what, err);
	_cleanup_(image_blob_drop) struct image_blob blob = {.fd = -1};
	uint64_t at = 0;
	int r;

	if (!member)
		return -EBADMSG;
	r = image_blob_begin(&blob, import->store, what, err);
	while (r == 0 && at < member->size_bytes) {
		char chunk[CHUNK_SIZE];
		uint64_t left = member->size_bytes - at;
		ssize_t n = io_pread_full(import->spool_fd, chunk,
					  left < sizeof(chunk) ? (size_t)left : sizeof(chunk),
					  member->offset + at);

		r = n <= 0 ? -EIO : image_blob_add(&blob, chunk, (size_t)n);
		if (r < 0)
			return store_failed(import->store, r, "copy a blob", err);
		at += (uint64_t)n;
		if (job_progress(job, "copying", at, member->size_bytes) < 0)
			return error_set(err, -ECANCELED, "cancelled");
	}
	return r < 0 ? r : image_blob_end(&blob, "the archive", err);
}

int archive_import_open(struct archive_import *import, struct store *store, layer_read_fn read,
			void *context, struct job *job, struct error *err)
{
	_cleanup_(layer_reader_closep) struct layer_reader *reader = NULL;
	uint64_t budget = store_max_bytes(store);
	struct archive_entry *entry;
	int r;

	memset(import, 0, sizeof(*import));
	import->source.blob = get_blob;
	import->source.manifest = get_blob;
	import->source.check = check_blob;
	import->store = store;
	import->spool_fd = store_scratch(store, err);
	if (import->spool_fd < 0)
		return import->spool_fd;
	import->members = calloc(ARCHIVE_MEMBERS_MAX, sizeof(struct archive_member));
	if (!import->members)
		return error_set(err, -ENOMEM, "out of memory");
	r = layer_reader_open(&reader, read, context, &budget, "the archive", err);
	if (r < 0)
		return r;
	while ((r = layer_reader_next(reader, &entry, err)) > 0) {
		r = add_member(import, entry, reader, job, err);
		if (r < 0)
			return r;
	}
	return r;
}

void archive_import_close(struct archive_import *import)
{
	for (uint32_t i = 0; import->members && i < import->n_members; i++) {
		free(import->members[i].path);
		free(import->members[i].link);
	}
	free(import->members);
	import->members = NULL;
	close_fdp(&import->spool_fd);
}

static int read_member(struct archive_import *import, const struct archive_member *member,
		       char **out, size_t *len, struct error *err)
{
	_cleanup_(freep) char *text = NULL;

	if (member->size_bytes > OCI_JSON_MAX)
		return error_set(err, -EFBIG, "the archive's '%s' is larger than 4 MiB",
				 member->path);
	text = calloc(1, (size_t)member->size_bytes + 1);
	if (!text)
		return error_set(err, -ENOMEM, "out of memory");
	if (io_pread_full(import->spool_fd, text, (size_t)member->size_bytes, member->offset) !=
	    (ssize_t)member->size_bytes)
		return error_set(err, -EIO, "cannot read back the archive");
	*len = (size_t)member->size_bytes;
	*out = steal_ptr(&text);
	return 0;
}

/* Docker's archive has no manifest of the image; one is made, so that the image has a digest as all
 * others have. */
static int make_manifest(struct archive_import *import, const struct oci_docker_image *image,
			 struct image_manifest *out, struct error *err)
{
	_cleanup_(freep) struct oci_manifest *manifest = calloc(1, sizeof(*manifest));
	struct archive_member *member = find(import, image->config, 0);

	if (!manifest)
		return error_set(err, -ENOMEM, "out of memory");
	if (!member)
		return error_set(err, -EBADMSG, "the archive lacks the configuration '%.200s'",
				 image->config);
	manifest->config =
		(struct oci_descriptor){.digest = member->digest, .size_bytes = member->size_bytes};
	for (uint32_t i = 0; i < image->n_layers; i++) {
		member = find(import, image->layers[i], 0);
		if (!member)
			return error_set(err, -EBADMSG, "the archive lacks the layer '%.200s'",
					 image->layers[i]);
		manifest->layers[i].digest = member->digest;
		manifest->layers[i].size_bytes = member->size_bytes;
		manifest->n_layers++;
	}
	out->json = oci_make_manifest(manifest);
	if (!out->json)
		return error_set(err, -ENOMEM, "out of memory");
	out->len = strlen(out->json);
	return digest_of(out->json, out->len, &out->digest);
}

static int choose_docker(struct archive_import *import, const struct archive_member *member,
			 const char *tag, struct image_manifest *manifest, char **ref_name,
			 struct error *err)
{
	struct oci_docker_image image = {.config = NULL};
	_cleanup_(freep) char *json = NULL;
	size_t len;
	int r = read_member(import, member, &json, &len, err);

	if (r == 0)
		r = oci_parse_docker(json, len, tag, &image, err);
	if (r < 0)
		return r;
	r = make_manifest(import, &image, manifest, err);
	if (r == 0 && ref_name)
		*ref_name = steal_ptr(&image.name);
	oci_docker_image_clear(&image);
	return r;
}

int archive_import_choose(struct archive_import *import, const char *tag,
			  struct image_manifest *manifest, char **ref_name, struct job *job,
			  struct error *err)
{
	struct archive_member *index = find(import, "index.json", 0);
	struct archive_member *docker = find(import, "manifest.json", 0);
	struct oci_descriptor outer;
	int r;

	memset(manifest, 0, sizeof(*manifest));
	/* Docker ≥ 25 writes both into one archive; manifest.json then has the names in a form that
	 * is easier to match. */
	if (docker)
		return choose_docker(import, docker, tag, manifest, ref_name, err);
	if (!index)
		return error_set(err, -EBADMSG,
				 "the archive is neither an OCI layout (index.json) nor one of "
				 "'docker save' (manifest.json)");
	r = read_member(import, index, &manifest->json, &manifest->len, err);
	if (r == 0)
		r = oci_select(manifest->json, manifest->len, tag, 1, PLATFORM_LEVEL_ANY, &outer,
			       err);
	if (r == 0 && ref_name)
		*ref_name = oci_ref_name(manifest->json, manifest->len, &outer.digest);
	if (r == 0)
		r = image_choose(&import->source, manifest, tag, 1, job, err);
	if (r < 0)
		image_manifest_clear(manifest);
	return r;
}
