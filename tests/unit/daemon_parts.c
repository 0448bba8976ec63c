// SPDX-License-Identifier: Apache-2.0
/* The daemon's parts that need no other process: the log ring, the ledger, the state after a crash,
 * the spec, names. */
#include "harness.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/util.h"
#include "supervisor/daemon/daemon.h"
#include "supervisor/daemon/ledger.h"
#include "supervisor/daemon/limits.h"
#include "supervisor/daemon/log_view.h"
#include "supervisor/daemon/ring.h"
#include "supervisor/daemon/spec.h"
#include "proto/control.pb-c.h"
#include "supervisor/daemon/state.h"
#include "supervisor/daemon/subnet.h"
#include "supervisor/daemon/storage_client.h"
#include "supervisor/daemon/workload.h"
#include "supervisor/daemon/zone.h"

UNIT_SUITE(daemon_parts);

#define RING_SIZE (64u * 1024)

/* Reads all from the cursor on, at most step bytes at a time. Returns the bytes read. */
static size_t drain(const struct ring *ring, struct ring_cursor *cursor, unsigned tag, size_t step,
		    char *out)
{
	const void *data;
	unsigned found;
	size_t len, total = 0;

	while (ring_peek(ring, cursor, &found, &data, &len)) {
		if (len > step)
			len = step;
		if (found == tag) {
			memcpy(out + total, data, len);
			total += len;
		}
		ring_advance(ring, cursor, len);
	}
	return total;
}

Test(daemon_parts, ring_gives_back_what_it_took)
{
	struct ring *ring = ring_new(RING_SIZE);
	struct ring_cursor cursor = {0};
	char out[64];

	ring_append(ring, 1, "out one ", 8);
	ring_append(ring, 2, "err", 3);
	ring_append(ring, 1, "out two", 7);
	cr_expect_eq(drain(ring, &cursor, 1, 3, out), 15);
	cr_expect_eq(memcmp(out, "out one out two", 15), 0);
	cr_expect_eq(cursor.record, ring_end(ring));
	cursor = (struct ring_cursor){0};
	cr_expect_eq(drain(ring, &cursor, 2, 100, out), 3);
	ring_free(ring);
}

Test(daemon_parts, ring_keeps_the_last_bytes_and_slow_readers_skip)
{
	struct ring *ring = ring_new(RING_SIZE);
	struct ring_cursor slow = {0}, fresh = {0};
	char line[32], out[RING_SIZE];
	size_t n;

	for (unsigned i = 0; i < 20000; i++) {
		int len = snprintf(line, sizeof(line), "line %u\n", i);

		ring_append(ring, 1, line, (size_t)len);
		/* A reader in the middle of a record that is then overwritten. */
		if (i == 0)
			ring_advance(ring, &slow, 3);
	}
	n = drain(ring, &slow, 1, sizeof(out), out);
	cr_expect_gt(n, RING_SIZE / 2);
	cr_expect_leq(n, RING_SIZE);
	cr_expect_eq(memcmp(out, "line ", 5), 0,
		     "a reader that was overtaken goes on at a whole record");
	cr_expect_eq(memcmp(out + n - 11, "line 19999\n", 11), 0);
	cr_expect_eq(drain(ring, &fresh, 1, 7, out), n);
	ring_free(ring);
}

Test(daemon_parts, ring_takes_more_than_its_size)
{
	struct ring *ring = ring_new(RING_SIZE);
	struct ring_cursor cursor = {0};
	char *big = malloc(5 * RING_SIZE), *out = malloc(RING_SIZE);
	size_t n;

	for (size_t i = 0; i < 5 * RING_SIZE; i++)
		big[i] = (char)(i * 7 >> 2);
	ring_append(ring, 1, big, 5 * RING_SIZE);
	n = drain(ring, &cursor, 1, 1000, out);
	cr_expect_gt(n, RING_SIZE - 8192);
	cr_expect_eq(memcmp(out, big + 5 * RING_SIZE - n, n), 0);
	ring_free(ring);
	free(big);
	free(out);
}

Test(daemon_parts, ledger_refuses_what_does_not_fit)
{
	static const char *const no_factors[] = {"", "0.5", "17", "x", "1x", "nan", "-2", "inf"};
	struct ledger ledger = {.memory_total_mib = 1000,
				.overcommit_percent = LEDGER_OVERCOMMIT_NONE,
				.vcpus_total = 4};
	struct error err = ERROR_NULL;

	cr_expect_eq(ledger_reserve(&ledger, 4096, 1, &err), -ENOSPC);
	cr_expect_not_null(strstr(err.text, "4096 MiB"));
	cr_expect_not_null(strstr(err.text, "1000 MiB are free"));
	err = (struct error)ERROR_NULL;
	cr_expect_eq(ledger_reserve(&ledger, UINT64_MAX, 1, &err), -ENOSPC);
	cr_expect_eq(ledger_reserve(&ledger, UINT64_MAX - 10, 1, NULL), -ENOSPC);
	cr_expect_eq(ledger_reserve(&ledger, 1, 1, NULL), -EINVAL);
	cr_expect_eq(ledger_reserve(&ledger, 256, 0, NULL), -EINVAL);
	cr_expect_eq(ledger_reserve(&ledger, 256, 65, NULL), -EINVAL);
	cr_expect_eq(ledger_reserve(&ledger, 256, 5, NULL), -ENOSPC);
	cr_expect_eq(ledger.memory_used_mib, 0);
	cr_expect_eq(ledger_reserve(&ledger, 965, 4, NULL), 0);
	cr_expect_eq(ledger_reserve(&ledger, 64, 1, NULL), -ENOSPC);
	ledger_release(&ledger, 965, 4);
	cr_expect_eq(ledger.memory_used_mib + ledger.vcpus_used, 0);
	cr_expect_eq(ledger_set_overcommit(&ledger, "1.5"), 0);
	cr_expect_eq(ledger_reserve(&ledger, 1400, 1, NULL), 0);
	cr_expect_eq(ledger_reserve(&ledger, 64, 1, NULL), -ENOSPC);
	ledger_release(&ledger, 1400, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(no_factors); i++)
		cr_expect_eq(ledger_set_overcommit(&ledger, no_factors[i]), -EINVAL, "%s",
			     no_factors[i]);
	cr_expect_eq(ledger_set_overcommit(&ledger, "1"), 0);
	/* A budget that was lowered below what runs gives nothing, and does not wrap. */
	ledger_adopt(&ledger, 2000, 8);
	cr_expect_eq(ledger_reserve(&ledger, 64, 1, NULL), -ENOSPC);
}

Test(daemon_parts, limits_are_taken_whole_or_not_at_all)
{
	static const struct {
		uint32_t weight, percent;
		const char *cpus;
		int result;
	} cases[] = {
		{0, 0, "", 0},
		{10000, 100000, "0-3,8", 0},
		{10001, 0, "", -EINVAL},
		{1, 100001, "", -EINVAL},
		{1, 1, "3-1", -EINVAL},
		{1, 1, "all", -EINVAL},
		{1, 1, "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25",
		 -EINVAL},
	};
	Protect__Control__CpuLimits cpu = PROTECT__CONTROL__CPU_LIMITS__INIT;
	Protect__Control__IoLimits io = PROTECT__CONTROL__IO_LIMITS__INIT;
	struct zone_limits limits = {.cpu_weight = 7, .cpus = "1"};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct zone_limits taken = limits;

		cpu.weight = cases[i].weight;
		cpu.percent = cases[i].percent;
		cpu.cpus = (char *)(uintptr_t)cases[i].cpus;
		cr_expect_eq(limits_take(&taken, &cpu, NULL, NULL), cases[i].result, "case %u", i);
	}
	cr_expect_eq(limits_take(&limits, NULL, NULL, NULL), 0);
	cr_expect_eq(limits.cpu_weight, 7);
	io.read_ops_per_s = UINT64_MAX;
	cr_expect_eq(limits_take(&limits, NULL, &io, NULL), -EINVAL);
	io.read_ops_per_s = 9;
	cr_expect_eq(limits_take(&limits, NULL, &io, NULL), 0);
	cr_expect_eq(limits.io.read_ops_per_s, 9);
	cr_expect_str_eq(limits.cpus, "1");
}

Test(daemon_parts, limits_of_a_zone_have_its_overhead_and_its_processors)
{
	struct zone_row row = {.memory_mib = 256, .vcpus = 2};
	struct launch_limits limits = limits_of(&row);

	cr_expect_eq(limits.memory_bytes, (256 + ledger_overhead_mib(256)) * MIB);
	cr_expect_gt(limits.memory_high_bytes, 256 * MIB);
	cr_expect_lt(limits.memory_high_bytes, limits.memory_bytes);
	cr_expect_eq(limits.cpu_weight, 100);
	cr_expect_eq(limits.cpu_quota_us, 2 * LAUNCH_CPU_PERIOD_US + LAUNCH_CPU_PERIOD_US / 4);
	row.limits.cpu_percent = 30;
	row.limits.cpu_weight = 3;
	limits = limits_of(&row);
	cr_expect_eq(limits.cpu_quota_us, 30000);
	cr_expect_eq(limits.cpu_weight, 3);
}

static int take_zone(void *user, struct zone_row *row)
{
	*(struct zone_row *)user = *row;
	return 1;
}

static int count_workload(void *user, struct workload_row *row)
{
	cr_expect_str_eq(row->name, "w");
	cr_expect(row->has_exit_code && row->exit_code == 137 && row->terminal);
	++*(unsigned *)user;
	return 0;
}

static int take_reservation(void *user, struct reservation_row *row)
{
	*(struct reservation_row *)user = *row;
	return 0;
}

static void expect_network(const struct zone_network *network)
{
	const struct network_link *link = &network->links[1];

	cr_expect_eq(network->backend, 2);
	cr_expect(!network->links[0].used && link->used && link->service && link->mtu == 1400);
	cr_expect_str_eq(link->mac, "02:00:00:00:00:01");
	cr_expect_str_eq(link->addresses[1], "fd00::2/128");
	cr_expect_str_eq(link->addresses[2], "");
	cr_expect_str_eq(link->gateways[0], "10.75.0.1");
	cr_expect_str_eq(network->routes[0], "10.0.0.0/8 10.75.0.1");
	cr_expect_str_eq(network->nameservers[1], "192.0.2.2");
	cr_expect(network->ports[0].host_port == 80 && network->ports[0].zone_port == 8080);
	cr_expect_str_eq(network->ports[1].host_address, "::1");
	cr_expect(network->ports[1].udp && !network->ports[2].host_port);
}

/* Writes rows and dies without closing anything. */
static void write_and_die(const char *path)
{
	struct zone_row zone = {.uuid = "00000000-0000-4000-8000-000000000001",
				.name = "z",
				.state = 1,
				.memory_mib = 256,
				.target_memory_mib = 128,
				.vcpus = 2,
				.target_vcpus = 1,
				.policy = 1,
				.min_memory_mib = 96,
				.squeezed = true,
				.cgroup = "protect/z",
				.limits = {.cpu_weight = 300,
					   .cpu_percent = 50,
					   .cpus = "0-1",
					   .io.write_ops_per_s = 77},
				.slot = 7,
				.network = {.backend = 2,
					    .links = {{0},
						      {.used = true,
						       .service = true,
						       .mac = "02:00:00:00:00:01",
						       .addresses = {"10.75.0.2/32", "fd00::2/128"},
						       .gateways = {"10.75.0.1"},
						       .mtu = 1400}},
					    .routes = {"10.0.0.0/8 10.75.0.1"},
					    .nameservers = {"192.0.2.1", "192.0.2.2"},
					    .ports = {{.host_port = 80, .zone_port = 8080},
						      {.host_address = "::1",
						       .host_port = 53,
						       .zone_port = 54,
						       .udp = true}}}};
	struct workload_row workload = {.uuid = "00000000-0000-4000-8000-000000000002",
					.name = "w",
					.terminal = true,
					.has_exit_code = true,
					.exit_code = 137};
	struct reservation_row reservation = {.uuid = "00000000-0000-4000-8000-000000000003",
					      .name = "web",
					      .zone = "00000000-0000-4000-8000-000000000001",
					      .link = 1,
					      .mac = "02:00:00:00:00:01",
					      .ipv4 = "10.75.0.2"};
	struct state *state;
	char env[] = "[\"A=1\"]";

	if (state_open(path, &state, NULL) < 0)
		_exit(1);
	state_put_zone(state, &zone);
	zone.state = 2;
	zone.guest_json = env;
	state_put_zone(state, &zone);
	state_put_workload(state, &workload);
	state_add_reservation(state, &reservation, NULL);
	kill(getpid(), SIGKILL);
}

Test(daemon_parts, state_is_there_after_a_kill)
{
	char dir[] = "/tmp/daemon-state-XXXXXX", path[64], command[64];
	struct reservation_row reservation = {0};
	struct zone_row row = {0};
	struct state *state;
	unsigned workloads = 0;
	pid_t pid;

	cr_assert_not_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/daemon.db", dir);
	pid = fork();
	if (pid == 0)
		write_and_die(path);
	waitpid(pid, NULL, 0);
	cr_assert_eq(state_open(path, &state, NULL), 0);
	cr_expect_eq(state_each_zone(state, take_zone, &row), 0);
	cr_expect_str_eq(row.name, "z");
	cr_expect_eq(row.limits.cpu_weight, 300);
	cr_expect_eq(row.limits.cpu_percent, 50);
	cr_expect_str_eq(row.limits.cpus, "0-1");
	cr_expect_eq(row.limits.io.write_ops_per_s, 77);
	cr_expect_eq(row.limits.io.read_ops_per_s, 0);
	cr_expect_eq(row.state, 2);
	cr_expect_eq(row.slot, 7);
	cr_expect(row.memory_mib == 256 && row.target_memory_mib == 128);
	cr_expect(row.vcpus == 2 && row.target_vcpus == 1);
	cr_expect(row.policy == 1 && row.min_memory_mib == 96 && row.squeezed);
	cr_expect_str_eq(row.cgroup, "protect/z");
	cr_assert_not_null(row.guest_json);
	cr_expect_str_eq(row.guest_json, "[\"A=1\"]");
	free(row.guest_json);
	cr_expect_eq(state_each_workload(state, count_workload, &workloads), 0);
	cr_expect_eq(workloads, 1);
	expect_network(&row.network);
	cr_expect_eq(state_each_reservation(state, take_reservation, &reservation), 0);
	cr_expect_str_eq(reservation.name, "web");
	cr_expect_str_eq(reservation.zone, row.uuid);
	cr_expect_str_eq(reservation.ipv4, "10.75.0.2");
	cr_expect(reservation.link == 1 && !*reservation.ipv6);
	cr_expect_eq(state_delete_reservation(state, reservation.uuid), 0);
	reservation = (struct reservation_row){0};
	cr_expect_eq(state_each_reservation(state, take_reservation, &reservation), 0);
	cr_expect_str_eq(reservation.uuid, "");
	row.slot = SLOT_NONE;
	row.guest_json = NULL;
	cr_expect_eq(state_put_zone(state, &row), 0);
	cr_expect_eq(state_each_zone(state, take_zone, &row), 0);
	cr_expect_eq(row.slot, SLOT_NONE);
	cr_expect_eq(state_delete_zone(state, row.uuid), 0);
	row = (struct zone_row){0};
	cr_expect_eq(state_each_zone(state, take_zone, &row), 0);
	cr_expect_str_eq(row.name, "");
	state_close(state);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	cr_expect_eq(system(command), 0);
}

/* What the first version of the daemon left, its zones with it. */
static const char old_state[] =
	"CREATE TABLE zones (uuid TEXT PRIMARY KEY, name TEXT NOT NULL, state INTEGER NOT NULL,"
	" reason TEXT NOT NULL, kernel TEXT NOT NULL, kernel_digest TEXT NOT NULL,"
	" memory_mib INTEGER NOT NULL, vcpus INTEGER NOT NULL, slot INTEGER UNIQUE, env TEXT,"
	" kernel_release TEXT NOT NULL, created_unix_ms INTEGER NOT NULL,"
	" create_ms INTEGER NOT NULL, ready_ms INTEGER NOT NULL) STRICT;"
	"CREATE TABLE workloads (uuid TEXT PRIMARY KEY, name TEXT NOT NULL, zone TEXT NOT NULL,"
	" state INTEGER NOT NULL, reason TEXT NOT NULL, image TEXT NOT NULL,"
	" image_digest TEXT NOT NULL, stop_signal TEXT NOT NULL, terminal INTEGER NOT NULL,"
	" exit_code INTEGER, created_unix_ms INTEGER NOT NULL) STRICT;"
	"INSERT INTO zones VALUES"
	" ('u', 'old', 2, '', 'default', '', 512, 3, 4, NULL, '6.1', 1, 2, 3);";

static void write_old(const char *path, int version)
{
	char pragma[64];
	sqlite3 *db;

	snprintf(pragma, sizeof(pragma), "PRAGMA user_version = %d", version);
	cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
	cr_assert_eq(sqlite3_exec(db, old_state, NULL, NULL, NULL), SQLITE_OK);
	cr_assert_eq(sqlite3_exec(db, pragma, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

Test(daemon_parts, state_of_an_older_daemon_is_brought_up_to_date)
{
	char dir[] = "/tmp/daemon-state-XXXXXX", path[64], newer[64], command[64];
	struct error err = ERROR_NULL;
	struct zone_row row = {0};
	struct state *state;

	cr_assert_not_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/daemon.db", dir);
	snprintf(newer, sizeof(newer), "%s/newer.db", dir);
	write_old(path, 1);
	for (int round = 0; round < 2; round++) {
		cr_assert_eq(state_open(path, &state, &err), 0, "%s", err.text);
		cr_expect_eq(state_each_zone(state, take_zone, &row), 0);
		cr_expect_str_eq(row.name, "old");
		cr_expect(row.memory_mib == 512 && row.vcpus == 3 && row.slot == 4);
		cr_expect(row.target_memory_mib == 512 - 100u * (unsigned)round);
		cr_expect_eq(row.target_vcpus, 3);
		cr_expect_eq(row.network.backend, PROTECT__CONTROL__NETWORK_BACKEND__NETWORK_NONE);
		row.target_memory_mib = 412;
		cr_expect_eq(state_put_zone(state, &row), 0);
		state_close(state);
	}
	write_old(newer, 99);
	cr_expect_lt(state_open(newer, &state, &err), 0);
	cr_expect_not_null(strstr(err.text, "newer protect-daemon"));
	snprintf(command, sizeof(command), "rm -r %s", dir);
	cr_expect_eq(system(command), 0);
}

static bool gives(const char *subnet, const char *address)
{
	struct subnet s;
	struct address a;

	cr_assert(subnet_parse(subnet, &s) && address_parse(address, &a));
	return subnet_gives(&s, &a);
}

Test(daemon_parts, addresses_that_a_zone_may_have)
{
	static const char *const bad[] = {"",		"10.0.0.0",  "10.0.0.0/33", "10.0.0/8",
					  "fd00::/129", "10.0.0.0/", "10.0.0.0/8x", "x/8",
					  "10.0.0.0/-1"};
	char text[NETWORK_ADDRESS_SIZE];
	struct address at = {0};
	struct subnet s;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect_not(subnet_parse(bad[i], &s), "%s", bad[i]);
	cr_expect(gives("10.75.0.0/16", "10.75.0.2") && gives("10.75.0.0/16", "10.75.255.254"));
	cr_expect_not(gives("10.75.0.0/16", "10.75.0.0"));
	cr_expect_not(gives("10.75.3.4/16", "10.75.0.1"));
	cr_expect_not(gives("10.75.0.0/16", "10.75.255.255"));
	cr_expect_not(gives("10.75.0.0/16", "10.76.0.2"));
	cr_expect_not(gives("10.75.0.0/16", "fd00::2"));
	cr_expect(gives("fd00::/48", "fd00::2") && !gives("fd00::/48", "fd00::1"));
	cr_expect_not(gives("10.0.0.0/30", "10.0.0.3"));
	cr_expect(gives("10.0.0.0/30", "10.0.0.2"));
	cr_assert(subnet_parse("10.0.0.0/30", &s));
	for (unsigned i = 0; i < 2; i++) {
		cr_expect(subnet_next(&s, &at));
		address_print(&at, text);
		cr_expect_str_eq(text, "10.0.0.2");
	}
	cr_assert(subnet_parse("255.255.255.252/30", &s) && subnet_next(&s, &at));
	cr_assert(subnet_parse("10.0.0.0/31", &s));
	cr_expect_not(subnet_next(&s, &at));
	cr_assert(subnet_parse("10.0.0.7/32", &s));
	cr_expect_not(subnet_next(&s, &at));
	cr_assert(subnet_parse("0.0.0.0/0", &s) && address_parse("0.0.255.255", &at));
	cr_expect(subnet_next(&s, &at));
	address_print(&at, text);
	cr_expect_str_eq(text, "0.1.0.0");
}

Test(daemon_parts, state_refuses_what_is_no_database)
{
	struct error err = ERROR_NULL;
	struct state *state;

	cr_expect_lt(state_open("/etc/passwd", &state, &err), 0);
	cr_expect_not_null(strstr(err.text, "/etc/passwd"));
}

static json_t *spec_of(const struct spec *spec)
{
	_cleanup_(freep) char *text = NULL;
	int fd = spec_write(spec, NULL);
	json_t *root;
	size_t len;

	cr_assert_geq(fd, 0);
	cr_assert_eq(io_read_fd(fd, 65536, &text, &len), 0);
	close(fd);
	root = json_loads(text, 0, NULL);
	cr_assert_not_null(root);
	return root;
}

Test(daemon_parts, spec_says_how_far_a_zone_may_grow)
{
	struct spec spec = {.uuid = "u",
			    .name = "z",
			    .cmdline = "",
			    .memory_mib = 128,
			    .max_memory_mib = 512,
			    .vcpus = 1,
			    .max_vcpus = 4};
	json_int_t memory, max_memory, vcpus, max_vcpus;
	json_t *root = spec_of(&spec);

	cr_assert_eq(json_unpack(root, "{s:I, s:I, s:I, s:I}", "memory_mib", &memory,
				 "max_memory_mib", &max_memory, "vcpus", &vcpus, "max_vcpus",
				 &max_vcpus),
		     0);
	cr_expect(memory == 128 && max_memory == 512 && vcpus == 1 && max_vcpus == 4);
	json_decref(root);
	spec.memory_mib = 512;
	spec.vcpus = 4;
	root = spec_of(&spec);
	cr_expect_null(json_object_get(root, "max_memory_mib"));
	cr_expect_null(json_object_get(root, "max_vcpus"));
	json_decref(root);
}

Test(daemon_parts, targets_within_the_maximum)
{
	const struct zone_row row = {.memory_mib = 512, .vcpus = 4};
	struct error err = ERROR_NULL;

	cr_expect_eq(zone_check_targets(&row, 512, 4, &err), 0);
	cr_expect_eq(zone_check_targets(&row, 64, 1, &err), 0);
	cr_expect_eq(zone_check_targets(&row, 513, 1, &err), -EINVAL);
	cr_expect_not_null(strstr(err.text, "maximum of 512 MiB"), "%s", err.text);
	cr_expect_eq(zone_check_targets(&row, UINT64_MAX, 1, NULL), -EINVAL);
	cr_expect_eq(zone_check_targets(&row, 63, 1, NULL), -EINVAL);
	cr_expect_eq(zone_check_targets(&row, 64, 5, NULL), -EINVAL);
}

Test(daemon_parts, spec_names_every_descriptor)
{
	_cleanup_(freep) char *text = NULL, *cmdline = spec_cmdline("loglevel=7");
	const struct spec spec = {.uuid = "u",
				  .name = "z",
				  .cmdline = cmdline,
				  .memory_mib = 512,
				  .vcpus = 3,
				  .kernel_fd = 7,
				  .initrd_fd = 8,
				  .socket_fd = 5,
				  .exit_fd = 6,
				  .n_disks = 1,
				  .disks = {{.fd = 9, .serial = "addons"}}};
	int fd = spec_write(&spec, NULL), kernel, disk, readonly;
	const char *serial, *line;
	json_int_t memory;
	json_t *root;
	size_t len;

	cr_assert_geq(fd, 0);
	cr_assert_eq(io_read_fd(fd, 65536, &text, &len), 0);
	root = json_loads(text, 0, NULL);
	cr_assert_not_null(root);
	cr_assert_eq(json_unpack(root, "{s:I, s:s, s:{s:i}, s:[{s:{s:i}, s:b, s:s}]}", "memory_mib",
				 &memory, "cmdline", &line, "kernel", "fd", &kernel, "disks",
				 "file", "fd", &disk, "readonly", &readonly, "serial", &serial),
		     0);
	cr_expect(memory == 512 && kernel == 7 && disk == 9 && readonly);
	cr_expect_str_eq(serial, "addons");
	cr_expect_not_null(strstr(line, "console=hvc0"));
	cr_expect_not_null(strstr(line, " loglevel=7"));
	json_decref(root);
	close(fd);
}

/* What a reader of a log with these words sees, as one text; times become 'T'. */
static const char *view(const struct ring *ring, bool timestamps, bool has_tail, uint32_t tail)
{
	static char text[512];
	struct ring_cursor at = log_view_start(ring, 0, has_tail, tail);
	struct log_view v = {.timestamps = timestamps};
	char prefix[LOG_VIEW_PREFIX];
	const void *data;
	unsigned tag;
	size_t len, n, used = 0;

	while (ring_peek(ring, &at, &tag, &data, &len)) {
		log_view_next(&v, tag, ring_time_ms(ring, &at), data, len, prefix, &n);
		cr_assert(!*prefix ||
			  (strlen(prefix) == 25 && prefix[10] == 'T' && prefix[24] == ' '));
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%.*s",
					 *prefix ? "T " : "", (int)n, (const char *)data);
		log_view_shown(&v, tag, data, n);
		ring_advance(ring, &at, n);
	}
	text[used] = '\0';
	return text;
}

Test(daemon_parts, views_of_a_log)
{
	struct ring *ring = ring_new(RING_SIZE);

	cr_expect_str_eq(view(ring, true, true, 3), "");
	ring_append(ring, 1, "one\ntw", 6);
	ring_append(ring, 2, "bad\n", 4);
	ring_append(ring, 1, "o\n\nthree", 8);
	cr_expect_str_eq(view(ring, false, false, 0), "one\ntwbad\no\n\nthree");
	cr_expect_str_eq(view(ring, true, false, 0), "T one\nT twT bad\no\nT \nT three");
	cr_expect_str_eq(view(ring, false, true, 0), "");
	cr_expect_str_eq(view(ring, false, true, 1), "three");
	cr_expect_str_eq(view(ring, false, true, 2), "\nthree");
	cr_expect_str_eq(view(ring, false, true, 100), "one\ntwbad\no\n\nthree");
	ring_append(ring, 1, "\n", 1);
	cr_expect_str_eq(view(ring, false, true, 1), "three\n");
	cr_expect_eq(log_view_start(ring, UINT64_MAX, false, 0).record, ring_end(ring));
	cr_expect_eq(log_view_start(ring, 1, true, UINT32_MAX).record, 0);
	ring_free(ring);
}

Test(daemon_parts, restart_policies)
{
	struct workload_row row = {.exit_code = 1};

	cr_expect_not(restart_is_due(&row));
	row.restart = PROTECT__CONTROL__RESTART_POLICY__RESTART_ALWAYS;
	cr_expect(restart_is_due(&row));
	row.exit_code = 0;
	cr_expect(restart_is_due(&row));
	row.stop_wanted = true;
	cr_expect_not(restart_is_due(&row));
	row.stop_wanted = false;
	row.restart = PROTECT__CONTROL__RESTART_POLICY__RESTART_ON_FAILURE;
	cr_expect_not(restart_is_due(&row));
	row.exit_code = 137;
	row.restarts = 1000;
	cr_expect(restart_is_due(&row));
	row.restart_max = 3;
	cr_expect_not(restart_is_due(&row));
	row.restarts = 2;
	cr_expect(restart_is_due(&row));
}

Test(daemon_parts, restarts_wait_longer_each_time)
{
	cr_expect_eq(restart_delay_ms(0), WORKLOAD_BACKOFF_MS);
	cr_expect_eq(restart_delay_ms(1), WORKLOAD_BACKOFF_MS);
	cr_expect_eq(restart_delay_ms(2), 2 * WORKLOAD_BACKOFF_MS);
	cr_expect_eq(restart_delay_ms(9), 256 * WORKLOAD_BACKOFF_MS);
	cr_expect_eq(restart_delay_ms(20), WORKLOAD_BACKOFF_MAX_MS);
	cr_expect_eq(restart_delay_ms(UINT32_MAX), WORKLOAD_BACKOFF_MAX_MS);
}

Test(daemon_parts, names_and_references)
{
	char text[8];

	cr_expect(daemon_name_is_good("a") && daemon_name_is_good("0a.b_c-d"));
	cr_expect(!daemon_name_is_good("") && !daemon_name_is_good("-a") &&
		  !daemon_name_is_good("a/b") && !daemon_name_is_good("a b") &&
		  !daemon_name_is_good("00000000-0000-4000-8000-000000000002"));
	cr_expect(storage_is_registry_ref("localhost:5000/a") &&
		  storage_is_registry_ref("docker.io/library/a:1") &&
		  storage_is_registry_ref("localhost/a"));
	cr_expect(!storage_is_registry_ref("a") && !storage_is_registry_ref("a:1") &&
		  !storage_is_registry_ref("a/b") && !storage_is_registry_ref("a.b/") &&
		  !storage_is_registry_ref("/a"));
	daemon_copy_text(text, sizeof(text),
			 "a\nb\x7f"
			 "cdefgh");
	cr_expect_str_eq(text, "a?b?cde");
	cr_expect_eq(workload_signal_number("SIGQUIT"), SIGQUIT);
	cr_expect_eq(workload_signal_number("9"), SIGKILL);
	cr_expect_eq(workload_signal_number(""), 0);
	cr_expect_eq(workload_signal_number("nonsense"), 0);
	cr_expect_eq(workload_signal_number("4711"), 0);
}

Test(daemon_parts, volumes_of_a_row)
{
	struct volume_mounts mounts = {
		.n = 2,
		.items = {{.name = "data", .target = "/var/lib/a b"},
			  {.name = "raw", .target = "/dev/x", .read_only = true}}};
	char text[VOLUME_MOUNTS_TEXT_SIZE], full[VOLUME_MOUNTS_TEXT_SIZE];
	struct volume_mounts read;

	volume_mounts_print(&mounts, text);
	cr_expect_str_eq(text, "rw data /var/lib/a b\nro raw /dev/x\n");
	volume_mounts_parse(text, &read);
	cr_expect_eq(read.n, 2);
	cr_expect_str_eq(read.items[0].target, "/var/lib/a b");
	cr_expect_not(read.items[0].read_only);
	cr_expect(read.items[1].read_only);
	volume_mounts_parse(NULL, &read);
	cr_expect_eq(read.n, 0);
	volume_mounts_parse("rw\n\nrw data\nxx data /a\nrw  /a\nro a \nro b /b", &read);
	cr_expect_eq(read.n, 1);
	cr_expect_str_eq(read.items[0].name, "b");
	mounts.n = VOLUME_MOUNTS_MAX;
	for (unsigned i = 0; i < mounts.n; i++) {
		memset(mounts.items[i].name, 'n', VOLUME_NAME_SIZE - 1);
		memset(mounts.items[i].target, 't', VOLUME_TARGET_SIZE - 1);
	}
	volume_mounts_print(&mounts, text);
	volume_mounts_parse(text, &read);
	cr_expect_eq(read.n, VOLUME_MOUNTS_MAX);
	volume_mounts_print(&read, full);
	cr_expect_str_eq(full, text);
}
