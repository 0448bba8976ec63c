// SPDX-License-Identifier: Apache-2.0
#include "tests/sandbox/attempts.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <linux/if_tun.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <linux/landlock.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <linux/vhost.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/util.h"

#define PATH(text) ((long)(text))
#define X32	   0x40000000l
#define THREAD                                                                                     \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SYSVSEM | CLONE_SIGHAND | CLONE_THREAD |        \
	 CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)
#define RW	(PROT_READ | PROT_WRITE)
#define RX	(PROT_READ | PROT_EXEC)
#define PRIVATE (MAP_PRIVATE | MAP_ANONYMOUS)

/* Linux 6.1's headers have them, libc's do not. */
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

const struct call_attempt allowed_calls[] = {
	{"write", ALL, SYS_write, {-1, BAIT_PAGE, 0}},
	{"getpid", ALL, SYS_getpid, {0}},
	{"KVM_RUN", VCPU, SYS_ioctl, {-1, KVM_RUN}},
	{"wait for a doorbell", VCPU, SYS_futex, {BAIT_PAGE, FUTEX_WAIT_PRIVATE, 1}},
	{"KVM_IRQFD", LOOPS, SYS_ioctl, {-1, KVM_IRQFD}},
	{"start registers", LOOPS, SYS_ioctl, {-1, KVM_SET_SREGS, BAIT_PAGE}},
	{"map memory", LOOPS, SYS_mmap, {0, 4096, RW, PRIVATE, -1, 0}},
	{"random bytes", LOOPS, SYS_getrandom, {BAIT_PAGE, 8, 0}},
	{"enter the ring", LOOP, SYS_io_uring_enter, {BAIT_RING, 0, 0, 0}},
	{"poll", LOOP_POLLING, SYS_ppoll, {BAIT_PAGE, 0, BAIT_PAGE, 0}},
	{"read a disk", WORKER, SYS_preadv2, {BAIT_FILE, BAIT_PAGE, 0, 0, 0, 0}},
};
const unsigned n_allowed_calls = ARRAY_SIZE(allowed_calls);

const struct call_attempt forbidden_calls[] = {
	/* Files by name. */
	{"open", ALL, SYS_open, {PATH("/"), O_RDONLY}},
	{"openat", ALL, SYS_openat, {AT_FDCWD, PATH("/etc/passwd"), O_RDONLY}},
	{"openat2", ALL, SYS_openat2, {AT_FDCWD, PATH("/"), BAIT_PAGE, 24}},
	{"creat", ALL, SYS_creat, {PATH("/x"), 0600}},
	{"/proc/self/mem", ALL, SYS_openat, {AT_FDCWD, PATH("/proc/self/mem"), O_RDWR}},
	{"another zone's memory, through /proc",
	 ALL,
	 SYS_openat,
	 {AT_FDCWD, BAIT_STRANGER, O_RDWR}},
	{"own descriptors, through /proc", ALL, SYS_open, {PATH("/proc/self/fd/0"), O_RDWR}},
	{"stat of a name", ALL, SYS_newfstatat, {AT_FDCWD, PATH("/"), BAIT_PAGE, 0}},
	{"statx", ALL, SYS_statx, {AT_FDCWD, PATH("/"), 0, 0, BAIT_PAGE}},
	{"access", ALL, SYS_faccessat, {AT_FDCWD, PATH("/"), 0}},
	{"readlink", ALL, SYS_readlink, {PATH("/proc/self/exe"), BAIT_PAGE, 4096}},
	{"unlink", ALL, SYS_unlink, {PATH("/x")}},
	{"rename", ALL, SYS_renameat2, {AT_FDCWD, PATH("/x"), AT_FDCWD, PATH("/y"), 0}},
	{"link", ALL, SYS_link, {PATH("/x"), PATH("/y")}},
	{"symlink", ALL, SYS_symlink, {PATH("/x"), PATH("/y")}},
	{"mkdir", ALL, SYS_mkdir, {PATH("/x"), 0700}},
	{"mknod", ALL, SYS_mknod, {PATH("/x"), 0600 | S_IFCHR, 0x101}},
	{"chmod", ALL, SYS_chmod, {PATH("/"), 0777}},
	{"fchmod", ALL, SYS_fchmod, {BAIT_FILE, 04777}},
	{"chown", ALL, SYS_chown, {PATH("/"), 0, 0}},
	{"fchown", ALL, SYS_fchown, {BAIT_FILE, 0, 0}},
	{"extended attributes", ALL, SYS_setxattr, {PATH("/"), PATH("user.x"), PATH("x"), 1, 0}},
	{"chdir", ALL, SYS_chdir, {PATH("/")}},
	{"inotify", ALL, SYS_inotify_init1, {0}},
	{"fanotify", ALL, SYS_fanotify_init, {0, 0}},
	{"name_to_handle_at",
	 ALL,
	 SYS_name_to_handle_at,
	 {AT_FDCWD, PATH("/"), BAIT_PAGE, BAIT_PAGE}},
	{"open_by_handle_at", ALL, SYS_open_by_handle_at, {BAIT_FILE, BAIT_PAGE, O_RDONLY}},
	{"quotactl", ALL, SYS_quotactl, {0, 0, 0, 0}},
	{"ftruncate of a disk", ALL, SYS_ftruncate, {BAIT_FILE, 0}},
	{"flock", ALL, SYS_flock, {BAIT_FILE, 8}},
	{"splice", ALL, SYS_splice, {BAIT_FILE, 0, BAIT_PIPE, 0, 1, 0}},
	{"tee", ALL, SYS_tee, {BAIT_PIPE, BAIT_PIPE, 1, 0}},
	{"vmsplice", ALL, SYS_vmsplice, {BAIT_PIPE, BAIT_PAGE, 0, 0}},
	{"sendfile", ALL, SYS_sendfile, {BAIT_PIPE, BAIT_FILE, 0, 1}},
	{"copy_file_range", ALL, SYS_copy_file_range, {BAIT_FILE, 0, BAIT_FILE, 0, 1, 0}},
	/* Programs and code. */
	{"execve", ALL, SYS_execve, {PATH("/bin/sh"), 0, 0}},
	{"execveat of an open file", ALL, SYS_execveat, {BAIT_FILE, PATH(""), 0, 0, AT_EMPTY_PATH}},
	{"memfd_create", ALL, SYS_memfd_create, {PATH("x"), 0}},
	{"memfd_secret", ALL, SYS_memfd_secret, {0}},
	{"map executable memory", ALL, SYS_mmap, {0, 4096, RX, PRIVATE, -1, 0}},
	{"map writable code", ALL, SYS_mmap, {0, 4096, RW | PROT_EXEC, PRIVATE, -1, 0}},
	{"map a file", ALL, SYS_mmap, {0, 4096, PROT_READ, MAP_SHARED, BAIT_FILE, 0}},
	{"map at a chosen address",
	 ALL,
	 SYS_mmap,
	 {BAIT_PAGE, 4096, RW, PRIVATE | MAP_FIXED, -1, 0}},
	{"mprotect to executable", ALL, SYS_mprotect, {BAIT_CODE, 4096, RX}},
	{"pkey_mprotect to executable", ALL, SYS_pkey_mprotect, {BAIT_CODE, 4096, RX, -1}},
	{"mremap to a chosen address",
	 ALL,
	 SYS_mremap,
	 {BAIT_PAGE, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, BAIT_CODE}},
	{"remap_file_pages", ALL, SYS_remap_file_pages, {BAIT_PAGE, 4096, 0, 0, 0}},
	{"shmat executable", ALL, SYS_shmat, {0, 0, SHM_EXEC}},
	{"personality", ALL, SYS_personality, {READ_IMPLIES_EXEC}},
	{"modify_ldt", ALL, SYS_modify_ldt, {1, BAIT_PAGE, 16}},
	{"arch_prctl", ALL, SYS_arch_prctl, {0x1002, 0}},
	{"userfaultfd", ALL, SYS_userfaultfd, {0}},
	{"mlock", ALL, SYS_mlock, {BAIT_PAGE, 4096}},
	{"madvise free", ALL, SYS_madvise, {BAIT_PAGE, 4096, MADV_FREE}},
	{"madvise that hurts", ALL, SYS_madvise, {BAIT_PAGE, 4096, 100 /* MADV_HWPOISON */}},
	/* Processes and threads. */
	{"fork", ALL, SYS_fork, {0}},
	{"vfork", ALL, SYS_vfork, {0}},
	{"clone a process", ALL, SYS_clone, {SIGCHLD, 0, 0, 0, 0}},
	{"clone a thread", ALL, SYS_clone, {THREAD, 0, 0, 0, 0}},
	{"clone into namespaces", ALL, SYS_clone, {CLONE_NEWUSER | CLONE_NEWPID | SIGCHLD, 0}},
	{"clone3", ALL, SYS_clone3, {BAIT_PAGE, 64}},
	{"ptrace another", ALL, SYS_ptrace, {PTRACE_ATTACH, BAIT_VICTIM, 0, 0}},
	{"ptrace me", ALL, SYS_ptrace, {PTRACE_TRACEME, 0, 0, 0}},
	{"read another's memory", ALL, SYS_process_vm_readv, {BAIT_VICTIM, 0, 0, 0, 0, 0}},
	{"write another's memory", ALL, SYS_process_vm_writev, {BAIT_VICTIM, 0, 0, 0, 0, 0}},
	{"process_madvise", ALL, SYS_process_madvise, {BAIT_FILE, BAIT_PAGE, 1, MADV_COLD, 0}},
	{"kill another", ALL, SYS_kill, {BAIT_VICTIM, 0}},
	{"kill all", ALL, SYS_kill, {-1, 0}},
	{"kill the parent", ALL, SYS_kill, {0, 0}},
	{"tgkill another", ALL, SYS_tgkill, {BAIT_VICTIM, BAIT_VICTIM, SIGABRT}},
	{"tkill", ALL, SYS_tkill, {BAIT_VICTIM, 0}},
	{"SIGSTOP to itself", ALL, SYS_tgkill, {BAIT_SELF, BAIT_SELF, SIGSTOP}},
	{"rt_sigqueueinfo", ALL, SYS_rt_sigqueueinfo, {BAIT_VICTIM, 0, BAIT_PAGE}},
	{"pidfd_open", ALL, SYS_pidfd_open, {BAIT_VICTIM, 0}},
	{"pidfd_getfd", ALL, SYS_pidfd_getfd, {BAIT_FILE, 0, 0}},
	{"pidfd_send_signal", ALL, SYS_pidfd_send_signal, {BAIT_FILE, 0, 0, 0}},
	{"kcmp", ALL, SYS_kcmp, {BAIT_SELF, BAIT_VICTIM, 0, 0, 0}},
	{"wait for another", ALL, SYS_wait4, {-1, 0, 1, 0}},
	{"limits of another", ALL, SYS_prlimit64, {BAIT_VICTIM, RLIMIT_NOFILE, 0, BAIT_PAGE}},
	{"own limits", ALL, SYS_setrlimit, {RLIMIT_NOFILE, BAIT_PAGE}},
	{"priority", ALL, SYS_setpriority, {PRIO_PROCESS, 0, -20}},
	{"I/O priority", ALL, SYS_ioprio_set, {1, 0, 0}},
	{"scheduling of another",
	 ALL,
	 SYS_sched_setscheduler,
	 {BAIT_VICTIM, SCHED_FIFO, BAIT_PAGE}},
	{"processors of another", ALL, SYS_sched_setaffinity, {BAIT_VICTIM, 8, BAIT_PAGE}},
	{"own processors", ALL, SYS_sched_setaffinity, {0, 8, BAIT_PAGE}},
	/* Rights. */
	{"setuid", ALL, SYS_setuid, {0}},
	{"setresgid", ALL, SYS_setresgid, {0, 0, 0}},
	{"setgroups", ALL, SYS_setgroups, {0, 0}},
	{"capset", ALL, SYS_capset, {BAIT_PAGE, BAIT_PAGE}},
	{"dumpable", ALL, SYS_prctl, {PR_SET_DUMPABLE, 1}},
	{"PR_SET_MM", ALL, SYS_prctl, {PR_SET_MM, PR_SET_MM_START_CODE, 0}},
	{"speculation control", ALL, SYS_prctl, {PR_SET_SPECULATION_CTRL, 0, 0}},
	{"another filter", ALL, SYS_seccomp, {SECCOMP_SET_MODE_FILTER, 0, BAIT_PAGE}},
	{"strict seccomp", ALL, SYS_prctl, {PR_SET_SECCOMP, SECCOMP_MODE_STRICT}},
	{"Landlock ruleset", ALL, SYS_landlock_create_ruleset, {BAIT_PAGE, 8, 0}},
	{"add_key", ALL, SYS_add_key, {PATH("user"), PATH("x"), PATH("x"), 1, -3}},
	{"request_key", ALL, SYS_request_key, {PATH("user"), PATH("x"), 0, -3}},
	{"keyctl", ALL, SYS_keyctl, {0, -3, 0}},
	/* Namespaces and mounts. */
	{"unshare", ALL, SYS_unshare, {CLONE_NEWUSER}},
	{"setns", ALL, SYS_setns, {BAIT_FILE, 0}},
	{"mount", ALL, SYS_mount, {PATH("x"), PATH("/"), PATH("tmpfs"), 0, 0}},
	{"umount", ALL, SYS_umount2, {PATH("/"), 2 /* MNT_DETACH */}},
	{"pivot_root", ALL, SYS_pivot_root, {PATH("/"), PATH("/")}},
	{"chroot", ALL, SYS_chroot, {PATH("/")}},
	{"open_tree", ALL, SYS_open_tree, {AT_FDCWD, PATH("/"), 1}},
	{"move_mount", ALL, SYS_move_mount, {AT_FDCWD, PATH("/"), AT_FDCWD, PATH("/"), 0}},
	{"fsopen", ALL, SYS_fsopen, {PATH("tmpfs"), 0}},
	{"mount_setattr", ALL, SYS_mount_setattr, {AT_FDCWD, PATH("/"), 0, BAIT_PAGE, 32}},
	{"sethostname", ALL, SYS_sethostname, {PATH("x"), 1}},
	/* Sockets and IPC. */
	{"internet socket", ALL, SYS_socket, {AF_INET, SOCK_STREAM, 0}},
	{"unix socket", ALL, SYS_socket, {AF_UNIX, SOCK_STREAM, 0}},
	{"packet socket", ALL, SYS_socket, {AF_PACKET, SOCK_RAW, 0}},
	{"netlink socket", ALL, SYS_socket, {AF_NETLINK, SOCK_RAW, 0}},
	{"vsock", ALL, SYS_socket, {AF_VSOCK, SOCK_STREAM, 0}},
	{"socketpair", ALL, SYS_socketpair, {AF_UNIX, SOCK_STREAM, 0, BAIT_PAGE}},
	{"connect", ALL, SYS_connect, {BAIT_SOCKET, BAIT_PAGE, 2}},
	{"bind", ALL, SYS_bind, {BAIT_SOCKET, BAIT_PAGE, 2}},
	{"listen", ALL, SYS_listen, {BAIT_SOCKET, 1}},
	{"setsockopt", ALL, SYS_setsockopt, {BAIT_SOCKET, SOL_SOCKET, SO_PASSCRED, BAIT_PAGE, 4}},
	{"send to an address", ALL, SYS_sendto, {BAIT_SOCKET, BAIT_PAGE, 1, 0, BAIT_PAGE, 2}},
	{"mq_open", ALL, SYS_mq_open, {PATH("x"), O_RDWR, 0, 0}},
	{"shmget", ALL, SYS_shmget, {IPC_PRIVATE, 4096, 0600}},
	{"msgget", ALL, SYS_msgget, {IPC_PRIVATE, 0600}},
	{"semget", ALL, SYS_semget, {IPC_PRIVATE, 1, 0600}},
	{"robust list of another", ALL, SYS_get_robust_list, {BAIT_VICTIM, BAIT_PAGE, BAIT_PAGE}},
	{"shared futex", ALL, SYS_futex, {BAIT_PAGE, FUTEX_WAKE, 1}},
	{"futex requeue", ALL, SYS_futex, {BAIT_PAGE, FUTEX_CMP_REQUEUE_PI, 1, 1, BAIT_CODE, 0}},
	/* The kernel. */
	{"bpf", ALL, SYS_bpf, {0, BAIT_PAGE, 64}},
	{"perf_event_open", ALL, SYS_perf_event_open, {BAIT_PAGE, 0, -1, -1, 0}},
	{"reboot", ALL, SYS_reboot, {0, 0, 0, 0}},
	{"kexec_load", ALL, SYS_kexec_load, {0, 0, 0, -1}},
	{"init_module", ALL, SYS_init_module, {0, 0, PATH("")}},
	{"finit_module", ALL, SYS_finit_module, {-1, PATH(""), 0}},
	{"delete_module", ALL, SYS_delete_module, {PATH(""), 0}},
	{"swapon", ALL, SYS_swapon, {PATH(""), 0}},
	{"syslog", ALL, SYS_syslog, {3, BAIT_PAGE, 16}},
	{"acct", ALL, SYS_acct, {PATH("/x")}},
	{"iopl", ALL, SYS_iopl, {3}},
	{"ioperm", ALL, SYS_ioperm, {0x80, 1, 1}},
	{"settimeofday", ALL, SYS_settimeofday, {0, 0}},
	{"clock_settime", ALL, SYS_clock_settime, {-1, BAIT_PAGE}},
	{"adjtimex", ALL, SYS_adjtimex, {BAIT_PAGE}},
	{"timer_create", ALL, SYS_timer_create, {0, 0, BAIT_PAGE}},
	{"a call that does not exist", ALL, 9999, {0}},
	{"getpid of x32", ALL, SYS_getpid | X32, {0}},
	/* KVM and other devices. */
	{"KVM_RUN", LOOPS | WORKER, SYS_ioctl, {-1, KVM_RUN}},
	{"KVM_CREATE_VM", ALL, SYS_ioctl, {-1, KVM_CREATE_VM, 0}},
	{"KVM_CREATE_VCPU", ALL, SYS_ioctl, {-1, KVM_CREATE_VCPU, 0}},
	{"KVM_CREATE_DEVICE", ALL, SYS_ioctl, {-1, KVM_CREATE_DEVICE, BAIT_PAGE}},
	{"KVM_SET_USER_MEMORY_REGION",
	 VCPU | WORKER,
	 SYS_ioctl,
	 {-1, KVM_SET_USER_MEMORY_REGION, BAIT_PAGE}},
	{"KVM_IRQFD", VCPU | WORKER, SYS_ioctl, {-1, KVM_IRQFD, BAIT_PAGE}},
	{"KVM_SET_REGS", VCPU | WORKER, SYS_ioctl, {-1, KVM_SET_REGS, BAIT_PAGE}},
	{"KVM_SET_MSRS", ALL, SYS_ioctl, {-1, KVM_SET_MSRS, BAIT_PAGE}},
	{"KVM_SET_CPUID2", ALL, SYS_ioctl, {-1, KVM_SET_CPUID2, BAIT_PAGE}},
	{"KVM_ENABLE_CAP", ALL, SYS_ioctl, {-1, KVM_ENABLE_CAP, BAIT_PAGE}},
	{"KVM_GET_DIRTY_LOG", ALL, SYS_ioctl, {-1, KVM_GET_DIRTY_LOG, BAIT_PAGE}},
	{"KVM_ASSIGN_PCI_DEVICE", ALL, SYS_ioctl, {-1, 0x8040ae69, BAIT_PAGE}},
	{"TUNSETIFF", ALL, SYS_ioctl, {-1, TUNSETIFF, BAIT_PAGE}},
	{"TUNSETPERSIST", ALL, SYS_ioctl, {-1, TUNSETPERSIST, 1}},
	{"TUNSETOFFLOAD", VCPU | WORKER, SYS_ioctl, {-1, TUNSETOFFLOAD, 0}},
	{"TIOCSTI", ALL, SYS_ioctl, {0, TIOCSTI, BAIT_PAGE}},
	{"TIOCLINUX", ALL, SYS_ioctl, {0, TIOCLINUX, BAIT_PAGE}},
	{"FIOASYNC", ALL, SYS_ioctl, {BAIT_SOCKET, FIOASYNC, BAIT_PAGE}},
	{"BLKDISCARD", ALL, SYS_ioctl, {BAIT_FILE, BLKDISCARD, BAIT_PAGE}},
	{"FICLONE", ALL, SYS_ioctl, {BAIT_FILE, FICLONE, BAIT_FILE}},
	{"VHOST_SET_OWNER", ALL, SYS_ioctl, {-1, VHOST_SET_OWNER, 0}},
	{"signals by a descriptor", ALL, SYS_fcntl, {BAIT_SOCKET, F_SETOWN, BAIT_VICTIM}},
	{"leases", ALL, SYS_fcntl, {BAIT_FILE, F_SETLEASE, F_RDLCK}},
	{"seals", ALL, SYS_fcntl, {BAIT_FILE, F_ADD_SEALS, 0}},
	{"dup2", ALL, SYS_dup2, {BAIT_FILE, 0}},
	/* Rings. */
	{"io_uring_setup", ALL, SYS_io_uring_setup, {8, BAIT_PAGE}},
	{"io_uring_enter", VCPU | WORKER | LOOP_POLLING, SYS_io_uring_enter, {BAIT_RING, 0, 0, 0}},
	{"ring: register buffers",
	 ALL,
	 SYS_io_uring_register,
	 {BAIT_RING, IORING_REGISTER_BUFFERS}},
	{"ring: register files", ALL, SYS_io_uring_register, {BAIT_RING, IORING_REGISTER_FILES}},
	{"ring: unregister files",
	 ALL,
	 SYS_io_uring_register,
	 {BAIT_RING, IORING_UNREGISTER_FILES}},
	{"ring: register an eventfd",
	 ALL,
	 SYS_io_uring_register,
	 {BAIT_RING, IORING_REGISTER_EVENTFD}},
	{"ring: register a personality",
	 ALL,
	 SYS_io_uring_register,
	 {BAIT_RING, IORING_REGISTER_PERSONALITY}},
	{"ring: other restrictions",
	 ALL,
	 SYS_io_uring_register,
	 {BAIT_RING, IORING_REGISTER_RESTRICTIONS}},
	{"ring: probe", ALL, SYS_io_uring_register, {BAIT_RING, IORING_REGISTER_PROBE}},
	{"ring: update files",
	 VCPU | WORKER | LOOP_POLLING,
	 SYS_io_uring_register,
	 {BAIT_RING, IORING_REGISTER_FILES_UPDATE}},
	{"io_setup", ALL, SYS_io_setup, {1, BAIT_PAGE}},
	{"epoll_create", ALL, SYS_epoll_create1, {0}},
};
const unsigned n_forbidden_calls = ARRAY_SIZE(forbidden_calls);

const struct ring_attempt forbidden_operations[] = {
	{"openat", IORING_OP_OPENAT, 0},
	{"openat into a slot", IORING_OP_OPENAT, IOSQE_FIXED_FILE},
	{"openat2", IORING_OP_OPENAT2, IOSQE_FIXED_FILE},
	{"socket", 45 /* IORING_OP_SOCKET */, IOSQE_FIXED_FILE},
	{"connect", IORING_OP_CONNECT, IOSQE_FIXED_FILE},
	{"accept", IORING_OP_ACCEPT, IOSQE_FIXED_FILE},
	{"sendmsg", IORING_OP_SENDMSG, IOSQE_FIXED_FILE},
	{"recvmsg", IORING_OP_RECVMSG, IOSQE_FIXED_FILE},
	{"shutdown", IORING_OP_SHUTDOWN, IOSQE_FIXED_FILE},
	{"statx", IORING_OP_STATX, IOSQE_FIXED_FILE},
	{"unlinkat", IORING_OP_UNLINKAT, IOSQE_FIXED_FILE},
	{"renameat", IORING_OP_RENAMEAT, IOSQE_FIXED_FILE},
	{"mkdirat", IORING_OP_MKDIRAT, IOSQE_FIXED_FILE},
	{"symlinkat", IORING_OP_SYMLINKAT, IOSQE_FIXED_FILE},
	{"linkat", IORING_OP_LINKAT, IOSQE_FIXED_FILE},
	{"splice", IORING_OP_SPLICE, IOSQE_FIXED_FILE},
	{"tee", IORING_OP_TEE, IOSQE_FIXED_FILE},
	{"madvise", IORING_OP_MADVISE, IOSQE_FIXED_FILE},
	{"fadvise", IORING_OP_FADVISE, IOSQE_FIXED_FILE},
	{"close", IORING_OP_CLOSE, IOSQE_FIXED_FILE},
	{"files update", IORING_OP_FILES_UPDATE, IOSQE_FIXED_FILE},
	{"epoll_ctl", IORING_OP_EPOLL_CTL, IOSQE_FIXED_FILE},
	{"provide buffers", IORING_OP_PROVIDE_BUFFERS, IOSQE_FIXED_FILE},
	{"message to another ring", 40 /* IORING_OP_MSG_RING */, IOSQE_FIXED_FILE},
	{"command of a device", 46 /* IORING_OP_URING_CMD */, IOSQE_FIXED_FILE},
	{"setxattr", 42 /* IORING_OP_SETXATTR */, IOSQE_FIXED_FILE},
	{"read of a descriptor that is not registered", IORING_OP_READ, 0},
	{"write to a descriptor that is not registered", IORING_OP_WRITE, 0},
	{"send to a descriptor that is not registered", IORING_OP_SEND, 0},
	{"fallocate of a descriptor that is not registered", IORING_OP_FALLOCATE, 0},
	{"linked entries", IORING_OP_READ, IOSQE_FIXED_FILE | IOSQE_IO_LINK},
};
const unsigned n_forbidden_operations = ARRAY_SIZE(forbidden_operations);
