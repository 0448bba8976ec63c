// SPDX-License-Identifier: Apache-2.0
/* What systemd tells a service and is told by it. */
#include "tests/unit/harness.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/notify.h"

static struct sockaddr_un address_of(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", name);
	if (name[0] == '@')
		address.sun_path[0] = '\0';
	return address;
}

static int make_socket(const char *name, int type)
{
	struct sockaddr_un address = address_of(name);
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	cr_assert_geq(fd, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&address,
			  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
		     0);
	return fd;
}

static void check_round_trip(const char *name)
{
	int server = make_socket(name, SOCK_DGRAM), fd;
	char text[32] = "";

	setenv("NOTIFY_SOCKET", name, 1);
	fd = notify_open();
	cr_assert_geq(fd, 0);
	notify_send(fd, "READY=1");
	cr_expect_eq(recv(server, text, sizeof(text) - 1, MSG_DONTWAIT), 7);
	cr_expect_str_eq(text, "READY=1");
	close(server);
	notify_send(fd, "STOPPING=1"); /* nobody is there: no signal, no error */
	close(fd);
}

Test(base_notify, states_reach_the_socket)
{
	char dir[] = "/tmp/notify.XXXXXX", name[64], abstract[64];

	cr_assert_not_null(mkdtemp(dir));
	snprintf(name, sizeof(name), "%s/socket", dir);
	snprintf(abstract, sizeof(abstract), "@%s", dir);
	check_round_trip(name);
	check_round_trip(abstract);
	unlink(name);
	rmdir(dir);
}

Test(base_notify, without_systemd_nobody_is_told)
{
	char longest[200];

	unsetenv("NOTIFY_SOCKET");
	cr_expect_eq(notify_open(), -1);
	setenv("NOTIFY_SOCKET", "/nowhere/at/all", 1);
	cr_expect_eq(notify_open(), -1);
	setenv("NOTIFY_SOCKET", "relative", 1);
	cr_expect_eq(notify_open(), -1);
	memset(longest, 'x', sizeof(longest));
	longest[0] = '/';
	longest[sizeof(longest) - 1] = '\0';
	setenv("NOTIFY_SOCKET", longest, 1);
	cr_expect_eq(notify_open(), -1);
	notify_send(-1, "READY=1");
}

static uint64_t watchdog(const char *usec, const char *pid)
{
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	if (usec)
		setenv("WATCHDOG_USEC", usec, 1);
	if (pid)
		setenv("WATCHDOG_PID", pid, 1);
	return notify_watchdog_ns();
}

Test(base_notify, half_of_the_watchdogs_time)
{
	char own[16];

	snprintf(own, sizeof(own), "%d", (int)getpid());
	cr_expect_eq(watchdog("60000000", own), UINT64_C(30000000000));
	cr_expect_eq(watchdog("60000000", NULL), UINT64_C(30000000000));
	cr_expect_eq(watchdog("60000000", "1"), 0, "for another process");
	cr_expect_eq(watchdog(NULL, NULL), 0);
	cr_expect_eq(watchdog("soon", NULL), 0);
	cr_expect_eq(watchdog("-1", NULL), 0);
	cr_expect_eq(watchdog("18446744073709551615", NULL), 0);
	cr_expect_eq(watchdog("99999999999999999999999", NULL), 0);
}

/* In a process of its own, as descriptor 3 is the test runner's. Returns what notify_listener()
 * does, with the descriptor as 3. */
static int listener(const char *n_fds, const char *pid_text, int fd, int type)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		char own[16];

		snprintf(own, sizeof(own), "%d", (int)getpid());
		setenv("LISTEN_PID", pid_text ? pid_text : own, 1);
		setenv("LISTEN_FDS", n_fds, 1);
		if (dup2(fd, 3) < 0)
			_exit(255);
		_exit(abs(notify_listener(type)));
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

Test(base_notify, a_listening_socket_is_handed_over)
{
	char dir[] = "/tmp/notify.XXXXXX", name[64];
	int fd;

	cr_assert_not_null(mkdtemp(dir));
	snprintf(name, sizeof(name), "@%s", dir);
	rmdir(dir);
	fd = make_socket(name, SOCK_SEQPACKET);
	cr_expect_eq(listener("1", NULL, fd, SOCK_SEQPACKET), EINVAL, "it does not listen");
	cr_assert_eq(listen(fd, 1), 0);
	cr_expect_eq(listener("1", NULL, fd, SOCK_SEQPACKET), 3);
	cr_expect_eq(listener("1", NULL, fd, SOCK_STREAM), EINVAL, "of another type");
	cr_expect_eq(listener("2", NULL, fd, SOCK_SEQPACKET), EINVAL, "more than one");
	cr_expect_eq(listener("1", "1", fd, SOCK_SEQPACKET), ENOENT, "for another process");
	cr_expect_eq(listener("0", NULL, fd, SOCK_SEQPACKET), ENOENT);
	cr_expect_eq(listener("", NULL, fd, SOCK_SEQPACKET), ENOENT);
	close(fd);
}
