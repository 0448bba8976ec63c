// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/metrics.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "supervisor/daemon/policy_driver.h"

#define CONNECTIONS_MAX	 16u
#define CONNECTION_BYTES (16u * 1024)
#define SILENCE_S	 10u
#define SAME_NS		 NS_PER_S /* readers within it get the same text */
#define LISTEN_AGAIN_NS	 (30 * NS_PER_S)
#define CONTENT_TYPE	 "text/plain; version=0.0.4; charset=utf-8"

struct metrics {
	struct daemon *daemon;
	struct sockaddr_storage address;
	socklen_t address_len;
	struct MHD_Daemon *http; /* NULL: it does not listen */
	struct watch *watch;
	struct timer timer; /* libmicrohttpd's, or until the next try to listen */
	struct MHD_Response *response;
	uint64_t built_ns;
	struct health *health;
	bool complained;
};

char *metrics_write(struct daemon *d, size_t *len)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, len);
	bool failed;

	if (!out)
		return NULL;
	metrics_write_host(out, d);
	metrics_write_denied(out, d);
	if (d->metrics)
		health_write(out, d->metrics->health);
	metrics_write_zones(out, d);
	failed = ferror(out) != 0;
	if (fclose(out) == 0 && !failed)
		return text;
	free(text);
	return NULL;
}

/* The present text as a response, of which those who are still being sent it have a share. */
static struct MHD_Response *current_response(struct metrics *metrics)
{
	uint64_t now_ns = clock_now_ns();
	size_t len;
	char *text;

	policy_keep_fresh(metrics->daemon);
	health_keep_fresh(metrics->health);
	if (metrics->response && now_ns - metrics->built_ns < SAME_NS)
		return metrics->response;
	text = metrics_write(metrics->daemon, &len);
	if (!text)
		return NULL;
	if (metrics->response)
		MHD_destroy_response(metrics->response);
	metrics->response = MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE);
	metrics->built_ns = now_ns;
	if (metrics->response)
		MHD_add_response_header(metrics->response, MHD_HTTP_HEADER_CONTENT_TYPE,
					CONTENT_TYPE);
	else
		free(text);
	return metrics->response;
}

static enum MHD_Result refuse(struct MHD_Connection *connection, unsigned status)
{
	static char text[] = "There is /metrics, to be read with GET.\n";
	struct MHD_Response *response =
		MHD_create_response_from_buffer(sizeof(text) - 1, text, MHD_RESPMEM_PERSISTENT);
	enum MHD_Result r;

	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	r = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return r;
}

/* Called once for the header and once for its end; in between for a body, which nobody may send. */
static enum MHD_Result answer(void *user, struct MHD_Connection *connection, const char *url,
			      const char *method, const char *version, const char *body,
			      size_t *body_len, void **state)
{
	static char seen;
	struct MHD_Response *response;

	(void)version;
	(void)body;
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		return refuse(connection, MHD_HTTP_METHOD_NOT_ALLOWED);
	if (strcmp(url, "/metrics") != 0)
		return refuse(connection, MHD_HTTP_NOT_FOUND);
	if (!*state) {
		*state = &seen;
		return MHD_YES;
	}
	response = *body_len ? NULL : current_response(user);
	return response ? MHD_queue_response(connection, MHD_HTTP_OK, response) : MHD_NO;
}

static void run(struct metrics *metrics);

static void timed_out(void *user)
{
	run(user);
}

static void ready(void *user, uint32_t events)
{
	(void)events;
	run(user);
}

static unsigned n_connections(const struct metrics *metrics)
{
	const union MHD_DaemonInfo *info =
		MHD_get_daemon_info(metrics->http, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);

	return info ? info->num_connections : 0;
}

/* With all places taken libmicrohttpd stops listening, and begins again only at the start of a run:
 * one that freed a place is followed by another. */
static void run(struct metrics *metrics)
{
	MHD_UNSIGNED_LONG_LONG timeout_ms;
	unsigned before;

	do {
		before = n_connections(metrics);
		MHD_run(metrics->http);
	} while (n_connections(metrics) < before);
	if (MHD_get_timeout(metrics->http, &timeout_ms) == MHD_YES)
		timer_set(&metrics->daemon->hub, &metrics->timer,
			  clock_now_ns() + timeout_ms * NS_PER_MS, timed_out, metrics);
	else
		timer_stop(&metrics->timer);
}

static int open_listener(const struct metrics *metrics)
{
	const struct sockaddr *address = (const struct sockaddr *)&metrics->address;
	_cleanup_(close_fdp) int fd =
		socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int one = 1;

	if (fd < 0)
		return -errno;
	/* What an earlier daemon's connections left behind holds no port. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, address, metrics->address_len) < 0 || listen(fd, CONNECTIONS_MAX) < 0)
		return -errno;
	return steal_fd(&fd);
}

/*
 * libmicrohttpd's calls; the listener may have to be made again at any time.
 * #syscalls daemon: socket(AF_INET) socket(AF_INET6) bind listen setsockopt(_, SOL_SOCKET)
 *	setsockopt(_, IPPROTO_TCP) getsockopt(_, SOL_SOCKET) getsockname
 *	accept4(_, _, _, SOCK_CLOEXEC|SOCK_NONBLOCK) epoll_create1 epoll_ctl epoll_wait recvfrom
 *	sendto(_, _, _, MSG_NOSIGNAL, 0, 0) sendto(_, _, _, MSG_NOSIGNAL|MSG_MORE, 0, 0) sendmsg
 *	shutdown fcntl(_, F_GETFL) fcntl(_, F_SETFL) fcntl(_, F_GETFD) fcntl(_, F_SETFD) close
 */
static int serve(struct metrics *metrics)
{
	_cleanup_(close_fdp) int fd = open_listener(metrics);
	const union MHD_DaemonInfo *info;
	int r;

	if (fd < 0)
		return fd;
	metrics->http = MHD_start_daemon(
		MHD_USE_EPOLL, 0, NULL, NULL, answer, metrics, MHD_OPTION_LISTEN_SOCKET, fd,
		MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)CONNECTION_BYTES, MHD_OPTION_CONNECTION_TIMEOUT, SILENCE_S, MHD_OPTION_END);
	if (!metrics->http)
		return -ENOMEM;
	steal_fd(&fd);
	info = MHD_get_daemon_info(metrics->http, MHD_DAEMON_INFO_EPOLL_FD);
	r = info ? watch_new(&metrics->daemon->hub, info->epoll_fd, ready, metrics, &metrics->watch)
		 : -ENOTSUP;
	if (r == 0) {
		watch_set(metrics->watch, POLLIN);
		return 0;
	}
	MHD_stop_daemon(metrics->http);
	metrics->http = NULL;
	return r;
}

static void try_to_serve(void *user)
{
	struct metrics *metrics = user;
	struct daemon *d = metrics->daemon;
	int r = serve(metrics);

	if (r == 0) {
		log_info("metrics=%s listening", d->options.metrics);
		return;
	}
	if (!metrics->complained)
		log_warning("metrics=%s err=\"%s\" cannot listen; tried again from time to time",
			    d->options.metrics, strerror(-r));
	metrics->complained = true;
	timer_set(&d->hub, &metrics->timer, clock_now_ns() + LISTEN_AGAIN_NS, try_to_serve,
		  metrics);
}

/* A.B.C.D:PORT or [IPV6]:PORT. */
static int parse_address(const char *text, struct metrics *metrics)
{
	const char *colon = strrchr(text, ':');
	char host[INET6_ADDRSTRLEN + 2] = "", *end;
	size_t len = colon ? (size_t)(colon - text) : 0;
	unsigned long port = colon ? strtoul(colon + 1, &end, 10) : 0;
	struct sockaddr_in *v4 = (void *)&metrics->address;
	struct sockaddr_in6 *v6 = (void *)&metrics->address;

	if (len < 2 || len >= sizeof(host) || *end || port < 1 || port > UINT16_MAX)
		return -EINVAL;
	memcpy(host, text, len);
	if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)port);
		metrics->address_len = sizeof(*v4);
		return 0;
	}
	if (host[0] != '[' || host[len - 1] != ']')
		return -EINVAL;
	host[len - 1] = '\0';
	if (inet_pton(AF_INET6, host + 1, &v6->sin6_addr) != 1)
		return -EINVAL;
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons((uint16_t)port);
	metrics->address_len = sizeof(*v6);
	return 0;
}

int metrics_start(struct daemon *d, struct error *err)
{
	struct metrics *metrics;

	if (strcmp(d->options.metrics, "off") == 0)
		return 0;
	d->metrics = metrics = calloc(1, sizeof(*metrics));
	if (!metrics)
		return error_set(err, -ENOMEM, "out of memory");
	metrics->daemon = d;
	metrics->health = health_new(d);
	if (!metrics->health)
		return error_set(err, -ENOMEM, "out of memory");
	if (parse_address(d->options.metrics, metrics) < 0)
		return error_set(err, -EINVAL,
				 "--metrics '%s' is neither ADDRESS:PORT, as in " METRICS_ADDRESS
				 " or [::1]:3035, nor off",
				 d->options.metrics);
	try_to_serve(metrics);
	return 0;
}

void metrics_stop(struct daemon *d)
{
	struct metrics *metrics = d->metrics;

	if (!metrics)
		return;
	timer_stop(&metrics->timer);
	metrics->watch = watch_free(metrics->watch);
	if (metrics->http)
		MHD_stop_daemon(metrics->http);
	if (metrics->response)
		MHD_destroy_response(metrics->response);
	health_free(metrics->health);
	free(metrics);
	d->metrics = NULL;
}
