// SPDX-License-Identifier: Apache-2.0
#include "xen-compat/xen.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

#define CAPABILITIES "/proc/xen/capabilities"
#define HYPERVISOR   "/sys/hypervisor/type"
#define MESSAGE_MAX  256

__attribute__((format(printf, 5, 0))) static void
take_message(struct xentoollog_logger *logger, xentoollog_level level, int errnoval,
	     const char *context, const char *format, va_list arguments)
{
	static struct log_limit limit;
	char text[MESSAGE_MAX];

	(void)logger;
	(void)errnoval;
	if (level < XTL_WARN || !log_allowed(&limit, 8, NULL))
		return;
	vsnprintf(text, sizeof(text), format, arguments);
	for (char *c = text; *c; c++)
		if (*c < ' ' || *c == '"' || *c > '~')
			*c = ' ';
	log_warning("library=%s msg=\"%s\"", context ? context : "xen", text);
}

static void take_progress(struct xentoollog_logger *logger, const char *context, const char *doing,
			  int percent, unsigned long done, unsigned long total)
{
	(void)logger, (void)context, (void)doing, (void)percent, (void)done, (void)total;
}

static void keep(struct xentoollog_logger *logger)
{
	(void)logger; /* it is a part of struct xen */
}

static int no_xen(struct error *err, const char *why)
{
	return error_set(err, -ENODEV, "no Xen here: %s", why);
}

/*
 * What zone-xen asks for beside what zone-vmm does, for who started it with a filter: the libraries
 * open devices and xenstored's socket by name, map domains' memory, and the kernel unpacks in here.
 *
 * #syscalls runner: openat access socket(AF_UNIX) connect sendmsg recvmsg read write poll
 *	ioctl(_, XEN_CALL_TYPE/0xFF00) ioctl(_, XEN_EVENT_TYPE/0xFF00)
 *	ioctl(_, XEN_GRANT_TYPE/0xFF00) ioctl(_, LOOP_TYPE/0xFF00)
 *	mmap(_, _, PROT_READ, MAP_PRIVATE) mmap(_, _, PROT_READ, MAP_SHARED)
 *	mmap(_, _, PROT_READ|PROT_WRITE, MAP_SHARED) mmap(_, _, PROT_WRITE, MAP_SHARED)
 *	mmap(_, _, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_LOCKED)
 *	mmap(_, _, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_POPULATE)
 *	madvise(_, _, MADV_DONTFORK) madvise(_, _, MADV_DOFORK) mlock munlock munmap close
 *	newfstatat(_, _, _, 0) newfstatat(_, _, _, AT_EMPTY_PATH) fcntl(_, F_GETFD)
 *	fcntl(_, F_SETFD) fcntl(_, F_GETFL) fcntl(_, F_SETFL) rt_sigaction(SIGPIPE) sched_yield
 */
int xen_open(struct xen *xen, struct error *err)
{
	*xen = (struct xen){
		.logger = {.vmessage = take_message, .progress = take_progress, .destroy = keep}};
	if (access(HYPERVISOR, F_OK) < 0)
		return no_xen(err, "this host runs on no hypervisor (" HYPERVISOR ")");
	if (access("/dev/xen/privcmd", F_OK) < 0)
		return no_xen(err, "/dev/xen/privcmd is missing; load xen-privcmd, in dom0");
	xen->control = xc_interface_open(&xen->logger, &xen->logger, 0);
	if (!xen->control)
		return no_xen(err, "the hypervisor cannot be reached through /dev/xen/privcmd");
	xen->grants = xengnttab_open(&xen->logger, 0);
	if (!xen->grants) {
		xen_close(xen);
		return no_xen(err, "/dev/xen/gntdev cannot be opened; load xen-gntdev");
	}
	xen->store = xs_open(0);
	if (!xen->store) {
		xen_close(xen);
		return no_xen(err, "xenstored does not answer; start it");
	}
	return 0;
}

void xen_close(struct xen *xen)
{
	if (xen->store)
		xs_close(xen->store);
	if (xen->grants)
		xengnttab_close(xen->grants);
	if (xen->control)
		xc_interface_close(xen->control);
	xen->store = NULL;
	xen->grants = NULL;
	xen->control = NULL;
}

int xen_failed(struct xen *xen, struct error *err, const char *what)
{
	int code = errno ? -errno : -EIO;
	const xc_error *last = xc_get_last_error(xen->control);
	int r;

	if (last->code == XC_ERROR_NONE || !last->message[0])
		return error_set_errno(err, code, "%s", what);
	r = error_set(err, code, "%s: %s", what, last->message);
	xc_clear_last_error(xen->control);
	return r;
}
