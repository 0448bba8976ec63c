// SPDX-License-Identifier: Apache-2.0
#include "supervisor/storage/image.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "supervisor/storage/fetch.h"
#include "supervisor/storage/kernel.h"
#include "supervisor/storage/layers.h"
#include "supervisor/storage/pack.h"

#define INDEX_DEPTH_MAX 3

int image_blob_begin(struct image_blob *blob, struct store *store,
		     const struct oci_descriptor *expected, struct error *err)
{
	*blob = (struct image_blob){.expected = *expected, .fd = -1};
	if (expected->size_bytes > store_max_bytes(store))
		return error_set(err, -EFBIG,
				 "a part of the image is larger than allowed; raise "
				 "max-image-size in protect.conf");
	blob->fd = store_scratch(store, err);
	if (blob->fd < 0)
		return blob->fd;
	blob->hash = digest_begin();
	if (blob->hash)
		return 0;
	image_blob_drop(blob);
	return error_set(err, -ENOMEM, "out of memory");
}

int image_blob_add(struct image_blob *blob, const void *data, size_t len)
{
	if (len > blob->expected.size_bytes - blob->done_bytes)
		return -EFBIG;
	digest_add(blob->hash, data, len);
	blob->done_bytes += len;
	return io_write_full(blob->fd, data, len);
}

int image_blob_restart(struct image_blob *blob)
{
	digest_drop(blob->hash);
	blob->hash = digest_begin();
	blob->done_bytes = 0;
	if (!blob->hash)
		return -ENOMEM;
	return ftruncate(blob->fd, 0) < 0 || lseek(blob->fd, 0, SEEK_SET) < 0 ? -errno : 0;
}

int image_blob_end(struct image_blob *blob, const char *from, struct error *err)
{
	char expected[DIGEST_TEXT_SIZE], actual[DIGEST_TEXT_SIZE];
	struct digest digest;
	int fd;

	digest_end(steal_ptr(&blob->hash), &digest);
	digest_text(&blob->expected.digest, expected);
	if (blob->done_bytes != blob->expected.size_bytes) {
		error_set(err, -EBADMSG,
			  "%s: blob %s has %llu bytes instead of %llu: truncated; get the image "
			  "again",
			  from, expected, (unsigned long long)blob->done_bytes,
			  (unsigned long long)blob->expected.size_bytes);
	} else if (!digest_equal(&digest, &blob->expected.digest)) {
		digest_text(&digest, actual);
		error_set(err, -EBADMSG,
			  "%s: digest mismatch: the bytes of %s have %s; get the image again", from,
			  expected, actual);
	} else {
		fd = steal_fd(&blob->fd);
		if (lseek(fd, 0, SEEK_SET) == 0)
			return fd;
		close(fd);
	}
	image_blob_drop(blob);
	return -EBADMSG;
}

void image_blob_drop(struct image_blob *blob)
{
	close_fdp(&blob->fd);
	digest_drop(blob->hash);
	blob->hash = NULL;
}

/* Reads a verified JSON blob through one of the source's functions. */
static int read_json(struct image_source *source,
		     int (*get)(struct image_source *, const struct oci_descriptor *, struct job *,
				struct error *),
		     const struct oci_descriptor *what, struct job *job, char **json, size_t *len,
		     struct error *err)
{
	_cleanup_(close_fdp) int fd = -1;
	int r;

	if (what->size_bytes > OCI_JSON_MAX)
		return error_set(err, -EFBIG,
				 "the image's manifest or configuration is larger than 4 MiB");
	fd = get(source, what, job, err);
	if (fd < 0)
		return fd;
	r = io_read_fd(fd, OCI_JSON_MAX, json, len);
	return r < 0 ? error_set_errno(err, r, "cannot read the image's manifest") : 0;
}

int image_choose(struct image_source *source, struct image_manifest *manifest, const char *tag,
		 int only, struct job *job, struct error *err)
{
	for (int depth = 0; depth < INDEX_DEPTH_MAX; depth++) {
		struct oci_descriptor chosen;
		enum oci_kind kind;
		int r = oci_kind_of(manifest->json, manifest->len, &kind, err);

		if (r < 0 || kind == OCI_MANIFEST)
			return r;
		r = oci_select(manifest->json, manifest->len, tag, only, source->level, &chosen,
			       err);
		if (r < 0)
			return r;
		image_manifest_clear(manifest);
		r = read_json(source, source->manifest, &chosen, job, &manifest->json,
			      &manifest->len, err);
		if (r < 0)
			return r;
		manifest->digest = chosen.digest;
		tag = NULL;
		only = 0;
	}
	return error_set(err, -EBADMSG, "the image's indexes are nested too deep");
}

/* The layers one after the other, as they are read for the plan. */
struct planning {
	struct job *job;
	int fd; /* borrowed: the present layer's */
	uint64_t at, done_bytes, total_bytes;
};

static ssize_t read_layer(void *context, void *buf, size_t len)
{
	struct planning *planning = context;
	ssize_t n = io_pread_full(planning->fd, buf, len, planning->at);

	if (n <= 0)
		return n;
	planning->at += (uint64_t)n;
	planning->done_bytes += (uint64_t)n;
	if (job_progress(planning->job, "reading layers", planning->done_bytes,
			 planning->total_bytes) < 0)
		return -ECANCELED;
	return n;
}

/* Reads one layer into the plan and holds it against the digest that the configuration promised. */
static int plan_layer(struct layers_plan *plan, struct planning *planning, uint32_t number,
		      const struct digest *diff_id, uint64_t *budget, uint64_t *data_budget,
		      struct error *err)
{
	_cleanup_(layer_reader_closep) struct layer_reader *reader = NULL;
	struct digest actual;
	char what[32];
	int r;

	snprintf(what, sizeof(what), "layer %u", number);
	planning->at = 0;
	r = layer_reader_open(&reader, read_layer, planning, budget, what, err);
	if (r == 0)
		r = layers_plan_add(plan, reader, data_budget, err);
	if (r == 0)
		r = layer_reader_finish(reader, &actual, err);
	if (r == 0 && !digest_equal(&actual, diff_id))
		r = error_set(err, -EBADMSG,
			      "%s: digest mismatch: its content is not what the configuration's "
			      "diff_id says",
			      what);
	return r;
}

static int plan_layers(struct store *store, const struct oci_manifest *manifest,
		       const struct layer_files *files, const struct oci_rootfs *rootfs,
		       struct layers_plan **out, struct job *job, struct error *err)
{
	_cleanup_(layers_plan_freep) struct layers_plan *plan = NULL;
	uint64_t budget = store_max_bytes(store), data_budget = budget;
	struct planning planning = {.job = job};
	int r = layers_plan_new(&plan);

	if (r < 0)
		return error_set(err, r, "out of memory");
	for (uint32_t i = 0; i < files->n; i++)
		planning.total_bytes += manifest->layers[i].size_bytes; /* checked when fetched */
	for (uint32_t i = 0; i < files->n && r == 0; i++) {
		planning.fd = files->fds[i];
		r = plan_layer(plan, &planning, i + 1, &rootfs->diff_ids[i], &budget, &data_budget,
			       err);
	}
	if (r == 0)
		*out = steal_ptr(&plan);
	return r;
}

/* Makes the image's file or folder in tmp/ and gives it its name. Fills in kernel and size_bytes.
 */
static int make_files(struct store *store, struct layers_plan *plan,
		      const struct layer_files *files, struct job *job, struct store_image *image,
		      struct error *err)
{
	char tmp[STORE_PATH_MAX], name[STORE_PATH_MAX];
	uint64_t budget = UINT64_MAX; /* the same bytes passed the real one before */
	struct stat st;
	int r = store_tmp_path(store, tmp, err);

	if (r < 0)
		return r;
	image->kernel = kernel_present(plan);
	if (image->kernel) {
		r = kernel_extract(plan, files->fds, files->n, &budget, tmp, &image->size_bytes,
				   err);
	} else {
		r = pack_squashfs(plan, files->fds, files->n, &budget, tmp, job, err);
		if (r == 0 && stat(tmp, &st) == 0)
			image->size_bytes = (uint64_t)st.st_size;
	}
	if (r == -ENOSPC)
		return store_failed(store, r, "write the image", err);
	if (r < 0)
		return r;
	store_image_file(&image->manifest, image->kernel, name);
	return store_publish(store, tmp, name, err);
}

static uint64_t now_unix_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Checks that manifest and configuration fit together and that the workload's part can be told to
 * the daemon later. */
static int check_config(const struct oci_manifest *manifest, const char *json, size_t len,
			struct oci_rootfs *rootfs, struct error *err)
{
	Protect__Storage__ImageConfig *config = NULL;
	int r = oci_parse_rootfs(json, len, rootfs, err);

	if (r == 0)
		r = oci_parse_config(json, len, &config, err);
	if (r < 0)
		return r;
	protect__storage__image_config__free_unpacked(config, NULL);
	if (rootfs->n_diff_ids != manifest->n_layers)
		return error_set(err, -EBADMSG, "the image has %u layers but %u diff_ids",
				 manifest->n_layers, rootfs->n_diff_ids);
	return 0;
}

/* Everything but the name, for an image that is not in the store. */
static int make_image(struct store *store, struct image_source *source,
		      const struct image_manifest *manifest, struct job *job,
		      struct store_image *image, struct error *err)
{
	_cleanup_(layer_files_close) struct layer_files files = {.n = 0};
	_cleanup_(layers_plan_freep) struct layers_plan *plan = NULL;
	_cleanup_(freep) char *config = NULL;
	_cleanup_(freep) struct oci_manifest *parsed = malloc(sizeof(*parsed));
	_cleanup_(freep) struct oci_rootfs *rootfs = malloc(sizeof(*rootfs));
	size_t config_len = 0;
	int r;

	if (!parsed || !rootfs)
		return error_set(err, -ENOMEM, "out of memory");
	r = oci_parse_manifest(manifest->json, manifest->len, parsed, err);
	if (r == 0)
		r = read_json(source, source->blob, &parsed->config, job, &config, &config_len,
			      err);
	if (r == 0)
		r = check_config(parsed, config, config_len, rootfs, err);
	if (r == 0)
		r = fetch_layers(store, source, parsed, job, &files, err);
	if (r == 0)
		r = plan_layers(store, parsed, &files, rootfs, &plan, job, err);
	image->manifest = manifest->digest;
	image->created_unix_ms = now_unix_ms();
	if (r == 0)
		r = make_files(store, plan, &files, job, image, err);
	if (r == 0)
		r = store_admit(store, image, err);
	if (r < 0)
		return r;
	image->config = parsed->config.digest;
	r = store_put_blob(store, &manifest->digest, manifest->json, manifest->len, err);
	return r < 0 ? r : store_put_blob(store, &image->config, config, config_len, err);
}

/* Whether the source has all of an image that the store has. */
static int check_source(struct image_source *source, const struct image_manifest *manifest,
			struct job *job, struct error *err)
{
	_cleanup_(freep) struct oci_manifest *parsed = malloc(sizeof(*parsed));
	int r;

	if (!source->check)
		return 0;
	if (!parsed)
		return error_set(err, -ENOMEM, "out of memory");
	r = oci_parse_manifest(manifest->json, manifest->len, parsed, err);
	if (r == 0)
		r = source->check(source, &parsed->config, job, err);
	for (uint32_t i = 0; i < parsed->n_layers && r == 0; i++)
		r = source->check(source, &parsed->layers[i], job, err);
	return r;
}

int image_install(struct store *store, struct image_source *source,
		  const struct image_manifest *manifest, const char *name, struct job *job,
		  struct store_image *image, struct error *err)
{
	int r;

	memset(image, 0, sizeof(*image));
	store_claim(store, &manifest->digest);
	r = store_has(store, &manifest->digest, image, err);
	if (r == 0)
		r = make_image(store, source, manifest, job, image, err);
	else if (r > 0)
		r = check_source(source, manifest, job, err);
	if (r >= 0) {
		snprintf(image->name, sizeof(image->name), "%s", name);
		r = store_add(store, image, err);
	}
	store_release(store, &manifest->digest);
	return r;
}
