// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/zone_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

#define TIMEOUT_NS (60 * NS_PER_S)

static char disk_path[64];
static const struct idm_stream_ops stream_ops;

static void on_event(void *user, struct idm *idm, uint32_t kind, const void *data, size_t len)
{
	struct fixture *f = user;
	struct fixture_exit *exited = &f->exits[f->n_exits];
	Protect__Agent__Exited *message = protect__agent__exited__unpack(NULL, len, data);

	(void)idm;
	cr_assert_eq(kind, PROTECT__AGENT__EVENT_KIND__EVENT_EXITED);
	cr_assert_not_null(message);
	cr_assert_lt(f->n_exits, FIXTURE_EXITS_MAX);
	snprintf(exited->id, sizeof(exited->id), "%s", message->id);
	exited->code = message->exit_code;
	exited->signal = message->signal;
	exited->run = message->run;
	exited->out_len = f->out.len;
	f->n_exits++;
	protect__agent__exited__free_unpacked(message, NULL);
}

static const struct idm_handler handler = {.event = on_event};

void fixture_init(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	f->fd = -1;
	if (geteuid() != 0)
		cr_skip_test("needs root");
	signal(SIGPIPE, SIG_IGN);
	if (unshare(CLONE_NEWNS | CLONE_NEWUTS) < 0)
		cr_skip_test("needs namespaces");
	cr_assert_eq(mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	cr_assert_eq(mount("tmpfs", "/run", "tmpfs", 0, NULL), 0);
	cr_assert_eq(mkdir("/run/workload", 0755), 0);
	cr_assert_eq(zone_init(&f->zone, NULL), 0);
	fixture_connect(f);
}

static void lost(void *user)
{
	struct fixture *f = user;

	f->lost++;
}

void fixture_connect(struct fixture *f)
{
	int ends[2];

	fixture_disconnect(f);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	cr_assert_eq(agent_start(&f->zone, ends[0], lost, f), 0);
	f->fd = ends[1];
	f->idm = idm_new(IDM_CLIENT, &handler, f);
	f->pump = calloc(1, sizeof(*f->pump));
	cr_assert_eq(idm_pump_init(f->pump, f->fd, f->idm), 0);
}

void fixture_disconnect(struct fixture *f)
{
	if (f->fd < 0)
		return;
	f->idm = idm_free(f->idm);
	free(f->pump);
	f->pump = NULL;
	close(f->fd);
	f->fd = -1;
}

void fixture_deinit(struct fixture *f)
{
	fixture_disconnect(f);
	zone_kill_all(&f->zone);
	zone_deinit(&f->zone);
	free(f->out.data);
	free(f->err.data);
}

static void push(struct fixture_stream *s)
{
	while (s->stream && s->sent < s->send_len) {
		size_t n = idm_stream_write(s->stream, s->send + s->sent, s->send_len - s->sent);

		s->sent += n;
		if (!n)
			return;
	}
	if (s->stream && s->send && !s->ended_own) {
		s->ended_own = true;
		idm_stream_end(s->stream);
		if (s->ended)
			s->stream = NULL;
	}
}

void fixture_turn(struct fixture *f)
{
	struct pollfd pfd[2] = {{.fd = f->zone.reactor.epoll_fd, .events = POLLIN}, {.fd = f->fd}};

	if (f->fd >= 0) {
		push(&f->out);
		pfd[1].events = idm_pump_events(f->pump);
	}
	poll(pfd, 2, 2);
	if (f->fd >= 0 && idm_pump_run(f->pump, clock_now_ns()) < 0)
		fixture_disconnect(f);
	agent_flush(&f->zone);
	cr_assert_eq(reactor_turn(&f->zone.reactor, 0), 0);
	zone_reap(&f->zone);
	agent_flush(&f->zone);
}

void fixture_await(struct fixture *f, const bool *flag)
{
	uint64_t end = clock_now_ns() + TIMEOUT_NS;

	while (!*(const volatile bool *)flag) {
		fixture_turn(f);
		cr_assert_lt(clock_now_ns(), end, "nothing happened");
	}
}

void fixture_await_exits(struct fixture *f, unsigned n)
{
	uint64_t end = clock_now_ns() + TIMEOUT_NS;

	while (f->n_exits < n) {
		fixture_turn(f);
		cr_assert_lt(clock_now_ns(), end, "no exit");
	}
}

void fixture_idle(struct fixture *f, unsigned ms)
{
	uint64_t end = clock_now_ns() + ms * NS_PER_MS;

	while (clock_now_ns() < end)
		fixture_turn(f);
}

static void on_reply(void *user, int error, const char *text, const void *payload, size_t len)
{
	struct fixture_reply *reply = user;

	reply->done = true;
	reply->error = error;
	snprintf(reply->text, sizeof(reply->text), "%s", text);
	reply->len = len;
	cr_assert_leq(len, sizeof(reply->payload));
	if (len)
		memcpy(reply->payload, payload, len);
}

int fixture_call(struct fixture *f, uint32_t method, const void *message,
		 struct fixture_reply *reply)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	uint8_t *packed = malloc(len + 1);

	memset(reply, 0, sizeof(*reply));
	protobuf_c_message_pack(message, packed);
	cr_assert_eq(idm_call(f->idm, method, packed, len, 0, on_reply, reply, NULL), 0);
	free(packed);
	fixture_await(f, &reply->done);
	return reply->error;
}

static void stream_data(void *user, struct idm_stream *stream, const void *data, size_t len)
{
	struct fixture_stream *s = user;

	s->data = realloc(s->data, s->len + len + 1);
	memcpy(s->data + s->len, data, len);
	s->len += len;
	s->data[s->len] = '\0';
	if (!s->stopped)
		idm_stream_consumed(stream, len);
}

static void stream_writable(void *user, struct idm_stream *stream)
{
	(void)stream;
	push(user);
}

static void stream_closed(void *user, struct idm_stream *stream, int error)
{
	struct fixture_stream *s = user;

	(void)stream;
	s->ended = true;
	s->error = error;
	if (error || s->ended_own)
		s->stream = NULL;
}

static const struct idm_stream_ops stream_ops = {stream_data, stream_writable, stream_closed};

static void open_stream(struct fixture *f, struct fixture_stream *s)
{
	if (s->stream)
		idm_stream_reset(s->stream, -ECANCELED);
	free(s->data);
	memset(s, 0, sizeof(*s));
	s->data = calloc(1, 1);
	cr_assert_eq(idm_stream_open(f->idm, IDM_WINDOW, &stream_ops, s, &s->stream), 0);
}

void fixture_streams(struct fixture *f)
{
	open_stream(f, &f->out);
	open_stream(f, &f->err);
}

void fixture_send(struct fixture_stream *stream, const char *data, size_t len)
{
	stream->send = data;
	stream->send_len = len;
}

/* Fills a message that borrows from run. */
static void fill(struct fixture *f, const struct fixture_run *run, Protect__Agent__Process *process,
		 Protect__Agent__Terminal *terminal, const void *strings[2])
{
	protect__agent__process__init(process);
	protect__agent__terminal__init(terminal);
	memcpy(&process->argv, &strings[0], sizeof(void *));
	memcpy(&process->env, &strings[1], sizeof(void *));
	while (process->n_argv < 8 && run->argv[process->n_argv])
		process->n_argv++;
	while (process->n_env < 8 && run->env[process->n_env])
		process->n_env++;
	process->working_directory = strdup(run->directory ? run->directory : "");
	process->user = strdup(run->user ? run->user : "");
	terminal->rows = run->rows;
	terminal->columns = run->columns;
	process->terminal = run->terminal ? terminal : NULL;
	if (run->no_streams)
		return;
	fixture_streams(f);
	process->stdio_stream = idm_stream_number(f->out.stream);
	process->stderr_stream = idm_stream_number(f->err.stream);
}

int fixture_exec(struct fixture *f, const struct fixture_run *run, struct fixture_reply *reply)
{
	Protect__Agent__Exec message = PROTECT__AGENT__EXEC__INIT;
	const void *strings[2] = {run->argv, run->env};
	Protect__Agent__Process process;
	Protect__Agent__Terminal terminal;

	fill(f, run, &process, &terminal, strings);
	message.exec_id = strdup(run->id ? run->id : FIXTURE_UUID_3);
	message.workload = strdup(run->workload ? run->workload : "");
	message.process = &process;
	message.detached = run->detached;
	fixture_call(f, PROTECT__AGENT__METHOD__METHOD_EXEC, &message, reply);
	free(message.exec_id);
	free(message.workload);
	free(process.working_directory);
	free(process.user);
	return reply->error;
}

int fixture_launch(struct fixture *f, const struct fixture_run *run, struct fixture_reply *reply)
{
	Protect__Agent__WorkloadLaunch message = PROTECT__AGENT__WORKLOAD_LAUNCH__INIT;
	const void *strings[2] = {run->argv, run->env};
	char name[] = "test-1", serial[] = "image";
	Protect__Agent__Process process;
	Protect__Agent__Terminal terminal;

	fill(f, run, &process, &terminal, strings);
	message.workload = strdup(run->id ? run->id : FIXTURE_UUID_1);
	message.name = name;
	message.disk_serial = serial;
	message.process = &process;
	message.settings = run->settings;
	message.volumes = run->volumes;
	message.n_volumes = run->n_volumes;
	fixture_call(f, PROTECT__AGENT__METHOD__METHOD_WORKLOAD_LAUNCH, &message, reply);
	free(message.workload);
	free(process.working_directory);
	free(process.user);
	return reply->error;
}

int fixture_start(struct fixture *f, const char *uuid, struct fixture_reply *reply)
{
	Protect__Agent__WorkloadStart message = PROTECT__AGENT__WORKLOAD_START__INIT;

	fixture_streams(f);
	message.workload = strdup(uuid);
	message.stdio_stream = idm_stream_number(f->out.stream);
	message.stderr_stream = idm_stream_number(f->err.stream);
	fixture_call(f, PROTECT__AGENT__METHOD__METHOD_WORKLOAD_START, &message, reply);
	free(message.workload);
	return reply->error;
}

int fixture_finish(struct fixture *f)
{
	if (!f->out.send)
		fixture_send(&f->out, "", 0);
	fixture_await_exits(f, ++f->n_finished);
	return f->exits[f->n_finished - 1].code;
}

static int find_disk(const char *serial, char *path, size_t size)
{
	if (strcmp(serial, "image") != 0)
		return -ENODEV;
	snprintf(path, size, "%s", disk_path);
	return 0;
}

/* The descriptor stays open: closing the last one frees the device. */
static void attach_loop(const char *file)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), number, fd;
	struct loop_config config = {
		.info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR,
	};

	if (control < 0)
		cr_skip_test("needs loop devices");
	config.fd = (uint32_t)open(file, O_RDONLY | O_CLOEXEC);
	do {
		number = ioctl(control, LOOP_CTL_GET_FREE);
		cr_assert_geq(number, 0);
		snprintf(disk_path, sizeof(disk_path), "/dev/loop%d", number);
		fd = open(disk_path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			cr_skip_test("needs loop devices");
	} while (ioctl(fd, LOOP_CONFIGURE, &config) < 0 && errno == EBUSY && close(fd) == 0);
	close(control);
}

void fixture_image(struct fixture *f)
{
	fixture_image_with(f, "true");
}

void fixture_image_with(struct fixture *f, const char *script)
{
	static const char before[] =
		"set -e; cd /run; mkdir -p tree/bin tree/etc tree/home/app; cp /bin/busybox "
		"tree/bin/;"
		"for c in sh cat id echo env pwd sleep kill head yes stty hostname ls mount grep "
		"true touch ps stat readlink mkdir test seq;"
		" do ln -s busybox tree/bin/$c; done;"
		"echo root:x:0:0::/root:/bin/sh > tree/etc/passwd;"
		"echo app:x:1000:1001::/home/app:/bin/sh >> tree/etc/passwd;"
		"printf 'app:x:1001:\\nstaff:x:50:app\\n' > tree/etc/group;"
		"ln -s /nowhere/resolv.conf tree/etc/resolv.conf;",
			  after[] = "; mksquashfs /run/tree /run/image -quiet -no-progress -comp "
				    "lz4 >/dev/null; rm -r /run/tree";
	char *all;

	if (access("/bin/busybox", X_OK) < 0 || system("command -v mksquashfs >/dev/null") != 0)
		cr_skip_test("needs busybox-static and squashfs-tools");
	cr_assert_gt(asprintf(&all, "%s%s%s", before, script, after), 0);
	cr_assert_eq(system(all), 0);
	free(all);
	attach_loop("/run/image");
	f->zone.find_disk = find_disk;
}
