// SPDX-License-Identifier: Apache-2.0
/*
 * sandbox_probe: is what a zone-vmm that was taken over might try really denied? Every attempt of
 * attempts.c runs in a process of its own, in the sandbox that the runner has: its namespaces, its
 * empty root, its limits, no capability, Landlock, and the very filters that zone-vmm of this tree
 * loads, one after the other. What the filter must stop has to kill the process; what the ring must
 * refuse has to fail with EACCES. Calls that zone-vmm needs have to go through, or the rest would
 * prove nothing.
 *
 * usage: sandbox_probe [--without-filters]     (without them the test must fail: that it can is a
 *                                              test as well)
 * Prints TAP. Status 0: all of it denied; 1: something was not; 77: no user namespaces here.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/filter.h"
#include "base/isolate.h"
#include "base/landlock.h"
#include "base/ring.h"
#include "base/util.h"
#include "tests/sandbox/attempts.h"
#include "probe_filters.h"

#define PAGE	     4096
#define RING_ENTRIES 8
#define RING_SLOTS   4
#define SKIPPED	     77
#define NOT_BUILT    250 /* exit status: the sandbox itself could not be made */
#define UID_BASE     0x70000000u

static const struct {
	enum profile profile;
	const char *name;
	const struct filter *filter;
} profiles[] = {
	{VCPU, "vcpu", &filter_vmm_vcpu},
	{LOOP, "loop", &filter_vmm_loop},
	{LOOP_POLLING, "polling", &filter_vmm_loop_polling},
	{WORKER, "worker", &filter_vmm_worker},
};

/* What the parent has, for all attempts. */
struct outside {
	pid_t victim;
	char stranger[64];
	struct sockaddr_un hears; /* the victim's abstract socket */
	socklen_t hears_len;
	int file, pipe[2];
	uid_t uid;
	gid_t gid;
	bool without_filters;
};

/* One attempt. */
struct run {
	const struct outside *outside;
	const struct filter *filter;
	int (*attempt)(struct run *run); /* 0: it succeeded, or a positive errno */
	const void *what;
	struct ring ring;
	int socket;
	uint8_t *pages;
};

static long bait(const struct run *run, long value)
{
	switch (value) {
	case BAIT_VICTIM:
		return run->outside->victim;
	case BAIT_SELF:
		return getpid();
	case BAIT_PAGE:
		return (long)run->pages;
	case BAIT_CODE:
		return (long)(run->pages + PAGE);
	case BAIT_FILE:
		return run->outside->file;
	case BAIT_PIPE:
		return run->outside->pipe[1];
	case BAIT_SOCKET:
		return run->socket;
	case BAIT_RING:
		return run->ring.uring.ring_fd;
	case BAIT_STRANGER:
		return (long)run->outside->stranger;
	default:
		return value;
	}
}

/* Attempts. */

static int do_call(struct run *run)
{
	const struct call_attempt *call = run->what;
	long args[ARRAY_SIZE(call->args)];

	for (unsigned i = 0; i < ARRAY_SIZE(args); i++)
		args[i] = bait(run, call->args[i]);
	if (syscall(call->number, args[0], args[1], args[2], args[3], args[4], args[5]) >= 0)
		return 0;
	return errno;
}

static int do_operation(struct run *run)
{
	const struct ring_attempt *operation = run->what;
	struct io_uring_sqe *sqe = ring_get_entry(&run->ring);
	struct ring_completion done;

	io_uring_prep_rw(operation->opcode, sqe, 0, run->pages, 1, 0);
	io_uring_sqe_set_flags(sqe, operation->flags);
	if (ring_submit_and_wait(&run->ring) < 0 || !ring_next(&run->ring, &done))
		return 0;
	return done.res < 0 ? -done.res : 0;
}

/* getpid() of 32-bit Linux. */
static int call_of_i386(struct run *run)
{
	long result = 20;

	(void)run;
	__asm__ volatile("int $0x80" : "+a"(result) : : "memory", "r8", "r9", "r10", "r11");
	return result > 0 ? 0 : EPERM;
}

/* The loop may send messages, and no filter sees to whom: a network namespace has to stop it. */
static int message_to_abstract_socket(struct run *run)
{
	struct sockaddr_un address = run->outside->hears;
	struct iovec iov = {.iov_base = run->pages, .iov_len = 1};
	const struct msghdr message = {.msg_name = &address,
				       .msg_namelen = run->outside->hears_len,
				       .msg_iov = &iov,
				       .msg_iovlen = 1};

	return sendmsg(run->socket, &message, MSG_NOSIGNAL) < 0 ? errno : 0;
}

/* The sandbox. */

static int prepare(struct run *run)
{
	int r = ring_init(&run->ring, RING_ENTRIES, RING_SLOTS, false);

	if (r == 0)
		r = ring_set_file(&run->ring, 0, run->outside->file);
	run->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	run->pages = mmap(NULL, 2 * (size_t)PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (r == 0 && (run->socket < 0 || run->pages == MAP_FAILED))
		r = -errno;
	return r;
}

static int enter(const struct run *run)
{
	const struct outside *outside = run->outside;
	struct error err = ERROR_NULL;
	int r = isolate_become(outside->uid, outside->gid);

	if (r == 0)
		r = isolate_names();
	if (r == 0)
		r = isolate_root();
	if (r == 0)
		r = isolate_limits(ISOLATE_FILES_MAX);
	if (r == 0)
		r = isolate_drop(0);
	if (r == 0)
		r = isolate_check(true, &err);
	if (r == 0)
		r = landlock_deny_all();
	if (r >= 0 && !outside->without_filters)
		r = filter_load(run->filter);
	return r < 0 ? r : 0;
}

static void attempt_inside(struct run *run, int wait_for)
{
	char mapped;
	int r = read(wait_for, &mapped, 1) == 1 ? 0 : -ESRCH;

	if (r == 0)
		r = prepare(run);
	if (r == 0)
		r = enter(run);
	if (r < 0) {
		fprintf(stderr, "sandbox_probe: cannot make the sandbox: %s\n", strerror(-r));
		_exit(NOT_BUILT);
	}
	_exit(run->attempt(run));
}

/* Returns the wait status of a process that is PID 1 of its own namespace. */
static int run_attempt(struct run *run)
{
	int ready[2], status = -1, r;
	pid_t pid;

	if (pipe(ready) < 0)
		return -1;
	pid = (pid_t)syscall(SYS_clone, ISOLATE_NAMESPACES | SIGCHLD, 0, 0, 0, 0);
	if (pid == 0) {
		close(ready[1]);
		attempt_inside(run, ready[0]);
	}
	if (pid < 0 && (errno == EPERM || errno == ENOSPC || errno == EUSERS)) {
		printf("1..0 # SKIP this host gives us no user namespace\n");
		exit(SKIPPED);
	}
	r = pid < 0 ? -errno : isolate_map(pid, run->outside->uid, run->outside->gid);
	if (r == 0 && write(ready[1], "", 1) != 1)
		r = -errno;
	close(ready[0]);
	close(ready[1]);
	if (pid > 0)
		waitpid(pid, &status, 0);
	if (r < 0)
		fprintf(stderr, "sandbox_probe: %s\n", strerror(-r));
	return status;
}

/* Results. */

static bool is_killed(int status)
{
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

static bool has_succeeded(int status)
{
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool is_allowed(int status)
{
	return WIFEXITED(status) && WEXITSTATUS(status) != NOT_BUILT;
}

static bool is_refused(int status)
{
	return WIFEXITED(status) && WEXITSTATUS(status) == EACCES;
}

static bool is_unreachable(int status)
{
	return WIFEXITED(status) &&
	       (WEXITSTATUS(status) == ECONNREFUSED || WEXITSTATUS(status) == EPERM);
}

/* A kernel without 32-bit calls has no such interrupt at all. */
static bool is_killed_anyhow(int status)
{
	return is_killed(status) || (WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

struct tally {
	unsigned n, n_good;
};

/* Runs one attempt as every profile that it is for; prints one line. */
static void judge(const struct outside *outside, struct tally *tally, const char *kind,
		  const char *name, unsigned mask, int (*attempt)(struct run *run),
		  const void *what, bool (*is_good)(int status))
{
	char detail[256] = "";
	bool good = true;

	for (unsigned i = 0; i < ARRAY_SIZE(profiles); i++) {
		struct run run = {.outside = outside,
				  .filter = profiles[i].filter,
				  .attempt = attempt,
				  .what = what};
		size_t len = strlen(detail);
		int status;

		if (!(mask & profiles[i].profile))
			continue;
		status = run_attempt(&run);
		good = good && is_good(status);
		snprintf(detail + len, sizeof(detail) - len, " %s %s%d", profiles[i].name,
			 WIFSIGNALED(status) ? "signal " : "",
			 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	}
	tally->n++;
	tally->n_good += good;
	printf("%s %u - %s: %s #%s\n", good ? "ok" : "not ok", tally->n, kind, name, detail);
	fflush(stdout);
}

static void judge_all(const struct outside *outside, struct tally *tally)
{
	for (unsigned i = 0; i < n_forbidden_calls; i++)
		judge(outside, tally, "denied", forbidden_calls[i].what,
		      forbidden_calls[i].profiles, do_call, &forbidden_calls[i], is_killed);
	judge(outside, tally, "denied", "getpid of i386", ALL, call_of_i386, NULL,
	      is_killed_anyhow);
	judge(outside, tally, "denied", "a message to another's abstract socket", LOOPS,
	      message_to_abstract_socket, NULL, is_unreachable);
	for (unsigned i = 0; i < n_forbidden_operations; i++)
		judge(outside, tally, "ring refuses", forbidden_operations[i].what, LOOP,
		      do_operation, &forbidden_operations[i], is_refused);
}

static void judge_needed(const struct outside *outside, struct tally *tally)
{
	static const struct ring_attempt read_disk = {"", IORING_OP_READ, IOSQE_FIXED_FILE};

	for (unsigned i = 0; i < n_allowed_calls; i++)
		judge(outside, tally, "needed", allowed_calls[i].what, allowed_calls[i].profiles,
		      do_call, &allowed_calls[i], is_allowed);
	judge(outside, tally, "needed", "read a disk through the ring", LOOP, do_operation,
	      &read_disk, has_succeeded);
}

/* An abstract socket that hears, under a name of the kernel's choice: others may run this at the
 * same time. */
static int open_abstract_socket(struct outside *outside)
{
	const struct sockaddr_un unnamed = {.sun_family = AF_UNIX};
	struct sockaddr *address = (struct sockaddr *)&outside->hears;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	outside->hears_len = sizeof(outside->hears);
	/* From out here it can be reached. */
	if (fd < 0 || bind(fd, (const struct sockaddr *)&unnamed, sizeof(unnamed.sun_family)) < 0 ||
	    getsockname(fd, address, &outside->hears_len) < 0 ||
	    sendto(fd, "", 1, 0, address, outside->hears_len) != 1)
		return -1;
	return fd;
}

/* Another process, as another zone's would be: with memory of its own and a socket that hears. */
static int start_victim(struct outside *outside)
{
	int memory = memfd_create("zone", MFD_CLOEXEC), hears = open_abstract_socket(outside);

	if (memory < 0 || hears < 0)
		return -1;
	outside->victim = fork();
	if (outside->victim == 0) {
		pause();
		_exit(0);
	}
	snprintf(outside->stranger, sizeof(outside->stranger), "/proc/%d/fd/%d",
		 (int)outside->victim, memory);
	close(memory);
	close(hears);
	return outside->victim < 0 ? -1 : 0;
}

static int set_up(struct outside *outside)
{
	outside->uid = geteuid() == 0 ? UID_BASE + (uid_t)getpid() : geteuid();
	outside->gid = geteuid() == 0 ? (gid_t)outside->uid : getegid();
	outside->file = memfd_create("disk", MFD_CLOEXEC);
	if (outside->file < 0 || ftruncate(outside->file, PAGE) < 0 || start_victim(outside) < 0 ||
	    pipe(outside->pipe) < 0)
		return -errno;
	return 0;
}

int main(int argc, char **argv)
{
	struct outside outside = {.without_filters =
					  argc == 2 && strcmp(argv[1], "--without-filters") == 0};
	struct tally denied = {0}, needed = {0};

	if (argc > 2 || (argc == 2 && !outside.without_filters)) {
		fprintf(stderr, "usage: sandbox_probe [--without-filters]\n");
		return 2;
	}
	if (set_up(&outside) < 0) {
		perror("sandbox_probe");
		return 1;
	}
	printf("1..%u\n", n_forbidden_calls + 2 + n_forbidden_operations + n_allowed_calls + 1);
	judge_all(&outside, &denied);
	needed.n = denied.n;
	judge_needed(&outside, &needed);
	kill(outside.victim, SIGKILL);
	waitpid(outside.victim, NULL, 0);
	needed.n -= denied.n;
	printf("# %u of %u denied, %u of %u that are needed allowed\n", denied.n_good, denied.n,
	       needed.n_good, needed.n);
	return denied.n_good == denied.n && needed.n_good == needed.n ? 0 : 1;
}
