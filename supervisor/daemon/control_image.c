// SPDX-License-Identifier: Apache-2.0
/*
 * The methods about images: each is one question to protect-storage, whose progress and result are
 * handed on. An import's bytes go from the client's stream into a pipe that storage reads; credit
 * goes back only for what the pipe took. A client that goes ends its operations.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "supervisor/daemon/server.h"
#include "supervisor/daemon/storage_client.h"
#include "supervisor/daemon/workload.h"
#include "supervisor/daemon/zone.h"

#define LIST_PARTS_MAX 256u
#define OPS_USER_MAX   8u /* pulls, imports and other questions of one user that is not root */

struct image_op {
	struct image_op *next;
	struct daemon *daemon;
	struct ticket ticket;
	struct storage_call *storage; /* NULL once answered */
	/* list only: the parts that came before the last */
	Protect__Storage__Reply **parts;
	size_t n_parts;
	/* import only */
	struct idm_stream *stream;
	bool stream_ended; /* the client sends no more */
	int pipe;
	struct watch *pipe_watch;
	uint8_t *waiting; /* what the pipe did not take yet, at most the window */
	size_t waiting_start, waiting_len;
};

static void close_pipe(struct image_op *op)
{
	op->pipe_watch = watch_free(op->pipe_watch);
	close_fdp(&op->pipe);
	free(op->waiting);
	op->waiting = NULL;
	op->waiting_start = op->waiting_len = 0;
}

static void op_free(struct image_op *op)
{
	for (struct image_op **place = &op->daemon->image_ops; *place; place = &(*place)->next)
		if (*place == op) {
			*place = op->next;
			break;
		}
	close_pipe(op);
	op->storage = storage_cancel(op->storage);
	for (size_t i = 0; i < op->n_parts; i++)
		protect__storage__reply__free_unpacked(op->parts[i], NULL);
	free(op->parts);
	if (op->stream)
		idm_stream_reset(op->stream, -ECANCELED);
	free(op);
}

/* It was answered. What the client still sends is not wanted; its stream ends with its own end or
 * here. */
static void op_finish(struct image_op *op)
{
	if (op->stream && !op->stream_ended) {
		idm_stream_reset(op->stream, -ECANCELED);
		op->stream = NULL;
	} else if (op->stream) {
		idm_stream_end(op->stream);
		op->stream = NULL;
	}
	op_free(op);
}

static bool has_too_many(struct daemon *d, uid_t uid)
{
	unsigned n = 0;

	for (const struct image_op *op = d->image_ops; op; op = op->next)
		n += server_client_uid(d, op->ticket.client) == uid;
	return uid != 0 && n >= OPS_USER_MAX;
}

/* NULL: the ticket is answered. */
static struct image_op *op_new(struct daemon *d, struct ticket ticket)
{
	struct image_op *op;

	if (has_too_many(d, server_client_uid(d, ticket.client))) {
		server_fail(d, ticket, -EBUSY,
			    "%u requests of yours about images are under way; wait for one of them",
			    OPS_USER_MAX);
		return NULL;
	}
	op = calloc(1, sizeof(*op));
	if (!op) {
		server_fail(d, ticket, -ENOMEM, "protect-daemon is out of memory");
		return NULL;
	}
	*op = (struct image_op){.daemon = d, .ticket = ticket, .pipe = -1, .next = d->image_ops};
	d->image_ops = op;
	return op;
}

static uint32_t count_users(const struct daemon *d, const char *name, const char *digest)
{
	uint32_t n = 0;

	for (const struct zone *z = d->zones; z; z = z->next)
		if (z->phase != ZONE_PHASE_ENDED)
			n += strcmp(z->row.kernel, name) == 0 ||
			     strcmp(z->row.kernel_digest, digest) == 0;
	for (const struct workload *w = d->workloads; w; w = w->next)
		if (w->zone->phase != ZONE_PHASE_ENDED)
			n += strcmp(w->row.image, name) == 0 ||
			     strcmp(w->row.image_digest, digest) == 0;
	return n;
}

static void fill_image(const struct daemon *d, const Protect__Storage__Image *from,
		       Protect__Control__Image *to)
{
	protect__control__image__init(to);
	to->name = from->name;
	to->digest = from->digest;
	to->size_bytes = from->size_bytes;
	to->created_unix_ms = from->created_unix_ms;
	to->kernel = from->kernel;
	to->variant = from->variant;
	to->users = count_users(d, from->name, from->digest);
}

static void reply_image(struct image_op *op, const Protect__Storage__Image *image)
{
	Protect__Control__Image message;

	fill_image(op->daemon, image, &message);
	server_reply(op->daemon, op->ticket, &message.base);
}

/* Keeps a part of a list beyond the callback it came in. Returns 0 or a negative errno. */
static int keep_part(struct image_op *op, const Protect__Storage__Reply *reply)
{
	size_t len = protect__storage__reply__get_packed_size(reply);
	_cleanup_(freep) uint8_t *packed = malloc(len + 1);
	Protect__Storage__Reply **parts;

	if (op->n_parts >= LIST_PARTS_MAX)
		return -E2BIG;
	parts = realloc(op->parts, (op->n_parts + 1) * sizeof(Protect__Storage__Reply *));
	if (!parts || !packed)
		return -ENOMEM;
	op->parts = parts;
	protect__storage__reply__pack(reply, packed);
	parts[op->n_parts] = protect__storage__reply__unpack(NULL, len, packed);
	if (!parts[op->n_parts])
		return -ENOMEM;
	op->n_parts++;
	return 0;
}

static size_t count_images(const struct image_op *op)
{
	size_t n = 0;

	for (size_t i = 0; i < op->n_parts; i++)
		n += op->parts[i]->n_images;
	return n;
}

/* Answers with all parts together. */
static void reply_list(struct image_op *op)
{
	Protect__Control__ImageList list = PROTECT__CONTROL__IMAGE_LIST__INIT;
	size_t n = count_images(op), at = 0;
	_cleanup_(freep) Protect__Control__Image *images = calloc(n + 1, sizeof(*images));
	_cleanup_(freep) Protect__Control__Image **pointers =
		calloc(n + 1, sizeof(Protect__Control__Image *));

	if (!images || !pointers) {
		server_fail(op->daemon, op->ticket, -ENOMEM, "protect-daemon is out of memory");
		return;
	}
	for (size_t i = 0; i < op->n_parts; i++)
		for (size_t k = 0; k < op->parts[i]->n_images; k++, at++) {
			fill_image(op->daemon, op->parts[i]->images[k], &images[at]);
			pointers[at] = &images[at];
		}
	list.images = pointers;
	list.n_images = n;
	server_reply(op->daemon, op->ticket, &list.base);
}

static void pass_progress(struct image_op *op, const Protect__Storage__Progress *from)
{
	Protect__Control__Progress to = PROTECT__CONTROL__PROGRESS__INIT;

	to.text = from->text;
	to.done = from->done;
	to.total = from->total;
	to.item = from->item;
	to.item_number = from->item_number;
	to.items = from->items;
	server_progress_message(op->daemon, op->ticket, &to);
}

/* Progress goes on to the client. Returns true for the result; the call is over then. */
static bool is_result(struct image_op *op, const Protect__Storage__Reply *reply)
{
	if (reply->progress) {
		pass_progress(op, reply->progress);
		return false;
	}
	op->storage = NULL;
	return true;
}

static void got_image(void *user, const Protect__Storage__Reply *reply, const int *fds,
		      unsigned n_fds)
{
	struct image_op *op = user;

	(void)fds;
	(void)n_fds;
	if (!is_result(op, reply))
		return;
	if (reply->error)
		server_fail(op->daemon, op->ticket, -(int)reply->error, "%s", reply->text);
	else if (reply->image)
		reply_image(op, reply->image);
	else
		server_fail(op->daemon, op->ticket, -EPROTO, "protect-storage named no image");
	op_finish(op);
}

/* A long list comes in parts, of which all but the last are marked as progress. */
static void got_list(void *user, const Protect__Storage__Reply *reply, const int *fds,
		     unsigned n_fds)
{
	struct image_op *op = user;
	int r = reply->error ? -(int)reply->error : keep_part(op, reply);

	(void)fds;
	(void)n_fds;
	if (reply->progress)
		return;
	op->storage = NULL;
	if (r < 0)
		server_fail(op->daemon, op->ticket, r, "%s",
			    reply->error ? reply->text : "the list of images is too long");
	else
		reply_list(op);
	op_finish(op);
}

static void got_removed(void *user, const Protect__Storage__Reply *reply, const int *fds,
			unsigned n_fds)
{
	struct image_op *op = user;

	(void)fds;
	(void)n_fds;
	if (!is_result(op, reply))
		return;
	if (reply->error)
		server_fail(op->daemon, op->ticket, -(int)reply->error, "%s", reply->text);
	else
		server_reply_empty(op->daemon, op->ticket);
	op_finish(op);
}

/* Starts the question; answers the ticket if that fails. */
static void op_ask(struct image_op *op, const Protect__Storage__Request *request, int fd,
		   storage_fn *fn)
{
	op->storage = storage_call(&op->daemon->hub, op->daemon->options.storage_socket, request,
				   fd, fn, op);
	if (op->storage)
		return;
	server_fail(op->daemon, op->ticket, -ENOMEM, "protect-daemon is out of memory");
	op_finish(op);
}

static void ask(struct daemon *d, struct ticket ticket, const Protect__Storage__Request *request,
		storage_fn *fn)
{
	struct image_op *op = op_new(d, ticket);

	if (op)
		op_ask(op, request, -1, fn);
}

void control_image_pull(struct daemon *d, struct ticket ticket, const void *message)
{
	const Protect__Control__ImagePull *pull = message;
	Protect__Storage__Request request = PROTECT__STORAGE__REQUEST__INIT;
	Protect__Storage__Pull what = PROTECT__STORAGE__PULL__INIT;

	what.ref = pull->ref;
	what.username = pull->username;
	what.platform = pull->platform;
	what.password = pull->password;
	request.what_case = PROTECT__STORAGE__REQUEST__WHAT_PULL;
	request.pull = &what;
	ask(d, ticket, &request, got_image);
	explicit_bzero(pull->password, strlen(pull->password)); /* it is storage's now */
}

void control_image_list(struct daemon *d, struct ticket ticket, const void *message)
{
	Protect__Storage__Request request = PROTECT__STORAGE__REQUEST__INIT;
	Protect__Storage__List what = PROTECT__STORAGE__LIST__INIT;

	(void)message;
	request.what_case = PROTECT__STORAGE__REQUEST__WHAT_LIST;
	request.list = &what;
	ask(d, ticket, &request, got_list);
}

static void add_digest(char **digests, size_t *n, char *digest)
{
	for (size_t i = 0; i < *n; i++)
		if (strcmp(digests[i], digest) == 0)
			return;
	if (*digest)
		digests[(*n)++] = digest;
}

/* The digests of all images that something runs from, borrowed. Returns an array for the caller to
 * free, NULL without memory. */
static char **digests_in_use(struct daemon *d, size_t *n)
{
	size_t most = 1;
	char **digests;

	for (const struct zone *z = d->zones; z; z = z->next)
		most++;
	for (const struct workload *w = d->workloads; w; w = w->next)
		most++;
	digests = calloc(most, sizeof(*digests));
	*n = 0;
	if (!digests)
		return NULL;
	for (struct zone *z = d->zones; z; z = z->next)
		if (z->phase != ZONE_PHASE_ENDED)
			add_digest(digests, n, z->row.kernel_digest);
	for (struct workload *w = d->workloads; w; w = w->next)
		if (w->zone->phase != ZONE_PHASE_ENDED)
			add_digest(digests, n, w->row.image_digest);
	return digests;
}

void control_image_remove(struct daemon *d, struct ticket ticket, const void *message)
{
	const Protect__Control__Ref *ref = message;
	Protect__Storage__Request request = PROTECT__STORAGE__REQUEST__INIT;
	Protect__Storage__Remove what = PROTECT__STORAGE__REMOVE__INIT;
	uint32_t users = *ref->ref ? count_users(d, ref->ref, ref->ref) : 0;
	_cleanup_(freep) char **in_use = NULL;

	if (users) {
		server_fail(
			d, ticket, -EBUSY,
			"image '%s' is in use by %u; destroy them first ('protect workload list')",
			ref->ref, users);
		return;
	}
	in_use = digests_in_use(d, &what.n_in_use);
	if (!in_use) {
		server_fail(d, ticket, -ENOMEM, "protect-daemon is out of memory");
		return;
	}
	what.ref = ref->ref;
	what.in_use = in_use;
	request.what_case = PROTECT__STORAGE__REQUEST__WHAT_REMOVE;
	request.remove = &what;
	ask(d, ticket, &request, got_removed);
}

/* Storage reads no more, for a reason that its answer will tell: the client's bytes are taken and
 * dropped. */
static void drop_bytes(struct image_op *op)
{
	size_t len = op->waiting_len;

	close_pipe(op);
	if (op->stream && len)
		idm_stream_consumed(op->stream, len);
}

/* Writes what waits. Closing the pipe is the end of the archive. */
static void write_waiting(struct image_op *op)
{
	while (op->waiting_len) {
		ssize_t n = write(op->pipe, op->waiting + op->waiting_start, op->waiting_len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			watch_set(op->pipe_watch, POLLOUT);
			return;
		}
		if (n < 0) {
			drop_bytes(op);
			return;
		}
		op->waiting_start += (size_t)n;
		op->waiting_len -= (size_t)n;
		if (op->stream)
			idm_stream_consumed(op->stream, (size_t)n);
	}
	op->waiting_start = 0;
	if (op->stream_ended)
		close_pipe(op);
	else
		watch_set(op->pipe_watch, 0);
}

static void pipe_writable(void *user, uint32_t events)
{
	(void)events;
	write_waiting(user);
}

static void got_bytes(void *user, struct idm_stream *stream, const void *data, size_t len)
{
	struct image_op *op = user;

	if (op->pipe < 0 || op->waiting_len + len > IDM_WINDOW) {
		idm_stream_consumed(stream, len);
		return;
	}
	if (op->waiting_start + op->waiting_len + len > IDM_WINDOW) {
		memmove(op->waiting, op->waiting + op->waiting_start, op->waiting_len);
		op->waiting_start = 0;
	}
	memcpy(op->waiting + op->waiting_start + op->waiting_len, data, len);
	op->waiting_len += len;
	write_waiting(op);
}

static void got_end(void *user, struct idm_stream *stream, int error)
{
	struct image_op *op = user;

	(void)stream;
	op->stream_ended = true;
	if (error) {
		/* Half an archive: storage must not take it for a whole one. */
		op->stream = NULL;
		server_fail(op->daemon, op->ticket, error,
			    "the upload ended before its time; nothing was imported");
		op_free(op);
	} else if (op->pipe >= 0) {
		write_waiting(op);
	}
}

static const struct idm_stream_ops upload_ops = {.data = got_bytes, .closed = got_end};

/* #syscalls daemon: pipe2 write close */
static int open_pipe(struct image_op *op, int *read_end)
{
	int ends[2], r;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	*read_end = ends[0];
	op->pipe = ends[1];
	op->waiting = malloc(IDM_WINDOW);
	r = op->waiting ? io_set_nonblock(op->pipe, 1) : -ENOMEM;
	if (r == 0)
		r = watch_new(&op->daemon->hub, op->pipe, pipe_writable, op, &op->pipe_watch);
	return r;
}

static int accept_upload(struct image_op *op, uint64_t number)
{
	struct idm *idm = server_session(op->daemon, op->ticket.client);

	return idm ? idm_stream_accept(idm, number, IDM_WINDOW, &upload_ops, op, &op->stream)
		   : -ECONNRESET;
}

void control_image_import(struct daemon *d, struct ticket ticket, const void *message)
{
	const Protect__Control__ImageImport *import = message;
	Protect__Storage__Request request = PROTECT__STORAGE__REQUEST__INIT;
	Protect__Storage__Import what = PROTECT__STORAGE__IMPORT__INIT;
	_cleanup_(close_fdp) int read_end = -1;
	struct image_op *op = op_new(d, ticket);
	int r;

	if (!op)
		return;
	r = open_pipe(op, &read_end);
	if (r == 0)
		r = accept_upload(op, import->stream);
	if (r < 0) {
		server_fail(d, ticket, r, "the upload cannot be taken: %s", strerror(-r));
		op_finish(op);
		return;
	}
	what.name = import->name;
	what.tag = import->tag;
	request.what_case = PROTECT__STORAGE__REQUEST__WHAT_IMPORT;
	request.import = &what;
	op_ask(op, &request, read_end, got_image);
}

void image_ops_client_gone(struct daemon *d, uint64_t client)
{
	for (struct image_op *op = d->image_ops, *next; op; op = next) {
		next = op->next;
		if (op->ticket.client == client)
			op_free(op);
	}
}
