// SPDX-License-Identifier: Apache-2.0
/*
 * protect host check: what this host lacks to run zones, and how to get it. Needs no daemon and
 * changes nothing. Each check is a function that fills one line; they do not depend on each other.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <linux/magic.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/util.h"
#include "protect/cli/cli.h"
#include "protect/cli/connect.h"
#include "protect/cli/output.h"
#include "protect/cli/shared.h"

#define CPUINFO_MAX_BYTES (16u << 20)
#define ZONE_MEMORY_MIB	  512u

enum verdict { CHECK_OK, CHECK_WARN, CHECK_FAIL };

struct finding {
	enum verdict verdict;
	char detail[256];
	char fix[256];
};

static void set(struct finding *finding, enum verdict verdict, const char *fix, const char *format,
		...) __attribute__((format(printf, 4, 5)));

static void set(struct finding *finding, enum verdict verdict, const char *fix, const char *format,
		...)
{
	va_list list;

	finding->verdict = verdict;
	va_start(list, format);
	vsnprintf(finding->detail, sizeof(finding->detail), format, list);
	va_end(list);
	snprintf(finding->fix, sizeof(finding->fix), "%s", fix);
}

/* A small file as text, empty if it cannot be read; the caller frees it. */
static char *slurp(const char *path)
{
	char *text = NULL;
	size_t len;

	if (io_read_file(AT_FDCWD, path, CPUINFO_MAX_BYTES, &text, &len) < 0)
		return strdup("");
	return text;
}

/* A number in a small file, or `missing` if it is not there. */
static long read_number(const char *path, long missing)
{
	_cleanup_(freep) char *text = slurp(path);

	return text && *text ? strtol(text, NULL, 10) : missing;
}

static bool has_word(const char *text, const char *word)
{
	size_t len = strlen(word);

	for (const char *at = text; (at = strstr(at, word)); at += len)
		if ((at == text || strchr(" \t\n,", at[-1])) && strchr(" \t\n,", at[len]))
			return true;
	return false;
}

static void check_kvm(struct finding *finding)
{
	_cleanup_(close_fdp) int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int version;

	if (fd < 0 && errno == EACCES) {
		set(finding, geteuid() ? CHECK_WARN : CHECK_FAIL,
		    geteuid() ? "run this check as root; the services need no rights of yours"
			      : "see the mode of /dev/kvm",
		    "/dev/kvm may not be opened by this user");
		return;
	}
	if (fd < 0) {
		set(finding, CHECK_FAIL,
		    "turn virtualization on in the firmware; modprobe kvm_intel or kvm_amd",
		    "/dev/kvm: %s", strerror(errno));
		return;
	}
	version = ioctl(fd, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION)
		set(finding, CHECK_FAIL, "use a kernel with the stable KVM interface",
		    "KVM says version %d, not %d", version, KVM_API_VERSION);
	else
		set(finding, CHECK_OK, "", "/dev/kvm opens, version %d", version);
}

static void check_hardware(struct finding *finding)
{
	_cleanup_(freep) char *text = slurp("/proc/cpuinfo");

	if (text && has_word(text, "vmx"))
		set(finding, CHECK_OK, "", "the processor has Intel VT-x (vmx)");
	else if (text && has_word(text, "svm"))
		set(finding, CHECK_OK, "", "the processor has AMD-V (svm)");
	else
		set(finding, CHECK_FAIL,
		    "use a host whose processor has it, or a virtual machine with nested "
		    "virtualization; or tools/lab",
		    "KVM here cannot boot Linux: /proc/cpuinfo shows neither vmx nor svm");
}

static void check_kernel(struct finding *finding)
{
	struct utsname names;
	unsigned long major, minor;
	char *dot;

	uname(&names);
	major = strtoul(names.release, &dot, 10);
	minor = *dot == '.' ? strtoul(dot + 1, NULL, 10) : 0;
	if (major > 6 || (major == 6 && minor >= 1))
		set(finding, CHECK_OK, "", "Linux %s", names.release);
	else
		set(finding, CHECK_FAIL, "install Linux 6.1 or later", "Linux %s is older than 6.1",
		    names.release);
}

static void check_cgroups(struct finding *finding)
{
	static const char *const needed[] = {"memory", "cpu", "pids"};
	_cleanup_(freep) char *text = slurp("/sys/fs/cgroup/cgroup.controllers");
	struct statfs st;

	if (statfs("/sys/fs/cgroup", &st) < 0 || st.f_type != CGROUP2_SUPER_MAGIC) {
		set(finding, CHECK_WARN, "boot with systemd.unified_cgroup_hierarchy=1 for v2",
		    "/sys/fs/cgroup is no cgroup v2; limits are then weaker");
		return;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(needed); i++) {
		if (text && has_word(text, needed[i]))
			continue;
		set(finding, CHECK_FAIL, "remove cgroup_disable= from the kernel's command line",
		    "cgroup v2 lacks the controller '%s'", needed[i]);
		return;
	}
	set(finding, CHECK_OK, "", "v2 with memory, cpu, pids");
}

static void check_io_uring(struct finding *finding)
{
	long disabled = read_number("/proc/sys/kernel/io_uring_disabled", 0);
	struct io_uring_params params = {0};
	_cleanup_(close_fdp) int fd = (int)syscall(SYS_io_uring_setup, 4, &params);

	if (disabled)
		set(finding, CHECK_FAIL, "sysctl -w kernel.io_uring_disabled=0",
		    "kernel.io_uring_disabled is %ld", disabled);
	else if (fd < 0)
		set(finding, CHECK_FAIL,
		    "allow io_uring: a kernel with it, and no filter that denies it",
		    "io_uring_setup: %s", strerror(errno));
	else
		set(finding, CHECK_OK, "", "io_uring can be used");
}

static void check_user_namespaces(struct finding *finding)
{
	long most = read_number("/proc/sys/user/max_user_namespaces", 0);

	if (most > 0)
		set(finding, CHECK_OK, "", "user namespaces: at most %ld", most);
	else
		set(finding, CHECK_FAIL, "sysctl -w user.max_user_namespaces=65536",
		    "user namespaces are off");
}

static void check_tun(struct finding *finding)
{
	if (access("/dev/net/tun", F_OK) == 0)
		set(finding, CHECK_OK, "", "/dev/net/tun is there");
	else
		set(finding, CHECK_WARN, "modprobe tun",
		    "/dev/net/tun: %s; zones would have no network", strerror(errno));
}

static void check_squashfs(struct finding *finding)
{
	static const char *const folders[] = {"/usr/bin", "/usr/local/bin", "/bin"};
	char path[64];

	for (unsigned i = 0; i < ARRAY_SIZE(folders); i++) {
		snprintf(path, sizeof(path), "%s/mksquashfs", folders[i]);
		if (access(path, X_OK) == 0) {
			set(finding, CHECK_OK, "", "%s", path);
			return;
		}
	}
	set(finding, CHECK_FAIL, "apt-get install squashfs-tools",
	    "mksquashfs is missing; images cannot be packed");
}

static void check_memory(struct finding *finding)
{
	_cleanup_(freep) char *text = slurp("/proc/meminfo");
	const char *line = text ? strstr(text, "MemAvailable:") : NULL;
	unsigned long mib = line ? strtoul(line + strlen("MemAvailable:"), NULL, 10) / 1024 : 0;

	if (mib >= ZONE_MEMORY_MIB)
		set(finding, CHECK_OK, "", "%lu MiB available", mib);
	else
		set(finding, CHECK_WARN, "end other programs or add memory",
		    "%lu MiB available, a zone may want %u", mib, ZONE_MEMORY_MIB);
}

static void check_cpus(struct finding *finding)
{
	long online = sysconf(_SC_NPROCESSORS_ONLN);

	set(finding, online > 0 ? CHECK_OK : CHECK_WARN, "", "%ld processors online", online);
}

static void check_users(struct finding *finding)
{
	static const char *const users[] = {"protect", "protect-storage"};

	for (unsigned i = 0; i < ARRAY_SIZE(users); i++) {
		if (getpwnam(users[i]))
			continue;
		set(finding, CHECK_WARN, "'tools/services start' makes it", "there is no user '%s'",
		    users[i]);
		return;
	}
	if (getgrnam("protect"))
		set(finding, CHECK_OK, "", "the services' users and the group 'protect' are there");
	else
		set(finding, CHECK_WARN, "'tools/services start' makes it",
		    "there is no group 'protect'");
}

static void check_daemon(struct finding *finding)
{
	_cleanup_(close_fdp) int fd = io_unix_connect(connection_path(), SOCK_STREAM);

	if (fd >= 0)
		set(finding, CHECK_OK, "", "it listens at %.150s", connection_path());
	else if (fd == -EACCES)
		set(finding, CHECK_WARN, "be root or a member of the group 'protect'",
		    "%.150s may not be opened by this user", connection_path());
	else
		set(finding, CHECK_WARN, "systemctl start protect-daemon, or tools/services start",
		    "no daemon at %.150s: %s", connection_path(), strerror(-fd));
}

static void check_socket(struct finding *finding, const char *path)
{
	if (access(path, F_OK) == 0)
		set(finding, CHECK_OK, "", "%s is there", path);
	else if (errno == EACCES)
		set(finding, CHECK_OK, "", "%s is not for this user to see", path);
	else
		set(finding, CHECK_WARN, "systemctl start protect-daemon, or tools/services start",
		    "%s: %s", path, strerror(errno));
}

static void check_launch(struct finding *finding)
{
	check_socket(finding, "/run/protect-launch/launch.sock");
}

static void check_storage(struct finding *finding)
{
	check_socket(finding, "/run/protect-storage/storage.sock");
}

static const struct {
	const char *name;
	void (*run)(struct finding *finding);
} checks[] = {
	{"kvm", check_kvm},	      {"virtualization", check_hardware},
	{"kernel", check_kernel},     {"cgroups", check_cgroups},
	{"io_uring", check_io_uring}, {"user-namespaces", check_user_namespaces},
	{"tun", check_tun},	      {"squashfs-tools", check_squashfs},
	{"memory", check_memory},     {"processors", check_cpus},
	{"users", check_users},	      {"daemon", check_daemon},
	{"launch", check_launch},     {"storage", check_storage},
};

static const char *const verdict_words[] = {"ok", "warn", "FAIL"};

static void print_finding(const char *name, const struct finding *finding)
{
	printf("%-4s  %-16s %s%s%s\n", verdict_words[finding->verdict], name, finding->detail,
	       *finding->fix ? "; " : "", finding->fix);
}

int host_check_run(const struct args *args, void *values)
{
	const struct list_options *options = values;
	enum output_format format = output_format(options->output);
	json_t *array = json_array();
	bool failed = false;
	int r;

	(void)args;
	for (unsigned i = 0; i < ARRAY_SIZE(checks); i++) {
		struct finding finding = {CHECK_OK, "", ""};

		checks[i].run(&finding);
		failed |= finding.verdict == CHECK_FAIL;
		if (format == OUTPUT_TABLE)
			print_finding(checks[i].name, &finding);
		json_array_append_new(array,
				      json_pack("{s:s, s:s, s:o, s:s}", "check", checks[i].name,
						"verdict", verdict_words[finding.verdict], "detail",
						output_text(finding.detail), "fix", finding.fix));
	}
	if (format == OUTPUT_TABLE) {
		json_decref(array);
		r = output_flush();
	} else {
		r = output_list(format, array, NULL, 0);
	}
	return r ? r : failed ? CLI_ERROR : CLI_OK;
}
