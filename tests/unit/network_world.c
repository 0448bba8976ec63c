// SPDX-License-Identifier: Apache-2.0
#include "network_world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

#define SERVICE_UID "391000"
#define FRAME_MAX   65600

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	cr_assert(file && fputs(text, file) >= 0 && fclose(file) == 0, "%s", path);
}

static void enter(int ns)
{
	cr_assert_eq(setns(ns, CLONE_NEWNET), 0, "setns: %s", strerror(errno));
}

static int own_namespace(void)
{
	int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	cr_assert_geq(fd, 0);
	return fd;
}

int run_in(const struct world *w, enum place place, const char *format, ...)
{
	char command[1024];
	va_list args;
	int status = -1;
	pid_t pid;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	pid = fork();
	if (pid == 0) {
		if (setns(w->places[place], CLONE_NEWNET) == 0)
			execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(126);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

char *output_of(const struct world *w, enum place place, const char *command)
{
	char path[64], *text = NULL;
	size_t len;

	snprintf(path, sizeof(path), "%s/output", w->dir);
	run_in(w, place, "(%s) >%s 2>&1", command, path);
	cr_assert_eq(io_read_file(AT_FDCWD, path, 65536, &text, &len), 0);
	return text;
}

/* A namespace of its own for tap devices: the host's may be root's alone, and stays as it is. */
static void own_tap_device(const struct world *w)
{
	char folder[64], path[80];

	snprintf(folder, sizeof(folder), "%s/dev", w->dir);
	snprintf(path, sizeof(path), "%s/tun", folder);
	cr_assert_eq(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	cr_assert_eq(mkdir(folder, 0755), 0);
	cr_assert_eq(mount("none", folder, "tmpfs", 0, "mode=0755"), 0);
	cr_assert_eq(mknod(path, S_IFCHR | 0666, makedev(10, 200)), 0);
	cr_assert_eq(chmod(path, 0666), 0);
	cr_assert_eq(mount(path, "/dev/net/tun", NULL, MS_BIND, NULL), 0);
	/* /proc/sys/net is that of the process that looks. */
}

static int new_namespace(int back)
{
	int fd;

	cr_assert_eq(unshare(CLONE_NEWNET), 0);
	fd = own_namespace();
	enter(back);
	return fd;
}

static void set_up_public(struct world *w)
{
	int ready[2];
	char byte;
	pid_t pid;

	cr_assert_eq(pipe(ready), 0);
	pid = fork();
	/* Links are moved to processes. */
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (setns(w->places[PUBLIC], CLONE_NEWNET) == 0 && write(ready[1], "", 1) == 1)
			pause();
		_exit(1);
	}
	close(ready[1]);
	cr_assert_eq(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	cr_assert_eq(run_in(w, HOST,
			    "ip link set lo up && ip link add up0 type veth peer name down0 && "
			    "ip link set down0 netns %d && ip addr add " HOST_IPV4
			    "/24 dev up0 && ip addr add " HOST_IPV6
			    "/64 dev up0 nodad && ip link set up0 up",
			    pid),
		     0);
	cr_assert_eq(run_in(w, PUBLIC,
			    "ip link set lo up && ip addr add " PUBLIC_IPV4
			    "/24 dev down0 && ip addr add " PUBLIC_IPV6
			    "/64 dev down0 nodad && ip link set down0 up"),
		     0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void set_up_zone(struct zone *zone, enum place place)
{
	unsigned n = place == ZONE_A ? 2 : 3;

	*zone = (struct zone){.place = place, .slot = n, .tap = -1, .peer = -1};
	snprintf(zone->mac, sizeof(zone->mac), "02:00:00:00:00:%02x", n);
	snprintf(zone->ipv4, sizeof(zone->ipv4), "10.75.0.%u", n);
	snprintf(zone->ipv6, sizeof(zone->ipv6), "fdd4:1476:6c7e::%x", n);
	memcpy(zone->mac_bytes, (uint8_t[]){2, 0, 0, 0, 0, (uint8_t)n}, 6);
}

void world_open(struct world *w, const char *config)
{
	char text[1024];

	if (geteuid() != 0) {
		fprintf(stderr, "SKIP: network namespaces of protect-network need root\n");
		cr_skip_test();
	}
	*w = (struct world){.service = -1};
	snprintf(w->dir, sizeof(w->dir), "/tmp/protect-network.XXXXXX");
	cr_assert_not_null(mkdtemp(w->dir));
	cr_assert_eq(chmod(w->dir, 0755), 0);
	snprintf(w->socket, sizeof(w->socket), "%s/run/socket", w->dir);
	snprintf(w->state, sizeof(w->state), "%s/run/links", w->dir);
	snprintf(w->config, sizeof(w->config), "%s/protect.conf", w->dir);
	snprintf(w->log, sizeof(w->log), "%s/log", w->dir);
	snprintf(text, sizeof(text), "%s/run", w->dir);
	cr_assert_eq(mkdir(text, 0755), 0);
	cr_assert_eq(chown(text, (uid_t)atoi(SERVICE_UID), (gid_t)atoi(SERVICE_UID)), 0);
	snprintf(text, sizeof(text), "[network]\nnameserver = 192.0.2.53\n%s", config);
	write_file(w->config, text);
	cr_assert_eq(chmod(w->config, 0644), 0);
	if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0) {
		fprintf(stderr, "SKIP: no namespaces can be made here: %s\n", strerror(errno));
		cr_skip_test();
	}
	own_tap_device(w);
	w->places[HOST] = own_namespace();
	for (enum place place = PUBLIC; place < N_PLACES; place++)
		w->places[place] = new_namespace(w->places[HOST]);
	set_up_public(w);
	set_up_zone(&w->a, ZONE_A);
	set_up_zone(&w->b, ZONE_B);
	world_start_service(w);
}

/* The program may lie where the service's user cannot go: it is executed by descriptor. */
static void become_service(const struct world *w)
{
	int program = open(PROTECT_NETWORK, O_RDONLY);
	int log = open(w->log, O_WRONLY | O_CREAT | O_APPEND, 0644);
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", program);
	dup2(log, 1);
	dup2(log, 2);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	execlp("setpriv", "setpriv", "--reuid", SERVICE_UID, "--regid", SERVICE_UID,
	       "--clear-groups", "--pdeathsig", "KILL",
	       "--inh-caps=-all,+net_admin,+net_bind_service",
	       "--ambient-caps=-all,+net_admin,+net_bind_service",
	       "--bounding-set=-all,+net_admin,+net_bind_service", "--no-new-privs", path,
	       "--socket", w->socket, "--state", w->state, "--config", w->config, "--allow-uid",
	       "0", NULL);
	_exit(127);
}

bool world_log_has(const struct world *w, const char *text)
{
	for (unsigned i = 0; i < 100; i++) {
		_cleanup_(freep) char *log = NULL;
		size_t len;

		if (io_read_file(AT_FDCWD, w->log, 1 << 20, &log, &len) == 0 && strstr(log, text))
			return true;
		usleep(50000);
	}
	return false;
}

static void show_log(const struct world *w)
{
	_cleanup_(freep) char *log = NULL;
	size_t len;

	if (io_read_file(AT_FDCWD, w->log, 1 << 20, &log, &len) == 0)
		fprintf(stderr, "%s", log);
}

/* It is there when its socket answers. */
void world_start_service(struct world *w)
{
	Protect__Network__Request request = PROTECT__NETWORK__REQUEST__INIT;
	Protect__Network__Status status = PROTECT__NETWORK__STATUS__INIT;

	unlink(w->socket);
	w->service = fork();
	if (w->service == 0)
		become_service(w);
	request.what_case = PROTECT__NETWORK__REQUEST__WHAT_STATUS;
	request.status = &status;
	for (unsigned i = 0; i < 400; i++) {
		Protect__Network__Reply *reply = ask(w, &request, NULL, NULL);

		if (reply) {
			protect__network__reply__free_unpacked(reply, NULL);
			return;
		}
		if (waitpid(w->service, NULL, WNOHANG) == w->service) {
			w->service = -1;
			show_log(w);
			if (world_log_has(w, "this kernel has no ")) {
				fprintf(stderr, "SKIP: this kernel lacks something, see above\n");
				cr_skip_test();
			}
			cr_assert(false, "the service ended");
		}
		usleep(25000);
	}
	show_log(w);
	cr_assert(false, "the service does not answer");
}

bool world_service_refuses(struct world *w, const char *text)
{
	int status = 0;

	unlink(w->log);
	w->service = fork();
	if (w->service == 0)
		become_service(w);
	for (unsigned i = 0; i < 200; i++) {
		if (waitpid(w->service, &status, WNOHANG) == w->service) {
			w->service = -1;
			show_log(w);
			return WIFEXITED(status) && WEXITSTATUS(status) == EXIT_FAILURE &&
			       world_log_has(w, text);
		}
		usleep(25000);
	}
	return false;
}

void world_kill_service(struct world *w, int signal_number)
{
	int status = 0;

	if (w->service <= 0)
		return;
	kill(w->service, signal_number);
	waitpid(w->service, &status, 0);
	if (signal_number == SIGTERM && status != 0)
		show_log(w);
	cr_assert(signal_number != SIGTERM || status == 0, "it ended with %#x", status);
	w->service = -1;
}

void world_close(struct world *w)
{
	zone_close(w, &w->a);
	zone_close(w, &w->b);
	world_kill_service(w, SIGTERM);
	for (enum place place = HOST; place < N_PLACES; place++)
		close_fdp(&w->places[place]);
	umount2("/dev/net/tun", MNT_DETACH);
	run_in(w, HOST, "true");
	if (fork() == 0) {
		char folder[64];

		snprintf(folder, sizeof(folder), "%s/dev", w->dir);
		umount2(folder, MNT_DETACH);
		execlp("rm", "rm", "-rf", w->dir, NULL);
		_exit(127);
	}
	wait(NULL);
}

Protect__Network__Reply *ask(const struct world *w, const Protect__Network__Request *request,
			     int *fds, unsigned *n_fds)
{
	_cleanup_(close_fdp) int fd = io_unix_connect(w->socket, SOCK_SEQPACKET);
	size_t len = protect__network__request__get_packed_size(request);
	_cleanup_(freep) uint8_t *packet = malloc(65536);
	int none[IO_FDS_MAX];
	unsigned n_none = 0;
	ssize_t n;

	cr_assert_leq(len, 65536);
	if (fd < 0)
		return NULL;
	protect__network__request__pack(request, packet);
	if (send(fd, packet, len, MSG_NOSIGNAL) != (ssize_t)len)
		return NULL;
	n = io_recv_fds(fd, packet, 65536, fds ? fds : none, n_fds ? n_fds : &n_none, 0);
	return n > 0 ? protect__network__reply__unpack(NULL, (size_t)n, packet) : NULL;
}

/* Its error as text, and frees it. */
static char *take_text(Protect__Network__Reply *reply)
{
	char *text = NULL;

	if (!reply)
		return strdup("no reply");
	if (reply->error)
		text = strdup(reply->text);
	protect__network__reply__free_unpacked(reply, NULL);
	return text;
}

void zone_nic(struct zone *zone, Protect__Network__Nic *nic)
{
	static char uuids[N_PLACES][37];

	protect__network__nic__init(nic);
	snprintf(uuids[zone->place], 37, "00000000-0000-4000-8000-%012u", zone->slot);
	nic->zone_uuid = uuids[zone->place];
	nic->slot = zone->slot;
	nic->mac = zone->mac;
	nic->ipv4 = zone->ipv4;
	nic->ipv6 = zone->ipv6;
}

char *attach(struct world *w, struct zone *zone, unsigned queues,
	     Protect__Network__Publish **publish, size_t n_publish, int *fds)
{
	Protect__Network__Request request = PROTECT__NETWORK__REQUEST__INIT;
	Protect__Network__Attach what = PROTECT__NETWORK__ATTACH__INIT;
	Protect__Network__Nic nic;
	unsigned n_fds = IO_FDS_MAX;
	char *text;

	zone_nic(zone, &nic);
	nic.publish = publish;
	nic.n_publish = n_publish;
	what.nic = &nic;
	what.queues = queues;
	request.what_case = PROTECT__NETWORK__REQUEST__WHAT_ATTACH;
	request.attach = &what;
	text = take_text(ask(w, &request, fds, &n_fds));
	if (!text && n_fds != queues)
		cr_assert(false, "%u descriptors for %u queues", n_fds, queues);
	return text;
}

char *detach(const struct world *w, unsigned slot, unsigned index)
{
	Protect__Network__Request request = PROTECT__NETWORK__REQUEST__INIT;
	Protect__Network__Detach what = PROTECT__NETWORK__DETACH__INIT;

	what.slot = slot;
	what.index = index;
	request.what_case = PROTECT__NETWORK__REQUEST__WHAT_DETACH;
	request.detach = &what;
	return take_text(ask(w, &request, NULL, NULL));
}

static void copy_frames(int from, int to)
{
	static __thread char frame[FRAME_MAX];
	ssize_t n;

	while ((n = read(from, frame, sizeof(frame))) > 0)
		(void)!write(to, frame, (size_t)n);
}

static void *pump(void *context)
{
	struct zone *zone = context;

	while (!zone->stop) {
		struct pollfd polls[] = {{.fd = zone->tap, .events = POLLIN},
					 {.fd = zone->peer, .events = POLLIN}};

		if (poll(polls, 2, 50) <= 0)
			continue;
		copy_frames(zone->tap, zone->peer);
		copy_frames(zone->peer, zone->tap);
	}
	return NULL;
}

/* The guest's own device. */
static int open_peer(const struct world *w, const struct zone *zone)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int fd;

	snprintf(request.ifr_name, IF_NAMESIZE, "eth0");
	enter(w->places[zone->place]);
	fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	cr_assert_eq(ioctl(fd, TUNSETIFF, &request), 0);
	enter(w->places[HOST]);
	return fd;
}

static void read_host_mac(const struct world *w, struct zone *zone)
{
	char path[64];
	struct ifreq request = {.ifr_flags = 0};
	_cleanup_(close_fdp) int fd = socket_in(w, HOST, AF_INET, SOCK_DGRAM, 0);

	snprintf(request.ifr_name, IF_NAMESIZE, "pz%un0", zone->slot);
	snprintf(path, sizeof(path), "%s", request.ifr_name);
	cr_assert_eq(ioctl(fd, SIOCGIFHWADDR, &request), 0, "no link %s", path);
	memcpy(zone->host_mac, request.ifr_hwaddr.sa_data, 6);
}

void zone_open(struct world *w, struct zone *zone, const struct port *ports, size_t n)
{
	Protect__Network__Publish publish[PORTS_MAX], *pointers[PORTS_MAX];
	int fds[IO_FDS_MAX];
	char *text;

	cr_assert_leq(n, PORTS_MAX);
	for (size_t i = 0; i < n; i++) {
		publish_init(&publish[i], ports[i].host, ports[i].host_port, ports[i].zone_port,
			     ports[i].udp);
		pointers[i] = &publish[i];
	}
	text = attach(w, zone, 1, pointers, n, fds);
	cr_assert_null(text, "%s", text);
	zone->tap = fds[0];
	cr_assert_eq(io_set_nonblock(zone->tap, 1), 0);
	read_host_mac(w, zone);
	zone->peer = open_peer(w, zone);
	zone->stop = false;
	cr_assert_eq(pthread_create(&zone->pump, NULL, pump, zone), 0);
	zone->pumps = true;
	/* As zone-init does it (net.c). */
	cr_assert_eq(
		run_in(w, zone->place,
		       "ip link set lo up && ip link set eth0 address %s && ip link set eth0 up && "
		       "ip addr add %s/32 dev eth0 && ip addr add %s/128 dev eth0 nodad && "
		       "ip route add default via " GATEWAY_IPV4 " dev eth0 onlink && "
		       "ip -6 route add default via fe80::1 dev eth0",
		       zone->mac, zone->ipv4, zone->ipv6),
		0);
}

void zone_stop_pump(struct zone *zone)
{
	if (zone->pumps) {
		zone->stop = true;
		pthread_join(zone->pump, NULL);
		zone->pumps = false;
	}
}

void zone_close(struct world *w, struct zone *zone)
{
	char *text = NULL;

	zone_stop_pump(zone);
	close_fdp(&zone->tap);
	close_fdp(&zone->peer);
	if (w->service > 0)
		text = detach(w, zone->slot, 0);
	cr_expect_null(text, "%s", text);
	free(text);
}

int socket_in(const struct world *w, enum place place, int family, int type, int protocol)
{
	int fd;

	enter(w->places[place]);
	fd = socket(family, type | SOCK_CLOEXEC, protocol);
	enter(w->places[HOST]);
	return fd;
}

void zone_send(const struct zone *zone, const void *frame, size_t len)
{
	uint8_t room[2048] = {0}; /* its first 10 bytes: a virtio header that asks for nothing */

	cr_assert_leq(len, sizeof(room) - 10);
	memcpy(room + 10, frame, len);
	cr_assert_eq(write(zone->tap, room, len + 10), (ssize_t)len + 10, "%s", strerror(errno));
}

static uint16_t checksum(const void *data, size_t len)
{
	const uint8_t *bytes = data;
	uint32_t sum = 0;

	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)(bytes[i] << 8 | bytes[i + 1]);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

/* Whether an answer with this identifier comes within a second. */
static bool hear_echo(int fd, bool is_ipv6, uint16_t id)
{
	uint8_t packet[512];

	for (;;) {
		struct pollfd ready = {.fd = fd, .events = POLLIN};
		const uint8_t *icmp = is_ipv6 ? packet : packet + 20;
		ssize_t n;

		if (poll(&ready, 1, 1000) <= 0)
			return false;
		n = recv(fd, packet, sizeof(packet), 0);
		if (n >= 28 && icmp[0] == (is_ipv6 ? 129 : 0) && (icmp[4] << 8 | icmp[5]) == id)
			return true;
	}
}

bool ping(const struct world *w, enum place from, const char *to)
{
	static uint16_t last_id = 100;
	bool is_ipv6 = strchr(to, ':') != NULL;
	_cleanup_(close_fdp) int fd = socket_in(w, from, is_ipv6 ? AF_INET6 : AF_INET, SOCK_RAW,
						is_ipv6 ? (int)IPPROTO_ICMPV6 : (int)IPPROTO_ICMP);
	struct sockaddr_in ipv4 = {.sin_family = AF_INET};
	struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6};
	uint8_t request[32] = {is_ipv6 ? 128 : 8};
	uint16_t id = ++last_id, sum;

	cr_assert_geq(fd, 0);
	request[4] = (uint8_t)(id >> 8);
	request[5] = (uint8_t)id;
	if (is_ipv6) {
		inet_pton(AF_INET6, to, &ipv6.sin6_addr);
		if (sendto(fd, request, sizeof(request), 0, (struct sockaddr *)&ipv6,
			   sizeof(ipv6)) < 0)
			return false;
	} else {
		inet_pton(AF_INET, to, &ipv4.sin_addr);
		sum = checksum(request, sizeof(request));
		memcpy(request + 2, &sum, 2);
		if (sendto(fd, request, sizeof(request), 0, (struct sockaddr *)&ipv4,
			   sizeof(ipv4)) < 0)
			return false;
	}
	return hear_echo(fd, is_ipv6, id);
}

void publish_init(Protect__Network__Publish *publish, const char *host, unsigned host_port,
		  unsigned zone_port, bool udp)
{
	protect__network__publish__init(publish);
	if (host)
		publish->host_address = (char *)(uintptr_t)host;
	publish->host_port = host_port;
	publish->zone_port = zone_port;
	publish->udp = udp;
}

int serve_in(const struct world *w, enum place place, int type, unsigned port)
{
	struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
	_cleanup_(close_fdp) int fd = socket_in(w, place, AF_INET6, type | SOCK_NONBLOCK, 0);

	if (bind(fd, (struct sockaddr *)&name, sizeof(name)) < 0 ||
	    (type == SOCK_STREAM && listen(fd, 8) < 0))
		return -1;
	return steal_fd(&fd);
}

static socklen_t make_name(const char *to, unsigned port, struct sockaddr_storage *out)
{
	struct sockaddr_in ipv4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};

	if (inet_pton(AF_INET, to, &ipv4.sin_addr) == 1) {
		memcpy(out, &ipv4, sizeof(ipv4));
		return sizeof(ipv4);
	}
	cr_assert_eq(inet_pton(AF_INET6, to, &ipv6.sin6_addr), 1);
	memcpy(out, &ipv6, sizeof(ipv6));
	return sizeof(ipv6);
}

static bool wait_readable(int fd)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};

	return poll(&ready, 1, 700) > 0;
}

bool reaches(const struct world *w, enum place from, const char *to, unsigned port, int type,
	     int server, char peer[64])
{
	struct sockaddr_storage name, seen;
	socklen_t len = make_name(to, port, &name), seen_len = sizeof(seen);
	_cleanup_(close_fdp) int client = socket_in(w, from, name.ss_family, type, 0);
	_cleanup_(close_fdp) int accepted = -1;
	char word[8] = "";

	io_set_nonblock(client, 1);
	if (connect(client, (struct sockaddr *)&name, len) < 0 && errno != EINPROGRESS)
		return false;
	if (type == SOCK_DGRAM && send(client, "there", 5, 0) != 5)
		return false;
	if (!wait_readable(server))
		return false;
	if (type == SOCK_STREAM) {
		accepted = accept4(server, (struct sockaddr *)&seen, &seen_len, SOCK_CLOEXEC);
		if (accepted < 0 || send(client, "there", 5, MSG_NOSIGNAL) != 5 ||
		    recv(accepted, word, 5, MSG_WAITALL) != 5 || strcmp(word, "there") != 0 ||
		    send(accepted, "back!", 5, MSG_NOSIGNAL) != 5)
			return false;
	} else if (recvfrom(server, word, 5, 0, (struct sockaddr *)&seen, &seen_len) != 5 ||
		   sendto(server, "back!", 5, 0, (struct sockaddr *)&seen, seen_len) != 5) {
		return false;
	}
	if (peer)
		inet_ntop(AF_INET6, &((struct sockaddr_in6 *)(void *)&seen)->sin6_addr, peer, 64);
	return wait_readable(client) && recv(client, word, 5, 0) == 5 && strcmp(word, "back!") == 0;
}
