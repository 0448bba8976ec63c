// SPDX-License-Identifier: Apache-2.0
/*
 * zone-vmm: one zone on KVM. Started by protect-launch with descriptors, or alone with a spec file;
 * docs/zone-spec.md.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/runner.h"
#include "base/util.h"
#include "vmm/confine.h"
#include "vmm/kvm.h"
#include "vmm/machine.h"
#include "vmm/shutdown.h"

#define EXIT_USAGE	 2
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

static const struct {
	const char *reason;
	int status;
} exit_statuses[] = {
	{RUNNER_EXIT_POWEROFF, 0}, {RUNNER_EXIT_ERROR, 1},	  {RUNNER_EXIT_REBOOT, 3},
	{RUNNER_EXIT_PANIC, 4},	   {RUNNER_EXIT_TRIPLE_FAULT, 5}, {RUNNER_EXIT_KILLED, 6},
};

static int parse_fd(const char *text)
{
	char *end;
	long number = strtol(text, &end, 10);

	if (*end || end == text || number < 0 || number > INT32_MAX ||
	    fcntl((int)number, F_SETFD, FD_CLOEXEC) < 0) {
		fprintf(stderr, "zone-vmm: '%s' is not an open descriptor\n", text);
		exit(EXIT_USAGE);
	}
	return (int)number;
}

static unsigned parse_seconds(const char *text)
{
	char *end;
	long number = strtol(text, &end, 10);

	if (*end || end == text || number < 0 || number > STOP_TIMEOUT_MAX) {
		fprintf(stderr, "zone-vmm: '%s' is not a number of seconds up to %d\n", text,
			STOP_TIMEOUT_MAX);
		exit(EXIT_USAGE);
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
		exit(EXIT_USAGE);
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
			exit(EXIT_USAGE);
		}
	}
	if (optind != argc || !options->spec_path == (options->spec_fd < 0)) {
		fputs("zone-vmm: give one of --spec FILE and --spec-fd N; 'zone-vmm --help' tells "
		      "more\n",
		      stderr);
		exit(EXIT_USAGE);
	}
}

static int read_spec(const struct options *options, struct zone_spec *spec, struct error *err)
{
	_cleanup_(freep) char *json = NULL;
	size_t len;
	int r;

	if (options->spec_path)
		r = io_read_file(AT_FDCWD, options->spec_path, SPEC_SIZE_MAX, &json, &len);
	else
		r = io_read_fd(options->spec_fd, SPEC_SIZE_MAX, &json, &len);
	if (r < 0)
		return error_set_errno(err, r, "cannot read the spec '%s'",
				       options->spec_path ? options->spec_path : "(descriptor)");
	return spec_parse(json, len, spec, err);
}

struct signals {
	struct shutdown *shutdown;
	struct loop *loop;
	int fd, slot;
	struct loop_op op;
	struct signalfd_siginfo info;
	uint32_t last; /* signal, and when it came */
	uint64_t last_ns;
};

static void await_signal(struct signals *signals);

/* Whoever signals a whole cgroup, as systemd does, reaches us directly and through the process that
 * minds us (confine.h): that is one request. */
static bool is_echo(struct signals *signals)
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
	struct signals *signals = container_of(op, struct signals, op);

	(void)cqe_flags;
	if (res != (int)sizeof(signals->info))
		return;
	if (!is_echo(signals))
		shutdown_request(signals->shutdown, strsignal((int)signals->info.ssi_signo));
	await_signal(signals);
}

static void await_signal(struct signals *signals)
{
	int r = loop_read(signals->loop, &signals->op, signals->slot, &signals->info,
			  sizeof(signals->info), 0);

	if (r < 0)
		log_error("msg=\"signals are no longer heard\" err=%d", -r);
}

/* Before any thread is started: all of them inherit the blocked signals. */
static int watch_signals(struct signals *signals, struct loop *loop, struct shutdown *shutdown)
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

static void write_exit_record(int fd, const char *reason, const char *detail)
{
	char line[64 + ERROR_TEXT_MAX];
	int len = snprintf(line, sizeof(line), "%s%s%s\n", reason, *detail ? " " : "", detail);

	if (fd >= 0 && io_write_full(fd, line, (size_t)len) < 0)
		log_error("msg=\"cannot write the exit record\"");
}

static int exit_status(const char *reason)
{
	for (unsigned i = 0; i < ARRAY_SIZE(exit_statuses); i++)
		if (strcmp(exit_statuses[i].reason, reason) == 0)
			return exit_statuses[i].status;
	return EXIT_FAILURE;
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

static int run(struct zone_spec *spec, const struct options *options, int notify, struct error *err)
{
	_cleanup_(freep) struct machine *machine = calloc(1, sizeof(*machine));
	_cleanup_(close_fdp) int exit_fd = steal_fd(&spec->exit_fd);
	struct signals signals = {.fd = -1};
	struct shutdown shutdown;
	const char *reason = RUNNER_EXIT_ERROR, *detail;
	char kernel[64];
	int r;

	if (!machine)
		return -ENOMEM;
	read_kernel_version(spec->kernel_fd, kernel, sizeof(kernel));
	r = machine_init(machine, spec, options->kvm_fd, err);
	shutdown_init(&shutdown, machine, options->stop_timeout_s * NS_PER_S, notify);
	if (r == 0)
		r = watch_signals(&signals, machine->loop, &shutdown);
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
	write_exit_record(exit_fd, reason, detail);
	log_end(machine, reason, detail);
	machine_deinit(machine);
	close_fdp(&signals.fd);
	return r < 0 ? r : exit_status(reason);
}

/* Whoever starts us may have closed these; what is opened next would then be taken for the log. */
static void open_stdio(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	close_fdp(&fd);
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
	open_stdio();
	parse_options(argc, argv, &options);
	r = read_spec(&options, &spec, &err);
	if (r == 0) {
		r = enter_sandbox(&spec, &options, &notify, &err);
		if (r < 0) {
			write_exit_record(spec.exit_fd, RUNNER_EXIT_ERROR, err.text);
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
