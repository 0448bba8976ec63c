// SPDX-License-Identifier: Apache-2.0
#include "runner/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/runner.h"
#include "base/util.h"

static const struct {
	const char *reason;
	int status;
} exit_statuses[] = {
	{RUNNER_EXIT_POWEROFF, 0}, {RUNNER_EXIT_ERROR, 1},	  {RUNNER_EXIT_REBOOT, 3},
	{RUNNER_EXIT_PANIC, 4},	   {RUNNER_EXIT_TRIPLE_FAULT, 5}, {RUNNER_EXIT_KILLED, 6},
};

void runner_open_stdio(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	close_fdp(&fd);
}

int runner_parse_fd(const char *text)
{
	char *end;
	long number = strtol(text, &end, 10);

	if (*end || end == text || number < 0 || number > INT32_MAX ||
	    fcntl((int)number, F_SETFD, FD_CLOEXEC) < 0)
		return -EBADF;
	return (int)number;
}

int runner_read_spec(const char *path, int fd, struct zone_spec *spec, struct error *err)
{
	_cleanup_(freep) char *json = NULL;
	size_t len;
	int r;

	if (path)
		r = io_read_file(AT_FDCWD, path, SPEC_SIZE_MAX, &json, &len);
	else
		r = io_read_fd(fd, SPEC_SIZE_MAX, &json, &len);
	if (r < 0)
		return error_set_errno(err, r, "cannot read the spec '%s'",
				       path ? path : "(descriptor)");
	return spec_parse(json, len, spec, err);
}

static void await_signal(struct runner_signals *signals);

/* Whoever signals a whole cgroup, as systemd does, reaches us directly and through a process that
 * minds us: that is one request. */
static bool is_echo(struct runner_signals *signals)
{
	uint64_t now_ns = clock_now_ns();
	bool echo =
		signals->info.ssi_signo == signals->last && now_ns - signals->last_ns < NS_PER_S;

	signals->last = signals->info.ssi_signo;
	signals->last_ns = now_ns;
	return echo;
}

static void signal_came(struct loop_op *op, int res, uint32_t cqe_flags)
{
	struct runner_signals *signals = container_of(op, struct runner_signals, op);

	(void)cqe_flags;
	if (res != (int)sizeof(signals->info))
		return;
	if (!is_echo(signals))
		shutdown_request(signals->shutdown, strsignal((int)signals->info.ssi_signo));
	await_signal(signals);
}

static void await_signal(struct runner_signals *signals)
{
	int r = loop_read(signals->loop, &signals->op, signals->slot, &signals->info,
			  sizeof(signals->info), 0);

	if (r < 0)
		log_error("msg=\"signals are no longer heard\" err=%d", -r);
}

int runner_watch_signals(struct runner_signals *signals, struct loop *loop,
			 struct shutdown *shutdown)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signals->loop = loop;
	signals->shutdown = shutdown;
	signals->op.done = signal_came;
	signals->fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (signals->fd < 0)
		return -errno;
	signals->slot = loop_slot_add(loop, signals->fd);
	if (signals->slot < 0)
		return signals->slot;
	await_signal(signals);
	return 0;
}

void runner_write_exit(int fd, const char *reason, const char *detail)
{
	char line[64 + ERROR_TEXT_MAX];
	int len = snprintf(line, sizeof(line), "%s%s%s\n", reason, *detail ? " " : "", detail);

	if (fd >= 0 && io_write_full(fd, line, (size_t)len) < 0)
		log_error("msg=\"cannot write the exit record\"");
}

int runner_exit_status(const char *reason)
{
	for (unsigned i = 0; i < ARRAY_SIZE(exit_statuses); i++)
		if (strcmp(exit_statuses[i].reason, reason) == 0)
			return exit_statuses[i].status;
	return EXIT_FAILURE;
}
