// SPDX-License-Identifier: Apache-2.0
#include "zone-guest/boot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/util.h"
#include "zone-guest/cgroup.h"
#include "zone-guest/net.h"
#include "zone-guest/rootfs.h"
#include "zone-guest/xen.h"

#define MODULES_DIR "/boot-modules"
#define HELLO	    "zone-init: up\n"
#define SAFE	    (MS_NOSUID | MS_NODEV | MS_NOEXEC)
#define LOG_MAX	    (1024 * 1024)
#define PORTS_DIR   "/sys/class/virtio-ports"
#define LOG_PORT    "agent\n"

/* A console with several ports is announced some time after its driver came. */
#define HELLO_TRIES    200u
#define HELLO_PAUSE_US 1000u

#define SYSLOG_ACTION_READ_ALL	    3
#define SYSLOG_ACTION_CONSOLE_LEVEL 8
#define SYSLOG_ACTION_SIZE_BUFFER   10
#define CONSOLE_LEVEL_INFO	    7

static void mount_dir(const char *type, const char *target, unsigned long flags, const char *data)
{
	mkdir(target, 0755);
	/* The kernel may have mounted it before us. */
	if (mount(type, target, type, flags, data) < 0 && errno != EBUSY)
		log_error("what=mount target=%s err=%s", target, strerror(errno));
}

/* The root mounted on itself: a mount with a parent, which the initramfs is not. */
static void rebind_root(void)
{
	mkdir("/mnt", 0755);
	if (mount("/", "/mnt", NULL, MS_BIND, NULL) < 0 || chdir("/mnt") < 0 ||
	    mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0)
		log_error("what=rebind-root next=\"workloads will not start\" err=%s",
			  strerror(errno));
}

void boot_root(void)
{
	int fd;

	/* The kernel opened them only if it had a console already. */
	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd < STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
	rebind_root();
	mount_dir("devtmpfs", "/dev", MS_NOSUID, "mode=0755");
}

/* Says that user space runs, if there is a console; logs go there too from then on. */
static bool say_hello(void)
{
	int fd = open("/dev/console", O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return false;
	if (write(fd, HELLO, sizeof(HELLO) - 1) < 0) {
		close(fd);
		return false;
	}
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	close(fd);
	return true;
}

static void load_module(const char *path)
{
	_cleanup_(close_fdp) int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST))
		log_warning("what=load-module file=%s err=%s", path, strerror(errno));
	/* It is in the kernel now; its page in the initramfs would stay for ever. */
	unlink(path);
}

static int is_module(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);

	return len > 3 && !strcmp(entry->d_name + len - 3, ".ko");
}

/* Drivers that only the other kind of hypervisor has devices for: NN-NAME.ko */
static bool is_for_other(const char *file, bool on_xen)
{
	static const char *const of_kvm[] = {"virtio", "vmw_vsock_virtio", "pvpanic"};
	const char *name = strchr(file, '-');

	if (!name++)
		return false;
	if (!on_xen)
		return strncmp(name, "xen_", 4) == 0;
	for (unsigned i = 0; i < ARRAY_SIZE(of_kvm); i++)
		if (strncmp(name, of_kvm[i], strlen(of_kvm[i])) == 0)
			return true;
	return false;
}

void boot_modules_and_hello(void)
{
	struct dirent **entries = NULL;
	bool said = say_hello(), on_xen = xen_is_here();
	int n = scandir(MODULES_DIR, &entries, is_module, alphasort);

	for (int i = 0; i < n; i++) {
		char path[512];

		snprintf(path, sizeof(path), "%s/%s", MODULES_DIR, entries[i]->d_name);
		if (is_for_other(entries[i]->d_name, on_xen))
			unlink(path);
		else
			load_module(path);
		if (!said)
			said = say_hello();
		free(entries[i]);
	}
	free(entries);
	rmdir(MODULES_DIR);
	for (unsigned i = 0; !said && i < HELLO_TRIES; i++) {
		usleep(HELLO_PAUSE_US);
		said = say_hello();
	}
}

static int is_log_port(const struct dirent *entry)
{
	_cleanup_(freep) char *name = NULL;
	char path[PATH_MAX];
	size_t len;

	snprintf(path, sizeof(path), "%s/%s/name", PORTS_DIR, entry->d_name);
	return io_read_file(AT_FDCWD, path, sizeof(LOG_PORT), &name, &len) == 0 &&
	       len == strlen(LOG_PORT) && memcmp(name, LOG_PORT, len) == 0;
}

bool boot_log_to_port(void)
{
	_cleanup_(close_fdp) int fd = -1;
	struct dirent **entries = NULL;
	char path[PATH_MAX];
	int n = scandir(PORTS_DIR, &entries, is_log_port, alphasort);

	if (n > 0) {
		snprintf(path, sizeof(path), "/dev/%s", entries[0]->d_name);
		/* A host that takes nothing must not hold up PID 1. */
		fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	}
	while (n > 0)
		free(entries[--n]);
	free(entries);
	return fd >= 0 && dup2(fd, STDERR_FILENO) >= 0;
}

static void write_setting(const char *path, const char *text)
{
	_cleanup_(close_fdp) int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		log_warning("what=setting file=%s err=%s", path, strerror(errno));
}

/*
 * The kernel's own would be 4096 files, too few for what PID 1 holds for all workloads; child.c
 * sets what programs expect.
 */
static void set_limits(void)
{
	const struct rlimit files = {.rlim_cur = 524288, .rlim_max = 524288};

	if (setrlimit(RLIMIT_NOFILE, &files) < 0)
		log_warning("what=limits err=%s", strerror(errno));
}

void boot_finish(void)
{
	int r;

	mount_dir("proc", "/proc", SAFE, NULL);
	mount_dir("sysfs", "/sys", SAFE, NULL);
	mount_dir("tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=0755");
	mount_dir("tmpfs", "/tmp", MS_NOSUID | MS_NODEV, "mode=1777");
	mount_dir("devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "ptmxmode=0666,mode=0620,gid=5");
	mount_dir("tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777");
	mount_dir("cgroup2", "/sys/fs/cgroup", SAFE, NULL);
	mkdir(ROOTFS_STAGE, 0755);
	r = cgroup_setup("/sys/fs/cgroup");
	if (r < 0)
		log_warning("what=cgroups next=\"workloads run without\" err=%s", strerror(-r));
	write_setting("/proc/sys/kernel/panic_on_oops", "1");
	/* As Docker has it. Who has users of his own could not serve a low port otherwise: the
	 * network is the zone's. */
	write_setting("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
	write_setting("/proc/self/oom_score_adj", "-1000"); /* of its children none inherits it */
	set_limits();
	r = net_loopback_up();
	if (r < 0)
		log_warning("what=loopback err=%s", strerror(-r));
}

/*
 * Copies len bytes without the `<6>` before each line and with \r\n behind it; to has room for
 * twice as many. Returns its length.
 */
static size_t to_console_lines(const char *text, size_t len, char *to)
{
	size_t used = 0;
	bool start = true;

	for (size_t at = 0; at < len; at++) {
		const char *end =
			start && text[at] == '<' ? memchr(text + at, '>', len - at) : NULL;

		start = text[at] == '\n';
		if (start)
			to[used++] = '\r';
		if (end)
			at = (size_t)(end - text);
		else
			to[used++] = text[at];
	}
	return used;
}

/*
 * Past the line discipline, which would hand each line and each line's end to the driver by itself:
 * every piece costs a round trip to the host's side of the console.
 */
static void write_raw(const char *text, size_t len)
{
	struct termios before, raw;
	bool is_terminal = tcgetattr(STDOUT_FILENO, &before) == 0;

	if (is_terminal) {
		raw = before;
		raw.c_oflag &= ~(tcflag_t)OPOST;
		tcsetattr(STDOUT_FILENO, TCSANOW, &raw);
	}
	io_write_full(STDOUT_FILENO, text, len);
	if (is_terminal)
		tcsetattr(STDOUT_FILENO, TCSANOW, &before);
}

void boot_show_kernel_log(void)
{
	int size = klogctl(SYSLOG_ACTION_SIZE_BUFFER, NULL, 0), n;
	_cleanup_(freep) char *text = NULL, *lines = NULL;

	if (size > LOG_MAX)
		size = LOG_MAX;
	text = size > 0 ? malloc((size_t)size) : NULL;
	n = text ? klogctl(SYSLOG_ACTION_READ_ALL, text, size) : 0;
	lines = n > 0 ? malloc(2 * (size_t)n) : NULL;
	if (lines)
		write_raw(lines, to_console_lines(text, (size_t)n, lines));
	klogctl(SYSLOG_ACTION_CONSOLE_LEVEL, NULL, CONSOLE_LEVEL_INFO);
}
