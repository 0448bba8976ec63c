// SPDX-License-Identifier: Apache-2.0
/* The ZoneSpec: what is taken, and that everything else is refused with the member's name and
 * without a leaked descriptor. */
#include "tests/unit/harness.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#include "vmm/spec.h"

UNIT_SUITE(spec);

static unsigned open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

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
	unsigned before = open_descriptors();

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct error err = ERROR_NULL;
		struct zone_spec spec;

		cr_expect_lt(parse(cases[i].json, &spec, &err), 0, "%s", cases[i].json);
		cr_expect(strstr(err.text, cases[i].says), "%s: %s", cases[i].json, err.text);
	}
	cr_assert_eq(open_descriptors(), before);
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
	unsigned before = open_descriptors();
	int fd = open("/dev/null", O_RDONLY);

	snprintf(json, sizeof(json),
		 "{\"kernel\": {\"fd\": %d}, \"initrd\": {\"fd\": %d}, \"console\": {\"fd\": 1}}",
		 fd, fd);
	cr_assert_eq(parse(json, &spec, &err), 0, "%s", err.text);
	cr_assert_eq(fcntl(fd, F_GETFD), -1, "the original is closed");
	cr_assert_geq(fcntl(1, F_GETFD), 0);
	spec_close(&spec);
	cr_assert_eq(open_descriptors(), before);
}
