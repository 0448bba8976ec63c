// SPDX-License-Identifier: Apache-2.0
#include "zone-guest/filter.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/net.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/util.h"

#define X32_BIT		0x40000000u
#define I386_SOCKETCALL 102
#define I386_SOCKET	359
#define NEWEST_CALL                                                                                \
	450 /* set_mempolicy_home_node(2), Linux 5.17: what is newer is not judged yet */
#define NO_CALL	    (-1)
#define CAP_NONE    (-1) /* no capability makes it right */
#define PROFILE_MAX 256u

#define LOAD(field)		 BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define IF_EQ(value, yes, no)	 BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), (yes), (no))
#define IF_ABOVE(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, (value), (yes), (no))
#define IF_ANY(bits, yes, no)	 BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (bits), (yes), (no))
#define RETURN(value)		 BPF_STMT(BPF_RET | BPF_K, (value))
#define FAIL(error)		 RETURN(SECCOMP_RET_ERRNO | (error))

/* The low half of the first argument: the kernel takes no more of it either. */
#define FIRST_ARGUMENT LOAD(args[0])

#define NEW_NAMESPACES                                                                             \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |             \
	 CLONE_NEWPID | CLONE_NEWNET)

/*
 * What the default profile refuses: the number for 64-bit programs, the one for 32-bit programs
 * (NO_CALL = there is none), and the capability with which it is allowed all the same.
 */
static const struct refusal {
	int nr, nr_i386, cap;
} refusals[] = {
	{SYS_acct, 51, CAP_SYS_PACCT},
	{SYS_add_key, 286, CAP_NONE},
	{SYS_bpf, 357, CAP_SYS_ADMIN},
	{SYS_clock_adjtime, 343, CAP_SYS_TIME},
	{NO_CALL, 405, CAP_SYS_TIME}, /* clock_adjtime64 */
	{SYS_clock_settime, 264, CAP_SYS_TIME},
	{NO_CALL, 404, CAP_SYS_TIME}, /* clock_settime64 */
	{SYS_create_module, 127, CAP_NONE},
	{SYS_delete_module, 129, CAP_SYS_MODULE},
	{SYS_fanotify_init, 338, CAP_SYS_ADMIN},
	{SYS_finit_module, 350, CAP_SYS_MODULE},
	{SYS_fsconfig, 431, CAP_SYS_ADMIN},
	{SYS_fsmount, 432, CAP_SYS_ADMIN},
	{SYS_fsopen, 430, CAP_SYS_ADMIN},
	{SYS_fspick, 433, CAP_SYS_ADMIN},
	{SYS_get_kernel_syms, 130, CAP_NONE},
	{SYS_get_mempolicy, 275, CAP_SYS_NICE},
	{SYS_init_module, 128, CAP_SYS_MODULE},
	{SYS_ioperm, 101, CAP_SYS_RAWIO},
	{SYS_iopl, 110, CAP_SYS_RAWIO},
	{SYS_kcmp, 349, CAP_SYS_PTRACE},
	{SYS_kexec_file_load, NO_CALL, CAP_SYS_BOOT},
	{SYS_kexec_load, 283, CAP_SYS_BOOT},
	{SYS_keyctl, 288, CAP_NONE},
	{SYS_lookup_dcookie, 253, CAP_SYS_ADMIN},
	{SYS_mbind, 274, CAP_SYS_NICE},
	{SYS_migrate_pages, 294, CAP_SYS_NICE},
	{SYS_mount, 21, CAP_SYS_ADMIN},
	{SYS_mount_setattr, 442, CAP_SYS_ADMIN},
	{SYS_move_mount, 429, CAP_SYS_ADMIN},
	{SYS_move_pages, 317, CAP_SYS_NICE},
	{SYS_nfsservctl, 169, CAP_NONE},
	{SYS_open_by_handle_at, 342, CAP_DAC_READ_SEARCH},
	{SYS_open_tree, 428, CAP_SYS_ADMIN},
	{SYS_perf_event_open, 336, CAP_SYS_ADMIN},
	{SYS_pivot_root, 217, CAP_SYS_ADMIN},
	{SYS_process_vm_readv, 347, CAP_SYS_PTRACE},
	{SYS_process_vm_writev, 348, CAP_SYS_PTRACE},
	{SYS_query_module, 167, CAP_NONE},
	{SYS_quotactl, 131, CAP_SYS_ADMIN},
	{SYS_quotactl_fd, 443, CAP_SYS_ADMIN},
	{SYS_reboot, 88, CAP_SYS_BOOT},
	{SYS_request_key, 287, CAP_NONE},
	{SYS_set_mempolicy, 276, CAP_SYS_NICE},
	{450, 450, CAP_SYS_NICE}, /* set_mempolicy_home_node */
	{SYS_setdomainname, 121, CAP_SYS_ADMIN},
	{SYS_sethostname, 74, CAP_SYS_ADMIN},
	{SYS_setns, 346, CAP_SYS_ADMIN},
	{SYS_settimeofday, 79, CAP_SYS_TIME},
	{NO_CALL, 25, CAP_SYS_TIME}, /* stime */
	{SYS_swapoff, 115, CAP_NONE},
	{SYS_swapon, 87, CAP_NONE},
	{SYS_sysfs, 135, CAP_NONE},
	{SYS__sysctl, 149, CAP_NONE},
	{SYS_syslog, 103, CAP_SYSLOG},
	{SYS_umount2, 52, CAP_SYS_ADMIN},
	{NO_CALL, 22, CAP_SYS_ADMIN}, /* umount */
	{SYS_unshare, 310, CAP_SYS_ADMIN},
	{SYS_uselib, 86, CAP_NONE},
	{SYS_userfaultfd, 374, CAP_SYS_PTRACE},
	{SYS_ustat, 62, CAP_NONE},
	{NO_CALL, 113, CAP_NONE}, /* vm86old */
	{NO_CALL, 166, CAP_NONE}, /* vm86 */
	{SYS_vhangup, 111, CAP_SYS_TTY_CONFIG},
};

/* The calls that have a word of their own, for one architecture. */
struct entry {
	uint32_t arch;
	uint32_t clone, clone3, personality;
	bool is_i386;
};

static const struct entry entries[] = {
	{AUDIT_ARCH_X86_64, SYS_clone, SYS_clone3, SYS_personality, false},
	{AUDIT_ARCH_I386, 120, 435, 136, true},
};

struct program {
	struct sock_filter code[2 * PROFILE_MAX];
	unsigned short n;
};

static void add(struct program *p, struct sock_filter instruction)
{
	if (p->n < ARRAY_SIZE(p->code))
		p->code[p->n++] = instruction;
}

/* If the number is this one, the next n instructions are for it. */
static void add_case(struct program *p, uint32_t nr, unsigned char n)
{
	add(p, (struct sock_filter)IF_EQ(nr, 0, n));
}

static void add_refusals(struct program *p, const struct entry *entry, uint64_t caps)
{
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		const struct refusal *r = &refusals[i];
		int nr = entry->is_i386 ? r->nr_i386 : r->nr;

		if (nr == NO_CALL || (r->cap != CAP_NONE && caps >> r->cap & 1))
			continue;
		add_case(p, (uint32_t)nr, 1);
		add(p, (struct sock_filter)FAIL(EPERM));
	}
}

/*
 * New namespaces are refused to who could not make them otherwise; clone3(2), whose flags a filter
 * cannot see, does not exist then, and C libraries use clone(2).
 */
static void add_clone(struct program *p, const struct entry *entry, uint64_t caps)
{
	if (caps >> CAP_SYS_ADMIN & 1)
		return;
	add_case(p, entry->clone3, 1);
	add(p, (struct sock_filter)FAIL(ENOSYS));
	add_case(p, entry->clone, 4);
	add(p, (struct sock_filter)FIRST_ARGUMENT);
	add(p, (struct sock_filter)IF_ANY(NEW_NAMESPACES, 0, 1));
	add(p, (struct sock_filter)FAIL(EPERM));
	add(p, (struct sock_filter)RETURN(SECCOMP_RET_ALLOW));
}

/* The ones that programs are known to use: Linux, 32 bits of it, without randomisation, a question.
 */
static void add_personality(struct program *p, const struct entry *entry)
{
	static const uint32_t allowed[] = {0, 8, 0x20000, 0x20008, 0xffffffff};

	add_case(p, entry->personality, 2 * ARRAY_SIZE(allowed) + 2);
	add(p, (struct sock_filter)FIRST_ARGUMENT);
	for (size_t i = 0; i < ARRAY_SIZE(allowed); i++) {
		add(p, (struct sock_filter)IF_EQ(allowed[i], 0, 1));
		add(p, (struct sock_filter)RETURN(SECCOMP_RET_ALLOW));
	}
	add(p, (struct sock_filter)FAIL(EPERM));
}

/* All of one architecture, from the number in the accumulator to its verdict. */
static void add_entry(struct program *p, const struct entry *entry, uint64_t caps)
{
	add(p, (struct sock_filter)LOAD(nr));
	add(p, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, ~X32_BIT));
	add(p, (struct sock_filter)IF_ABOVE(NEWEST_CALL, 0, 1));
	add(p, (struct sock_filter)FAIL(ENOSYS));
	add_clone(p, entry, caps);
	add_personality(p, entry);
	add_refusals(p, entry, caps);
	add(p, (struct sock_filter)RETURN(SECCOMP_RET_ALLOW));
}

static int load(const struct sock_filter *code, size_t n, struct error *err)
{
	const struct sock_fprog program = {.len = (unsigned short)n,
					   .filter = (struct sock_filter *)(uintptr_t)code};

	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
		return error_set_errno(err, -errno, "set the filter of system calls");
	return 0;
}

/* The guard lets through no third architecture: each of the two has its own part. */
static int load_default(uint64_t caps, struct error *err)
{
	struct program p = {.n = 0};

	for (size_t i = 0; i < ARRAY_SIZE(entries); i++) {
		struct program part = {.n = 0};

		add_entry(&part, &entries[i], caps);
		add(&p, (struct sock_filter)LOAD(arch));
		add(&p, (struct sock_filter)IF_EQ(entries[i].arch, 1, 0));
		add(&p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JA, part.n, 0, 0));
		for (unsigned k = 0; k < part.n; k++)
			add(&p, part.code[k]);
	}
	add(&p, (struct sock_filter)RETURN(SECCOMP_RET_KILL_PROCESS));
	return load(p.code, p.n, err);
}

static int load_guard(struct error *err)
{
	/* Jumps are counted from the next instruction. The numbers of io_uring are those of every
	 * entry. */
	static const struct sock_filter code[] = {
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

	return load(code, ARRAY_SIZE(code), err);
}

int filter_apply(const struct filter_spec *spec, struct error *err)
{
	int r = load_guard(err);

	if (r < 0 || spec->profile == FILTER_UNCONFINED)
		return r;
	if (spec->profile == FILTER_DEFAULT)
		return load_default(spec->caps, err);
	return load(spec->program, spec->len_bytes / sizeof(struct sock_filter), err);
}
