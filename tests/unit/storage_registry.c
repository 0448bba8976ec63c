// SPDX-License-Identifier: Apache-2.0
/* Pulls from a real registry (docker-registry) on this machine, and from one that lies. */
#include "tests/unit/storage_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "tests/unit/harness.h"

extern char **environ;

static struct fixture fixture;
static pid_t registry = -1;
static int port;

static int free_port(int *listen_fd)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	if (listen_fd)
		*listen_fd = fd;
	else
		close(fd);
	return ntohs(address.sin_port);
}

static bool answers(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				      .sin_port = htons((uint16_t)port)};
	_cleanup_(close_fdp) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
}

static void start_registry(void)
{
	char config[128], file[160];
	/* setpriv: a test that fails half way must not leave the registry behind. */
	const char *argv[] = {"setpriv", "--pdeathsig", "KILL", "docker-registry",
			      "serve",	 config,	NULL};
	posix_spawn_file_actions_t actions;
	FILE *to;

	port = free_port(NULL);
	snprintf(config, sizeof(config), "%s/registry.yml", fixture.dir);
	to = fopen(config, "w");
	fprintf(to,
		"version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: "
		"%s/registry\n"
		"http:\n  addr: 127.0.0.1:%d\n",
		fixture.dir, port);
	fclose(to);
	snprintf(file, sizeof(file), "%s/registry.log", fixture.dir);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 1, file, O_WRONLY | O_CREAT, 0600);
	posix_spawn_file_actions_adddup2(&actions, 1, 2);
	cr_assert_eq(posix_spawnp(&registry, argv[0], &actions, NULL,
				  (char *const *)(uintptr_t)argv, environ),
		     0);
	posix_spawn_file_actions_destroy(&actions);
	for (int i = 0; i < 1000 && !answers(); i++)
		usleep(10000);
	cr_assert(answers(), "docker-registry does not answer");
}

static void set_up(void)
{
	signal(SIGPIPE, SIG_IGN);
	fixture_open(&fixture, 64 * MIB);
}

static void tear_down(void)
{
	if (registry > 0) {
		kill(registry, SIGKILL);
		waitpid(registry, NULL, 0);
	}
	fixture_close(&fixture);
}

UNIT_SUITE(storage_registry, .init = set_up);

static void write_image(const char *filter)
{
	struct tar *tar = tar_new(filter);

	tar_dir(tar, "bin", 0755);
	tar_file(tar, "bin/x", "pulled");
	tar_end(tar);
	layout_write(&fixture, &tar, 1, NULL);
	tar_free(tar);
}

static int pull(const char *format, const char *suffix, struct store_image *image,
		struct error *err)
{
	struct job job = JOB_NONE;
	char ref[256];

	snprintf(ref, sizeof(ref), "127.0.0.1:%d/%s%s", port, format, suffix);
	return ops_pull(&fixture.storage, ref, "", NULL, &job, image, err);
}

Test(storage_registry, pulls_by_tag_and_digest)
{
	struct store_image by_tag, by_digest, found;
	struct error err = ERROR_NULL;
	char suffix[DIGEST_TEXT_SIZE + 1] = "@", ref[128];
	char *out;

	start_registry();
	write_image("gzip");
	out = output_of("skopeo copy -q --dest-tls-verify=false oci:%s:test "
			"docker://127.0.0.1:%d/some/app:v1 2>&1",
			fixture.layout, port);
	cr_assert_str_eq(out, "");
	free(out);
	cr_assert_eq(pull("some/app", ":v1", &by_tag, &err), 0, "%s", err.text);
	digest_text(&by_tag.manifest, suffix + 1);
	cr_assert_eq(pull("some/app", suffix, &by_digest, &err), 0, "%s", err.text);
	cr_expect(digest_equal(&by_tag.manifest, &by_digest.manifest));
	snprintf(ref, sizeof(ref), "127.0.0.1:%d/some/app:v1", port);
	cr_expect_eq(store_find(fixture.storage.store, ref, &found, NULL), 0);
	cr_expect_eq(pull("some/app", ":v2", &by_tag, &err), -ENOENT);
	cr_expect_not_null(strstr(err.text, "check the name and tag"), "%s", err.text);
	err = (struct error)ERROR_NULL;
	suffix[10] = suffix[10] == '0' ? '1' : '0';
	cr_expect_eq(pull("some/app", suffix, &by_tag, &err), -ENOENT);
	/* Docker's own manifest format. */
	out = output_of("skopeo copy -q --format v2s2 --dest-tls-verify=false oci:%s:test "
			"docker://127.0.0.1:%d/d:1 2>&1",
			fixture.layout, port);
	cr_assert_str_eq(out, "");
	free(out);
	err = (struct error)ERROR_NULL;
	cr_expect_eq(pull("d", ":1", &by_tag, &err), 0, "%s", err.text);
	cr_expect(tmp_is_empty(&fixture));
	tear_down();
}

Test(storage_registry, damaged_blobs_are_refused)
{
	struct error err = ERROR_NULL;
	struct store_image image;
	char *out;

	start_registry();
	write_image("gzip");
	out = output_of("skopeo copy -q --dest-tls-verify=false oci:%s:test "
			"docker://127.0.0.1:%d/app:1 2>&1; "
			"find %s/registry -name data -size +0 | while read f; do "
			"[ \"$(head -c 2 $f | od -An -tx1)\" != ' 1f 8b' ] || printf 'X' | dd "
			"of=$f bs=1 seek=40 conv=notrunc 2>&1; done",
			fixture.layout, port, fixture.dir);
	free(out);
	cr_expect_eq(pull("app", ":1", &image, &err), -EBADMSG);
	cr_expect_not_null(strstr(err.text, "digest mismatch"), "%s", err.text);
	cr_expect(tmp_is_empty(&fixture));
	tear_down();
}

Test(storage_registry, nobody_there)
{
	struct error err = ERROR_NULL;
	struct store_image image;

	port = free_port(NULL);
	cr_expect_eq(pull("app", "", &image, &err), -EHOSTUNREACH);
	cr_expect_not_null(strstr(err.text, "cannot reach the registry"), "%s", err.text);
	tear_down();
}

/* A registry that gives every request the next of its answers. */
struct liar {
	int fd;
	const char *const *answers;
	char requests[4][2048];
	unsigned n;
};

static void *lie(void *context)
{
	struct liar *liar = context;

	for (liar->n = 0; liar->answers[liar->n]; liar->n++) {
		int fd = accept(liar->fd, NULL, NULL);
		ssize_t n = read(fd, liar->requests[liar->n % 4], sizeof(liar->requests[0]) - 1);

		if (n > 0)
			(void)!write(fd, liar->answers[liar->n], strlen(liar->answers[liar->n]));
		close(fd);
	}
	return NULL;
}

static void expect_lie(const char *const *answers, int code, const char *text, struct liar *liar)
{
	struct error err = ERROR_NULL;
	struct store_image image;
	pthread_t thread;

	memset(liar, 0, sizeof(*liar));
	liar->answers = answers;
	port = free_port(&liar->fd);
	cr_assert_eq(listen(liar->fd, 4), 0);
	cr_assert_eq(pthread_create(&thread, NULL, lie, liar), 0);
	cr_expect_eq(pull("app", "", &image, &err), code, "%s", err.text);
	cr_expect_not_null(strstr(err.text, text), "%s", err.text);
	shutdown(liar->fd, SHUT_RDWR);
	pthread_join(thread, NULL);
	close(liar->fd);
	cr_expect(tmp_is_empty(&fixture));
}

Test(storage_registry, liars)
{
	static const char *const elsewhere[] = {
		"HTTP/1.1 307 x\r\nLocation: http://192.0.2.1/x\r\nContent-Length: 0\r\n\r\n",
		NULL};
	static const char *const file[] = {
		"HTTP/1.1 307 x\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
		NULL};
	static const char *const nonsense[] = {"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnope",
					       NULL};
	static const char *const realm[] = {"HTTP/1.1 401 x\r\nWWW-Authenticate: Bearer "
					    "realm=\"http://192.0.2.1/t\",service=\"s\"\r\n"
					    "Content-Length: 0\r\n\r\n",
					    NULL};
	static const char *const login[] = {"HTTP/1.1 401 x\r\nWWW-Authenticate: Basic "
					    "realm=\"x\"\r\nContent-Length: 0\r\n\r\n",
					    NULL};
	static const char *const huge[] = {
		"HTTP/1.1 200 OK\r\n\r\n{\"config\":{\"digest\":\"sha256:"
		"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\",\"size\":2},"
		"\"layers\":[]}",
		"HTTP/1.1 200 OK\r\n\r\nmore than two bytes", NULL};
	static struct liar liar;

	expect_lie(elsewhere, -EPROTO, "only https is allowed", &liar);
	expect_lie(file, -EPROTO, "only https is allowed", &liar);
	expect_lie(nonsense, -EBADMSG, "not valid JSON", &liar);
	expect_lie(realm, -EPROTO, "only https is allowed", &liar);
	expect_lie(login, -EACCES, "refuses access", &liar);
	expect_lie(huge, -EFBIG, "more bytes than announced", &liar);
	tear_down();
}

Test(storage_registry, tokens)
{
	static char challenge[512];
	static const char *answers[] = {
		challenge, "HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n{\"token\":\"abc123\"}",
		"HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n", NULL};
	static struct liar liar;
	struct error err = ERROR_NULL;
	struct store_image image;
	pthread_t thread;

	liar.answers = answers;
	port = free_port(&liar.fd);
	snprintf(challenge, sizeof(challenge),
		 "HTTP/1.1 401 x\r\nWWW-Authenticate: Bearer realm=\"http://127.0.0.1:%d/token\","
		 "service=\"srv\"\r\nContent-Length: 0\r\n\r\n",
		 port);
	cr_assert_eq(listen(liar.fd, 4), 0);
	cr_assert_eq(pthread_create(&thread, NULL, lie, &liar), 0);
	cr_expect_eq(pull("app", "", &image, &err), -ENOENT, "%s", err.text);
	pthread_join(thread, NULL);
	close(liar.fd);
	cr_expect_null(strstr(liar.requests[0], "Authorization"));
	cr_expect_not_null(
		strstr(liar.requests[1], "GET /token?scope=repository%3Aapp%3Apull&service=srv "),
		"%s", liar.requests[1]);
	cr_expect_not_null(strstr(liar.requests[2], "Authorization: Bearer abc123\r\n"), "%s",
			   liar.requests[2]);
	tear_down();
}
