// SPDX-License-Identifier: Apache-2.0
#include "zone-guest/process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/util.h"

#define REPORTS_MAX 4 /* a child sends two at most */

struct plumbing {
	int near_in, near_out, near_err;
	int near_report;
	struct child_pipes child;
};

#define PLUMBING_NULL                                                                              \
	{                                                                                          \
		-1, -1, -1, -1,                                                                    \
		{                                                                                  \
			-1, -1, -1, -1                                                             \
		}                                                                                  \
	}

static void plumbing_deinit(struct plumbing *p)
{
	close_fdp(&p->near_in);
	close_fdp(&p->near_out);
	close_fdp(&p->near_err);
	close_fdp(&p->near_report);
	close_fdp(&p->child.in);
	close_fdp(&p->child.out);
	close_fdp(&p->child.err);
	close_fdp(&p->child.report);
}

static int make_pipe(int *read_end, int *write_end)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	*read_end = ends[0];
	*write_end = ends[1];
	return 0;
}

static int plumb(struct plumbing *p, const struct process_spec *spec)
{
	int report[2], r = 0;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, report) < 0)
		return -errno;
	p->near_report = report[0];
	p->child.report = report[1];
	if (spec->terminal)
		return 0;
	if (spec->no_stdin) {
		p->child.in = open("/dev/null", O_RDONLY | O_CLOEXEC);
		r = p->child.in < 0 ? -errno : 0;
	} else {
		r = make_pipe(&p->child.in, &p->near_in);
	}
	if (r == 0)
		r = make_pipe(&p->near_out, &p->child.out);
	if (r == 0)
		r = make_pipe(&p->near_err, &p->child.err);
	return r;
}

static pid_t clone_child(const struct process_spec *spec, int *pidfd)
{
	struct clone_args args = {
		.flags = CLONE_PIDFD,
		.pidfd = (uintptr_t)pidfd,
		.exit_signal = SIGCHLD,
	};

	pid_t pid;

	if (spec->place == PROCESS_IN_NEW_WORKLOAD)
		args.flags |=
			CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWTIME;
	if (spec->cgroup >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint32_t)spec->cgroup;
	}
	pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (pid >= 0 || errno != EINVAL || !(args.flags & CLONE_NEWTIME))
		return pid;
	/* A kernel may be built without namespaces for time. */
	args.flags &= ~(uint64_t)CLONE_NEWTIME;
	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

/*
 * A PID namespace is joined by the next child, not by the caller: set it, clone, and set our own
 * again, so that the process stays our direct child, whose end we see.
 */
static pid_t clone_joined(const struct process_spec *spec, int *pidfd)
{
	_cleanup_(close_fdp) int own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	pid_t pid;

	if (own < 0 || setns(spec->join, CLONE_NEWPID) < 0)
		return -1;
	pid = clone_child(spec, pidfd);
	if (pid == 0)
		return 0;
	if (setns(own, CLONE_NEWPID) < 0)
		log_error("what=setns-back err=%s", strerror(errno));
	return pid;
}

static void stop_report(struct process *process)
{
	int fd = process->report.fd;

	reactor_unwatch(process->reactor, &process->report);
	close_fdp(&fd);
}

/*
 * Takes one report. Returns whether more may follow; the end of the socket means that the program
 * was executed.
 */
static bool take_report(struct process *process)
{
	struct child_report report;
	unsigned n_fds = 1;
	int master = -1;
	ssize_t n = io_recv_fds(process->report.fd, &report, sizeof(report), &master, &n_fds,
				MSG_DONTWAIT);

	if (n == -EAGAIN && process->pid)
		return false;
	if (n != sizeof(report)) {
		stop_report(process);
		if (!process->failure.code) {
			process->running = true;
			process->started(process);
		}
		return false;
	}
	if (report.kind == CHILD_FAILED) {
		report.failure.text[sizeof(report.failure.text) - 1] = '\0';
		process->failure = report.failure;
		if (process->failure.code >= 0)
			process->failure.code = -EIO;
	}
	if (n_fds && report.kind == CHILD_TERMINAL)
		stdio_set_terminal(process->stdio, master);
	else if (n_fds)
		close(master);
	return true;
}

static void report_ready(struct reactor_watch *watch, uint32_t events)
{
	(void)events;
	take_report(container_of(watch, struct process, report));
}

static void on_drained(void *user)
{
	struct process *process = user;

	process->ended(process);
}

int process_init(struct process *process, struct reactor *reactor,
		 void (*started)(struct process *process), void (*ended)(struct process *process))
{
	*process = (struct process){
		.reactor = reactor,
		.report = {.fd = -1, .ready = report_ready},
		.started = started,
		.ended = ended,
		.pidfd = -1,
		.stdio = stdio_new(reactor, on_drained, process),
	};
	return process->stdio ? 0 : -ENOMEM;
}

void process_deinit(struct process *process)
{
	stop_report(process);
	close_fdp(&process->pidfd);
	stdio_release(process->stdio, 0);
	process->stdio = NULL;
}

int process_spawn(struct process *process, const struct process_spec *spec, struct error *err)
{
	_cleanup_(plumbing_deinit) struct plumbing p = PLUMBING_NULL;
	int r = plumb(&p, spec);
	pid_t pid;

	if (r < 0)
		return error_set_errno(err, r, "cannot make the process's pipes");
	pid = spec->place == PROCESS_IN_WORKLOAD ? clone_joined(spec, &process->pidfd)
						 : clone_child(spec, &process->pidfd);
	if (pid < 0)
		return error_set_errno(err, -errno, "cannot start a process");
	if (pid == 0)
		child_run(spec, &p.child);
	process->pid = pid;
	r = reactor_watch(process->reactor, &process->report, p.near_report, EPOLLIN);
	if (r < 0)
		log_error("what=watch-report pid=%d err=%s", (int)pid, strerror(-r));
	p.near_report = -1;
	if (!spec->terminal) {
		r = stdio_set_pipes(process->stdio, p.near_in, p.near_out, p.near_err);
		p.near_in = p.near_out = p.near_err = -1;
		if (r < 0)
			log_error("what=watch-pipes pid=%d err=%s", (int)pid, strerror(-r));
	}
	return 0;
}

void process_reaped(struct process *process, int wait_status)
{
	process->pid = 0;
	process->wait_status = wait_status;
	/* It may have started and ended before its report was looked at. */
	for (int i = 0; i < REPORTS_MAX && process->report.fd >= 0; i++)
		take_report(process);
	if (!process->running) {
		error_set(&process->failure, -EIO, "the process ended before it was started");
		stop_report(process);
		stdio_release(process->stdio, process->failure.code);
		process->stdio = NULL;
	}
	if (process->stdio)
		stdio_finish(process->stdio);
	else
		process->ended(process);
}

int process_signal(const struct process *process, int signal)
{
	if (!process->pid || process->pidfd < 0)
		return -ESRCH;
	return syscall(SYS_pidfd_send_signal, process->pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

int process_exit_code(int wait_status)
{
	return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}
