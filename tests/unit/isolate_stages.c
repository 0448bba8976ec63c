// SPDX-License-Identifier: Apache-2.0
/*
 * The stages of a runner's sandbox, one after another and each left out in turn. In children, for
 * there is no way back. Works as any user; as root it becomes nobody where it has to be a user.
 */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/capability.h>

#include "base/cleanup.h"
#include "base/isolate.h"
#include "base/util.h"

#define NOBODY 65534u

UNIT_SUITE(isolate_stages);

/* Runs a test's half in a child, as nobody if this is root. It returns the line at which something
 * was not as it should be, or 0. */
static int in_child(int (*half)(void))
{
	int wait_status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		if (geteuid() == 0 &&
		    (isolate_become(NOBODY, NOBODY) < 0 || prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0))
			_exit(255);
		_exit(half() & 0xff);
	}
	cr_assert_eq(waitpid(pid, &wait_status, 0), pid);
	cr_assert(WIFEXITED(wait_status), "%#x", (unsigned)wait_status);
	return WEXITSTATUS(wait_status);
}

#define REQUIRE(condition)                                                                         \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%d: %s: %s\n", __LINE__, #condition, strerror(errno));    \
			return __LINE__;                                                           \
		}                                                                                  \
	} while (0)

/* All that this suite does not leave out; the process must be single-threaded, as it is. */
static int enter(void)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();

	REQUIRE(unshare(ISOLATE_NAMESPACES & ~CLONE_NEWPID) == 0);
	REQUIRE(isolate_map(0, uid, gid) == 0);
	REQUIRE(isolate_become(uid, gid) == 0);
	return 0;
}

static int all_stages(void)
{
	struct error err = ERROR_NULL;

	REQUIRE(enter() == 0);
	REQUIRE(isolate_names() == 0);
	REQUIRE(isolate_root() == 0);
	REQUIRE(isolate_limits(ISOLATE_FILES_MAX) == 0);
	REQUIRE(isolate_core() >= 0);
	REQUIRE(isolate_drop(0) == 0);
	REQUIRE(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 1);
	REQUIRE(isolate_check(true, &err) == 0);
	REQUIRE(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
	REQUIRE(!isolate_is_started()); /* not PID 1 */
	REQUIRE(open("/", O_RDWR | O_TMPFILE, 0600) < 0);
	REQUIRE(access("/proc", F_OK) < 0 && errno == ENOENT);
	REQUIRE(unshare(CLONE_NEWNS) < 0);
	return 0;
}

Test(isolate_stages, all_of_them_pass_the_check)
{
	cr_expect_eq(in_child(all_stages), 0);
}

static int refused(bool empty_root, const char *word)
{
	struct error err = ERROR_NULL;

	REQUIRE(isolate_check(empty_root, &err) == -EPERM);
	REQUIRE(strstr(err.text, word));
	return 0;
}

static int nothing_done(void)
{
	return refused(false, "securebits");
}

static int no_new_privs_missing(void)
{
	REQUIRE(enter() == 0);
	REQUIRE(prctl(PR_SET_SECUREBITS, ISOLATE_SECUREBITS, 0, 0, 0) == 0);
	return refused(false, "no_new_privs");
}

static int capability_left(void)
{
	REQUIRE(enter() == 0);
	REQUIRE(isolate_drop(UINT64_C(1) << CAP_CHOWN) == 0);
	return refused(false, "capability");
}

static int root_left(void)
{
	REQUIRE(enter() == 0);
	REQUIRE(isolate_drop(0) == 0);
	return refused(true, "root");
}

Test(isolate_stages, the_check_says_what_is_missing)
{
	int (*const halves[])(void) = {nothing_done, no_new_privs_missing, capability_left,
				       root_left};

	for (unsigned i = 0; i < ARRAY_SIZE(halves); i++)
		cr_expect_eq(in_child(halves[i]), 0, "%u", i);
}

static int map_foreign(void)
{
	REQUIRE(unshare(CLONE_NEWUSER) == 0);
	REQUIRE(isolate_map(0, 0, 0) == -EPERM);
	return 0;
}

static int map_is_for_good(void)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();

	REQUIRE(enter() == 0);
	REQUIRE(isolate_map(0, uid, gid) == -EPERM);
	REQUIRE(setgroups(0, NULL) < 0 && errno == EPERM);
	REQUIRE(isolate_become(0, 0) == -EINVAL);
	return 0;
}

Test(isolate_stages, a_user_maps_itself_and_once)
{
	cr_expect_eq(in_child(map_foreign), 0);
	cr_expect_eq(in_child(map_is_for_good), 0);
}

static int stray_descriptors(void)
{
	int extra, high, expected[] = {0, 1, 2, -1, 100};

	for (int fd = 3; fd < 2000; fd++)
		close(fd);
	extra = open("/dev/null", O_RDONLY | O_CLOEXEC);
	REQUIRE(extra == 3);
	REQUIRE(isolate_stray_fd(expected, ARRAY_SIZE(expected)) == 3);
	expected[3] = extra;
	REQUIRE(isolate_stray_fd(expected, ARRAY_SIZE(expected)) == -1);
	REQUIRE(dup2(extra, 99) == 99 && dup2(extra, 100) == 100);
	REQUIRE(isolate_stray_fd(expected, ARRAY_SIZE(expected)) == 99);
	REQUIRE(close(99) == 0);
	high = fcntl(extra, F_DUPFD_CLOEXEC, (int)ISOLATE_FILES_MAX);
	if (high >= 0) { /* where the limit lets it */
		REQUIRE(isolate_stray_fd(expected, ARRAY_SIZE(expected)) == -1);
		REQUIRE(fcntl(high, F_GETFD) < 0);
	}
	return 0;
}

Test(isolate_stages, a_descriptor_too_many_is_found)
{
	cr_expect_eq(in_child(stray_descriptors), 0);
}
