// SPDX-License-Identifier: Apache-2.0
/* What a workload may not ask the kernel for, by every way in. Needs root. */
#include <errno.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/caps.h"
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

static int in_child_with(int (*look)(void), const struct filter_spec *spec)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct error err = ERROR_NULL;
		int line = filter_apply(spec, &err) < 0 ? __LINE__ : look();

		_exit(line > 255 ? 255 : line);
	}
	cr_assert_gt(pid, 0);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int in_child(int (*look)(void))
{
	const struct filter_spec guard = {.profile = FILTER_UNCONFINED},
				 usual = {.profile = FILTER_DEFAULT};
	int line = in_child_with(look, &guard);

	return line ? line : in_child_with(look, &usual);
}

/* What the default profile says of calls that would otherwise be made, or fail for other reasons.
 */
static int look_default(void)
{
	if (call_64(SYS_keyctl, 0, -3) != -EPERM || call_64(SYS_swapoff, 0, 0) != -EPERM)
		return __LINE__;
	if (call_64(SYS_mount, 0, 0) != -EPERM || call_64(SYS_unshare, 0, 0) != -EPERM)
		return __LINE__;
	if (call_64(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0) != -EPERM ||
	    call_64(SYS_clone3, 0, 0) != -ENOSYS)
		return __LINE__;
	if (call_64(451, 0, 0) != -ENOSYS)
		return __LINE__;
	if (call_64(SYS_personality, 0x0040000, 0) != -EPERM ||
	    call_64(SYS_personality, 0xffffffff, 0) < 0)
		return __LINE__;
	return call_64(SYS_getpid, 0, 0) == getpid() ? 0 : __LINE__;
}

static int look_with_sys_admin(void)
{
	if (call_64(SYS_unshare, 0, 0) != 0 || call_64(SYS_mount, 0, 0) == -EPERM)
		return __LINE__;
	return call_64(SYS_keyctl, 0, -3) == -EPERM ? 0 : __LINE__;
}

static int look_default_i386(void)
{
	if (call_i386(I386_GETPID, 0, 0, 0) != getpid())
		return 0;
	return call_i386(288 /* keyctl */, 0, 0, 0) == -EPERM &&
			       call_i386(120 /* clone */, CLONE_NEWUSER, 0, 0) == -EPERM
		       ? 0
		       : __LINE__;
}

static int look_program(void)
{
	return call_64(SYS_getppid, 0, 0) == -EDOM &&
			       call_64(SYS_socket, AF_VSOCK, SOCK_STREAM) == -EAFNOSUPPORT
		       ? 0
		       : __LINE__;
}

Test(zone_filter, default_profile)
{
	const struct filter_spec usual = {.profile = FILTER_DEFAULT, .caps = CAPS_DEFAULT},
				 admin = {.profile = FILTER_DEFAULT,
					  .caps = UINT64_C(1) << CAP_SYS_ADMIN};
	int r;

	if (geteuid() != 0)
		cr_skip_test("needs root");
	cr_assert_eq(in_child_with(look_default, &usual), 0);
	cr_assert_eq(in_child_with(look_with_sys_admin, &admin), 0);
	r = in_child_with(look_default_i386, &usual);
	if (r == -11)
		cr_skip_test("no 32-bit system calls");
	cr_assert_eq(r, 0);
}

Test(zone_filter, a_program_of_ones_own)
{
	static const struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EDOM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct filter_spec spec = {
		.profile = FILTER_PROGRAM, .program = code, .len_bytes = sizeof(code)};

	if (geteuid() != 0)
		cr_skip_test("needs root");
	cr_assert_eq(in_child_with(look_program, &spec), 0);
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
