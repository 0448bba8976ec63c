// SPDX-License-Identifier: Apache-2.0
#include "zone-guest/filter.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/net.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/util.h"

#define X32_BIT		0x40000000u
#define I386_SOCKETCALL 102
#define I386_SOCKET	359

#define LOAD(field)	      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define IF_EQ(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), (yes), (no))
#define RETURN(value)	      BPF_STMT(BPF_RET | BPF_K, (value))
#define FAIL(error)	      RETURN(SECCOMP_RET_ERRNO | (error))

/* The low half of the first argument: the kernel takes no more of it either. */
#define FIRST_ARGUMENT LOAD(args[0])

int filter_apply(struct error *err)
{
	/* Jumps are counted from the next instruction. The numbers of io_uring are those of every
	 * entry. */
	struct sock_filter code[] = {
		LOAD(arch),
		IF_EQ(AUDIT_ARCH_X86_64, 3, 0),
		IF_EQ(AUDIT_ARCH_I386, 1, 0),
		RETURN(SECCOMP_RET_KILL_PROCESS),
		BPF_JUMP(BPF_JMP | BPF_JA, 4, 0, 0),
		/* 5: 64 bit, and x32 as the same numbers with a bit */
		LOAD(nr),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, ~X32_BIT),
		IF_EQ(SYS_socket, 7, 0),
		BPF_JUMP(BPF_JMP | BPF_JA, 3, 0, 0),
		/* 9: 32 bit */
		LOAD(nr),
		IF_EQ(I386_SOCKET, 4, 0),
		IF_EQ(I386_SOCKETCALL, 6, 0),
		/* 12: any */
		IF_EQ(SYS_io_uring_setup, 7, 0),
		IF_EQ(SYS_io_uring_enter, 6, 0),
		IF_EQ(SYS_io_uring_register, 5, 6),
		/* 15: socket */
		FIRST_ARGUMENT,
		IF_EQ(AF_VSOCK, 0, 4),
		FAIL(EAFNOSUPPORT),
		/* 18: socketcall */
		FIRST_ARGUMENT,
		IF_EQ(SYS_SOCKET, 0, 1),
		/* 20: */
		FAIL(ENOSYS),
		RETURN(SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = {.len = ARRAY_SIZE(code), .filter = code};

	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
		return error_set_errno(err, -errno, "set the filter of system calls");
	return 0;
}
