// SPDX-License-Identifier: Apache-2.0
/* The small things of base: UUIDs, ranges, errors of one line, rate limits, files, descriptors over
 * sockets. */
#include "tests/unit/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/io.h"
#include "base/log.h"
#include "base/util.h"
#include "base/uuid.h"

UNIT_SUITE(values);

Test(values, uuids_go_out_and_come_back)
{
	char text[UUID_TEXT_SIZE];
	struct uuid a, b;

	cr_assert_eq(uuid_generate(&a), 0);
	uuid_format(&a, text);
	cr_assert_eq(strlen(text), 36);
	cr_assert_eq(text[14], '4');
	cr_assert_eq(uuid_parse(text, &b), 0);
	cr_assert(uuid_equal(&a, &b));
	cr_assert_eq(uuid_parse("", &b), -EINVAL);
	cr_assert_eq(uuid_parse("11111111-2222-4333-8444-55555555555", &b), -EINVAL);
	cr_assert_eq(uuid_parse("11111111-2222-4333-8444-55555555555g", &b), -EINVAL);
	cr_assert_eq(uuid_parse("11111111x2222-4333-8444-555555555555", &b), -EINVAL);
	cr_assert_eq(uuid_parse("1111111-12222-4333-8444-555555555555", &b), -EINVAL);
	cr_assert(uuid_equal(&a, &b), "a failed parse leaves the value alone");
}

Test(values, ranges_do_not_wrap)
{
	uint64_t sum;

	cr_assert(range_fits(0, 0, 0));
	cr_assert(range_fits(10, 5, 15));
	cr_assert_not(range_fits(10, 6, 15));
	cr_assert_not(range_fits(UINT64_MAX, 2, UINT64_MAX));
	cr_assert_not(range_fits(2, UINT64_MAX, UINT64_MAX));
	cr_assert_not(checked_add(UINT64_MAX, 1, &sum));
	cr_assert_not(checked_mul(UINT64_MAX / 2, 3, &sum));
	cr_assert(is_power_of_two(4096));
	cr_assert_not(is_power_of_two(0));
}

Test(values, an_error_is_one_line_and_the_first_one_stays)
{
	struct error err = ERROR_NULL;

	cr_assert_eq(error_set_errno(&err, -ENOENT, "zone '%s'", "a\nb\x1b"), -ENOENT);
	cr_assert_str_eq(err.text, "zone 'a?b?': No such file or directory");
	cr_assert_eq(error_set(&err, -EIO, "second"), -EIO);
	cr_assert_eq(err.code, -ENOENT);
	cr_assert_eq(error_set(NULL, -EIO, "nobody listens"), -EIO);
}

Test(values, the_journal_is_told_priorities)
{
	int fd = memfd_create("stderr", 0);
	char stream[48], text[64] = "";
	struct stat st;

	cr_assert_geq(fd, 0);
	cr_assert_eq(fstat(fd, &st), 0);
	snprintf(stream, sizeof(stream), "%lu:%lu", (unsigned long)st.st_dev,
		 (unsigned long)st.st_ino);
	cr_assert_geq(dup2(fd, STDERR_FILENO), 0);
	/* Another's stream: what redirected us left the variable. */
	setenv("JOURNAL_STREAM", "1:1", 1);
	log_open();
	log_error("a=1");
	setenv("JOURNAL_STREAM", stream, 1);
	log_open();
	log_warning("b=2");
	cr_assert_gt(pread(fd, text, sizeof(text) - 1, 0), 0);
	cr_expect_str_eq(text, "error a=1\n<4>warning b=2\n");
}

Test(values, a_log_limit_lets_a_burst_through)
{
	struct log_limit limit = {0};
	unsigned allowed = 0;

	for (unsigned i = 0; i < 100; i++)
		allowed += log_allowed(&limit, 5, NULL);
	cr_assert(allowed >= 5 && allowed <= 6);
}

Test(values, files_are_replaced_whole_and_read_with_a_limit)
{
	char dir[] = "/tmp/base_values.XXXXXX";
	_cleanup_(close_fdp) int dir_fd = -1;
	_cleanup_(freep) char *data = NULL;
	size_t len;

	cr_assert_not_null(mkdtemp(dir));
	dir_fd = open(dir, O_DIRECTORY | O_CLOEXEC);
	cr_assert_eq(io_replace_file(dir_fd, "a", "12345", 5, 0600), 0);
	cr_assert_eq(io_replace_file(dir_fd, "a", "abc", 3, 0600), 0);
	cr_assert_eq(io_read_file(dir_fd, "a", 2, &data, &len), -EFBIG);
	cr_assert_eq(io_read_file(dir_fd, "a", 3, &data, &len), 0);
	cr_assert_str_eq(data, "abc");
	cr_assert_eq(unlinkat(dir_fd, "a", 0), 0);
	cr_assert_eq(rmdir(dir), 0, "nothing else is left behind");
}

Test(values, descriptors_travel_and_too_many_are_closed)
{
	int ends[2], sent[3] = {0, 1, 2}, got[3];
	unsigned n = 3;
	char byte;

	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
	cr_assert_eq(io_send_fds(ends[0], "x", 1, sent, 3, 0), 1);
	cr_assert_eq(io_recv_fds(ends[1], &byte, 1, got, &n, 0), 1);
	cr_assert_eq(n, 3);
	for (unsigned i = 0; i < n; i++) {
		cr_assert(fcntl(got[i], F_GETFD) & FD_CLOEXEC);
		close(got[i]);
	}
	n = 1;
	cr_assert_eq(io_send_fds(ends[0], "x", 1, sent, 3, 0), 1);
	cr_assert_eq(io_recv_fds(ends[1], &byte, 1, got, &n, 0), -EMSGSIZE);
	cr_assert_eq(n, 0);
	close(ends[0]);
	close(ends[1]);
}

/* The clients are in another process: their descriptors are not the server's. */
static void ask_and_read(const char *path, const char *wanted)
{
	int fd = io_unix_connect(path, SOCK_SEQPACKET);
	char answer[16] = "";
	ssize_t n = fd < 0 ? fd : io_send_fds(fd, "question", 8, &fd, 1, 0);

	/* The answer may be there before the question. */
	if (n < 0 && n != -EPIPE)
		_exit(1);
	_exit(recv(fd, answer, sizeof(answer), 0) <= 0 || strcmp(answer, wanted) != 0);
}

Test(values, a_server_without_descriptors_says_so)
{
	char path[] = "/tmp/base_values.XXXXXX";
	int reserve = -1, listener, client, status, taken[64];
	struct rlimit limit = {.rlim_cur = sizeof(taken) / sizeof(taken[0]), .rlim_max = 1024};
	unsigned n = 0;

	close(mkstemp(path));
	unlink(path);
	listener = io_unix_listen(path, SOCK_SEQPACKET, 0600);
	io_reserve(&reserve);
	cr_assert_geq(reserve, 0);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	while ((taken[n] = dup(listener)) >= 0)
		n++;
	for (unsigned turn = 0; turn < 2; turn++) {
		pid_t pid = fork();

		if (pid == 0) {
			close(listener);
			close(reserve);
			ask_and_read(path, "none left");
		}
		client = io_accept(listener, 0, &reserve);
		cr_assert_geq(client, 0);
		cr_assert_eq(reserve, -1);
		io_refuse(client, "none left", 9);
		close(client);
		io_reserve(&reserve);
		cr_assert_geq(reserve, 0);
		cr_assert_eq(waitpid(pid, &status, 0), pid);
		cr_expect_eq(status, 0);
	}
	close_fdp(&reserve);
	io_reserve(&reserve);
	cr_assert_gt(n, 0);
	close(taken[--n]);
	cr_expect_eq(io_set_nonblock(listener, 1), 0);
	client = io_accept(listener, 0, &reserve);
	cr_expect_eq(client, -EAGAIN);
	cr_expect(!io_accept_is_stuck(client) && io_accept_is_stuck(-EMFILE));
	while (n)
		close(taken[--n]);
	close(reserve);
	close(listener);
	unlink(path);
}

Test(values, a_socket_does_not_replace_a_file)
{
	char path[] = "/tmp/base_values.XXXXXX";
	int fd = mkstemp(path);

	cr_assert_geq(fd, 0);
	cr_assert_eq(io_unix_listen(path, SOCK_STREAM, 0600), -EEXIST);
	unlink(path);
	close(fd);
	fd = io_unix_listen(path, SOCK_STREAM, 0600);
	cr_assert_geq(fd, 0);
	close(fd);
	fd = io_unix_listen(path, SOCK_STREAM, 0600);
	cr_assert_geq(fd, 0, "a stale socket is replaced");
	close(fd);
	unlink(path);
}
