// SPDX-License-Identifier: Apache-2.0
/* What zone-xen reads of a zone's writing, without Xen: numbers in xenstore, the console's ring. */
#include "tests/unit/harness.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include <xen/io/console.h>

#include "base/util.h"
#include "xen-compat/console.h"
#include "xen-compat/store.h"

UNIT_SUITE(xen_parsers, .timeout = 30);

Test(xen_parsers, numbers_are_decimal_digits_up_to_a_bound)
{
	static const char *const bad[] = {"",
					  "-1",
					  "+1",
					  " 1",
					  "1 ",
					  "0x1",
					  "1\n",
					  "1.0",
					  "101",
					  "18446744073709551616",
					  "99999999999999999999999"};
	uint64_t value = 7;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		cr_expect_eq(store_parse_number(bad[i], strlen(bad[i]), 100, &value), -EBADMSG,
			     "%s", bad[i]);
	cr_expect_eq(store_parse_number("1\0", 2, 100, &value), -EBADMSG);
	cr_expect_eq(value, 7);
	cr_expect_eq(store_parse_number("100", 3, 100, &value), 0);
	cr_expect_eq(value, 100);
	cr_expect_eq(store_parse_number("1234", 2, 100, &value), 0); /* no NUL is looked for */
	cr_expect_eq(value, 12);
	cr_expect_eq(store_parse_number("18446744073709551615", 20, UINT64_MAX, &value), 0);
	cr_expect_eq(value, UINT64_MAX);
}

Test(xen_parsers, the_console_comes_whole_around_its_ring)
{
	static struct xencons_interface page;
	uint8_t out[sizeof(page.out)];
	uint32_t at = UINT32_MAX - 700, written = at, checked = at;

	page.out_prod = at;
	for (unsigned turn = 0; turn < 500; turn++) {
		uint32_t n = turn * 7 % (sizeof(page.out) + 1);
		size_t got;

		for (uint32_t i = 0; i < n; i++, written++)
			page.out[MASK_XENCONS_IDX(written, page.out)] = (char)(written * 5 / 3);
		page.out_prod = written;
		while ((got = console_take(&page, &at, out, 1 + turn % sizeof(out))))
			for (size_t i = 0; i < got; i++, checked++)
				cr_assert_eq(out[i], (uint8_t)(checked * 5 / 3));
		cr_assert_eq(at, written);
	}
}

Test(xen_parsers, a_console_whose_positions_make_no_sense_is_empty)
{
	static struct xencons_interface page;
	uint8_t out[sizeof(page.out)];
	uint32_t at = 10;

	page.out_prod = 10 + sizeof(page.out) + 1;
	cr_expect_eq(console_take(&page, &at, out, sizeof(out)), 0);
	cr_expect_eq(at, page.out_prod);
	page.out_prod = at - 1;
	cr_expect_eq(console_take(&page, &at, out, sizeof(out)), 0);
	page.out_prod = at + 3;
	cr_expect_eq(console_take(&page, &at, out, sizeof(out)), 3);
}
