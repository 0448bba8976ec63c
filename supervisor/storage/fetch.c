// SPDX-License-Identifier: Apache-2.0
#include "supervisor/storage/fetch.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define THREADS_MAX   16u
#define ITEM_NAME_HEX 12

/* What the threads of one fetch share. */
struct fetch {
	struct image_source *source;
	const struct oci_manifest *manifest;
	const struct job *job;
	struct layer_files *files;
	atomic_uint next;
	atomic_bool stop;
	pthread_mutex_t lock; /* of the result */
	int result;
	struct error *err;
};

void layer_files_close(struct layer_files *files)
{
	while (files->n)
		if (files->fds[--files->n] >= 0)
			close(files->fds[files->n]);
}

/* The first failure counts: what follows is only the others being stopped. */
static void fail(struct fetch *fetch, int r, const struct error *err)
{
	pthread_mutex_lock(&fetch->lock);
	if (fetch->result == 0) {
		fetch->result = r;
		if (fetch->err)
			*fetch->err = *err;
	}
	pthread_mutex_unlock(&fetch->lock);
	atomic_store(&fetch->stop, true);
}

static int fetch_one(struct fetch *fetch, uint32_t i)
{
	const struct oci_descriptor *layer = &fetch->manifest->layers[i];
	struct error err = ERROR_NULL;
	char name[DIGEST_TEXT_SIZE];
	struct job job;
	int fd;

	digest_hex(&layer->digest, name);
	name[ITEM_NAME_HEX] = '\0';
	job = job_part(fetch->job, name, i + 1, fetch->manifest->n_layers, &fetch->stop);
	fd = fetch->source->blob(fetch->source, layer, &job, &err);
	if (fd < 0) {
		fail(fetch, fd, &err);
		return fd;
	}
	fetch->files->fds[i] = fd;
	job_part_done(&job, "pulled", layer->size_bytes);
	return 0;
}

static void *work(void *context)
{
	struct fetch *fetch = context;
	uint32_t i;

	do
		i = atomic_fetch_add(&fetch->next, 1);
	while (i < fetch->manifest->n_layers && !atomic_load(&fetch->stop) &&
	       fetch_one(fetch, i) == 0);
	return NULL;
}

static int check_sizes(struct store *store, const struct oci_manifest *manifest, struct error *err)
{
	uint64_t total = 0;

	for (uint32_t i = 0; i < manifest->n_layers; i++)
		if (!checked_add(total, manifest->layers[i].size_bytes, &total) ||
		    total > store_max_bytes(store))
			return error_set(err, -EFBIG,
					 "the image's layers are larger than allowed; raise "
					 "max-image-size in protect.conf");
	return 0;
}

int fetch_layers(struct store *store, struct image_source *source,
		 const struct oci_manifest *manifest, struct job *job, struct layer_files *files,
		 struct error *err)
{
	struct fetch fetch = {.source = source,
			      .manifest = manifest,
			      .job = job,
			      .files = files,
			      .lock = PTHREAD_MUTEX_INITIALIZER,
			      .err = err};
	pthread_t threads[THREADS_MAX];
	unsigned want =
		source->parallel < manifest->n_layers ? source->parallel : manifest->n_layers;
	unsigned n = 0;
	int r = check_sizes(store, manifest, err);

	if (r < 0)
		return r;
	for (files->n = 0; files->n < manifest->n_layers; files->n++)
		files->fds[files->n] = -1;
	/* This thread is one of them; one that cannot be started is done without. */
	while (n + 1 < want && n < THREADS_MAX &&
	       pthread_create(&threads[n], NULL, work, &fetch) == 0)
		n++;
	work(&fetch);
	while (n)
		pthread_join(threads[--n], NULL);
	return fetch.result;
}
