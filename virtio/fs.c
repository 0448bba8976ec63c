// SPDX-License-Identifier: Apache-2.0
#include "virtio/fs.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/fuse.h>
#include <linux/virtio_config.h>
#include <linux/virtio_fs.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>

#include "base/cleanup.h"
#include "base/util.h"

#define BIT(n)	     (UINT64_C(1) << (n))
#define REQUESTS_MAX 64u	/* with the server at once */
#define MESSAGE_MAX  (1u << 20) /* twice what a server takes (zone-fs/fs.h) */
#define ERRNO_MAX    4095

enum { QUEUE_HIPRIO, QUEUE_REQUESTS, N_QUEUES };

struct request {
	bool used;
	unsigned queue;
	uint64_t unique;  /* the guest's name for it */
	bool is_answered; /* a server answers it: not so FORGET and the like */
	struct vq_chain chain;
};

struct fs {
	struct virtio_dev dev;
	struct loop *loop;
	int fd, slot;
	struct virtio_fs_config config;
	bool lost;

	/* To the server: one message after the other. */
	struct request *sending;
	struct fuse_in_header out_header; /* of `sending`, with our number */
	size_t sent;

	/* From the server. */
	struct fuse_out_header in_header;
	size_t received;	   /* of the message, its header included */
	struct request *receiving; /* once its header is there; NULL until then */

	struct loop_op in_op, out_op;
	bool in_waits, out_waits;
	void (*drained)(void *user); /* a reset waits for the two */
	void *drained_user;
	uint64_t n_requests, out_bytes, in_bytes, n_failed;
	struct request requests[REQUESTS_MAX];
};

static struct fs *from_dev(struct virtio_dev *dev)
{
	return container_of(dev, struct fs, dev);
}

static void config_read(struct virtio_dev *dev, uint32_t off, void *data, uint32_t len)
{
	virtio_config_copy(&from_dev(dev)->config, sizeof(struct virtio_fs_config), off, data, len);
}

static struct request *find_free(struct fs *fs)
{
	for (unsigned i = 0; i < REQUESTS_MAX; i++)
		if (!fs->requests[i].used)
			return &fs->requests[i];
	return NULL;
}

static void give_back(struct fs *fs, struct request *request, uint32_t written)
{
	vq_push(&fs->dev.queues[request->queue], request->chain.head, written);
	request->used = false;
}

/* Answers with no more than a header. */
static void answer(struct fs *fs, struct request *request, int error)
{
	const struct fuse_out_header header = {
		.len = sizeof(header), .error = error, .unique = request->unique};
	uint32_t written = 0;

	if (request->is_answered)
		written = (uint32_t)vq_copy_in(&request->chain, 0, &header, sizeof(header));
	fs->n_failed += error < 0;
	give_back(fs, request, written);
}

static void flush(struct fs *fs)
{
	for (unsigned i = 0; i < N_QUEUES; i++)
		vq_flush(&fs->dev.queues[i]);
}

/* For good. Who polls is woken by it. */
static void hang_up(struct fs *fs)
{
	fs->lost = true;
	fs->sending = fs->receiving = NULL;
	shutdown(fs->fd, SHUT_RDWR);
}

/* #syscalls loop: shutdown sendmsg recvmsg */
static void lose(struct fs *fs, const char *why)
{
	log_warning("dev=fs tag=%.*s err=\"the folder's server is lost: %s\" "
		    "next=\"the zone gets EIO\"",
		    VIRTIO_FS_TAG_MAX, (const char *)fs->config.tag, why);
	hang_up(fs);
	for (unsigned i = 0; i < REQUESTS_MAX; i++)
		if (fs->requests[i].used)
			answer(fs, &fs->requests[i], -EIO);
}

/* The message's bytes from `skip` on: those of our header, then of the chain. Returns how many
 * segments. */
static unsigned message_iov(void *header, size_t header_len, const struct iovec *iov, unsigned n,
			    size_t skip, struct iovec out[VQ_IOV_MAX + 1])
{
	size_t in_chain = header_len; /* the chain's own copy of the header */
	unsigned used = 0;

	if (skip < header_len)
		out[used++] = (struct iovec){(uint8_t *)header + skip, header_len - skip};
	else
		in_chain = skip;
	for (unsigned i = 0; i < n; i++) {
		if (in_chain >= iov[i].iov_len) {
			in_chain -= iov[i].iov_len;
			continue;
		}
		out[used++] = (struct iovec){(uint8_t *)iov[i].iov_base + in_chain,
					     iov[i].iov_len - in_chain};
		in_chain = 0;
	}
	return used;
}

/* Sends on. Returns 1 when all of it is with the server, 0 when it has to wait, or a negative
 * errno. */
static int send_on(struct fs *fs)
{
	const struct vq_chain *chain = &fs->sending->chain;
	struct iovec iov[VQ_IOV_MAX + 1];

	while (fs->sent < fs->out_header.len) {
		struct msghdr message = {.msg_iov = iov};
		ssize_t n;

		message.msg_iovlen = message_iov(&fs->out_header, sizeof(fs->out_header),
						 chain->iov, chain->n_out, fs->sent, iov);
		n = sendmsg(fs->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		fs->sent += (size_t)n;
	}
	fs->out_bytes += fs->sent;
	return 1;
}

static bool wants_answer(uint32_t opcode)
{
	return opcode != FUSE_FORGET && opcode != FUSE_BATCH_FORGET && opcode != FUSE_INTERRUPT;
}

/* Takes the header of a chain that was popped. Returns 0, or -EBADMSG if it is no request. */
static int begin(struct fs *fs, struct request *request)
{
	const struct vq_chain *chain = &request->chain;
	struct fuse_in_header *header = &fs->out_header;

	if (chain->out_len < sizeof(*header) || chain->out_len > MESSAGE_MAX)
		return -EBADMSG;
	vq_copy_out(chain, 0, header, sizeof(*header));
	request->is_answered = wants_answer(header->opcode);
	if (header->len != chain->out_len ||
	    (request->is_answered && chain->in_len < sizeof(struct fuse_out_header)))
		return -EBADMSG;
	request->unique = header->unique;
	header->unique = (uint64_t)(request - fs->requests) + 1;
	fs->sending = request;
	fs->sent = 0;
	return 0;
}

/* Goes on with what is being sent. Returns as send_on(). */
static int finish(struct fs *fs)
{
	struct request *request = fs->sending;
	int r = send_on(fs);

	if (r <= 0)
		return r;
	fs->sending = NULL;
	if (!request->is_answered)
		give_back(fs, request, 0);
	return 1;
}

/* One more request of a queue. Returns 1 if there was one, 0 if not or when it has to wait,
 * -EBADMSG if the queue is broken; a server that is lost breaks none. */
static int serve_one(struct fs *fs, unsigned queue)
{
	struct request *request = find_free(fs);
	int r;

	if (!request || fs->sending)
		return 0;
	r = vq_pop(&fs->dev.queues[queue], &request->chain);
	if (r <= 0)
		return r;
	request->used = true;
	request->queue = queue;
	fs->n_requests++;
	r = begin(fs, request);
	if (r < 0)
		return r;
	if (fs->lost) {
		fs->sending = NULL;
		answer(fs, request, -EIO);
		return 1;
	}
	r = finish(fs);
	if (r < 0)
		lose(fs, strerror(-r));
	return r != 0;
}

static void wait_to_send(struct fs *fs)
{
	if (fs->out_waits || fs->lost)
		return;
	fs->out_waits = true;
	if (loop_poll(fs->loop, &fs->out_op, fs->slot, POLLOUT) < 0)
		loop_defer(fs->loop, &fs->out_op);
}

static void wait_to_receive(struct fs *fs)
{
	if (fs->in_waits || fs->lost)
		return;
	fs->in_waits = true;
	if (loop_poll(fs->loop, &fs->in_op, fs->slot, POLLIN) < 0)
		loop_defer(fs->loop, &fs->in_op);
}

/* Serves a queue as far as it goes now. Returns whether more is to be done in a later turn. */
static bool serve_queue(struct fs *fs, unsigned queue)
{
	struct vq *vq = &fs->dev.queues[queue];
	int r = 1;

	vq_no_kicks(vq);
	for (unsigned n = 0; n < vq->size && r > 0; n++)
		r = serve_one(fs, queue);
	if (r < 0) {
		virtio_dev_broken(&fs->dev, "its requests");
		return false;
	}
	if (r > 0)
		return true;
	if (fs->sending)
		wait_to_send(fs);
	/* With no place for another request the next answer looks at the queues again. */
	return !fs->sending && find_free(fs) && vq_want_kicks(vq);
}

static void serve_queues(struct fs *fs)
{
	for (unsigned i = 0; i < N_QUEUES && !fs->dev.broken; i++)
		if (fs->dev.queues[i].enabled && serve_queue(fs, i))
			fs->dev.kick_again(&fs->dev, i);
	flush(fs);
}

static void kick(struct virtio_dev *dev, unsigned queue)
{
	struct fs *fs = from_dev(dev);

	if (serve_queue(fs, queue))
		dev->kick_again(dev, queue);
	flush(fs);
}

/* Whose answer begins with the header that has come. NULL: nobody's, or not as it must be. */
static struct request *find_asker(struct fs *fs)
{
	const struct fuse_out_header *header = &fs->in_header;
	struct request *request;

	if (header->unique < 1 || header->unique > REQUESTS_MAX || header->len < sizeof(*header) ||
	    header->error > 0 || header->error < -ERRNO_MAX ||
	    (header->error && header->len != sizeof(*header)))
		return NULL;
	request = &fs->requests[header->unique - 1];
	if (!request->used || !request->is_answered || request == fs->sending ||
	    header->len > request->chain.in_len)
		return NULL;
	return request;
}

/* Reads on in the answer that is coming. Returns the bytes read, 0 when there are none, or a
 * negative errno. */
static ssize_t receive_on(struct fs *fs)
{
	struct fuse_out_header *header = &fs->in_header;
	struct iovec iov[VQ_IOV_MAX + 1];
	struct msghdr message = {.msg_iov = iov, .msg_iovlen = 1};
	ssize_t n;

	if (fs->received < sizeof(*header)) {
		iov[0] = (struct iovec){(uint8_t *)header + fs->received,
					sizeof(*header) - fs->received};
	} else {
		const struct vq_chain *chain = &fs->receiving->chain;
		size_t left = header->len - fs->received;
		unsigned used = message_iov(header, sizeof(*header), chain->iov + chain->n_out,
					    chain->n_in, fs->received, iov);

		/* No byte of the next answer. */
		for (message.msg_iovlen = 0; message.msg_iovlen < used && left;) {
			struct iovec *part = &iov[message.msg_iovlen++];

			if (part->iov_len > left)
				part->iov_len = left;
			left -= part->iov_len;
		}
	}
	n = recvmsg(fs->fd, &message, MSG_DONTWAIT);
	if (n == 0)
		return -ECONNRESET;
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	fs->received += (size_t)n;
	fs->in_bytes += (size_t)n;
	return n;
}

/* The whole answer is in the guest's memory, but for its header. */
static void pass_on(struct fs *fs)
{
	struct request *request = fs->receiving;

	fs->in_header.unique = request->unique;
	vq_copy_in(&request->chain, 0, &fs->in_header, sizeof(fs->in_header));
	fs->receiving = NULL;
	fs->received = 0;
	give_back(fs, request, fs->in_header.len);
}

/* Takes answers, as many as there were requests at most. */
static void receive_all(struct fs *fs)
{
	for (unsigned n = 0; n < REQUESTS_MAX;) {
		ssize_t r = receive_on(fs);

		if (r < 0)
			lose(fs, strerror((int)-r));
		if (r <= 0)
			return;
		if (fs->received < sizeof(fs->in_header))
			continue;
		if (!fs->receiving)
			fs->receiving = find_asker(fs);
		if (!fs->receiving) {
			lose(fs, "an answer that nobody asked for");
			return;
		}
		if (fs->received == fs->in_header.len) {
			pass_on(fs);
			n++;
		}
	}
}

/* The reset that waits may go on. */
static void maybe_drained(struct fs *fs)
{
	void (*drained)(void *user) = fs->drained;

	if (!drained || fs->in_waits || fs->out_waits)
		return;
	fs->drained = NULL;
	drained(fs->drained_user);
}

static void on_readable(struct loop_op *op, int res, uint32_t flags)
{
	struct fs *fs = container_of(op, struct fs, in_op);

	(void)res;
	(void)flags;
	fs->in_waits = false;
	if (!fs->drained && fs->dev.active && !fs->dev.broken && !fs->lost) {
		receive_all(fs);
		serve_queues(fs);
		wait_to_receive(fs);
	}
	maybe_drained(fs);
}

static void on_writable(struct loop_op *op, int res, uint32_t flags)
{
	struct fs *fs = container_of(op, struct fs, out_op);
	int r = 1;

	(void)res;
	(void)flags;
	fs->out_waits = false;
	if (!fs->drained && fs->dev.active && !fs->dev.broken && !fs->lost) {
		if (fs->sending)
			r = finish(fs);
		if (r < 0)
			lose(fs, strerror(-r));
		if (r == 0)
			wait_to_send(fs);
		serve_queues(fs);
	}
	maybe_drained(fs);
}

static int activate(struct virtio_dev *dev)
{
	wait_to_receive(from_dev(dev));
	return 0;
}

/* Nothing is under way in guest memory between turns. But a server that is asked something cannot
 * be told to forget it, and half a message cannot be taken back. */
static void reset(struct virtio_dev *dev, void (*drained)(void *user), void *user)
{
	struct fs *fs = from_dev(dev);
	bool busy = fs->received > 0;

	for (unsigned i = 0; i < REQUESTS_MAX; i++) {
		busy |= fs->requests[i].used;
		fs->requests[i].used = false;
	}
	if (busy && !fs->lost)
		hang_up(fs);
	fs->drained = drained;
	fs->drained_user = user;
	/* Should there be no room for a cancellation, hanging up ends them, too. */
	if (fs->in_waits && loop_cancel(fs->loop, &fs->in_op) < 0 && !fs->lost)
		hang_up(fs);
	if (fs->out_waits && loop_cancel(fs->loop, &fs->out_op) < 0 && !fs->lost)
		hang_up(fs);
	maybe_drained(fs);
}

static void on_revoke(struct virtio_dev *dev)
{
	struct fs *fs = from_dev(dev);

	if (fs->lost)
		return;
	lose(fs, "it is taken away");
	if (dev->active)
		flush(fs);
}

static bool writes_unplugged(const struct virtio_dev *dev, const struct mem *mem)
{
	const struct fs *fs = (const struct fs *)(const void *)dev;

	for (unsigned i = 0; i < REQUESTS_MAX; i++) {
		const struct vq_chain *chain = &fs->requests[i].chain;

		if (fs->requests[i].used &&
		    !mem_are_plugged(mem, chain->iov, chain->n_out + chain->n_in))
			return true;
	}
	return false;
}

static unsigned counters(const struct virtio_dev *dev, struct virtio_counter *out, unsigned max)
{
	const struct fs *fs = (const struct fs *)(const void *)dev;
	const struct virtio_counter all[] = {
		{"requests", fs->n_requests},	{"request_bytes", fs->out_bytes},
		{"answer_bytes", fs->in_bytes}, {"failed", fs->n_failed},
		{"server_lost", fs->lost},
	};

	_Static_assert(offsetof(struct fs, dev) == 0, "a cast that keeps the const");
	return virtio_counters_copy(all, ARRAY_SIZE(all), out, max);
}

static void destroy(struct virtio_dev *dev)
{
	struct fs *fs = from_dev(dev);

	if (fs->fd >= 0)
		shutdown(fs->fd, SHUT_RDWR);
	loop_slot_remove(fs->loop, fs->slot);
	close_fdp(&fs->fd);
	free(fs);
}

static const struct virtio_ops fs_ops = {
	.id = VIRTIO_ID_FS,
	.pci_class = 0x018000, /* mass storage controller, other */
	.name = "fs",
	.config_read = config_read,
	.activate = activate,
	.kick = kick,
	.reset = reset,
	.writes_unplugged = writes_unplugged,
	.revoke = on_revoke,
	.counters = counters,
	.destroy = destroy,
};

/* #syscalls loop: getsockopt(_, SOL_SOCKET) fcntl(_, F_DUPFD_CLOEXEC) */
static bool is_stream(int fd)
{
	int type = 0;
	socklen_t len = sizeof(type);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM;
}

bool virtio_fs_is_lost(const struct virtio_dev *dev)
{
	return ((const struct fs *)(const void *)dev)->lost;
}

int virtio_fs_new(struct virtio_dev **out, struct loop *loop, const struct virtio_fs_params *params)
{
	size_t len = strlen(params->tag);
	struct fs *fs;
	int r = 0;

	if (len < 1 || len > VIRTIO_FS_TAG_MAX || !is_stream(params->fd))
		return -EINVAL;
	fs = calloc(1, sizeof(*fs));
	if (!fs)
		return -ENOMEM;
	fs->dev.ops = &fs_ops;
	fs->dev.n_queues = N_QUEUES;
	fs->dev.queue_size_max = VIRTIO_QUEUE_SIZE;
	fs->dev.offered = BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_INDIRECT_DESC) |
			  BIT(VIRTIO_RING_F_EVENT_IDX);
	fs->loop = loop;
	fs->in_op.done = on_readable;
	fs->out_op.done = on_writable;
	memcpy(fs->config.tag, params->tag, len);
	fs->config.num_request_queues = htole32(1);
	fs->slot = -1;
	fs->fd = fcntl(params->fd, F_DUPFD_CLOEXEC, 0);
	if (fs->fd < 0)
		r = -errno;
	if (r == 0)
		r = fs->slot = loop_slot_add(loop, fs->fd);
	if (r < 0) {
		destroy(&fs->dev);
		return r;
	}
	*out = &fs->dev;
	return 0;
}
