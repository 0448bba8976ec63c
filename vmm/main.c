// SPDX-License-Identifier: Apache-2.0
/*
 * zone-vmm: one zone on KVM. Started by protect-launch with descriptors, or alone with a spec file;
 * docs/zone-spec.md.
 */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/runner.h"
#include "base/util.h"
#include "runner/process.h"
#include "vmm/confine.h"
#include "vmm/kvm.h"
#include "vmm/machine.h"

#define STOP_TIMEOUT_S	 30 /* less than the 90 s that systemd waits */
#define STOP_TIMEOUT_MAX 86400

static const char usage[] =
	"Usage: zone-vmm --spec FILE | --spec-fd N [--kvm-fd N] [--user UID] [--stop-timeout SEC]\n"
	"\n"
	"Runs one zone, a light virtual machine, from its spec (JSON, docs/zone-spec.md) to its "
	"end.\n"
	"\n"
	"  --spec FILE         read the spec from FILE\n"
	"  --spec-fd N         read it from descriptor N\n"
	"  --kvm-fd N          use descriptor N as /dev/kvm\n"
	"  --user UID[:GID]    what root gives up its ids for; by default ids that nobody has\n"
	"  --stop-timeout SEC  how long the guest may take to power off after SIGTERM (30)\n"
	"  -h, --help          this text\n"
	"  --version           the version\n"
	"\n"
	"SIGTERM and SIGINT press the guest's power button; the second one, or the end of the\n"
	"time, ends the zone at once. Tells systemd when it is ready (Type=notify).\n"
	"\n"
	"Started alone it isolates itself: namespaces of its own, an empty root, no capability.\n"
	"\n"
	"Exit status: 0 power-off, 1 error, 2 usage, 3 reboot, 4 kernel panic, 5 triple fault,\n"
	"6 killed on request (the control socket, or a signal that the guest did not follow).\n"
	"\n"
	"Example:\n"
	"  systemd-run --unit=zone-a -p Type=notify -p MemoryMax=300M zone-vmm --spec a.json\n";

struct options {
	const char *spec_path;
	int spec_fd, kvm_fd;
	unsigned stop_timeout_s;
	uid_t uid;
	gid_t gid;
};

static int parse_fd(const char *text)
{
	int fd = runner_parse_fd(text);

	if (fd < 0) {
		fprintf(stderr, "zone-vmm: '%s' is not an open descriptor\n", text);
		exit(RUNNER_EXIT_USAGE);
	}
	return fd;
}

static unsigned parse_seconds(const char *text)
{
	char *end;
	long number = strtol(text, &end, 10);

	if (*end || end == text || number < 0 || number > STOP_TIMEOUT_MAX) {
		fprintf(stderr, "zone-vmm: '%s' is not a number of seconds up to %d\n", text,
			STOP_TIMEOUT_MAX);
		exit(RUNNER_EXIT_USAGE);
	}
	return (unsigned)number;
}

/* An id that is not root's, up to the first other character. Returns 0 if it is none. */
static unsigned parse_id(const char *text, char **end)
{
	long number = strtol(text, end, 10);

	return *end != text && number > 0 && number <= INT32_MAX ? (unsigned)number : 0;
}

static void parse_user(const char *text, struct options *options)
{
	char *end;

	options->uid = options->gid = parse_id(text, &end);
	if (*end == ':')
		options->gid = parse_id(end + 1, &end);
	if (*end || !options->uid || !options->gid || geteuid() != 0) {
		fprintf(stderr,
			"zone-vmm: --user takes numbers (UID or UID:GID), not root's, from root\n");
		exit(RUNNER_EXIT_USAGE);
	}
}

static void parse_options(int argc, char **argv, struct options *options)
{
	enum { SPEC = 256, SPEC_FD, KVM_FD, USER, STOP_TIMEOUT, VERSION };
	static const struct option long_options[] = {
		{"spec", required_argument, NULL, SPEC},
		{"spec-fd", required_argument, NULL, SPEC_FD},
		{"kvm-fd", required_argument, NULL, KVM_FD},
		{"user", required_argument, NULL, USER},
		{"stop-timeout", required_argument, NULL, STOP_TIMEOUT},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, VERSION},
		{NULL, 0, NULL, 0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		switch (c) {
		case SPEC:
			options->spec_path = optarg;
			break;
		case SPEC_FD:
			options->spec_fd = parse_fd(optarg);
			break;
		case KVM_FD:
			options->kvm_fd = parse_fd(optarg);
			break;
		case USER:
			parse_user(optarg, options);
			break;
		case STOP_TIMEOUT:
			options->stop_timeout_s = parse_seconds(optarg);
			break;
		case 'h':
			fputs(usage, stdout);
			exit(EXIT_SUCCESS);
		case VERSION:
			puts("zone-vmm " PROTECT_VERSION);
			exit(EXIT_SUCCESS);
		default:
			exit(RUNNER_EXIT_USAGE);
		}
	}
	if (optind != argc || !options->spec_path == (options->spec_fd < 0)) {
		fputs("zone-vmm: give one of --spec FILE and --spec-fd N; 'zone-vmm --help' tells "
		      "more\n",
		      stderr);
		exit(RUNNER_EXIT_USAGE);
	}
}

/* What the kernel calls itself, as far as a bzImage tells (Documentation/x86/boot.rst): up to the
 * first character that no version has, for it is the image's word. */
static void read_kernel_version(int fd, char *out, size_t size)
{
	uint8_t head[4], where[2];
	size_t len = 0;

	snprintf(out, size, "elf");
	if (io_pread_full(fd, head, sizeof(head), 0x202) != (ssize_t)sizeof(head) ||
	    memcmp(head, "HdrS", sizeof(head)) != 0 ||
	    io_pread_full(fd, where, sizeof(where), 0x20e) != (ssize_t)sizeof(where))
		return;
	memset(out, 0, size);
	io_pread_full(fd, out, size - 1, 0x200u + (where[0] | (uint64_t)where[1] << 8));
	while (out[len] && (strchr("._+-~", out[len]) || isalnum((unsigned char)out[len])))
		len++;
	out[len] = '\0';
}

static void log_start(const struct machine *machine, const struct zone_spec *spec,
		      const char *kernel)
{
	log_info("msg=\"zone boots\" kernel=%s memory_mib=%llu max_memory_mib=%llu vcpus=%u "
		 "max_vcpus=%u disks=%u nics=%u prepared_us=%llu",
		 kernel, (unsigned long long)spec->memory_mib,
		 (unsigned long long)spec->max_memory_mib, spec->vcpus, spec->max_vcpus,
		 spec->n_disks, spec->n_nics,
		 (unsigned long long)(clock_now_ns() - machine->started_ns) / 1000);
}

static void log_end(const struct machine *machine, const char *reason, const char *detail)
{
	struct vcpus_info info;
	uint64_t exits = 0;

	for (unsigned i = 0; i < machine->vcpus.n_max; i++) {
		vcpus_info(&machine->vcpus, i, &info);
		exits += info.exits;
	}
	log_info("msg=\"zone ended\" reason=%s detail=\"%s\" uptime_ms=%llu exits=%llu", reason,
		 detail, (unsigned long long)((clock_now_ns() - machine->started_ns) / NS_PER_MS),
		 (unsigned long long)exits);
}

static bool press_power_button(void *user)
{
	struct machine *machine = user;

	if (vcpus_are_paused(&machine->vcpus))
		return false;
	pci_bus_event(&machine->pci, PCI_EVENT_POWER_BUTTON);
	return true;
}

static bool end_zone(void *user, const char *cause)
{
	struct machine *machine = user;
	bool first = !machine->end_reason;

	machine_end(machine, RUNNER_EXIT_KILLED, cause);
	return first;
}

static int watch_signals(struct runner_signals *signals, struct shutdown *shutdown,
			 struct machine *machine, uint64_t grace_ns, int notify)
{
	const struct shutdown_host host = {
		.loop = machine->loop, .ask = press_power_button, .end = end_zone, .user = machine};

	shutdown_init(shutdown, &host, grace_ns, notify);
	return runner_watch_signals(signals, machine->loop, shutdown);
}

static int run(struct zone_spec *spec, const struct options *options, int notify, struct error *err)
{
	_cleanup_(freep) struct machine *machine = calloc(1, sizeof(*machine));
	_cleanup_(close_fdp) int exit_fd = steal_fd(&spec->exit_fd);
	struct runner_signals signals = {.fd = -1};
	struct shutdown shutdown;
	const char *reason = RUNNER_EXIT_ERROR, *detail;
	char kernel[64];
	int r;

	if (!machine)
		return -ENOMEM;
	read_kernel_version(spec->kernel_fd, kernel, sizeof(kernel));
	r = machine_init(machine, spec, options->kvm_fd, err);
	if (r == 0)
		r = watch_signals(&signals, &shutdown, machine, options->stop_timeout_s * NS_PER_S,
				  notify);
	if (r == 0)
		r = machine_boot(machine, spec, err);
	spec_close(spec);
	if (r == 0) {
		log_start(machine, spec, kernel);
		notify_send(notify, "READY=1");
		r = machine_run(machine, err);
	}
	if (r == 0)
		reason = machine->end_reason;
	else
		error_set_errno(err, r, "cannot start");
	detail = r == 0 ? machine->end_detail : err->text;
	runner_write_exit(exit_fd, reason, detail);
	log_end(machine, reason, detail);
	machine_deinit(machine);
	close_fdp(&signals.fd);
	return r < 0 ? r : runner_exit_status(reason);
}

/* All that the host has to give is open after this, and the rest of it out of reach. */
static int enter_sandbox(const struct zone_spec *spec, struct options *options, int *notify,
			 struct error *err)
{
	struct confine c = {
		.spec = spec, .uid = options->uid, .gid = options->gid, .notify = *notify};
	int r;

	close_fdp(&options->spec_fd);
	if (options->kvm_fd < 0)
		options->kvm_fd = kvm_open(err);
	if (options->kvm_fd < 0)
		return options->kvm_fd;
	c.kvm_fd = options->kvm_fd;
	r = confine(&c, err);
	*notify = c.notify;
	return r;
}

int main(int argc, char **argv)
{
	struct options options = {.spec_fd = -1,
				  .kvm_fd = -1,
				  .stop_timeout_s = STOP_TIMEOUT_S,
				  .uid = CONFINE_ID_NONE};
	_cleanup_(close_fdp) int notify = notify_open();
	struct error err = ERROR_NULL;
	struct zone_spec spec;
	int r;

	log_open();
	/* An exec by descriptor has a number for a name up to Linux 6.13. */
	prctl(PR_SET_NAME, "zone-vmm", 0, 0, 0);
	runner_open_stdio();
	parse_options(argc, argv, &options);
	r = runner_read_spec(options.spec_path, options.spec_fd, &spec, &err);
	if (r == 0) {
		r = enter_sandbox(&spec, &options, &notify, &err);
		if (r < 0) {
			runner_write_exit(spec.exit_fd, RUNNER_EXIT_ERROR, err.text);
			spec_close(&spec);
		}
	}
	if (r == 0)
		r = run(&spec, &options, notify, &err);
	if (r < 0) {
		fprintf(stderr, "zone-vmm: %s\n", err.code ? err.text : strerror(-r));
		return EXIT_FAILURE;
	}
	return r;
}
