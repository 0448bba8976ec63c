// SPDX-License-Identifier: Apache-2.0
/* The ZoneSpec: what is taken, and that everything else is refused with the member's name and
 * without a leaked descriptor. */
#include "tests/unit/harness.h"

#include <fcntl.h>
#include <string.h>

#include "runner/spec.h"
#include "tests/unit/open_files.h"

UNIT_SUITE(spec);

static int parse(const char *json, struct zone_spec *spec, struct error *err)
{
	return spec_parse(json, strlen(json), spec, err);
}

Test(spec, takes_a_whole_one)
{
	struct error err = ERROR_NULL;
	struct zone_spec spec;

	cr_assert_eq(parse("{\"uuid\": \"11111111-2222-4333-8444-555555555555\", \"name\": \"a\","
			   "\"memory_mib\": 64, \"vcpus\": 2, \"cmdline\": \"quiet\","
			   "\"kernel\": {\"path\": \"/dev/null\"}, \"initrd\": {\"fd\": 2},"
			   "\"disks\": [{\"file\": {\"path\": \"/dev/null\"}, \"serial\": \"d\","
			   "\"readonly\": true}]}",
			   &spec, &err),
		     0, "%s", err.text);
	cr_assert_eq(spec.memory_mib, 64);
	cr_assert_eq(spec.vcpus, 2);
	cr_assert_str_eq(spec.cmdline, "quiet");
	cr_assert_geq(spec.initrd_fd, 3);
	cr_assert_eq(spec.socket_fd, -1);
	cr_assert(spec.disks[0].read_only);
	spec_close(&spec);
	spec_close(&spec);
}

Test(spec, refuses_and_says_what)
{
	static const struct {
		const char *json, *says;
	} cases[] = {
		{"", "not a JSON object"},
		{"[]", "not a JSON object"},
		{"{\"kernel\": {\"path\": \"/dev/null\"}, \"kernel\": {\"path\": \"/dev/null\"}}",
		 "not a JSON object"},
		{"{}", "kernel is missing"},
		{"{\"kernel\": {\"path\": \"/nowhere/at/all\"}}", "'/nowhere/at/all'"},
		{"{\"kernel\": {\"fd\": 1000000}}", "descriptor 1000000"},
		{"{\"kernel\": {\"fd\": -1}}", "descriptor -1"},
		{"{\"kernel\": {\"path\": \"/dev/null\", \"fd\": 1}}", "kernel must be"},
		{"{\"kernel\": {\"path\": \"/dev/null\"}, \"memory_mib\": -1}", "memory_mib"},
		{"{\"kernel\": {\"path\": \"/dev/null\"}, \"memory_mib\": 99999999999}",
		 "memory_mib"},
		{"{\"kernel\": {\"path\": \"/dev/null\"}, \"vcpus\": 0}", "vcpus"},
		{"{\"kernel\": {\"path\": \"/dev/null\"}, \"vcpus\": 65}", "vcpus"},
		{"{\"kernel\": {\"path\": \"/dev/null\"}, \"cmdline\": \"a\\u0000b\"}",
		 "not a JSON"},
		{"{\"kernel\": {\"path\": \"/dev/null\"}, \"colour\": 1}",
		 "unknown member 'colour'"},
		{"{\"kernel\": {\"path\": \"/dev/null\"}, \"disks\": [{\"file\": {\"path\": "
		 "\"/dev/null\"}}]}",
		 "a disk must have"},
		{"{\"kernel\": {\"path\": \"/dev/null\"}, \"disks\": [{\"file\": {\"path\": "
		 "\"/dev/null\"}, \"serial\": \"123456789012345678901\"}]}",
		 "serial"},
		{"{\"kernel\": {\"path\": \"/dev/null\"}, \"disks\": ["
		 "{\"file\": {\"path\": \"/dev/null\"}, \"serial\": \"a\"},"
		 "{\"file\": {\"path\": \"/dev/null\"}, \"serial\": \"a\"}]}",
		 "two disks"},
	};
	unsigned before = count_open_files();

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct error err = ERROR_NULL;
		struct zone_spec spec;

		cr_expect_lt(parse(cases[i].json, &spec, &err), 0, "%s", cases[i].json);
		cr_expect(strstr(err.text, cases[i].says), "%s: %s", cases[i].json, err.text);
	}
	cr_assert_eq(count_open_files(), before);
}

Test(spec, machines_that_grow)
{
	struct error err = ERROR_NULL;
	struct zone_spec spec;

	cr_assert_eq(
		parse("{\"kernel\": {\"path\": \"/dev/null\"}, \"memory_mib\": 64}", &spec, &err),
		0);
	cr_assert_eq(spec.max_memory_mib, 64);
	cr_assert_eq(spec.max_vcpus, 1);
	cr_assert(spec.balloon);
	spec_close(&spec);
	cr_assert_eq(parse("{\"max_memory_mib\": 1048576, \"max_vcpus\": 4, \"balloon\": false,"
			   "\"kernel\": {\"path\": \"/dev/null\"}, \"vcpus\": 2}",
			   &spec, &err),
		     0, "%s", err.text);
	cr_assert_eq(spec.memory_mib, 256);
	cr_assert_eq(spec.max_memory_mib, 1048576);
	cr_assert_eq(spec.vcpus, 2);
	cr_assert_eq(spec.max_vcpus, 4);
	cr_assert_not(spec.balloon);
	spec_close(&spec);
}

Test(spec, disks_and_nics_with_everything)
{
	struct error err = ERROR_NULL;
	struct zone_spec spec;
	unsigned before = count_open_files();

	cr_assert_eq(parse("{\"uuid\": \"11111111-2222-4333-8444-555555555555\","
			   "\"kernel\": {\"path\": \"/dev/null\"},"
			   "\"disks\": [{\"file\": {\"path\": \"/dev/null\"}, \"serial\": \"d\","
			   "\"queues\": 4, \"direct\": true, \"queue_size\": 1024,"
			   "\"rate\": {\"bytes_per_s\": 1048576, \"burst_ops\": 7}}],"
			   "\"nics\": [{\"file\": {\"fd\": 2}, \"mac\": \"02:00:5e:10:00:Fe\","
			   "\"mtu\": 9000, \"queue_size\": 512, \"rx\": {\"ops_per_s\": 10}, "
			   "\"tx\": {}},"
			   "{\"name\": \"two\", \"file\": [{\"fd\": 2}, {\"fd\": 2}]}]}",
			   &spec, &err),
		     0, "%s", err.text);
	cr_assert_eq(spec.disks[0].n_queues, 4);
	cr_assert(spec.disks[0].direct);
	cr_assert_eq(spec.disks[0].queue_size, 1024);
	cr_assert_eq(spec.nics[0].queue_size, 512);
	cr_assert_eq(spec.nics[1].queue_size, 0);
	cr_assert_eq(spec.disks[0].rate.bytes_per_s, 1048576);
	cr_assert_eq(spec.disks[0].rate.burst_ops, 7);
	cr_assert_eq(spec.n_nics, 2);
	cr_assert_arr_eq(spec.nics[0].mac, ((uint8_t[]){2, 0, 0x5e, 0x10, 0, 0xfe}), 6);
	cr_assert_str_eq(spec.nics[0].name, "eth0");
	cr_assert_eq(spec.nics[0].mtu, 9000);
	cr_assert_eq(spec.nics[0].rx.ops_per_s, 10);
	cr_assert_eq(spec.nics[1].n_taps, 2);
	cr_assert(spec_is_mac(spec.nics[1].mac));
	cr_assert_eq(spec.nics[1].mac[0] & 3, 2, "unicast, of nobody's making");
	spec_close(&spec);
	cr_assert_eq(count_open_files(), before);
}

#define KERNEL "\"kernel\": {\"path\": \"/dev/null\"}, "

Test(spec, refuses_what_devices_cannot_be)
{
	static const struct {
		const char *json, *says;
	} cases[] = {
		{"{" KERNEL "\"memory_mib\": 64, \"max_memory_mib\": 32}",
		 "more than max_memory_mib"},
		{"{" KERNEL "\"max_memory_mib\": 17592186044416}", "max_memory_mib"},
		{"{" KERNEL "\"max_memory_mib\": 1048577}", "max_memory_mib"},
		{"{" KERNEL "\"memory_mib\": 18446744073709551615}", "not a JSON"},
		{"{" KERNEL "\"vcpus\": 4, \"max_vcpus\": 2}", "more than max_vcpus"},
		{"{" KERNEL "\"vcpus\": 4294967297}", "vcpus"},
		{"{" KERNEL "\"balloon\": 1}", "balloon must be true or false"},
		{"{" KERNEL
		 "\"disks\": [{\"file\": {\"fd\": 2}, \"serial\": \"d\", \"queues\": 9}]}",
		 "queues"},
		{"{" KERNEL "\"disks\": [{\"file\": {\"fd\": 2}, \"serial\": \"d\", \"rate\": 5}]}",
		 "rate must be an object"},
		{"{" KERNEL "\"disks\": [{\"file\": {\"fd\": 2}, \"serial\": \"d\","
		 "\"rate\": {\"bits\": 5}}]}",
		 "unknown member 'bits' of rate"},
		{"{" KERNEL "\"disks\": [{\"file\": {\"fd\": 2}, \"serial\": \"d\","
		 "\"rate\": {\"ops_per_s\": 1099511627777}}]}",
		 "ops_per_s"},
		{"{" KERNEL
		 "\"disks\": [{\"file\": {\"fd\": 2}, \"serial\": \"d\", \"queue_size\": 128}]}",
		 "queue_size"},
		{"{" KERNEL
		 "\"disks\": [{\"file\": {\"fd\": 2}, \"serial\": \"d\", \"queue_size\": 768}]}",
		 "power of two"},
		{"{" KERNEL "\"nics\": [{\"file\": {\"fd\": 2}, \"queue_size\": 2048}]}",
		 "queue_size"},
		{"{" KERNEL "\"nics\": {}}", "nics must be an array"},
		{"{" KERNEL "\"nics\": [{}]}", "a NIC must have"},
		{"{" KERNEL "\"nics\": [{\"file\": {\"path\": \"/dev/null\"}}]}",
		 "file must be {\"fd\""},
		{"{" KERNEL "\"nics\": [{\"file\": [], \"name\": \"a\"}]}", "1 to 8 descriptors"},
		{"{" KERNEL "\"nics\": [{\"file\": {\"fd\": 2}, \"queues\": 2}]}",
		 "a NIC must have"},
		{"{" KERNEL "\"nics\": [{\"file\": {\"fd\": 2}, \"tap\": \"a\"}]}",
		 "a NIC must have"},
		{"{" KERNEL "\"nics\": [{\"tap\": \"much-too-long-a-name\"}]}", "tap"},
		{"{" KERNEL "\"nics\": [{\"file\": {\"fd\": 2}, \"mac\": \"01:00:00:00:00:00\"}]}",
		 "mac must be"},
		{"{" KERNEL "\"nics\": [{\"file\": {\"fd\": 2}, \"mac\": \"00:00:00:00:00:00\"}]}",
		 "mac must be"},
		{"{" KERNEL "\"nics\": [{\"file\": {\"fd\": 2}, \"mac\": \"2:0:5e:10:0:1\"}]}",
		 "mac must be"},
		{"{" KERNEL "\"nics\": [{\"file\": {\"fd\": 2}, \"mac\": \"02:00:00:00:00:0g\"}]}",
		 "mac must be"},
		{"{" KERNEL "\"nics\": [{\"file\": {\"fd\": 2}, \"mtu\": 67}]}", "mtu"},
		{"{" KERNEL "\"nics\": [{\"file\": {\"fd\": 2}, \"mtu\": 65536}]}", "mtu"},
		{"{" KERNEL "\"nics\": [{\"file\": {\"fd\": 2}, \"name\": \"a b\"}]}",
		 "name of a NIC"},
		{"{" KERNEL "\"nics\": [{\"file\": {\"fd\": 2}, \"name\": \"a\"},"
		 "{\"file\": {\"fd\": 2}, \"name\": \"a\"}]}",
		 "two NICs"},
		{"{" KERNEL "\"nics\": [{\"file\": {\"fd\": 2}, \"mac\": \"02:00:00:00:00:01\"},"
		 "{\"file\": {\"fd\": 2}, \"mac\": \"02:00:00:00:00:01\"}]}",
		 "same mac"},
	};
	unsigned before = count_open_files();

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct error err = ERROR_NULL;
		struct zone_spec spec;

		cr_expect_lt(parse(cases[i].json, &spec, &err), 0, "%s", cases[i].json);
		cr_expect(strstr(err.text, cases[i].says), "%s: %s", cases[i].json, err.text);
	}
	cr_assert_eq(count_open_files(), before);
}

Test(spec, a_serial_is_short_and_printable)
{
	cr_assert(spec_is_serial("w-0123456789abcdef"));
	cr_assert_not(spec_is_serial(""));
	cr_assert_not(spec_is_serial("a b"));
	cr_assert_not(spec_is_serial("a\n"));
	cr_assert_not(spec_is_serial("123456789012345678901"));
}

Test(spec, handed_descriptors_are_closed_once_and_standard_ones_stay)
{
	struct error err = ERROR_NULL;
	struct zone_spec spec;
	char json[128];
	unsigned before = count_open_files();
	int fd = open("/dev/null", O_RDONLY);

	snprintf(json, sizeof(json),
		 "{\"kernel\": {\"fd\": %d}, \"initrd\": {\"fd\": %d}, \"console\": {\"fd\": 1}}",
		 fd, fd);
	cr_assert_eq(parse(json, &spec, &err), 0, "%s", err.text);
	cr_assert_eq(fcntl(fd, F_GETFD), -1, "the original is closed");
	cr_assert_geq(fcntl(1, F_GETFD), 0);
	spec_close(&spec);
	cr_assert_eq(count_open_files(), before);
}
