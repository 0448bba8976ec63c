// SPDX-License-Identifier: Apache-2.0
/*
 * The server of a folder as protect-launch starts it: which folders it may have, whose rights it
 * gets, and what is left to it. With the real zone-fs, in its real sandbox.
 */
#include "launch_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/fuse.h>

#include "base/cleanup.h"
#include "base/io.h"

UNIT_SUITE(launch_share);

#define OWNER 12345u

struct world {
	struct fixture f;
	struct folders folders;
	struct launch_request zone;
	char shared[64], outside[64];
	pid_t server;
};

static void start(struct world *w)
{
	memset(w, 0, sizeof(*w));
	fixture_init(&w->f, "sleep");
	cr_assert_eq(chmod(w->f.dir, 0755), 0);
	snprintf(w->shared, sizeof(w->shared), "%s/shared", w->f.dir);
	snprintf(w->outside, sizeof(w->outside), "%s/outside", w->f.dir);
	cr_assert_eq(mkdir(w->shared, 0755), 0);
	cr_assert_eq(mkdir(w->outside, 0755), 0);
	w->folders.n = 1;
	memcpy(w->folders.allowed[0].path, w->shared, sizeof(w->shared));
	w->f.runners.config.folders = &w->folders;
	w->f.runners.config.folder_server = LAUNCH_ZONE_FS;
	w->zone = fixture_request();
	cr_assert_eq(fixture_spawn(&w->f, &w->zone).error, 0);
}

static void stop(struct world *w)
{
	char command[128];

	fixture_signal(&w->f, &w->zone.uuid, SIGKILL);
	fixture_reap(&w->f, &w->zone.uuid);
	snprintf(command, sizeof(command), "rm -r %s/shared %s/outside", w->f.dir, w->f.dir);
	cr_assert_eq(system(command), 0);
	fixture_deinit(&w->f);
}

/* Returns the connection or the error. */
static int share(struct world *w, const char *path, bool read_only)
{
	struct launch_request request = {.version = LAUNCH_VERSION,
					 .op = LAUNCH_SHARE,
					 .uuid = w->zone.uuid,
					 .slot = w->zone.slot,
					 .share.read_only = read_only};
	struct launch_reply reply;
	int fd;

	snprintf(request.share.path, sizeof(request.share.path), "%s", path);
	runners_request(&w->f.runners, &request, sizeof(request), NULL, 0, &reply, &fd);
	cr_expect_eq(fd >= 0, reply.error == 0, "%s", reply.text);
	w->server = reply.pid;
	return reply.error ? reply.error : fd;
}

/* A request with a body; returns the answer's error. */
static int ask(int fd, uint32_t opcode, const void *body, size_t len, void *out, size_t room)
{
	struct fuse_in_header in = {.len = (uint32_t)(sizeof(in) + len),
				    .opcode = opcode,
				    .nodeid = FUSE_ROOT_ID,
				    .unique = 1};
	struct fuse_out_header answer;

	cr_assert_eq(io_write_full(fd, &in, sizeof(in)), 0);
	cr_assert_eq(io_write_full(fd, body, len), 0);
	cr_assert_eq(io_read_full(fd, &answer, sizeof(answer)), (ssize_t)sizeof(answer));
	cr_assert_leq(answer.len - sizeof(answer), room);
	cr_assert_eq(io_read_full(fd, out, answer.len - sizeof(answer)),
		     (ssize_t)(answer.len - sizeof(answer)));
	return answer.error;
}

static void init(int fd)
{
	const struct fuse_init_in in = {.major = 7, .minor = 38};
	uint8_t out[256];

	cr_assert_eq(ask(fd, FUSE_INIT, &in, sizeof(in), out, sizeof(out)), 0);
}

static int create(int fd, const char *name)
{
	struct {
		struct fuse_create_in in;
		char name[32];
	} body = {.in = {.flags = O_RDWR, .mode = S_IFREG | 0640}};
	uint8_t out[256];

	snprintf(body.name, sizeof(body.name), "%s", name);
	return ask(fd, FUSE_CREATE, &body, sizeof(body.in) + strlen(name) + 1, out, sizeof(out));
}

static bool has_ended(struct world *w)
{
	for (unsigned i = 0; i < 500; i++) {
		runners_collect(&w->f.runners);
		if (kill(w->server, 0) < 0)
			return true;
		usleep(10000);
	}
	return false;
}

static void expect_status(pid_t pid, const char *line)
{
	_cleanup_(freep) char *text = NULL;
	char path[64];
	size_t len;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	cr_assert_eq(io_read_file(AT_FDCWD, path, 65536, &text, &len), 0);
	cr_expect_not_null(strstr(text, line), "no '%s' in\n%s", line, text);
}

Test(launch_share, serves_with_the_owners_rights)
{
	_cleanup_(close_fdp) int fd = -1;
	struct world w;
	struct stat st;
	char path[128], root[128];

	start(&w);
	if (geteuid() == 0)
		cr_assert_eq(chown(w.shared, OWNER, OWNER + 1), 0);
	fd = share(&w, w.shared, false);
	cr_assert_geq(fd, 0);
	init(fd);
	cr_assert_eq(create(fd, "a"), 0);
	snprintf(path, sizeof(path), "%s/a", w.shared);
	cr_assert_eq(stat(path, &st), 0);
	if (geteuid() == 0) {
		cr_expect_eq(st.st_uid, OWNER);
		cr_expect_eq(st.st_gid, OWNER + 1);
	}
	cr_expect_eq(create(fd, "../outside/a"), -EINVAL);
	/* What is left to it. */
	expect_status(w.server, "\nNoNewPrivs:\t1\n");
	expect_status(w.server, "\nSeccomp:\t2\n");
	expect_status(w.server, "\nCapPrm:\t0000000000000000\n");
	expect_status(w.server, "\nCapBnd:\t0000000000000000\n");
	snprintf(path, sizeof(path), "/proc/%d/root/a", (int)w.server);
	cr_expect_eq(access(path, F_OK), 0, "the folder is its root");
	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)w.server);
	cr_expect_gt(readlink(path, root, sizeof(root)), 0);
	/* Links are made and read there, and followed by nobody. */
	snprintf(path, sizeof(path), "%s/link", w.shared);
	cr_assert_eq(symlink("a", path), 0);
	snprintf(path, sizeof(path), "/proc/%d/root/link", (int)w.server);
	cr_expect_eq(readlink(path, root, sizeof(root)), 1);
	cr_expect_eq(access(path, F_OK), -1);
	cr_expect_eq(errno, ELOOP);
	/* It ends with its connection. */
	close_fdp(&fd);
	cr_expect(has_ended(&w));
	stop(&w);
}

Test(launch_share, roots_rights_are_given_to_nobody)
{
	_cleanup_(close_fdp) int fd = -1;
	struct world w;

	if (geteuid() != 0)
		cr_skip_test("needs root");
	start(&w);
	fd = share(&w, w.shared, false);
	cr_assert_geq(fd, 0);
	init(fd);
	cr_expect_eq(create(fd, "a"), -EACCES, "it is root's folder, 0755");
	cr_assert_eq(chmod(w.shared, 0777), 0);
	cr_expect_eq(create(fd, "a"), 0);
	close_fdp(&fd);
	cr_expect(has_ended(&w));
	/* Another zone's file gives no right to be that zone. */
	cr_assert_eq(chown(w.shared, w.f.runners.config.uid_base + 3, 0), 0);
	cr_assert_eq(chmod(w.shared, 0700), 0);
	cr_expect_eq(share(&w, w.shared, false), -EACCES, "it cannot even be entered");
	stop(&w);
}

Test(launch_share, read_only_by_its_mount_too)
{
	_cleanup_(close_fdp) int fd = -1;
	char path[128];
	struct world w;

	start(&w);
	cr_assert_eq(chmod(w.shared, 0777), 0);
	w.folders.allowed[0].read_only = true;
	cr_expect_eq(share(&w, w.shared, false), -EACCES);
	fd = share(&w, w.shared, true);
	cr_assert_geq(fd, 0);
	init(fd);
	cr_expect_eq(create(fd, "a"), -EROFS);
	snprintf(path, sizeof(path), "/proc/%d/root/a", (int)w.server);
	cr_expect_eq(open(path, O_WRONLY | O_CREAT, 0600), -1);
	close_fdp(&fd);
	cr_expect(has_ended(&w));
	stop(&w);
}

Test(launch_share, what_is_not_allowed_is_refused)
{
	char path[128];
	struct world w;
	int fd;

	start(&w);
	cr_expect_eq(share(&w, w.outside, false), -EACCES);
	snprintf(path, sizeof(path), "%s/../outside", w.shared);
	cr_expect_eq(share(&w, path, false), -EINVAL);
	snprintf(path, sizeof(path), "%s-too", w.shared);
	cr_expect_eq(share(&w, path, false), -EACCES, "a name that only begins like it");
	cr_expect_eq(share(&w, "", false), -EINVAL);
	cr_expect_eq(share(&w, "shared", false), -EINVAL);
	snprintf(path, sizeof(path), "%s/none", w.shared);
	cr_expect_eq(share(&w, path, false), -ENOENT);
	/* A link, by which somebody who may write there would choose another folder. */
	snprintf(path, sizeof(path), "%s/link", w.shared);
	cr_assert_eq(symlink(w.outside, path), 0);
	cr_expect_eq(share(&w, path, false), -ELOOP);
	snprintf(path, sizeof(path), "%s/file", w.shared);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	close(fd);
	cr_expect_eq(share(&w, path, false), -ENOTDIR);
	w.zone.slot = 2;
	cr_expect_eq(share(&w, w.shared, false), -ESRCH, "another zone's slot");
	w.zone.slot = 1;
	w.folders.n = 0;
	cr_expect_eq(share(&w, w.shared, false), -EACCES, "the default");
	stop(&w);
}

/* [launch] of protect.conf. */
Test(launch_share, configuration)
{
	static const struct {
		const char *text;
		int error;
		unsigned n;
	} files[] = {
		{"[launch]\nshare = /srv/a\nshare-read-only = /srv/b\nshare = /srv/c\n", 0, 3},
		{"[storage]\nmax-image-size = 1G\n", 0, 0},
		{"[launch]\nshare = srv\n", -EINVAL, 0},
		{"[launch]\nshare = /\n", -EINVAL, 0},
		{"[launch]\nshare = /srv/../etc\n", -EINVAL, 0},
		{"[launch]\nshares = /srv\n", -EINVAL, 0},
	};
	char path[] = "/tmp/launch-conf-XXXXXX";
	int fd = mkstemp(path);

	close(fd);
	for (unsigned i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		struct error err = ERROR_NULL;
		struct folders folders;

		cr_assert_eq(
			io_replace_file(AT_FDCWD, path, files[i].text, strlen(files[i].text), 0600),
			0);
		cr_expect_eq(folders_read(&folders, path, true, &err), files[i].error, "%s",
			     files[i].text);
		if (!files[i].error)
			cr_expect_eq(folders.n, files[i].n);
	}
	unlink(path);
}
