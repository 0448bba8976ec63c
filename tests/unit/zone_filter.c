// SPDX-License-Identifier: Apache-2.0
/* What a workload may not ask the kernel for, by every way in. Needs root. */
#include <errno.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/harness.h"
#include "zone-guest/filter.h"

#define X32_BIT		0x40000000L
#define I386_GETPID	20
#define I386_SOCKET	359
#define I386_SOCKETCALL 102
#define SOCKETCALL_NEW	1 /* SYS_SOCKET of linux/net.h */
#define SOCKETCALL_BIND 2

UNIT_SUITE(zone_filter);

/* The 32-bit entry from a 64-bit program: what it takes are the numbers of i386. */
static int call_i386(long number, unsigned first, unsigned second, unsigned third)
{
	int result;

	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(number), "b"(first), "c"(second), "d"(third)
			 : "memory", "r8", "r9", "r10", "r11");
	return result;
}

static int call_64(long number, long first, long second)
{
	long result = syscall(number, first, second, 0);

	return result < 0 ? -errno : (int)result;
}

/* Returns the line that found something else, 0 if all was as it should be. */
static int look_64(void)
{
	if (call_64(SYS_socket, AF_VSOCK, SOCK_STREAM) != -EAFNOSUPPORT)
		return __LINE__;
	/* The kernel looks at 32 bits of the family. */
	if (call_64(SYS_socket, (long)(INT64_C(1) << 32) + AF_VSOCK, SOCK_STREAM) != -EAFNOSUPPORT)
		return __LINE__;
	if (call_64(SYS_socket | X32_BIT, AF_VSOCK, SOCK_STREAM) != -EAFNOSUPPORT)
		return __LINE__;
	if (call_64(SYS_io_uring_setup, 1, 0) != -ENOSYS ||
	    call_64(SYS_io_uring_enter, -1, 0) != -ENOSYS ||
	    call_64(SYS_io_uring_register, -1, 0) != -ENOSYS)
		return __LINE__;
	return call_64(SYS_socket, AF_UNIX, SOCK_STREAM) < 0 ? __LINE__ : 0;
}

static int look_i386(void)
{
	if (call_i386(I386_GETPID, 0, 0, 0) != getpid())
		return 0; /* a kernel without that entry */
	if (call_i386(I386_SOCKET, AF_VSOCK, SOCK_STREAM, 0) != -EAFNOSUPPORT)
		return __LINE__;
	if (call_i386(I386_SOCKETCALL, SOCKETCALL_NEW, 0, 0) != -ENOSYS)
		return __LINE__;
	if (call_i386(I386_SOCKETCALL, SOCKETCALL_BIND, 0, 0) != -EFAULT)
		return __LINE__;
	return call_i386(I386_SOCKET, AF_UNIX, SOCK_STREAM, 0) < 0 ? __LINE__ : 0;
}

static int in_child(int (*look)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct error err = ERROR_NULL;
		int line = filter_apply(&err) < 0 ? __LINE__ : look();

		_exit(line > 255 ? 255 : line);
	}
	cr_assert_gt(pid, 0);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

Test(zone_filter, keeps_vsock_from_64_bit_programs)
{
	if (geteuid() != 0)
		cr_skip_test("needs root");
	cr_assert_eq(in_child(look_64), 0);
}

Test(zone_filter, keeps_vsock_from_32_bit_programs)
{
	int r;

	if (geteuid() != 0)
		cr_skip_test("needs root");
	r = in_child(look_i386);
	/* A kernel without the entry may also end who tries it. */
	if (r == -11)
		cr_skip_test("no 32-bit system calls");
	cr_assert_eq(r, 0);
}
