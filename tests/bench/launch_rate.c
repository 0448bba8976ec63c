// SPDX-License-Identifier: Apache-2.0
/*
 * launch_rate PROTECT_LAUNCH ZONE_VMM POWEROFF_ELF [N] [TOGETHER]: whole lives of small zones a
 * second, through a protect-launch of our own with all of its sandbox: SPAWN, the guest runs and
 * switches itself off, the exit record says so, REAP. First one after another, then up to TOGETHER
 * at once. The peer is the same zone-vmm by fork
 * and exec alone, which then isolates itself. Needs root.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/util.h"
#include "supervisor/launch/launch.h"
#include "zone.h"

#define TOGETHER_MAX 128u
#define MEMORY_MIB   32
#define UID_BASE     "700000" /* clear of a protect-launch that is in use */

struct bench {
	const char *launch, *vmm, *guest;
	char dir[32];
	pid_t launch_pid;
	int socket;
};

/* One zone under way. */
struct life {
	struct uuid uuid;
	int pidfd, exit_record;
	uint32_t slot;
};

static const char *in_dir(const struct bench *bench, const char *name)
{
	static char path[64];

	snprintf(path, sizeof(path), "%s/%s", bench->dir, name);
	return path;
}

/*
 * protect-launch refuses a KVM whose processor shows no virtualization, since that boots no Linux.
 * The small guest here runs all the same: in a mount namespace of its own it sees one that does.
 */
static void show_virtualization(const struct bench *bench)
{
	static const char text[] = "flags : svm\n";
	int fd = open(in_dir(bench, "cpuinfo"), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	if (fd < 0 || io_write_full(fd, text, sizeof(text) - 1) < 0 || unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount(in_dir(bench, "cpuinfo"), "/proc/cpuinfo", NULL, MS_BIND, NULL) < 0)
		bench_die("mount namespace", -errno);
	close(fd);
}

static void start_launch(struct bench *bench)
{
	bench->launch_pid = fork();
	if (bench->launch_pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		show_virtualization(bench);
		dup2(open(in_dir(bench, "log"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600),
		     STDERR_FILENO);
		execl(bench->launch, bench->launch, "--socket", in_dir(bench, "launch.sock"),
		      "--runner", bench->vmm, "--uid-base", UID_BASE, "--uid-count", "256",
		      (char *)NULL);
		_exit(127);
	}
	for (unsigned i = 0;
	     (bench->socket = io_unix_connect(in_dir(bench, "launch.sock"), SOCK_SEQPACKET)) < 0;
	     i++) {
		if (i == 5000)
			bench_die("protect-launch does not answer", bench->socket);
		usleep(1000);
	}
}

static struct launch_reply ask(struct bench *bench, const struct launch_request *request,
			       const int *fds, int *pidfd)
{
	struct launch_reply reply;
	unsigned n = 1;
	int got = -1;

	if (io_send_fds(bench->socket, request, sizeof(*request), fds, request->n_fds, 0) < 0 ||
	    io_recv_fds(bench->socket, &reply, sizeof(reply), &got, &n, 0) != sizeof(reply))
		bench_die("protect-launch is gone", -errno);
	if (n && pidfd)
		*pidfd = got;
	return reply;
}

static int make_spec(const char *members)
{
	char text[512];
	int fd = memfd_create("spec", MFD_CLOEXEC);
	int n = snprintf(text, sizeof(text), "{\"memory_mib\": %u, %s}", MEMORY_MIB, members);

	if (fd < 0 || io_write_full(fd, text, (size_t)n) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		bench_die("spec", -errno);
	return fd;
}

static int launched_spec(void)
{
	char members[256];

	snprintf(members, sizeof(members),
		 "\"kernel\": {\"fd\": %d}, \"socket\": {\"fd\": %d}, \"exit\": {\"fd\": %d}",
		 LAUNCH_FD_FILES, LAUNCH_FD_SOCKET, LAUNCH_FD_EXIT);
	return make_spec(members);
}

static int alone_spec(const struct bench *bench)
{
	char members[400];

	snprintf(members, sizeof(members), "\"kernel\": {\"path\": \"%s\"}", bench->guest);
	return make_spec(members);
}

static void spawn(struct bench *bench, struct life *life)
{
	struct launch_request request = {.version = LAUNCH_VERSION,
					 .op = LAUNCH_SPAWN,
					 .limits.memory_bytes = (MEMORY_MIB + 16) * MIB,
					 .slot = life->slot,
					 .limits.cpu_weight = 100,
					 .n_fds = 5};
	int fds[5];
	struct launch_reply reply;

	uuid_generate(&request.uuid);
	fds[LAUNCH_PLACE_SPEC] = launched_spec();
	fds[LAUNCH_PLACE_SOCKET] = io_unix_listen(in_dir(bench, "socket"), SOCK_STREAM, 0600);
	fds[LAUNCH_PLACE_EXIT] = memfd_create("exit", MFD_CLOEXEC);
	fds[LAUNCH_PLACE_LOG] = open("/dev/null", O_WRONLY | O_CLOEXEC);
	fds[LAUNCH_PLACE_FILES] = open(bench->guest, O_RDONLY | O_CLOEXEC);
	reply = ask(bench, &request, fds, &life->pidfd);
	if (reply.error)
		bench_die(reply.text, reply.error);
	life->uuid = request.uuid;
	life->exit_record = fds[LAUNCH_PLACE_EXIT];
	for (unsigned i = 0; i < 5; i++)
		if (i != LAUNCH_PLACE_EXIT)
			close(fds[i]);
}

static void reap(struct bench *bench, struct life *life)
{
	struct launch_request request = {
		.version = LAUNCH_VERSION, .op = LAUNCH_REAP, .uuid = life->uuid};
	struct launch_reply reply;
	char record[16] = "";

	while ((reply = ask(bench, &request, NULL, NULL)).error == -EBUSY)
		usleep(100);
	if (reply.error)
		bench_die(reply.text, reply.error);
	if (pread(life->exit_record, record, sizeof(record) - 1, 0) < 0 ||
	    strncmp(record, "poweroff", 8) != 0)
		bench_die("a zone did not end by its own power-off", 0);
	close(life->exit_record);
	close(life->pidfd);
}

/* Lives a second with up to `together` of them at once. */
static double rate(struct bench *bench, unsigned n, unsigned together)
{
	struct life lives[TOGETHER_MAX];
	struct pollfd polls[TOGETHER_MAX];
	uint64_t begin = clock_now_ns();
	unsigned started = 0, ended = 0;

	for (uint32_t i = 0; i < together; i++)
		polls[i] = (struct pollfd){.fd = -1, .events = POLLIN};
	while (ended < n) {
		for (uint32_t i = 0; i < together; i++) {
			if (polls[i].fd >= 0 && polls[i].revents) {
				reap(bench, &lives[i]);
				polls[i].fd = -1;
				ended++;
			}
			if (polls[i].fd < 0 && started < n) {
				lives[i].slot = i;
				spawn(bench, &lives[i]);
				polls[i].fd = lives[i].pidfd;
				started++;
			}
		}
		if (ended < n && poll(polls, together, 10000) <= 0)
			bench_die("no zone ended within 10 s", 0);
	}
	return n * 1e9 / (double)(clock_now_ns() - begin);
}

static pid_t start_alone(const struct bench *bench)
{
	int spec = alone_spec(bench), null = open("/dev/null", O_RDWR | O_CLOEXEC);
	pid_t pid = fork();

	if (pid == 0) {
		dup2(spec, LAUNCH_FD_SPEC);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		execl(bench->vmm, bench->vmm, "--spec-fd", "4", (char *)NULL);
		_exit(127);
	}
	close(spec);
	close(null);
	return pid;
}

static double rate_alone(const struct bench *bench, unsigned n, unsigned together)
{
	uint64_t begin = clock_now_ns();
	int status;

	for (unsigned started = 0, ended = 0; ended < n; ended++) {
		while (started < n && started - ended < together) {
			start_alone(bench);
			started++;
		}
		if (wait(&status) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
			bench_die("a zone alone did not end by its own power-off", 0);
	}
	return n * 1e9 / (double)(clock_now_ns() - begin);
}

int main(int argc, char **argv)
{
	struct bench bench = {.dir = "/tmp/bench-launch.XXXXXX"};
	unsigned n = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 100;
	unsigned together = argc > 5 ? (unsigned)strtoul(argv[5], NULL, 10) : 50;
	double sequential, at_once;

	if (argc < 4 || n == 0 || together == 0 || together > TOGETHER_MAX) {
		fputs("usage: launch_rate PROTECT_LAUNCH ZONE_VMM POWEROFF_ELF [N] [TOGETHER]\n",
		      stderr);
		return 2;
	}
	bench.launch = argv[1];
	bench.vmm = argv[2];
	bench.guest = argv[3];
	if (!mkdtemp(bench.dir))
		bench_die("folder", -errno);
	/* Before there is a child that wait() could find. */
	sequential = rate_alone(&bench, n, 1);
	at_once = rate_alone(&bench, n, together);
	start_launch(&bench);
	bench_report("launch_rate", "1/s", rate(&bench, n, 1), sequential, "zone-vmm alone");
	bench_report("launch_rate_50", "1/s", rate(&bench, n, together), at_once, "zone-vmm alone");
	kill(bench.launch_pid, SIGTERM);
	waitpid(bench.launch_pid, NULL, 0);
	unlink(in_dir(&bench, "launch.sock"));
	unlink(in_dir(&bench, "socket"));
	unlink(in_dir(&bench, "log"));
	unlink(in_dir(&bench, "cpuinfo"));
	rmdir(bench.dir);
	return 0;
}
