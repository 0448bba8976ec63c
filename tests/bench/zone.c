// SPDX-License-Identifier: Apache-2.0
#include "zone.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"

#define DISK_BYTES (1 << 20)

void bench_die(const char *what, int r)
{
	fprintf(stderr, "%s: %s%s%s\n", program_invocation_short_name, what, r < 0 ? ": " : "",
		r < 0 ? strerror(-r) : "");
	exit(EXIT_FAILURE);
}

static const char *in_dir(const struct zone *zone, const char *name)
{
	static char path[64];

	snprintf(path, sizeof(path), "%s/%s", zone->dir, name);
	return path;
}

void zone_prepare(struct zone *zone, const struct zone_options *options)
{
	FILE *file;

	strcpy(zone->dir, "/tmp/bench-zone.XXXXXX");
	if (!mkdtemp(zone->dir))
		bench_die("folder", -errno);
	file = fopen(in_dir(zone, "disk"), "w");
	if (!file || ftruncate(fileno(file), DISK_BYTES) < 0 || fclose(file) != 0)
		bench_die("disk", -errno);
	file = fopen(in_dir(zone, "spec.json"), "w");
	if (!file)
		bench_die("spec", -errno);
	fprintf(file,
		"{\"memory_mib\": %u, \"vcpus\": %u, \"kernel\": {\"path\": \"%s\"}, "
		"\"disks\": [{\"file\": {\"path\": \"%s/disk\"}, \"serial\": \"bench\"}], "
		"\"console\": {\"fd\": 1}, \"socket\": {\"path\": \"%s/socket\"}%s}\n",
		options->memory_mib, options->vcpus, options->guest, zone->dir, zone->dir,
		options->more);
	if (fclose(file) != 0)
		bench_die("spec", -errno);
}

void zone_exec(struct zone *zone, const struct zone_options *options)
{
	int ends[2];

	if (pipe(ends) < 0)
		bench_die("pipe", -errno);
	zone->pid = fork();
	if (zone->pid < 0)
		bench_die("fork", -errno);
	if (zone->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(ends[1], STDOUT_FILENO);
		dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
		close(ends[0]);
		close(ends[1]);
		execl(options->program, options->program, "--spec", in_dir(zone, "spec.json"),
		      (char *)NULL);
		_exit(127);
	}
	close(ends[1]);
	zone->console = ends[0];
}

void zone_wait_for(struct zone *zone, char byte)
{
	char c;

	do {
		if (read(zone->console, &c, 1) != 1)
			bench_die("a zone ended before its guest had said all", 0);
	} while (c != byte);
}

static pid_t child_of(pid_t pid)
{
	char path[64];
	FILE *file;
	int child = -1;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
	file = fopen(path, "re");
	if (file && fscanf(file, "%d", &child) != 1)
		child = -1;
	if (file)
		fclose(file);
	return child;
}

static uint64_t cpu_ns(pid_t pid)
{
	struct timespec time;
	clockid_t clock;
	int r = clock_getcpuclockid(pid, &clock);

	if (r != 0 || clock_gettime(clock, &time) < 0)
		bench_die("the CPU time of a zone", r != 0 ? -r : -errno);
	return (uint64_t)time.tv_sec * NS_PER_S + (uint64_t)time.tv_nsec;
}

uint64_t zone_cpu_ns(const struct zone *zone)
{
	pid_t child = child_of(zone->pid);

	return cpu_ns(zone->pid) + (child > 0 ? cpu_ns(child) : 0);
}

void zone_end(struct zone *zone)
{
	static const char *const names[] = {"disk", "spec.json", "socket"};

	kill(zone->pid, SIGKILL);
	waitpid(zone->pid, NULL, 0);
	close(zone->console);
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		unlink(in_dir(zone, names[i]));
	rmdir(zone->dir);
}

static unsigned long long pss_of_one_kib(pid_t pid, unsigned long guest_mib)
{
	unsigned long long start_address, end_address, value, total = 0;
	char path[64], line[512];
	int is_guest = 0;
	FILE *smaps;

	snprintf(path, sizeof(path), "/proc/%d/smaps", (int)pid);
	smaps = fopen(path, "re");
	while (smaps && fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%llx-%llx ", &start_address, &end_address) == 2)
			is_guest = end_address - start_address >= guest_mib << 20;
		else if (sscanf(line, "Pss: %llu kB", &value) == 1 && !is_guest)
			total += value;
	}
	if (smaps)
		fclose(smaps);
	return total;
}

unsigned long long pss_kib(pid_t pid, unsigned long guest_mib)
{
	pid_t child = child_of(pid);

	return pss_of_one_kib(pid, guest_mib) + (child > 0 ? pss_of_one_kib(child, guest_mib) : 0);
}

void bench_report(const char *name, const char *unit, double ours, double peer,
		  const char *peer_name)
{
	printf("{\"name\": \"%s\", \"unit\": \"%s\", \"ours\": %.6g", name, unit, ours);
	if (peer_name)
		printf(", \"peer\": %.6g, \"peer_name\": \"%s\"}\n", peer, peer_name);
	else
		printf(", \"peer\": null, \"peer_name\": null}\n");
	fflush(stdout);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double bench_median(double *values, unsigned n)
{
	qsort(values, n, sizeof(*values), by_value);
	return values[n / 2];
}
