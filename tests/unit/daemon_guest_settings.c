// SPDX-License-Identifier: Apache-2.0
/* What a launch wants set in its zone: checked, kept as JSON, read again. */
#include "harness.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "supervisor/daemon/guest_settings.h"

UNIT_SUITE(daemon_guest_settings);

struct lists {
	char *env[2], *sysctls[2], *modules[2], *options[2];
};

static int take(struct lists *lists, char **json)
{
	Protect__Control__ZoneLaunch launch = PROTECT__CONTROL__ZONE_LAUNCH__INIT;
	struct error err = ERROR_NULL;

	launch.env = lists->env;
	launch.sysctls = lists->sysctls;
	launch.modules = lists->modules;
	launch.kernel_options = lists->options;
	while (launch.n_env < 2 && lists->env[launch.n_env])
		launch.n_env++;
	while (launch.n_sysctls < 2 && lists->sysctls[launch.n_sysctls])
		launch.n_sysctls++;
	while (launch.n_modules < 2 && lists->modules[launch.n_modules])
		launch.n_modules++;
	while (launch.n_kernel_options < 2 && lists->options[launch.n_kernel_options])
		launch.n_kernel_options++;
	return guest_settings_take(&launch, json, &err);
}

Test(daemon_guest_settings, what_is_taken_is_read_again)
{
	char env[] = "A=1=2", sysctl[] = "vm.swappiness=10", module[] = "dummy numdummies=2";
	char option[] = "mitigations=off", other[] = "x";
	struct lists lists = {{env}, {sysctl}, {module}, {option, other}};
	struct guest_settings settings;
	_cleanup_(freep) char *json = NULL, *line = NULL;

	cr_assert_eq(take(&lists, &json), 0);
	cr_assert_eq(guest_settings_read(json, &settings), 0);
	cr_assert(settings.env.n == 1 && settings.sysctls.n == 1 && settings.modules.n == 1);
	cr_expect_str_eq(settings.env.items[0], env);
	cr_expect_str_eq(settings.sysctls.items[0], sysctl);
	cr_expect_str_eq(settings.modules.items[0], module);
	guest_settings_free(&settings);
	line = guest_settings_cmdline(json, "from=host");
	cr_assert_not_null(line);
	cr_expect_not_null(strstr(line, " from=host mitigations=off x"));
}

Test(daemon_guest_settings, nothing_is_nothing)
{
	struct lists lists = {{NULL}, {NULL}, {NULL}, {NULL}};
	struct guest_settings settings;
	char *json = NULL;

	cr_assert_eq(take(&lists, &json), 0);
	cr_expect_null(json);
	cr_assert_eq(guest_settings_read(NULL, &settings), 0);
	cr_expect_eq(settings.env.n + settings.sysctls.n + settings.modules.n, 0);
	guest_settings_free(&settings);
}

Test(daemon_guest_settings, rows_of_older_versions_and_damaged_ones)
{
	struct guest_settings settings;

	cr_assert_eq(guest_settings_read("[\"A=1\",7]", &settings), 0);
	cr_assert_eq(settings.env.n, 1);
	cr_expect_str_eq(settings.env.items[0], "A=1");
	guest_settings_free(&settings);
	cr_assert_eq(guest_settings_read("{\"sysctls\":{\"a\":1},\"env\":7", &settings), 0);
	cr_expect_eq(settings.env.n + settings.sysctls.n, 0);
	guest_settings_free(&settings);
	cr_assert_eq(guest_settings_read("{\"sysctls\":{\"a\":1},\"env\":7}", &settings), 0);
	cr_expect_eq(settings.env.n + settings.sysctls.n, 0);
	guest_settings_free(&settings);
}

Test(daemon_guest_settings, what_is_refused)
{
	char none[] = "none", up[] = "a/../b=1", line[] = "a=1\nb", path[] = "../evil",
	     dash[] = "-r";
	char words[] = "two words", quote[] = "a=\"b", empty[] = "", long_one[1200];
	struct lists wrong[] = {
		{{none}, {NULL}, {NULL}, {NULL}},  {{NULL}, {none}, {NULL}, {NULL}},
		{{NULL}, {up}, {NULL}, {NULL}},	   {{NULL}, {line}, {NULL}, {NULL}},
		{{NULL}, {NULL}, {path}, {NULL}},  {{NULL}, {NULL}, {dash}, {NULL}},
		{{NULL}, {NULL}, {NULL}, {words}}, {{NULL}, {NULL}, {NULL}, {quote}},
		{{NULL}, {NULL}, {NULL}, {empty}}, {{NULL}, {NULL}, {empty}, {NULL}},
	};
	struct lists too_long = {{NULL}, {NULL}, {NULL}, {long_one}};
	char *json = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		cr_expect_eq(take(&wrong[i], &json), -EINVAL, "%zu", i);
	memset(long_one, 'a', sizeof(long_one) - 1);
	long_one[sizeof(long_one) - 1] = '\0';
	cr_expect_eq(take(&too_long, &json), -E2BIG);
	cr_expect_null(json);
}
