// SPDX-License-Identifier: Apache-2.0
/*
 * services: what the filters of Protect's services deny, in TAP. Each attempt is a process of its
 * own, with the filter as in a release build; a denied one dies of SIGSYS. What the service needs
 * must get through to the kernel, whatever that then says.
 *
 * No attempt would hurt the host if it were allowed: arguments are such that the kernel refuses.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/denied.h"
#include "base/filter.h"
#include "base/util.h"
#include "probe_services_filters.h"

#define NOT_BUILT 99
#define REFUSED	  98 /* it came to the kernel */
#define NOBODY	  65534u
#define TEXT(t)	  ((long)(t))
#define RX	  (PROT_READ | PROT_EXEC)
#define RWX	  (RX | PROT_WRITE)
#define PRIVATE	  (MAP_PRIVATE | MAP_ANONYMOUS)

enum profile {
	DAEMON_START = 1,
	DAEMON = 2,
	STORAGE_START = 4,
	STORAGE = 8,
	HELPER = 16,
	PROGRAM = 32,
	LAUNCH = 64,
	NETWORK_START = 128,
	NETWORK = 256,
	NETWORKS = NETWORK_START | NETWORK,
	DAEMONS = DAEMON_START | DAEMON,
	STORES = STORAGE_START | STORAGE,
	EXECUTING = HELPER | PROGRAM,
	ALL = 511,
};

static const struct {
	enum profile profile;
	const char *name;
	const struct filter *filter;
} profiles[] = {
	{DAEMON_START, "daemon start", &filter_daemon_start},
	{DAEMON, "daemon", &filter_daemon_running},
	{STORAGE_START, "storage start", &filter_storage_start},
	{STORAGE, "storage", &filter_storage_running},
	{HELPER, "storage helper", &filter_storage_helper},
	{PROGRAM, "mksquashfs", &filter_storage_program},
	{LAUNCH, "launch", &filter_launch},
	{NETWORK_START, "network start", &filter_network_start},
	{NETWORK, "network", &filter_network_running},
};

struct attempt {
	const char *what;
	unsigned profiles;
	long number;
	long args[6];
};

static const struct attempt denied[] = {
	{"execve", ALL, SYS_execve, {TEXT("/nowhere"), 0, 0}},
	{"execveat of a name", ALL, SYS_execveat, {AT_FDCWD, TEXT("/nowhere"), 0, 0, 0}},
	{"execveat of any descriptor", ALL, SYS_execveat, {9, TEXT(""), 0, 0, AT_EMPTY_PATH}},
	{"execveat of launch's descriptor by name",
	 LAUNCH,
	 SYS_execveat,
	 {1024, TEXT("x"), 0, 0, 0}},
	{"fork", ALL & ~HELPER, SYS_clone, {SIGCHLD, 0, 0, 0, 0}},
	{"vfork", ALL, SYS_vfork, {0}},
	{"clone of namespaces", ALL, SYS_clone, {CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0}},
	{"clone3", DAEMONS | NETWORKS, SYS_clone3, {0, 0}},
	{"unshare", ALL, SYS_unshare, {CLONE_NEWUSER}},
	{"unshare mounts", ALL, SYS_unshare, {CLONE_NEWNS}},
	{"setns", ALL, SYS_setns, {-1, 0}},
	{"ptrace", ALL, SYS_ptrace, {PTRACE_ATTACH, -1, 0, 0}},
	{"another's memory", ALL, SYS_process_vm_readv, {-1, 0, 0, 0, 0, 0}},
	{"write another's memory", ALL, SYS_process_vm_writev, {-1, 0, 0, 0, 0, 0}},
	{"kcmp", ALL, SYS_kcmp, {-1, -1, 0, 0, 0}},
	{"pidfd_getfd", ALL, SYS_pidfd_getfd, {-1, 0, 0}},
	{"kill", DAEMONS | STORES | PROGRAM | NETWORKS, SYS_kill, {-2, SIGKILL}},
	{"kill with another signal", ALL, SYS_kill, {-2, SIGUSR1}},
	{"tgkill", ALL, SYS_tgkill, {-2, -2, SIGKILL}},
	{"rt_sigqueueinfo", ALL, SYS_rt_sigqueueinfo, {-2, 0, 0}},
	{"mount", ALL, SYS_mount, {TEXT("x"), TEXT("/nowhere"), TEXT("tmpfs"), 0, 0}},
	{"bind mount", ALL, SYS_mount, {TEXT("/x"), TEXT("/nowhere"), 0, MS_BIND, 0}},
	{"umount", ALL, SYS_umount2, {TEXT("/nowhere"), 0}},
	{"pivot_root", ALL & ~LAUNCH, SYS_pivot_root, {TEXT("/nowhere"), TEXT("/nowhere")}},
	{"open_tree", ALL, SYS_open_tree, {AT_FDCWD, TEXT("/nowhere"), 0}},
	{"fsopen", ALL & ~LAUNCH, SYS_fsopen, {TEXT("none"), 0}},
	{"chroot", ALL, SYS_chroot, {TEXT("/nowhere")}},
	{"mknod", ALL, SYS_mknodat, {AT_FDCWD, TEXT("/nowhere/x"), S_IFBLK, 0}},
	{"symlink", ALL, SYS_symlink, {TEXT("x"), TEXT("/nowhere/x")}},
	{"link", ALL, SYS_link, {TEXT("/nowhere"), TEXT("/nowhere/x")}},
	{"setxattr", ALL, SYS_setxattr, {TEXT("/nowhere"), TEXT("user.x"), 0, 0, 0}},
	{"open_by_handle_at", ALL, SYS_open_by_handle_at, {-1, 0, 0}},
	{"fanotify", ALL, SYS_fanotify_init, {-1, 0}},
	{"setresuid", ALL & ~LAUNCH, SYS_setresuid, {0, 0, 0}},
	{"setuid", ALL, SYS_setuid, {0}},
	{"setgroups", ALL, SYS_setgroups, {0, 0}},
	{"capset", ALL & ~LAUNCH, SYS_capset, {0, 0}},
	{"keep capabilities", ALL, SYS_prctl, {PR_SET_KEEPCAPS, 1, 0, 0, 0}},
	{"be dumpable", ALL, SYS_prctl, {PR_SET_DUMPABLE, 1, 0, 0, 0}},
	{"another filter", DAEMON | STORAGE | PROGRAM | NETWORK, SYS_seccomp, {1, 0, 0}},
	{"another's filter by prctl", ALL, SYS_prctl, {PR_SET_SECCOMP, 2, 0}},
	{"filters that are notified", ALL, SYS_seccomp, {1, 8, 0}},
	{"SIGSYS taken", DAEMONS | STORES | NETWORKS, SYS_rt_sigaction, {SIGSYS, 0, 0, 8}},
	{"writable code", ALL, SYS_mmap, {0, 4096, RWX, PRIVATE, -1, 0}},
	{"code out of nothing", ALL, SYS_mmap, {0, 4096, RX, PRIVATE, -1, 0}},
	{"code out of a file",
	 DAEMONS | STORES | LAUNCH | NETWORKS,
	 SYS_mmap,
	 {0, 4096, RX, MAP_PRIVATE, -1, 0}},
	{"code of a library",
	 DAEMONS | STORES | LAUNCH | NETWORKS,
	 SYS_mmap,
	 {0, 4096, RX, MAP_PRIVATE | MAP_FIXED | MAP_DENYWRITE, -1, 0}},
	{"mprotect to code", ALL, SYS_mprotect, {0, 0, RX}},
	{"mprotect to writable code", ALL, SYS_mprotect, {0, 0, RWX}},
	{"pkey_mprotect", ALL, SYS_pkey_mprotect, {0, 0, RX, -1}},
	{"userfaultfd", ALL, SYS_userfaultfd, {-1}},
	{"personality", ALL, SYS_personality, {0xffffffff}},
	{"modify_ldt", ALL, SYS_modify_ldt, {-1, 0, 0}},
	{"bpf", ALL, SYS_bpf, {-1, 0, 0}},
	{"perf_event_open", ALL, SYS_perf_event_open, {0, 0, -1, -1, -1}},
	{"add_key", ALL, SYS_add_key, {0, 0, 0, 0, 0}},
	{"keyctl", ALL, SYS_keyctl, {-1, 0, 0, 0, 0}},
	{"init_module", ALL, SYS_init_module, {0, 0, 0}},
	{"finit_module", ALL, SYS_finit_module, {-1, 0, 0}},
	{"kexec_load", ALL, SYS_kexec_load, {0, 0, 0, 0}},
	{"reboot", ALL, SYS_reboot, {0, 0, 0, 0}},
	{"swapon", ALL, SYS_swapon, {TEXT("/nowhere"), 0}},
	{"iopl", ALL, SYS_iopl, {-1}},
	{"settimeofday", ALL, SYS_settimeofday, {0, 0}},
	{"clock_settime", ALL, SYS_clock_settime, {-1, 0}},
	{"syslog", ALL, SYS_syslog, {-1, 0, 0}},
	{"acct", ALL, SYS_acct, {TEXT("/nowhere")}},
	{"quotactl", ALL, SYS_quotactl, {0, 0, 0, 0}},
	{"ring of one's own", ALL & ~LAUNCH, SYS_io_uring_setup, {0, 0}},
	{"ring's personality", ALL, SYS_io_uring_register, {-1, 9, 0, 0}},
	{"packets", ALL, SYS_socket, {AF_PACKET, SOCK_RAW, 0}},
	{"vsock", ALL, SYS_socket, {AF_VSOCK, SOCK_STREAM, 0}},
	{"the network", LAUNCH | EXECUTING, SYS_socket, {AF_INET, SOCK_STREAM, 0}},
	{"netlink", DAEMONS | LAUNCH | EXECUTING | NETWORK, SYS_socket, {AF_NETLINK, SOCK_RAW, 0}},
	{"raw packets", NETWORKS, SYS_socket, {AF_INET, SOCK_RAW, 0}},
	{"a port that is listened at", NETWORK, SYS_listen, {-1, 0}},
	{"a connection", NETWORKS, SYS_connect, {-1, 0, 0}},
	{"a tap for ever", NETWORKS, SYS_ioctl, {-1, TUNSETPERSIST, 1}},
	{"unix sockets", EXECUTING | NETWORK, SYS_socket, {AF_UNIX, SOCK_STREAM, 0}},
	{"shmget", ALL, SYS_shmget, {0, 0, 0}},
	{"mq_open", ALL, SYS_mq_open, {TEXT("x"), 0, 0, 0}},
	{"KVM", ALL & ~LAUNCH, SYS_ioctl, {-1, KVM_CREATE_VM, 0}},
	{"TIOCSTI", ALL, SYS_ioctl, {-1, TIOCSTI, 0}},
	{"processors", ALL, SYS_sched_setaffinity, {-1, 0, 0}},
	{"scheduling", ALL, SYS_sched_setscheduler, {-1, 0, 0}},
	{"a call of x32", ALL, 0x40000000 | SYS_getpid, {0}},
};

static const struct attempt needed[] = {
	{"write", ALL, SYS_write, {-1, 0, 0}},
	{"openat", ALL, SYS_openat, {AT_FDCWD, TEXT("/nowhere"), O_RDONLY}},
	{"wait for clients", DAEMONS, SYS_epoll_wait, {-1, 0, 0, 0}},
	{"metrics", DAEMONS, SYS_socket, {AF_INET, -1, 0}},
	{"registries", STORES, SYS_socket, {AF_INET6, -1, 0}},
	{"helper's program", EXECUTING, SYS_execveat, {256, TEXT(""), 0, 0, AT_EMPTY_PATH}},
	{"runner's program", LAUNCH, SYS_execveat, {1024, TEXT(""), 0, 0, AT_EMPTY_PATH}},
	{"a zone's start", LAUNCH, SYS_ioctl, {-1, KVM_CREATE_VM, 0}},
	{"a vCPU", LAUNCH, SYS_ioctl, {-1, KVM_RUN, 0}},
	{"a library's code",
	 EXECUTING,
	 SYS_mmap,
	 {0, 4096, RX, MAP_PRIVATE | MAP_FIXED | MAP_DENYWRITE, -1, 0}},
	{"no library (an error, not the end)",
	 STORES,
	 SYS_mmap,
	 {0, 4096, PROT_READ, MAP_PRIVATE | MAP_DENYWRITE, -1, 0}},
	{"a tap", NETWORKS, SYS_ioctl, {-1, TUNSETIFF, 0}},
	{"netlink", NETWORK_START, SYS_socket, {AF_NETLINK, -1, 0}},
	{"a published port", NETWORK, SYS_socket, {AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0}},
	{"threads by clone", STORES, SYS_clone3, {0, 0}},
};

/* Of user nobody: nothing that the service's rights would add. */
static void attempt(const struct filter *filter, const struct attempt *a)
{
	if (geteuid() == 0 && setresuid(NOBODY, NOBODY, NOBODY) < 0)
		_exit(NOT_BUILT);
	if (filter && filter_load(filter) < 0)
		_exit(NOT_BUILT);
	syscall(a->number, a->args[0], a->args[1], a->args[2], a->args[3], a->args[4], a->args[5]);
	_exit(REFUSED);
}

static bool is_as_wanted(const struct filter *filter, const struct attempt *a, bool deny)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0)
		attempt(filter, a);
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return false;
	return deny ? WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS
		    : WIFEXITED(status) && WEXITSTATUS(status) == REFUSED;
}

struct tally {
	unsigned n, good;
};

static void judge(struct tally *tally, const struct attempt *list, unsigned n, bool deny,
		  bool without)
{
	for (unsigned i = 0; i < n; i++) {
		for (unsigned p = 0; p < ARRAY_SIZE(profiles); p++) {
			bool good;

			if (!(list[i].profiles & profiles[p].profile))
				continue;
			good = is_as_wanted(without ? NULL : profiles[p].filter, &list[i], deny);
			tally->n++;
			tally->good += good;
			printf("%s %u - %s %s: %s\n", good ? "ok" : "not ok", tally->n,
			       profiles[p].name, deny ? "denied" : "needs", list[i].what);
		}
	}
}

/* As a service whose filter lacks what it needs. */
static int die(const char *beside)
{
	denied_watch("probe", beside);
	if (filter_load(&filter_daemon_running) == 0)
		syscall(SYS_reboot, 0, 0, 0, 0);
	return NOT_BUILT;
}

int main(int argc, char **argv)
{
	bool without = argc == 2 && strcmp(argv[1], "--without-filters") == 0;
	struct tally tally = {0};

	if (argc == 3 && strcmp(argv[1], "--die") == 0)
		return die(argv[2]);
	setvbuf(stdout, NULL, _IOLBF, 0);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	judge(&tally, denied, ARRAY_SIZE(denied), true, without);
	printf("# %u of %u denied\n", tally.good, tally.n);
	judge(&tally, needed, ARRAY_SIZE(needed), false, without);
	printf("1..%u\n", tally.n);
	return tally.good == tally.n ? 0 : 1;
}
