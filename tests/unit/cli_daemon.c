// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/cli_daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/io.h"
#include "proto/control.pb-c.h"

#define METHOD(name) PROTECT__CONTROL__METHOD__METHOD_##name

static void append(struct cli_bytes *bytes, const void *data, size_t len)
{
	bytes->data = realloc(bytes->data, bytes->len + len + 1);
	cr_assert_not_null(bytes->data);
	if (len)
		memcpy(bytes->data + bytes->len, data, len);
	bytes->len += len;
	bytes->data[bytes->len] = '\0';
}

uint8_t cli_big_byte(size_t i)
{
	return (uint8_t)(i * 31 + i / 257 + i / 65537);
}

static void answer(struct cli_daemon *daemon, uint64_t id, const ProtobufCMessage *message)
{
	uint8_t buf[4096];
	size_t len = protobuf_c_message_get_packed_size(message);

	cr_assert_leq(len, sizeof(buf));
	protobuf_c_message_pack(message, buf);
	cr_assert_eq(idm_reply(daemon->idm, id, 0, NULL, buf, len), 0);
}

static void answer_empty(struct cli_daemon *daemon, uint64_t id)
{
	cr_assert_eq(idm_reply(daemon->idm, id, 0, NULL, NULL, 0), 0);
}

static char *text(const char *value)
{
	return (char *)(uintptr_t)value;
}

static void end_exec(struct cli_daemon *daemon)
{
	Protect__Control__ExecResult result = PROTECT__CONTROL__EXEC_RESULT__INIT;
	struct cli_exec *exec = &daemon->exec;

	if (exec->ended)
		return;
	exec->ended = true;
	idm_stream_end(exec->out);
	if (exec->err)
		idm_stream_end(exec->err);
	result.exit_code = exec->exit_code;
	answer(daemon, exec->id, &result.base);
}

static void push_big(struct cli_daemon *daemon)
{
	struct cli_exec *exec = &daemon->exec;
	uint8_t buf[5000];

	while (exec->left) {
		size_t start = CLI_BIG_BYTES - exec->left,
		       n = exec->left < sizeof(buf) ? exec->left : sizeof(buf), took;

		for (size_t i = 0; i < n; i++)
			buf[i] = cli_big_byte(start + i);
		took = idm_stream_write(exec->out, buf, n);
		exec->left -= took;
		if (took < n)
			return;
	}
	end_exec(daemon);
}

static void exec_data(void *user, struct idm_stream *stream, const void *data, size_t len)
{
	struct cli_daemon *daemon = user;

	if (daemon->exec.echo)
		cr_assert_eq(idm_stream_write(daemon->exec.out, data, len), len,
			     "the test echoes no more than a window");
	idm_stream_consumed(stream, len);
}

static void exec_writable(void *user, struct idm_stream *stream)
{
	struct cli_daemon *daemon = user;

	(void)stream;
	push_big(daemon);
}

static void exec_closed(void *user, struct idm_stream *stream, int error)
{
	struct cli_daemon *daemon = user;

	if (!error && stream == daemon->exec.out && daemon->exec.echo)
		end_exec(daemon);
}

static const struct idm_stream_ops exec_ops = {exec_data, exec_writable, exec_closed};

static void accept_exec(struct cli_daemon *daemon, uint64_t stdio, uint64_t err)
{
	struct cli_exec *exec = &daemon->exec;

	cr_assert_eq(
		idm_stream_accept(daemon->idm, stdio, IDM_WINDOW, &exec_ops, daemon, &exec->out),
		0);
	if (err)
		cr_assert_eq(idm_stream_accept(daemon->idm, err, 0, &exec_ops, daemon, &exec->err),
			     0);
}

/* The scripts of zone exec. */
static void got_exec(struct cli_daemon *daemon, uint64_t id, const Protect__Control__Exec *request)
{
	const Protect__Control__Process *process = request->process;
	const char *script = process->argv[0];
	struct cli_exec *exec = &daemon->exec;

	*exec = (struct cli_exec){.id = id};
	accept_exec(daemon, process->stdio_stream, process->stderr_stream);
	if (process->terminal)
		daemon->rows = process->terminal->rows;
	if (process->n_env)
		snprintf(daemon->last_env, sizeof(daemon->last_env), "%s",
			 process->env[process->n_env - 1]);
	if (strcmp(script, "cat") == 0) {
		exec->echo = true;
	} else if (strcmp(script, "both") == 0) {
		idm_stream_write(exec->out, "to stdout\n", 10);
		idm_stream_write(exec->err, "to stderr\n", 10);
		exec->exit_code = 7;
		end_exec(daemon);
	} else if (strcmp(script, "big") == 0) {
		exec->left = CLI_BIG_BYTES;
		push_big(daemon);
	} else if (strcmp(script, "hang") == 0) {
		idm_stream_write(exec->out, "hanging\n", 8);
		exec->hang = true;
	} else if (strcmp(script, "die") == 0) {
		idm_stream_write(exec->out, "last words\n", 11);
		daemon->die = true;
	} else {
		idm_stream_end(exec->out);
		idm_reply(daemon->idm, id, -ENOENT, "there is no program '/nowhere' in zone 'a'",
			  NULL, 0);
	}
}

static void got_zone_list(struct cli_daemon *daemon, uint64_t id)
{
	Protect__Control__Zone zones[2] = {PROTECT__CONTROL__ZONE__INIT,
					   PROTECT__CONTROL__ZONE__INIT};
	Protect__Control__Zone *list[2] = {&zones[0], &zones[1]};
	Protect__Control__ZoneList message = PROTECT__CONTROL__ZONE_LIST__INIT;

	zones[0].uuid = text("11111111-2222-4333-8444-555555555555");
	zones[0].name = text("a");
	zones[0].state = PROTECT__CONTROL__ZONE_STATE_KIND__ZONE_READY;
	zones[0].paused = true;
	zones[0].max_memory_mib = 512;
	zones[0].target_memory_mib = 128;
	zones[0].policy = PROTECT__CONTROL__RESOURCE_POLICY__POLICY_DYNAMIC;
	zones[0].min_memory_mib = 96;
	zones[0].max_cpus = zones[0].target_cpus = 2;
	zones[1].uuid = text("66666666-2222-4333-8444-555555555555");
	zones[1].name = text("evil\x1b[2Jname\xff");
	zones[1].state = (Protect__Control__ZoneStateKind)99;
	message.zones = list;
	message.n_zones = 2;
	answer(daemon, id, &message.base);
}

static void got_update(struct cli_daemon *daemon, uint64_t id,
		       const Protect__Control__ZoneUpdate *request)
{
	Protect__Control__Zone zone = PROTECT__CONTROL__ZONE__INIT;

	daemon->updated_mib = request->target_memory_mib;
	daemon->updated_cpus = request->target_cpus;
	daemon->updated_policy = request->set_policy ? (int)request->policy : -1;
	daemon->updated_min_mib = request->min_memory_mib;
	answer(daemon, id, &zone.base);
}

/* Of the zone that starts with 6 nothing is known any more. */
static void got_debug_info(struct cli_daemon *daemon, uint64_t id,
			   const Protect__Control__Ref *request)
{
	Protect__Control__Text message = PROTECT__CONTROL__TEXT__INIT;
	char json[128];

	daemon->debug_asked++;
	if (request->ref[0] == '6') {
		idm_reply(daemon->idm, id, -ENOENT, "there is no such zone", NULL, 0);
		return;
	}
	snprintf(json, sizeof(json), "[{\"uuid\":\"%s\",\"text\":\"\\u009b2J\"}]", request->ref);
	message.text = json;
	answer(daemon, id, &message.base);
}

static void got_logs(struct cli_daemon *daemon, uint64_t id, const Protect__Control__Logs *request)
{
	accept_exec(daemon, request->stream, request->stderr_stream);
	idm_stream_write(daemon->exec.out, "Linux version 6.1\n", 18);
	idm_stream_end(daemon->exec.out);
	answer_empty(daemon, id);
}

static void got_workload_launch(struct cli_daemon *daemon, uint64_t id,
				const Protect__Control__WorkloadLaunch *request)
{
	Protect__Control__Workload workload = PROTECT__CONTROL__WORKLOAD__INIT;

	snprintf(daemon->last_image, sizeof(daemon->last_image), "%s", request->image);
	workload.uuid = text("77777777-2222-4333-8444-555555555555");
	if (request->attach) {
		accept_exec(daemon, request->process->stdio_stream,
			    request->process->stderr_stream);
		idm_stream_write(daemon->exec.out, "hello\n", 6);
	}
	answer(daemon, id, &workload.base);
}

static void got_workload_wait(struct cli_daemon *daemon, uint64_t id)
{
	Protect__Control__Workload workload = PROTECT__CONTROL__WORKLOAD__INIT;

	idm_stream_write(daemon->exec.out, "goodbye\n", 8);
	idm_stream_end(daemon->exec.out);
	idm_stream_end(daemon->exec.err);
	workload.has_exit_code = true;
	workload.exit_code = 137;
	answer(daemon, id, &workload.base);
}

static void import_data(void *user, struct idm_stream *stream, const void *data, size_t len)
{
	struct cli_daemon *daemon = user;

	append(&daemon->imported, data, len);
	idm_stream_consumed(stream, len);
}

static void import_closed(void *user, struct idm_stream *stream, int error)
{
	Protect__Control__Image image = PROTECT__CONTROL__IMAGE__INIT;
	struct cli_daemon *daemon = user;

	if (error)
		return;
	image.name = daemon->last_name;
	image.digest = text("sha256:0123");
	answer(daemon, daemon->import_id, &image.base);
	idm_stream_end(stream);
}

static void got_import(struct cli_daemon *daemon, uint64_t id,
		       const Protect__Control__ImageImport *request)
{
	static const struct idm_stream_ops ops = {import_data, NULL, import_closed};

	if (strcmp(request->tag, "refused") == 0) {
		idm_stream_refuse(daemon->idm, request->stream, -ENOSPC);
		idm_reply(daemon->idm, id, -ENOSPC, "the store is full", NULL, 0);
		return;
	}
	daemon->import_id = id;
	snprintf(daemon->last_name, sizeof(daemon->last_name), "%s:%s", request->name,
		 request->tag);
	cr_assert_eq(idm_stream_accept(daemon->idm, request->stream, IDM_WINDOW, &ops, daemon,
				       &daemon->import_stream),
		     0);
}

static void got_signal(struct cli_daemon *daemon, uint64_t id,
		       const Protect__Control__ExecSignal *request)
{
	daemon->signals++;
	answer_empty(daemon, id);
	if (!daemon->exec.hang || request->request_id != daemon->exec.id)
		return;
	daemon->exec.exit_code = 128 + (int)request->signal;
	end_exec(daemon);
}

static void on_request(void *user, struct idm *idm, uint64_t id, uint32_t method, const void *data,
		       size_t len)
{
	struct cli_daemon *daemon = user;

	switch (method) {
	case METHOD(ZONE_LIST):
		got_zone_list(daemon, id);
		break;
	case METHOD(ZONE_EXEC): {
		Protect__Control__Exec *request = protect__control__exec__unpack(NULL, len, data);

		got_exec(daemon, id, request);
		protect__control__exec__free_unpacked(request, NULL);
		break;
	}
	case METHOD(ZONE_UPDATE): {
		Protect__Control__ZoneUpdate *request =
			protect__control__zone_update__unpack(NULL, len, data);

		got_update(daemon, id, request);
		protect__control__zone_update__free_unpacked(request, NULL);
		break;
	}
	case METHOD(HOST_HV_DEBUG_INFO): {
		Protect__Control__Ref *request = protect__control__ref__unpack(NULL, len, data);

		got_debug_info(daemon, id, request);
		protect__control__ref__free_unpacked(request, NULL);
		break;
	}
	case METHOD(HOST_HV_CONSOLE):
	case METHOD(ZONE_LOGS): {
		Protect__Control__Logs *request = protect__control__logs__unpack(NULL, len, data);

		got_logs(daemon, id, request);
		protect__control__logs__free_unpacked(request, NULL);
		break;
	}
	case METHOD(WORKLOAD_LAUNCH): {
		Protect__Control__WorkloadLaunch *request =
			protect__control__workload_launch__unpack(NULL, len, data);

		got_workload_launch(daemon, id, request);
		protect__control__workload_launch__free_unpacked(request, NULL);
		break;
	}
	case METHOD(WORKLOAD_WAIT):
		got_workload_wait(daemon, id);
		break;
	case METHOD(IMAGE_IMPORT): {
		Protect__Control__ImageImport *request =
			protect__control__image_import__unpack(NULL, len, data);

		got_import(daemon, id, request);
		protect__control__image_import__free_unpacked(request, NULL);
		break;
	}
	case METHOD(EXEC_SIGNAL): {
		Protect__Control__ExecSignal *request =
			protect__control__exec_signal__unpack(NULL, len, data);

		got_signal(daemon, id, request);
		protect__control__exec_signal__free_unpacked(request, NULL);
		break;
	}
	case METHOD(EXEC_RESIZE):
		daemon->resizes++;
		answer_empty(daemon, id);
		daemon->exec.exit_code = 3;
		end_exec(daemon);
		break;
	default:
		idm_reply(idm, id, -ENOENT, "there is no zone 'nosuch'", NULL, 0);
	}
}

void cli_daemon_init(struct cli_daemon *daemon)
{
	*daemon = (struct cli_daemon){.folder = "/tmp/protect-cli-XXXXXX", .fd = -1};
	cr_assert_not_null(mkdtemp(daemon->folder));
	snprintf(daemon->path, sizeof(daemon->path), "%s/sock", daemon->folder);
	daemon->listener = io_unix_listen(daemon->path, SOCK_STREAM, 0600);
	cr_assert_geq(daemon->listener, 0);
}

static void hang_up(struct cli_daemon *daemon)
{
	daemon->idm = idm_free(daemon->idm);
	if (daemon->fd >= 0)
		close(daemon->fd);
	daemon->fd = -1;
}

void cli_daemon_deinit(struct cli_daemon *daemon)
{
	hang_up(daemon);
	close(daemon->listener);
	unlink(daemon->path);
	rmdir(daemon->folder);
	free(daemon->imported.data);
}

void cli_run_deinit(struct cli_run *run)
{
	free(run->out.data);
	free(run->err.data);
}

/* One turn of the daemon's end. */
static void serve(struct cli_daemon *daemon, short listener_events, short events)
{
	static const struct idm_handler handler = {.request = on_request};

	if (listener_events && !daemon->idm) {
		daemon->fd = accept4(daemon->listener, NULL, NULL, SOCK_CLOEXEC);
		cr_assert_geq(daemon->fd, 0);
		daemon->idm = idm_new(IDM_SERVER, &handler, daemon);
		cr_assert_eq(idm_pump_init(&daemon->pump, daemon->fd, daemon->idm), 0);
	}
	if ((events && idm_pump_run(&daemon->pump, 1) < 0) || daemon->die)
		hang_up(daemon);
}

struct child {
	pid_t pid;
	int in, out, err; /* our ends */
};

static void start(struct cli_daemon *daemon, struct cli_run *run, const char *const *words,
		  struct child *child)
{
	int in[2], out[2], err[2];
	char *argv[16] = {text("protect")};
	struct winsize size = {.ws_row = 33, .ws_col = 99};

	for (unsigned i = 0; words[i]; i++)
		argv[i + 1] = text(words[i]);
	cr_assert_eq(pipe2(err, O_CLOEXEC), 0);
	if (run->terminal) {
		cr_assert_eq(openpty(&in[1], &in[0], NULL, NULL, &size), 0);
		cr_assert_eq(fcntl(in[1], F_SETFD, FD_CLOEXEC), 0);
		out[0] = dup(in[1]);
		out[1] = dup(in[0]);
		fcntl(out[0], F_SETFD, FD_CLOEXEC);
	} else {
		cr_assert_eq(pipe2(in, O_CLOEXEC), 0);
		cr_assert_eq(pipe2(out, O_CLOEXEC), 0);
	}
	child->pid = fork();
	if (!child->pid) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		dup2(err[1], 2);
		setenv("PROTECT_SOCKET", daemon->path, 1);
		signal(SIGPIPE, SIG_DFL);
		execv(PROTECT_PROGRAM, argv);
		_exit(127);
	}
	*child = (struct child){child->pid, in[1], out[0], err[0]};
	close(out[1]);
	close(err[1]);
	close(in[0]);
	if (run->close_output) {
		close(child->out);
		child->out = -1;
	}
}

static void take(int *fd, struct cli_bytes *bytes)
{
	uint8_t buf[65536];
	ssize_t n = read(*fd, buf, sizeof(buf));

	if (n > 0) {
		append(bytes, buf, (size_t)n);
		return;
	}
	close(*fd);
	*fd = -1;
}

static bool is_raw(int fd)
{
	struct termios mode;

	return tcgetattr(fd, &mode) == 0 && !(mode.c_lflag & ICANON);
}

static void give(struct cli_run *run, struct child *child, size_t *given)
{
	ssize_t n = run->input ? write(child->in, run->input + *given, run->input_len - *given) : 0;

	if (n > 0)
		*given += (size_t)n;
	if ((n < 0 && errno != EAGAIN) || *given == run->input_len) {
		close(child->in);
		child->in = -1;
	}
}

/* What the test does to a program whose process over there hangs. */
static void disturb(struct cli_run *run, struct child *child)
{
	struct winsize size = {.ws_row = 44, .ws_col = 99};

	if (run->terminal)
		run->raw_seen |= is_raw(child->in);
	if (!run->kill || !run->out.len)
		return;
	if (run->kill ==
	    SIGWINCH) /* the kernel tells the foreground group; ours has no controlling terminal */
		ioctl(child->in, TIOCSWINSZ, &size);
	kill(child->pid, run->kill);
	run->kill = 0;
}

static void wait_for(struct cli_run *run, struct child *child)
{
	int status;

	cr_assert_eq(waitpid(child->pid, &status, 0), child->pid);
	run->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	if (run->terminal)
		run->restored = !is_raw(child->in);
	if (child->in >= 0)
		close(child->in);
	if (child->out >= 0)
		close(child->out);
}

void cli_daemon_run(struct cli_daemon *daemon, struct cli_run *run, const char *const *words)
{
	struct child child;
	size_t given = 0;

	signal(SIGPIPE, SIG_IGN);
	start(daemon, run, words, &child);
	if (!run->terminal)
		cr_assert_eq(io_set_nonblock(child.in, 1), 0);
	while (child.err >= 0 ||
	       (child.out >= 0 && !run->terminal)) { /* a terminal's output has no end here */
		struct pollfd polls[] = {
			{daemon->listener, POLLIN, 0},
			{daemon->idm ? daemon->fd : -1,
			 (short)(daemon->idm ? idm_pump_events(&daemon->pump) : 0), 0},
			{run->terminal ? -1 : child.in, POLLOUT, 0},
			{child.out, POLLIN, 0},
			{child.err, POLLIN, 0},
		};

		cr_assert_gt(poll(polls, 5, 20000), 0, "nothing happens any more");
		serve(daemon, polls[0].revents, polls[1].revents);
		if (polls[2].revents)
			give(run, &child, &given);
		if (polls[3].revents)
			take(&child.out, &run->out);
		if (polls[4].revents)
			take(&child.err, &run->err);
		disturb(run, &child);
		if (run->slow_us)
			usleep(run->slow_us);
	}
	hang_up(daemon);
	wait_for(run, &child);
}
