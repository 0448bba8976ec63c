// SPDX-License-Identifier: Apache-2.0
#include "zone-guest/xen.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

typedef uint16_t domid_t; /* the kernel's headers leave it out */
#include <xen/evtchn.h>
#include <xen/gntalloc.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/util.h"

#define STORE	   "/dev/xen/xenbus"
#define HOST	   0 /* domain 0 */
#define PAGE	   4096u
#define REPLY_MAX  4096u /* xs_wire.h: XENSTORE_PAYLOAD_MAX */
#define GUEST_TYPE "/sys/hypervisor/guest_type"

/* The wire of xenstore (xen/io/xs_wire.h). */
enum store_type { STORE_READ = 2, STORE_WRITE = 11, STORE_RM = 13, STORE_ERROR = 16 };

struct store_message {
	uint32_t type, request, transaction, len;
};

bool xen_is_here(void)
{
	return access(STORE, F_OK) == 0;
}

bool xen_is_pvh(void)
{
	_cleanup_(freep) char *type = NULL;
	size_t len;

	return io_read_file(AT_FDCWD, GUEST_TYPE, 16, &type, &len) == 0 && len >= 3 &&
	       memcmp(type, "PVH", 3) == 0;
}

/* text, which may be NULL, gets what a read answered. */
static int read_reply(int fd, char *text, size_t size)
{
	struct store_message head;
	char reply[REPLY_MAX];

	if (io_read_full(fd, &head, sizeof(head)) != (ssize_t)sizeof(head) ||
	    head.len > sizeof(reply) || io_read_full(fd, reply, head.len) != (ssize_t)head.len)
		return -EIO;
	if (head.type == STORE_ERROR)
		return head.len >= 6 && memcmp(reply, "ENOENT", 6) == 0 ? -ENOENT : -EACCES;
	if (!text)
		return 0;
	if (head.len >= size)
		return -EFBIG;
	memcpy(text, reply, head.len);
	text[head.len] = '\0';
	return 0;
}

static int ask_store(enum store_type type, const char *node, const char *value, char *text,
		     size_t size)
{
	_cleanup_(close_fdp) int fd = open(STORE, O_RDWR | O_CLOEXEC);
	size_t node_len = strlen(node) + 1, value_len = value ? strlen(value) : 0;
	const struct store_message head = {.type = type, .len = (uint32_t)(node_len + value_len)};
	char message[sizeof(head) + 512];

	if (fd < 0)
		return -errno;
	if (sizeof(head) + node_len + value_len > sizeof(message))
		return -ENAMETOOLONG;
	memcpy(message, &head, sizeof(head));
	memcpy(message + sizeof(head), node, node_len);
	if (value)
		memcpy(message + sizeof(head) + node_len, value, value_len);
	if (io_write_full(fd, message, sizeof(head) + head.len) < 0)
		return -EIO;
	return read_reply(fd, text, size);
}

int xen_store_read(const char *node, char *text, size_t size)
{
	return ask_store(STORE_READ, node, NULL, text, size);
}

int xen_store_write(const char *node, const char *value)
{
	return ask_store(STORE_WRITE, node, value, NULL, 0);
}

int xen_store_remove(const char *node)
{
	return ask_store(STORE_RM, node, NULL, NULL, 0);
}

static int share_pages(struct xen_share *share, unsigned n, uint32_t *grants)
{
	size_t size = sizeof(struct ioctl_gntalloc_alloc_gref) + n * sizeof(uint32_t);
	_cleanup_(freep) struct ioctl_gntalloc_alloc_gref *request = calloc(1, size);

	if (!request)
		return -ENOMEM;
	share->grant_fd = open("/dev/xen/gntalloc", O_RDWR | O_CLOEXEC);
	if (share->grant_fd < 0)
		return -errno;
	*request = (struct ioctl_gntalloc_alloc_gref){
		.domid = HOST, .flags = GNTALLOC_FLAG_WRITABLE, .count = n};
	if (ioctl(share->grant_fd, IOCTL_GNTALLOC_ALLOC_GREF, request) < 0)
		return -errno;
	share->pages = mmap(NULL, n * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, share->grant_fd,
			    (off_t)request->index);
	if (share->pages == MAP_FAILED) {
		share->pages = NULL;
		return -errno;
	}
	share->len = n * PAGE;
	memcpy(grants, request->gref_ids, n * sizeof(uint32_t));
	return 0;
}

static int open_port(struct xen_share *share)
{
	struct ioctl_evtchn_bind_unbound_port bind = {.remote_domain = HOST};
	int port;

	share->event_fd = open("/dev/xen/evtchn", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (share->event_fd < 0)
		return -errno;
	port = ioctl(share->event_fd, IOCTL_EVTCHN_BIND_UNBOUND_PORT, &bind);
	if (port < 0)
		return -errno;
	share->port = (uint32_t)port;
	return 0;
}

int xen_share(struct xen_share *share, unsigned n, uint32_t *grants)
{
	int r;

	*share = (struct xen_share){.grant_fd = -1, .event_fd = -1};
	r = share_pages(share, n, grants);
	if (r == 0)
		r = open_port(share);
	if (r < 0)
		xen_unshare(share);
	return r;
}

void xen_unshare(struct xen_share *share)
{
	if (share->pages)
		munmap(share->pages, share->len);
	share->pages = NULL;
	close_fdp(&share->event_fd);
	close_fdp(&share->grant_fd);
}

void xen_take_event(struct xen_share *share)
{
	uint32_t port;

	/* Written back, it may come again. */
	while (read(share->event_fd, &port, sizeof(port)) == (ssize_t)sizeof(port))
		if (write(share->event_fd, &port, sizeof(port)) < 0)
			return;
}

void xen_send_event(struct xen_share *share)
{
	struct ioctl_evtchn_notify notify = {.port = share->port};

	ioctl(share->event_fd, IOCTL_EVTCHN_NOTIFY, &notify);
}
