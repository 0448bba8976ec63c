// SPDX-License-Identifier: Apache-2.0
/*
 * What Landlock denies by itself, without the filters that deny most of it first in a runner: so
 * that a hole in a filter is not one in the sandbox. Each attempt is made by a child of its own,
 * which could do it a moment before.
 */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/landlock.h"
#include "base/util.h"

UNIT_SUITE(base_landlock);

enum { ALLOWED = 0, DENIED = 1, BEFORE_FAILED = 2, NO_LANDLOCK = 3, TOO_OLD = 4 };

static int say(int r)
{
	if (r >= 0)
		return ALLOWED;
	return errno == EACCES || errno == EPERM ? DENIED : BEFORE_FAILED;
}

static int open_to_read(void)
{
	_cleanup_(close_fdp) int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);

	return say(fd);
}

static int open_to_write(void)
{
	char path[] = "landlock_file";
	_cleanup_(close_fdp) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int r = say(fd);

	unlink(path);
	return r;
}

static int make_folder(void)
{
	int r = say(mkdir("landlock_folder", 0700));

	rmdir("landlock_folder");
	return r;
}

static int connect_tcp(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
	_cleanup_(close_fdp) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(fd, (const struct sockaddr *)(const void *)&to, sizeof(to)) < 0 &&
	    errno == ECONNREFUSED)
		return ALLOWED;
	return say(-1);
}

static int signal_parent(void)
{
	return say(kill(getppid(), 0));
}

/* The socket is the parent's, made by listen_abstract(). */
static struct sockaddr_un abstract_address(socklen_t *len)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};

	*len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
			   (size_t)snprintf(at.sun_path + 1, sizeof(at.sun_path) - 1,
					    "protect-landlock-%d", (int)getppid()));
	return at;
}

static int connect_abstract(void)
{
	_cleanup_(close_fdp) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len;
	struct sockaddr_un at = abstract_address(&len);

	return say(connect(fd, (const struct sockaddr *)(const void *)&at, len));
}

/* Whether the child could do it before, and what it could afterwards. */
static int try_in_child(int (*attempt)(void), int abi_needed)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		int abi;

		if (attempt() != ALLOWED)
			_exit(BEFORE_FAILED);
		abi = landlock_deny_all();
		if (abi <= 0)
			_exit(NO_LANDLOCK);
		_exit(abi < abi_needed ? TOO_OLD : attempt());
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void expect_denied(int (*attempt)(void), int abi_needed)
{
	int outcome = try_in_child(attempt, abi_needed);

	if (outcome == NO_LANDLOCK || outcome == TOO_OLD)
		cr_skip_test("SKIP: this kernel's Landlock does not know it");
	cr_assert_eq(outcome, DENIED, "outcome %d", outcome);
}

Test(base_landlock, files_cannot_be_opened)
{
	expect_denied(open_to_read, 1);
}

Test(base_landlock, files_cannot_be_made)
{
	expect_denied(open_to_write, 1);
}

Test(base_landlock, folders_cannot_be_made)
{
	expect_denied(make_folder, 1);
}

Test(base_landlock, nobody_is_connected_to_by_tcp)
{
	expect_denied(connect_tcp, 4);
}

Test(base_landlock, nobody_outside_gets_a_signal)
{
	expect_denied(signal_parent, 6);
}

Test(base_landlock, no_abstract_socket_outside_is_reached)
{
	_cleanup_(close_fdp) int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int len = snprintf(at.sun_path + 1, sizeof(at.sun_path) - 1, "protect-landlock-%d",
			   (int)getpid());

	cr_assert_eq(bind(listener, (const struct sockaddr *)(const void *)&at,
			  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1) + (socklen_t)len),
		     0);
	cr_assert_eq(listen(listener, 8), 0);
	expect_denied(connect_abstract, 6);
}

Test(base_landlock, descriptors_stay_as_they_are)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		char byte;
		int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);

		if (landlock_deny_all() < 0)
			_exit(BEFORE_FAILED);
		_exit(read(fd, &byte, 1) == 1 ? ALLOWED : DENIED);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == ALLOWED);
}
