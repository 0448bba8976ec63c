// SPDX-License-Identifier: Apache-2.0
#include "supervisor/storage/ops.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "supervisor/storage/archive_import.h"
#include "supervisor/storage/layout.h"
#include "supervisor/storage/oci.h"
#include "supervisor/storage/platform.h"
#include "supervisor/storage/registry.h"
#include "supervisor/storage/volume_ops.h"

#define REQUEST_TIMEOUT_S 30
#define REPLY_TIMEOUT_S	  30
#define IDLE_TIMEOUT_NS	  (120 * NS_PER_S)
#define POLL_MS		  200
#define LIST_PACKET_BYTES (48u * 1024)

/* What one connection's operation yields. */
struct outcome {
	struct error err;
	Protect__Storage__Reply reply;
	struct store_image image;
	int fds[KERNEL_FILES];
	unsigned n_fds;
};

int ops_pull(struct storage *storage, const char *ref, const char *platform,
	     const struct registry_login *login, struct job *job, struct store_image *image,
	     struct error *err)
{
	_cleanup_(image_manifest_clear) struct image_manifest manifest = {.json = NULL};
	_cleanup_(registry_close) struct registry registry = {.n_endpoints = 0};
	struct reference reference;
	unsigned level;
	int r = reference_parse(ref, &reference, err);

	if (r == 0)
		r = platform_parse(platform, &level, err);
	if (r == 0)
		r = registry_open(&registry, storage->store, storage->settings, &reference, login,
				  job, err);
	if (r == 0) {
		registry.source.level = level;
		r = registry_choose(&registry, &manifest, job, err);
	}
	if (r == 0)
		r = image_install(storage->store, &registry.source, &manifest, reference.canonical,
				  job, image, err);
	return r;
}

/* The name to keep an import under: the one given, or what the archive calls the image, if that is
 * more than a tag. */
static int import_name(const char *name, const char *ref_name, char *out, struct error *err)
{
	if (name[0])
		return reference_local(name, out, err);
	if (ref_name && strpbrk(ref_name, ":/"))
		return reference_local(ref_name, out, err);
	return error_set(
		err, -EINVAL,
		"the archive does not say what its image is called; give it a name with --name");
}

/* A stream that may stall: its reader looks at the job in between. */
struct stream {
	int fd;
	struct job *job;
};

static ssize_t read_stream(void *context, void *buf, size_t len)
{
	struct stream *stream = context;
	uint64_t until_ns = clock_now_ns() + IDLE_TIMEOUT_NS;

	for (;;) {
		struct pollfd poll_fd = {.fd = stream->fd, .events = POLLIN};
		int ready = poll(&poll_fd, 1, POLL_MS);
		ssize_t n;

		if (job_progress(stream->job, "waiting for the archive", 0, 0) < 0)
			return -ECANCELED;
		if (ready == 0 || (ready < 0 && errno == EINTR)) {
			if (clock_now_ns() > until_ns)
				return -ETIMEDOUT;
			continue;
		}
		n = ready < 0 ? -1 : read(stream->fd, buf, len);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		return n < 0 ? -errno : n;
	}
}

int ops_import_fd(struct storage *storage, int fd, const char *name, const char *tag,
		  struct job *job, struct store_image *image, struct error *err)
{
	_cleanup_(image_manifest_clear) struct image_manifest manifest = {.json = NULL};
	_cleanup_(archive_import_close) struct archive_import import = {.spool_fd = -1};
	_cleanup_(freep) char *ref_name = NULL;
	struct stream stream = {.fd = fd, .job = job};
	char kept[REFERENCE_MAX];
	int r = archive_import_open(&import, storage->store, read_stream, &stream, job, err);

	if (r == 0)
		r = archive_import_choose(&import, tag[0] ? tag : NULL, &manifest, &ref_name, job,
					  err);
	if (r == 0)
		r = import_name(name, ref_name, kept, err);
	if (r == 0)
		r = image_install(storage->store, &import.source, &manifest, kept, job, image, err);
	return r;
}

int ops_import_layout(struct storage *storage, const char *path, const char *tag, const char *name,
		      struct job *job, struct store_image *image, struct error *err)
{
	_cleanup_(image_manifest_clear) struct image_manifest manifest = {.json = NULL};
	_cleanup_(layout_close) struct layout layout = {.dir_fd = -1};
	_cleanup_(freep) char *ref_name = NULL;
	char kept[REFERENCE_MAX];
	int r = layout_open(&layout, storage->store, path, err);

	if (r == 0)
		r = layout_choose(&layout, tag, &manifest, &ref_name, job, err);
	if (r == 0)
		r = import_name(name, ref_name, kept, err);
	if (r == 0)
		r = image_install(storage->store, &layout.source, &manifest, kept, job, image, err);
	return r;
}

int ops_open_kernel(struct storage *storage, const char *ref, const char *variant,
		    int fds[KERNEL_FILES], struct store_image *image, struct error *err)
{
	int r;

	if (ref[0] && variant[0])
		return error_set(err, -EINVAL, "a kernel and a variant exclude each other");
	if (variant[0])
		r = kernel_find_variant(storage->store, variant, OPS_DEFAULT_KERNEL, image, err);
	else
		r = store_find(storage->store, ref[0] ? ref : OPS_DEFAULT_KERNEL, image, err);
	if (r < 0)
		return r;
	if (!image->kernel)
		return error_set(err, -EINVAL,
				 "image '%s' is not a zone kernel: it has no /kernel/image", ref);
	return kernel_open(storage->store, image, &storage->base, fds, err);
}

/* A new message for an image, without its configuration. NULL when memory is short. */
static Protect__Storage__Image *image_message(const struct store_image *from)
{
	Protect__Storage__Image *to = malloc(sizeof(*to));
	char digest[DIGEST_TEXT_SIZE];

	if (!to)
		return NULL;
	protect__storage__image__init(to);
	digest_text(&from->manifest, digest);
	to->name = strdup(from->name);
	to->digest = strdup(digest);
	to->size_bytes = from->size_bytes;
	to->created_unix_ms = from->created_unix_ms;
	to->kernel = from->kernel;
	if (to->name && to->digest)
		return to;
	protect__storage__image__free_unpacked(to, NULL);
	return NULL;
}

/* As image_message(), with a kernel's variant. */
static Protect__Storage__Image *list_message(struct store *store, const struct store_image *from)
{
	Protect__Storage__Image *to = image_message(from);
	char variant[KERNEL_VARIANT_MAX];

	if (!to)
		return NULL;
	kernel_variant(store, from, variant);
	to->variant = strdup(variant);
	if (to->variant)
		return to;
	to->variant = (char *)(uintptr_t)protobuf_c_empty_string;
	protect__storage__image__free_unpacked(to, NULL);
	return NULL;
}

/* Puts the outcome's image with its configuration into the reply. */
static int answer_image(struct storage *storage, struct outcome *outcome)
{
	_cleanup_(freep) char *json = NULL;
	size_t len;
	int r = store_get_blob(storage->store, &outcome->image.config, &json, &len, &outcome->err);

	if (r < 0)
		return r;
	outcome->reply.image = image_message(&outcome->image);
	if (!outcome->reply.image)
		return error_set(&outcome->err, -ENOMEM, "out of memory");
	return oci_parse_config(json, len, &outcome->reply.image->config, &outcome->err);
}

static int serve_open(struct storage *storage, const char *ref, struct outcome *outcome)
{
	char name[STORE_PATH_MAX];
	int fd, r = store_find(storage->store, ref, &outcome->image, &outcome->err);

	if (r < 0)
		return r;
	if (outcome->image.kernel)
		return error_set(&outcome->err, -EINVAL,
				 "image '%s' is a zone kernel, not a workload; give it to 'protect "
				 "zone launch --kernel'",
				 ref);
	store_image_file(&outcome->image.manifest, false, name);
	fd = store_open_file(storage->store, name, &outcome->err);
	if (fd < 0)
		return fd;
	outcome->fds[outcome->n_fds++] = fd;
	return answer_image(storage, outcome);
}

static int serve_open_kernel(struct storage *storage, const Protect__Storage__OpenKernel *open,
			     struct outcome *outcome)
{
	int r = ops_open_kernel(storage, open->ref, open->variant, outcome->fds, &outcome->image,
				&outcome->err);

	if (r < 0)
		return r;
	outcome->n_fds = KERNEL_FILES;
	r = kernel_read_metadata(storage->store, &outcome->image, &outcome->reply.kernel,
				 &outcome->err);
	return r < 0 ? r : answer_image(storage, outcome);
}

static int send_reply(int socket, const Protect__Storage__Reply *reply, const int *fds,
		      unsigned n_fds)
{
	size_t len = protect__storage__reply__get_packed_size(reply);
	_cleanup_(freep) uint8_t *packet = malloc(len + 2);
	ssize_t n;

	if (!packet || len > OPS_PACKET_MAX)
		return packet ? -EMSGSIZE : -ENOMEM;
	protect__storage__reply__pack(reply, packet);
	/* An empty packet would look like the end of the connection: "error = 0" in full says the
	 * same. */
	if (len == 0) {
		packet[len++] = 2 << 3;
		packet[len++] = 0;
	}
	n = io_send_fds(socket, packet, len, fds, n_fds, 0);
	return n < 0 ? (int)n : 0;
}

/* A list under way: sent in parts, all but the last marked with `progress`, since a packet holds
 * about 300 images. */
struct listing {
	struct store *store;
	int socket;
	Protect__Storage__Reply reply;
	size_t bytes, room;
};

static void clear_images(Protect__Storage__Reply *reply)
{
	for (size_t i = 0; i < reply->n_images; i++)
		protect__storage__image__free_unpacked(reply->images[i], NULL);
	reply->n_images = 0;
}

static int send_part(struct listing *listing)
{
	Protect__Storage__Progress more = PROTECT__STORAGE__PROGRESS__INIT;
	int r;

	listing->reply.progress = &more;
	r = send_reply(listing->socket, &listing->reply, NULL, 0);
	listing->reply.progress = NULL;
	clear_images(&listing->reply);
	listing->bytes = 0;
	return r;
}

static int add_to_list(void *context, const struct store_image *image)
{
	struct listing *listing = context;
	Protect__Storage__Reply *reply = &listing->reply;
	int r = listing->bytes > LIST_PACKET_BYTES ? send_part(listing) : 0;

	if (r == 0 && reply->n_images == listing->room) {
		size_t room = listing->room ? listing->room * 2 : 64;
		void *grown = realloc(reply->images, room * sizeof(Protect__Storage__Image *));

		if (!grown)
			return -ENOMEM;
		reply->images = grown;
		listing->room = room;
	}
	if (r < 0)
		return r;
	reply->images[reply->n_images] = list_message(listing->store, image);
	if (!reply->images[reply->n_images])
		return -ENOMEM;
	listing->bytes +=
		protect__storage__image__get_packed_size(reply->images[reply->n_images]) + 4;
	reply->n_images++;
	return 0;
}

static int serve_list(struct storage *storage, int socket, struct outcome *outcome)
{
	struct listing listing = {
		.store = storage->store, .socket = socket, .reply = PROTECT__STORAGE__REPLY__INIT};
	int r = store_list(storage->store, add_to_list, &listing, &outcome->err);

	if (r < 0) {
		clear_images(&listing.reply);
		free(listing.reply.images);
		return error_set_errno(&outcome->err, r, "cannot list the images");
	}
	outcome->reply.images = listing.reply.images;
	outcome->reply.n_images = listing.reply.n_images;
	return 0;
}

static int serve_import(struct storage *storage, const Protect__Storage__Import *import, int fd,
			struct job *job, struct outcome *outcome)
{
	int r;

	if (fd < 0)
		return error_set(&outcome->err, -EINVAL,
				 "the request to import came without an archive");
	r = ops_import_fd(storage, fd, import->name, import->tag, job, &outcome->image,
			  &outcome->err);
	return r < 0 ? r : answer_image(storage, outcome);
}

static int serve_pull(struct storage *storage, const Protect__Storage__Pull *pull, struct job *job,
		      struct outcome *outcome)
{
	const struct registry_login login = {.username = pull->username,
					     .password = pull->password};
	int r = ops_pull(storage, pull->ref, pull->platform, *pull->username ? &login : NULL, job,
			 &outcome->image, &outcome->err);

	/* It was for this pull alone. */
	explicit_bzero(pull->password, strlen(pull->password));

	return r < 0 ? r : answer_image(storage, outcome);
}

static int serve_volume_open(struct storage *storage, const Protect__Storage__VolumeOpen *open,
			     struct outcome *outcome)
{
	int fd = volume_ops_open(storage, open, &outcome->reply, &outcome->err);

	if (fd < 0)
		return fd;
	outcome->fds[outcome->n_fds++] = fd;
	return 0;
}

static int serve_scratch_open(struct storage *storage, const Protect__Storage__ScratchOpen *open,
			      struct outcome *outcome)
{
	int fd = volume_ops_make_scratch(storage, open, &outcome->reply, &outcome->err);

	if (fd < 0)
		return fd;
	outcome->fds[outcome->n_fds++] = fd;
	return 0;
}

static bool take_turn(struct storage *storage)
{
	unsigned n = atomic_load(&storage->n_long);

	while (n < OPS_LONG_MAX)
		if (atomic_compare_exchange_weak(&storage->n_long, &n, n + 1))
			return true;
	return false;
}

/*
 * What a stranger's server or a client feeds can last as long as they like: only so many at
 * once, so that nobody who opens a kernel waits for them.
 *
 * #syscalls storage: clock_nanosleep
 */
static int wait_for_turn(struct storage *storage, struct job *job, struct error *err)
{
	const struct timespec pause = {.tv_nsec = 100000000};
	int r = 0;

	while (r == 0 && !take_turn(storage)) {
		r = job_progress(job, "waiting for other pulls and imports", 0, 0);
		nanosleep(&pause, NULL);
	}
	return r < 0 ? error_set(err, r, "the client has left") : 0;
}

static int serve_long(struct storage *storage, const Protect__Storage__Request *request, int fd,
		      struct job *job, struct outcome *outcome)
{
	int r = wait_for_turn(storage, job, &outcome->err);

	if (r < 0)
		return r;
	if (request->what_case == PROTECT__STORAGE__REQUEST__WHAT_PULL)
		r = serve_pull(storage, request->pull, job, outcome);
	else
		r = serve_import(storage, request->import, fd, job, outcome);
	atomic_fetch_sub(&storage->n_long, 1);
	return r;
}

static int dispatch(struct storage *storage, const Protect__Storage__Request *request, int fd,
		    struct job *job, struct outcome *outcome)
{
	switch (request->what_case) {
	case PROTECT__STORAGE__REQUEST__WHAT_PULL:
	case PROTECT__STORAGE__REQUEST__WHAT_IMPORT:
		return serve_long(storage, request, fd, job, outcome);
	case PROTECT__STORAGE__REQUEST__WHAT_OPEN:
		return serve_open(storage, request->open->ref, outcome);
	case PROTECT__STORAGE__REQUEST__WHAT_OPEN_KERNEL:
		return serve_open_kernel(storage, request->open_kernel, outcome);
	case PROTECT__STORAGE__REQUEST__WHAT_LIST:
		return serve_list(storage, job->socket, outcome);
	case PROTECT__STORAGE__REQUEST__WHAT_REMOVE:
		return store_remove(storage->store, request->remove->ref, request->remove->in_use,
				    request->remove->n_in_use, &outcome->err);
	case PROTECT__STORAGE__REQUEST__WHAT_VOLUME_CREATE:
	case PROTECT__STORAGE__REQUEST__WHAT_VOLUME_LIST:
	case PROTECT__STORAGE__REQUEST__WHAT_VOLUME_RESIZE:
	case PROTECT__STORAGE__REQUEST__WHAT_VOLUME_REMOVE:
		return volume_ops_serve(storage, request, &outcome->reply, &outcome->err);
	case PROTECT__STORAGE__REQUEST__WHAT_VOLUME_OPEN:
		return serve_volume_open(storage, request->volume_open, outcome);
	case PROTECT__STORAGE__REQUEST__WHAT_SCRATCH_OPEN:
		return serve_scratch_open(storage, request->scratch_open, outcome);
	case PROTECT__STORAGE__REQUEST__WHAT_PING:
		return 0;
	default:
		return error_set(&outcome->err, -EINVAL,
				 "protect-storage does not know this request");
	}
}

static void answer(int socket, struct outcome *outcome, int r)
{
	Protect__Storage__Reply failure = PROTECT__STORAGE__REPLY__INIT;

	if (r == 0)
		r = send_reply(socket, &outcome->reply, outcome->fds, outcome->n_fds);
	if (r == -EMSGSIZE)
		error_set(&outcome->err, r, "the image's description does not fit into an answer");
	if (r == 0)
		return;
	error_set_errno(&outcome->err, r, "protect-storage failed");
	failure.error = (uint32_t)-r;
	failure.text = outcome->err.text;
	send_reply(socket, &failure, NULL, 0);
	if (r != -ECANCELED)
		log_info("storage: operation failed err=\"%s\"", outcome->err.text);
}

static void outcome_clear(struct outcome *outcome)
{
	while (outcome->n_fds)
		close(outcome->fds[--outcome->n_fds]);
	if (outcome->reply.image)
		protect__storage__image__free_unpacked(outcome->reply.image, NULL);
	if (outcome->reply.kernel)
		protect__storage__kernel_metadata__free_unpacked(outcome->reply.kernel, NULL);
	clear_images(&outcome->reply);
	free(outcome->reply.images);
	volume_ops_clear(&outcome->reply);
}

/* Reads the one request of a connection. *fd is the caller's (or -1). NULL: nothing sensible came.
 */
static Protect__Storage__Request *receive(int socket, int *fd)
{
	const struct timeval in = {.tv_sec = REQUEST_TIMEOUT_S}, out = {.tv_sec = REPLY_TIMEOUT_S};
	_cleanup_(freep) uint8_t *packet = malloc(OPS_PACKET_MAX);
	unsigned n_fds = 1;
	ssize_t n;

	setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &in, sizeof(in));
	setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &out, sizeof(out));
	if (!packet)
		return NULL;
	n = io_recv_fds(socket, packet, OPS_PACKET_MAX, fd, &n_fds, 0);
	return n <= 0 ? NULL : protect__storage__request__unpack(NULL, (size_t)n, packet);
}

void ops_refuse(int socket, int error, const char *text)
{
	Protect__Storage__Reply reply = PROTECT__STORAGE__REPLY__INIT;
	uint8_t packet[256];

	reply.error = (uint32_t)-error;
	reply.text = (char *)(uintptr_t)text;
	assert(protect__storage__reply__get_packed_size(&reply) <= sizeof(packet));
	io_refuse(socket, packet, protect__storage__reply__pack(&reply, packet));
}

void ops_serve(struct storage *storage, int socket)
{
	_cleanup_(close_fdp) int fd = -1;
	Protect__Storage__Request *request = receive(socket, &fd);
	struct outcome outcome = {.err = ERROR_NULL, .reply = PROTECT__STORAGE__REPLY__INIT};
	struct job job = {.socket = socket};
	int r;

	if (request)
		r = dispatch(storage, request, fd, &job, &outcome);
	else
		r = error_set(&outcome.err, -EBADMSG, "protect-storage cannot read this request");
	answer(socket, &outcome, r);
	outcome_clear(&outcome);
	if (request)
		protect__storage__request__free_unpacked(request, NULL);
}
