// SPDX-License-Identifier: Apache-2.0
/*
 * A runner that looks at its sandbox from inside: a static program, as zone-vmm is in releases. The
 * spec's text is its order: "tell" writes what it finds to the log and ends, "listen" ends when
 * SIGTERM comes, anything else sleeps.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <linux/capability.h>

#define SPEC_FD	     4
#define TELL_STATUS  7
#define HEARD_STATUS 9

static void tell(const char *key, long long value)
{
	dprintf(STDERR_FILENO, "%s=%lld\n", key, value);
}

/* 0 or the errno of what was tried. */
static void tell_try(const char *key, long long result)
{
	tell(key, result < 0 ? errno : 0);
}

static void tell_ids(void)
{
	uid_t u[3];
	gid_t g[3];

	if (getresuid(&u[0], &u[1], &u[2]) < 0 || getresgid(&g[0], &g[1], &g[2]) < 0)
		return;
	dprintf(STDERR_FILENO, "uids=%u,%u,%u\ngids=%u,%u,%u\n", u[0], u[1], u[2], g[0], g[1],
		g[2]);
	tell("groups", getgroups(0, NULL));
	tell("pid", getpid());
	tell("parent", getppid());
	tell("leads_session", getsid(0) == getpid());
	tell("umask", umask(0));
	tell_try("setuid_0", setuid(0));
	tell_try("setgroups", syscall(SYS_setgroups, 0, NULL));
}

static void tell_files(void)
{
	DIR *root = opendir("/");
	unsigned entries = 0;

	for (int fd = 0; fd < 1024; fd++)
		if (fcntl(fd, F_GETFD) >= 0 && (!root || fd != dirfd(root)))
			dprintf(STDERR_FILENO, "fd=%d\n", fd);
	while (root && readdir(root))
		entries++;
	tell("root_entries", entries);
	tell_try("create", open("/file", O_CREAT | O_WRONLY, 0600));
	tell_try("mkdir", mkdir("/dir", 0700));
	tell_try("proc", open("/proc/self/status", O_RDONLY));
	tell_try("up", open("/../../etc/passwd", O_RDONLY));
	tell_try("remount", mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL));
	tell_try("umount", umount2("/", MNT_DETACH));
	tell_try("unshare", unshare(CLONE_NEWNS));
}

static void tell_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {0};
	int bounding = 0, ambient = 0;

	tell_try("capget", syscall(SYS_capget, &header, data));
	tell("capabilities", data[0].permitted | data[0].effective | data[0].inheritable |
				     data[1].permitted | data[1].effective | data[1].inheritable);
	for (unsigned long cap = 0; cap < 64; cap++) {
		bounding += prctl(PR_CAPBSET_READ, cap, 0, 0, 0) > 0;
		ambient += prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0) > 0;
	}
	tell("bounding", bounding);
	tell("ambient", ambient);
	tell("securebits", prctl(PR_GET_SECUREBITS, 0, 0, 0, 0));
	tell("no_new_privs", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
}

static void tell_network(void)
{
	struct ifreq request = {.ifr_name = "lo"};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), n = 0;

	for (int i = 1; i < 64; i++) {
		struct ifreq by_index = {.ifr_ifindex = i};

		n += ioctl(fd, SIOCGIFNAME, &by_index) == 0;
	}
	tell("interfaces", n);
	tell("lo_is_up", ioctl(fd, SIOCGIFFLAGS, &request) == 0 && request.ifr_flags & IFF_UP);
}

static void tell_limits(void)
{
	static const struct {
		const char *name;
		__rlimit_resource_t resource;
	} limits[] = {{"core", RLIMIT_CORE},
		      {"nofile", RLIMIT_NOFILE},
		      {"nproc", RLIMIT_NPROC},
		      {"msgqueue", RLIMIT_MSGQUEUE}};

	for (unsigned i = 0; i < sizeof(limits) / sizeof(*limits); i++) {
		struct rlimit limit = {0};

		getrlimit(limits[i].resource, &limit);
		dprintf(STDERR_FILENO, "limit_%s=%lld,%lld\n", limits[i].name,
			(long long)limit.rlim_cur, (long long)limit.rlim_max);
	}
}

static int tell_all(int argc, char **argv, char **environment)
{
	struct utsname name;

	for (int i = 0; i < argc; i++)
		dprintf(STDERR_FILENO, "argument=%s\n", argv[i]);
	tell("environment", environment[0] != NULL);
	if (uname(&name) == 0)
		dprintf(STDERR_FILENO, "host=%s\n", name.nodename);
	tell_ids();
	tell_files();
	tell_capabilities();
	tell_network();
	tell_limits();
	tell("said", 1);
	return TELL_STATUS;
}

static int listen_for_term(void)
{
	sigset_t set;
	int signal_number;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	usleep(100000); /* it may come long before anybody listens */
	return sigwait(&set, &signal_number) == 0 && signal_number == SIGTERM ? HEARD_STATUS : 1;
}

int main(int argc, char **argv, char **environment)
{
	char order[16] = "";

	if (pread(SPEC_FD, order, sizeof(order) - 1, 0) < 0)
		return 1;
	if (strcmp(order, "tell") == 0)
		return tell_all(argc, argv, environment);
	if (strcmp(order, "listen") == 0)
		return listen_for_term();
	for (;;)
		pause();
}
