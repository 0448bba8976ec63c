// SPDX-License-Identifier: Apache-2.0
#include "protect/shim/layer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/util.h"

#define OPTIONS_MAX 4096u /* the kernel takes a page */
#define CHILD_MOUNT 120	  /* exit status of one that could not mount */

/* Flags of mount(2) by the names that containerd uses; others are the file system's own. */
static const struct {
	const char *name;
	unsigned long flag;
} mount_flags[] = {
	{"ro", MS_RDONLY},	   {"rw", 0},
	{"bind", MS_BIND},	   {"rbind", MS_BIND | MS_REC},
	{"nosuid", MS_NOSUID},	   {"nodev", MS_NODEV},
	{"noexec", MS_NOEXEC},	   {"noatime", MS_NOATIME},
	{"relatime", MS_RELATIME},
};

static bool find_flag(const char *name, unsigned long *flags)
{
	for (size_t i = 0; i < ARRAY_SIZE(mount_flags); i++)
		if (strcmp(mount_flags[i].name, name) == 0) {
			*flags |= mount_flags[i].flag;
			return true;
		}
	return false;
}

/* Many lower folders are longer than a page: they are named from the folder that they share. */
static void shorten(char *options, const char *shared)
{
	size_t len = strlen(shared);

	for (char *at = options; (at = strstr(at, shared));)
		memmove(at, at + len, strlen(at + len) + 1);
}

/* Goes to the folder that holds the snapshots (…/snapshots/12/fs) and names it in `shared`. */
static int enter_shared(const char *options, char *shared, size_t size)
{
	const char *lower = strstr(options, "lowerdir=");
	size_t len, slashes = 0;

	*shared = '\0';
	if (!lower)
		return 0;
	lower += strlen("lowerdir=");
	for (len = strcspn(lower, ":,"); len && slashes < 2; len--)
		slashes += lower[len - 1] == '/';
	if (slashes < 2 || len + 2 > size)
		return 0;
	snprintf(shared, size, "%.*s/", (int)len, lower);
	return chdir(shared) < 0 ? -errno : 0;
}

/* In the child. Read-only: whoever has it next finds it as it was. */
static int mount_one(const Protect__Shim__Mount *mount_, const char *folder)
{
	_cleanup_(freep) char *options = calloc(1, 64u * 1024);
	unsigned long flags = MS_RDONLY | MS_NOATIME;
	char shared[OPTIONS_MAX];
	size_t used = 0;
	int r;

	if (!options)
		return -ENOMEM;
	for (size_t i = 0; i < mount_->n_options; i++) {
		const char *option = mount_->options[i];

		if (find_flag(option, &flags))
			continue;
		if (used + strlen(option) + 2 > 64u * 1024)
			return -E2BIG;
		used += (size_t)sprintf(options + used, "%s%s", used ? "," : "", option);
	}
	r = enter_shared(options, shared, sizeof(shared));
	if (r < 0)
		return r;
	if (*shared && strlen(options) >= OPTIONS_MAX)
		shorten(options, shared);
	if (strlen(options) >= OPTIONS_MAX)
		return -E2BIG;
	if (mount(mount_->source, folder, mount_->type, flags, options) < 0)
		return -errno;
	if (flags & MS_BIND && mount(NULL, folder, NULL, flags | MS_REMOUNT, NULL) < 0)
		return -errno;
	return 0;
}

static int mount_all(Protect__Shim__Mount **mounts, size_t n, const char *folder)
{
	int r = unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0
			? -errno
			: 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = mount_one(mounts[i], folder);
	return r;
}

/*
 * The entries of a folder, sorted, each ended by a NUL, as a file for tar. The folder itself is not
 * among them: of a root that was just made its times say nothing, and would make every stream
 * another one.
 */
static int list_entries(const char *folder)
{
	struct dirent **entries;
	int n = scandir(folder, &entries, NULL, alphasort), fd = memfd_create("entries", 0);

	if (n < 0 || fd < 0)
		return -1;
	for (int i = 0; i < n; i++) {
		const char *name = entries[i]->d_name;

		if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
		    (io_write_full(fd, "./", 2) < 0 ||
		     io_write_full(fd, name, strlen(name) + 1) < 0))
			return -1;
	}
	return lseek(fd, 0, SEEK_SET) == 0 ? fd : -1;
}

/* Only names, contents, owners, modes, times of change and attributes: a tree read twice is the
 * same stream. name NULL: all entries of the folder. */
static _Noreturn void run_tar(const char *folder, const char *transform, const char *name)
{
	char files[48] = "--files-from=/dev/null";
	int fd = name ? -1 : list_entries(folder);

	if (!name && fd < 0)
		_exit(127);
	if (!name)
		snprintf(files, sizeof(files), "--files-from=/proc/self/fd/%d", fd);
	execl("/bin/tar", "tar", "--create", "--file=-", "--format=posix", "--sort=name",
	      "--numeric-owner", "--xattrs", "--xattrs-include=security.capability",
	      "--xattrs-include=user.*", "--pax-option=delete=atime,delete=ctime",
	      "--warning=no-file-ignored", "--directory", folder, "--transform", transform,
	      "--null", "--verbatim-files-from", files, "--", name, NULL);
	_exit(127);
}

/* In the child: nothing of the shim's but the stream and its log. */
static void prepare_child(int out)
{
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (dup2(out, STDOUT_FILENO) < 0 || close_range(STDERR_FILENO + 1, ~0U, 0) < 0)
		_exit(127);
}

static int start(struct layer_reader *reader, int *out, struct error *err)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_set_errno(err, -errno, "a pipe for tar");
	reader->pid = fork();
	if (reader->pid < 0) {
		int r = -errno;

		close(ends[0]);
		close(ends[1]);
		return error_set_errno(err, r, "a process for tar");
	}
	if (reader->pid == 0) {
		*out = ends[1];
		return 0;
	}
	close(ends[1]);
	reader->fd = ends[0];
	fcntl(reader->fd, F_SETFL, O_NONBLOCK);
	return 0;
}

int layer_read_root(struct layer_reader *reader, Protect__Shim__Mount **mounts, size_t n,
		    const char *folder, struct error *err)
{
	int out = -1, r = start(reader, &out, err);

	if (r < 0 || reader->pid > 0)
		return r;
	prepare_child(out);
	r = mount_all(mounts, n, folder);
	if (r < 0) {
		fprintf(stderr, "<error> what=\"root file system\" err=\"%s\" cannot be mounted\n",
			strerror(-r));
		_exit(CHILD_MOUNT);
	}
	run_tar(folder, "s,^\\./,,S", NULL);
}

/* A replacement of tar's --transform: what sed would read in it is quoted. */
static int make_transform(const char *pattern, const char *target, char *out, size_t size)
{
	size_t used = (size_t)snprintf(out, size, "s,%s,", pattern);

	while (*target == '/')
		target++;
	for (; *target && used + 5 < size; target++) {
		if (strchr("\\&,", *target))
			out[used++] = '\\';
		out[used++] = *target;
	}
	if (*target || used + 3 > size)
		return -ENAMETOOLONG;
	snprintf(out + used, size - used, ",S");
	return 0;
}

int layer_read_bind(struct layer_reader *reader, const struct spec_bind *bind, struct error *err)
{
	_cleanup_(freep) char *source = realpath(bind->source, NULL);
	char transform[2 * OPTIONS_MAX], *slash;
	struct stat st;
	bool is_dir;
	int out = -1, r;

	if (!source || lstat(source, &st) < 0)
		return error_set_errno(err, -errno, "the volume %s", bind->source);
	is_dir = S_ISDIR(st.st_mode);
	if (!is_dir && !S_ISREG(st.st_mode))
		return error_set(err, -ENOTSUP,
				 "%s is neither a file nor a folder: a zone cannot have it",
				 bind->source);
	r = make_transform(is_dir ? "^\\." : "^.*$", bind->target, transform, sizeof(transform));
	if (r < 0)
		return error_set_errno(err, r, "the volume at %.128s", bind->target);
	r = start(reader, &out, err);
	if (r < 0 || reader->pid > 0)
		return r;
	prepare_child(out);
	if (is_dir)
		run_tar(source, transform, ".");
	slash = strrchr(source, '/');
	*slash = '\0';
	run_tar(*source ? source : "/", transform, slash + 1);
}

int layer_reader_finish(struct layer_reader *reader)
{
	int status = -1;

	close_fdp(&reader->fd);
	while (reader->pid > 0 && waitpid(reader->pid, &status, 0) < 0 && errno == EINTR)
		;
	reader->pid = -1;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

void layer_reader_stop(struct layer_reader *reader)
{
	if (reader->pid > 0)
		kill(reader->pid, SIGKILL);
	layer_reader_finish(reader);
}
