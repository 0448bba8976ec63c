// SPDX-License-Identifier: Apache-2.0
/*
 * generate OUTPUT kill|tell [GROUP…]: writes the filters that `collect` found, one BPF program
 * each, as a C header for base/filter.h. libseccomp makes them here, at build time, so that no
 * program needs it when it runs. The GROUPs named are put into every filter (a sanitizer's own
 * calls).
 *
 * Whatever a filter does not name kills the process, and so does any way of calling that is not
 * x86-64's own. With `tell` it is SIGSYS that kills it, so that a handler can say which call it was
 * (base/denied.h). What stands in annotations is trusted, but for oversights: calls whose meaning
 * is in their arguments must say which they want.
 */
#include <errno.h>
#include <linux/filter.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Whose constants annotations may use. */
#include <fcntl.h>
#include <linux/fd.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <linux/if_tun.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>

#include "base/filter.h"

/* The same of /dev/xen/privcmd, evtchn and gntdev, and of loop devices. */
#define XEN_CALL_TYPE  ('P' << 8)
#define XEN_EVENT_TYPE ('E' << 8)
#define XEN_GRANT_TYPE ('G' << 8)
#define LOOP_TYPE      0x4C00
#define KVM_TYPE       (KVMIO << 8) /* what all ioctls of KVM have in these bits */
#ifndef MNT_DETACH
#define MNT_DETACH 2 /* <sys/mount.h> and <linux/fs.h> exclude each other */
#endif

#define SELF	 UINT64_C(0x5e1f5e1f) /* stands for the process's id until it is loaded */
#define ARGS_MAX 6
#define LOW	 UINT64_C(0xffffffff)

#define IS(place, value)                                                                           \
	{                                                                                          \
		place, SCMP_CMP_MASKED_EQ, LOW, (uint32_t)(value)                                  \
	}
#define HAS_NOT(place, value)                                                                      \
	{                                                                                          \
		place, SCMP_CMP_MASKED_EQ, (uint32_t)(value), 0                                    \
	}
#define MASKED(place, value, mask)                                                                 \
	{                                                                                          \
		place, SCMP_CMP_MASKED_EQ, mask, (uint32_t)(value) & (mask)                        \
	}
#define NONE                                                                                       \
	{                                                                                          \
		0                                                                                  \
	}

struct rule {
	const char *group, *where, *name;
	int call;
	int error; /* answered with it; 0: carried out */
	unsigned n_args;
	struct scmp_arg_cmp args[ARGS_MAX];
};

struct member {
	const char *filter, *group;
};

#define RULE(group, where, call, error, n, ...)                                                    \
	{group, where, #call, SCMP_SYS(call), error, n, {__VA_ARGS__}},
#define MEMBER(filter, group)
#define FILTER(name)
static const struct rule rules[] = {
#include "collected.h"
};
#undef RULE
#undef MEMBER
#define RULE(group, where, call, error, n, ...)
#define MEMBER(filter, group) {filter, group},
static const struct member members[] = {
#include "collected.h"
};
#undef MEMBER
#undef FILTER
#define MEMBER(filter, group)
#define FILTER(name) name,
static const char *const filters[] = {
#include "collected.h"
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void die(const char *what, const char *which)
{
	fprintf(stderr, "generate: %s: %s\n", what, which);
	exit(EXIT_FAILURE);
}

static void die_of(const struct rule *rule, const char *which)
{
	fprintf(stderr, "%s: %s: ", rule->where, rule->name);
	die("rule", which);
}

/* Calls that can be nearly anything, as their arguments say. */
static bool needs_arguments(const char *name)
{
	static const char *const names[] = {
		"ioctl",   "fcntl", "prctl",  "mmap", "mprotect",   "futex",  "kill",	"tgkill",
		"madvise", "clone", "socket", "bpf",  "newfstatat", "mremap", "execve", "execveat"};

	for (unsigned i = 0; i < COUNT(names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

static void check_rule(const struct rule *rule)
{
	if (rule->call == __NR_SCMP_ERROR)
		die(rule->where, "libseccomp does not know this call");
	if (rule->n_args == 0 && !rule->error && needs_arguments(rule->name))
		die(rule->where, "this call must say which arguments it may have");
}

static void check_members(void)
{
	for (unsigned i = 0; i < COUNT(members); i++) {
		bool known = false;

		for (unsigned j = 0; j < COUNT(rules) && !known; j++)
			known = strcmp(rules[j].group, members[i].group) == 0;
		if (!known)
			die(members[i].group, "a filter names this group, and no source does");
	}
}

static bool is_member(const char *filter, const char *group, char **everywhere)
{
	for (; *everywhere; everywhere++)
		if (strcmp(*everywhere, group) == 0)
			return true;
	for (unsigned i = 0; i < COUNT(members); i++)
		if (strcmp(members[i].filter, filter) == 0 && strcmp(members[i].group, group) == 0)
			return true;
	return false;
}

/* A call that one group may make in some ways and another in all: all of them, which the first did
 * not mean. */
static void check_filter(const char *filter)
{
	for (unsigned i = 0; i < COUNT(rules); i++) {
		if (rules[i].n_args || !is_member(filter, rules[i].group, (char *[]){NULL}))
			continue;
		for (unsigned j = 0; j < COUNT(rules); j++)
			if (rules[j].n_args && rules[j].call == rules[i].call &&
			    is_member(filter, rules[j].group, (char *[]){NULL}))
				die_of(&rules[i],
				       "undoes what is asked of the arguments elsewhere");
	}
}

static uint32_t action_of(const struct rule *rule)
{
	return rule->error ? SCMP_ACT_ERRNO((uint32_t)rule->error) : SCMP_ACT_ALLOW;
}

static scmp_filter_ctx make(const char *filter, uint32_t otherwise, char **everywhere)
{
	scmp_filter_ctx ctx = seccomp_init(otherwise);

	if (!ctx || seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS) < 0)
		die(filter, "libseccomp makes no filter");
	/* What is allowed with any arguments, the kernel answers from a table (since Linux 5.11).
	 * Of the rest, only ioctl is frequent, for it is how a vCPU runs: it comes first. */
	if (seccomp_syscall_priority(ctx, SCMP_SYS(ioctl), UINT8_MAX) < 0)
		die(filter, "libseccomp takes no priority");
	for (unsigned i = 0; i < COUNT(rules); i++) {
		const struct rule *rule = &rules[i];
		int r;

		if (!is_member(filter, rule->group, everywhere))
			continue;
		r = seccomp_rule_add_array(ctx, action_of(rule), rule->call, rule->n_args,
					   rule->n_args ? rule->args : NULL);
		if (r < 0 && r != -EEXIST)
			die(rule->where, strerror(-r));
	}
	return ctx;
}

static size_t export(scmp_filter_ctx ctx, const char *filter, struct sock_filter *code)
{
	int fd = memfd_create("filter", MFD_CLOEXEC);
	ssize_t len;

	if (fd < 0 || seccomp_export_bpf(ctx, fd) < 0)
		die(filter, "libseccomp does not export it");
	len = pread(fd, code, (FILTER_CODE_MAX + 1) * sizeof(*code), 0);
	close(fd);
	if (len <= 0 || (size_t)len > FILTER_CODE_MAX * sizeof(*code))
		die(filter, "the filter has more than FILTER_CODE_MAX instructions");
	return (size_t)len / sizeof(*code);
}

static void print_code(FILE *out, const char *name, const struct sock_filter *code, size_t n)
{
	fprintf(out, "static const struct sock_filter %s_code[] = {\n", name);
	for (size_t i = 0; i < n; i++)
		fprintf(out, "\t{%#x, %u, %u, %#x},\n", code[i].code, code[i].jt, code[i].jf,
			code[i].k);
	fprintf(out, "};\n");
}

/* Which instructions compare with the process's id. Returns how many. */
static unsigned print_self(FILE *out, const char *name, const struct sock_filter *code, size_t n)
{
	unsigned found = 0;

	for (size_t i = 0; i < n; i++) {
		if (code[i].k != SELF)
			continue;
		if (code[i].code != (BPF_JMP | BPF_JEQ | BPF_K))
			die(name, "the process's id is used in a way that is not understood");
		if (found++ == 0)
			fprintf(out, "static const uint16_t %s_self[] = {", name);
		fprintf(out, "%zu, ", i);
	}
	if (found)
		fprintf(out, "};\n");
	return found;
}

static void print_filter(FILE *out, const char *name, uint32_t otherwise, char **everywhere)
{
	static struct sock_filter code[FILTER_CODE_MAX + 1];
	scmp_filter_ctx ctx = make(name, otherwise, everywhere);
	size_t n = export(ctx, name, code);
	unsigned n_self;

	print_code(out, name, code, n);
	n_self = print_self(out, name, code, n);
	fprintf(out,
		"static const struct filter filter_%s = {.name = \"%s\", .code = %s_code, .n_code "
		"= %zu",
		name, name, name, n);
	if (n_self)
		fprintf(out, ", .self = %s_self, .n_self = %u", name, n_self);
	fprintf(out, "};\n\n");
	seccomp_release(ctx);
}

int main(int argc, char **argv)
{
	bool tell = argc > 2 && strcmp(argv[2], "tell") == 0;
	FILE *out;

	if (argc < 3 || (!tell && strcmp(argv[2], "kill") != 0))
		die("usage", "generate OUTPUT kill|tell [GROUP…]");
	for (unsigned i = 0; i < COUNT(rules); i++)
		check_rule(&rules[i]);
	check_members();
	out = fopen(argv[1], "we");
	if (!out)
		die(argv[1], strerror(errno));
	fprintf(out, "/* Made by tools/seccomp from what the sources say they need. */\n\n");
	for (unsigned i = 0; i < COUNT(filters); i++) {
		check_filter(filters[i]);
		print_filter(out, filters[i], tell ? SCMP_ACT_TRAP : SCMP_ACT_KILL_PROCESS,
			     argv + 3);
	}
	if (fclose(out) != 0)
		die(argv[1], strerror(errno));
	return EXIT_SUCCESS;
}
