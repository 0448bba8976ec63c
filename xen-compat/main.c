// SPDX-License-Identifier: Apache-2.0
/*
 * zone-xen: one zone as a Xen domain. Started by protect-launch with descriptors, or alone with a
 * spec file; docs/zone-spec.md, docs/xen.md.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/runner.h"
#include "base/uuid.h"
#include "runner/process.h"
#include "xen-compat/zone.h"

#define STOP_TIMEOUT_S	 30 /* less than the 90 s that systemd waits */
#define STOP_TIMEOUT_MAX 86400

static const char usage[] =
	"Usage: zone-xen --spec FILE | --spec-fd N [--stop-timeout SEC]\n"
	"       zone-xen --destroy UUID | --probe\n"
	"\n"
	"Runs one zone, a Xen domain, from its spec (JSON, docs/zone-spec.md) to its end.\n"
	"\n"
	"  --spec FILE         read the spec from FILE\n"
	"  --spec-fd N         read it from descriptor N\n"
	"  --stop-timeout SEC  how long the guest may take to power off after SIGTERM (30)\n"
	"  --destroy UUID      end the domain that a killed runner left behind, if there is one\n"
	"  --probe             say in one line which zones Xen runs here: \"pv pvh\"; or fail\n"
	"  -h, --help          this text\n"
	"  --version           the version\n"
	"\n"
	"SIGTERM and SIGINT ask the guest to power off; the second one, or the end of the time,\n"
	"ends the zone at once. Tells systemd when it is ready (Type=notify).\n"
	"\n"
	"Exit status: 0 power-off, 1 error, 2 usage, 3 reboot, 4 kernel panic, 6 killed on\n"
	"request (the control socket, or a signal that the guest did not follow).\n"
	"\n"
	"Example:\n"
	"  zone-xen --spec a.json\n";

struct options {
	const char *spec_path, *destroy;
	int spec_fd;
	unsigned stop_timeout_s;
	bool probe;
};

_Noreturn static void refuse(const char *text, const char *why)
{
	fprintf(stderr, "zone-xen: '%s' is not %s\n", text, why);
	exit(RUNNER_EXIT_USAGE);
}

static unsigned parse_seconds(const char *text)
{
	char *end;
	long number = strtol(text, &end, 10);

	if (*end || end == text || number < 0 || number > STOP_TIMEOUT_MAX)
		refuse(text, "a number of seconds up to a day");
	return (unsigned)number;
}

static void take_option(int c, struct options *options);

enum option_code { SPEC = 256, SPEC_FD, STOP_TIMEOUT, DESTROY, PROBE, VERSION };

static void parse_options(int argc, char **argv, struct options *options)
{
	static const struct option long_options[] = {
		{"spec", required_argument, NULL, SPEC},
		{"spec-fd", required_argument, NULL, SPEC_FD},
		{"stop-timeout", required_argument, NULL, STOP_TIMEOUT},
		{"destroy", required_argument, NULL, DESTROY},
		{"probe", no_argument, NULL, PROBE},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, VERSION},
		{NULL, 0, NULL, 0},
	};
	unsigned n;
	int c;

	while ((c = getopt_long(argc, argv, "h", long_options, NULL)) != -1)
		take_option(c, options);
	n = (unsigned)(!!options->spec_path + (options->spec_fd >= 0) + !!options->destroy +
		       options->probe);
	if (optind != argc || n != 1) {
		fputs("zone-xen: give one of --spec FILE, --spec-fd N, --destroy UUID and --probe; "
		      "'zone-xen --help' tells more\n",
		      stderr);
		exit(RUNNER_EXIT_USAGE);
	}
}

static void take_option(int c, struct options *options)
{
	switch (c) {
	case SPEC:
		options->spec_path = optarg;
		break;
	case SPEC_FD:
		options->spec_fd = runner_parse_fd(optarg);
		if (options->spec_fd < 0)
			refuse(optarg, "an open descriptor");
		break;
	case STOP_TIMEOUT:
		options->stop_timeout_s = parse_seconds(optarg);
		break;
	case DESTROY:
		options->destroy = optarg;
		break;
	case PROBE:
		options->probe = true;
		break;
	case 'h':
		fputs(usage, stdout);
		exit(EXIT_SUCCESS);
	case VERSION:
		puts("zone-xen " PROTECT_VERSION);
		exit(EXIT_SUCCESS);
	default:
		exit(RUNNER_EXIT_USAGE);
	}
}

static bool ask_guest(void *user)
{
	return zone_press_button(user);
}

static bool end_zone(void *user, const char *cause)
{
	return zone_end(user, RUNNER_EXIT_KILLED, cause);
}

static int watch_signals(struct runner_signals *signals, struct shutdown *shutdown,
			 struct zone *zone, uint64_t grace_ns, int notify)
{
	const struct shutdown_host host = {
		.loop = zone->loop, .ask = ask_guest, .end = end_zone, .user = zone};

	shutdown_init(shutdown, &host, grace_ns, notify);
	return runner_watch_signals(signals, zone->loop, shutdown);
}

static void log_start(const struct zone *zone, const struct zone_spec *spec)
{
	char text[UUID_TEXT_SIZE];

	uuid_format(&spec->uuid, text);
	log_info("msg=\"zone boots\" zone=%s domid=%" PRIu32
		 " type=%s memory_mib=%llu max_memory_mib=%llu vcpus=%u max_vcpus=%u "
		 "prepared_us=%llu",
		 text, zone->domain.id, zone->domain.hvm ? "pvh" : "pv",
		 (unsigned long long)spec->memory_mib, (unsigned long long)spec->max_memory_mib,
		 spec->vcpus, spec->max_vcpus,
		 (unsigned long long)(clock_now_ns() - zone->started_ns) / 1000);
}

static int run(struct zone_spec *spec, const struct options *options, int notify, struct error *err)
{
	_cleanup_(freep) struct zone *zone = calloc(1, sizeof(*zone));
	_cleanup_(close_fdp) int exit_fd = steal_fd(&spec->exit_fd);
	struct runner_signals signals = {.fd = -1};
	struct shutdown shutdown;
	const char *reason = RUNNER_EXIT_ERROR, *detail;
	int r;

	if (!zone)
		return -ENOMEM;
	r = zone_init(zone, spec, err);
	if (r == 0)
		r = watch_signals(&signals, &shutdown, zone, options->stop_timeout_s * NS_PER_S,
				  notify);
	if (r == 0)
		r = zone_start(zone, err);
	if (r == 0) {
		log_start(zone, spec);
		notify_send(notify, "READY=1");
		r = zone_run(zone, err);
	}
	spec_close(spec);
	if (r == 0)
		reason = zone->end_reason;
	else if (!err->code)
		error_set_errno(err, r, "cannot start");
	detail = r == 0 ? zone->end_detail : err->text;
	runner_write_exit(exit_fd, reason, detail);
	log_info("msg=\"zone ended\" reason=%s detail=\"%s\" uptime_ms=%llu", reason, detail,
		 (unsigned long long)((clock_now_ns() - zone->started_ns) / NS_PER_MS));
	zone_deinit(zone);
	close_fdp(&signals.fd);
	return r < 0 ? r : runner_exit_status(reason);
}

static int run_zone(struct options *options, int notify, struct error *err)
{
	struct zone_spec spec;
	int r = runner_read_spec(options->spec_path, options->spec_fd, &spec, err);

	close_fdp(&options->spec_fd);
	return r < 0 ? r : run(&spec, options, notify, err);
}

static int destroy(const char *text, struct error *err)
{
	struct uuid uuid;
	struct xen xen;
	int r = uuid_parse(text, &uuid);

	if (r < 0)
		return error_set(err, r, "'%s' is not a UUID", text);
	r = xen_open(&xen, err);
	if (r < 0)
		return r;
	r = domain_destroy(&xen, domain_find(&xen, &uuid));
	if (r < 0)
		error_set_errno(err, r, "the domain cannot be destroyed");
	xen_close(&xen);
	return r;
}

static int probe(struct error *err)
{
	struct xen xen;
	xc_physinfo_t info;
	int r = xen_open(&xen, err);

	if (r < 0)
		return r;
	if (xc_physinfo(xen.control, &info) < 0)
		r = xen_failed(&xen, err, "Xen does not say what it can");
	else
		printf("%s%s\n", info.capabilities & XEN_SYSCTL_PHYSCAP_pv ? "pv " : "",
		       info.capabilities & XEN_SYSCTL_PHYSCAP_hap ? "pvh" : "");
	xen_close(&xen);
	return r;
}

int main(int argc, char **argv)
{
	struct options options = {.spec_fd = -1, .stop_timeout_s = STOP_TIMEOUT_S};
	_cleanup_(close_fdp) int notify = notify_open();
	struct error err = ERROR_NULL;
	int r;

	log_open();
	/* An exec by descriptor has a number for a name up to Linux 6.13. */
	prctl(PR_SET_NAME, "zone-xen", 0, 0, 0);
	runner_open_stdio();
	parse_options(argc, argv, &options);
	if (options.probe)
		r = probe(&err);
	else if (options.destroy)
		r = destroy(options.destroy, &err);
	else
		r = run_zone(&options, notify, &err);
	if (r < 0) {
		fprintf(stderr, "zone-xen: %s\n", err.code ? err.text : strerror(-r));
		return EXIT_FAILURE;
	}
	return r;
}
