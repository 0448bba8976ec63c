// SPDX-License-Identifier: Apache-2.0
/* Pulls from a registry that misbehaves (hostile_registry.py): logins, broken transfers, mirrors,
 * and manifests that are not what they seem. */
#include "tests/unit/storage_fixture.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/config.h"
#include "base/io.h"
#include "supervisor/storage/platform.h"
#include "tests/unit/harness.h"

static struct fixture fixture;
static FILE *server;
static int port;
static char log_path[96];

static void set_up(void)
{
	char command[512];

	fixture_open(&fixture, 64 * MIB);
	snprintf(log_path, sizeof(log_path), "%s/requests", fixture.dir);
	/* setpriv: a test that fails half way must not leave the server behind. */
	snprintf(command, sizeof(command), "exec setpriv --pdeathsig KILL python3 %s %s",
		 HOSTILE_REGISTRY, log_path);
	server = popen(command, "r");
	cr_assert(server && fscanf(server, "%d", &port) == 1, "the registry does not start");
}

static void tear_down(void)
{
	fixture_close(&fixture); /* the server ends with this process */
}

UNIT_SUITE(storage_pull, .init = set_up);

static char *requests(void)
{
	char *text = NULL;
	size_t len;

	cr_assert_eq(io_read_file(-1, log_path, 16 * MIB, &text, &len), 0);
	return text;
}

static int pull_as(const char *kind, const char *host, const struct registry_login *login,
		   struct error *err)
{
	struct store_image image;
	struct job job = JOB_NONE;
	char ref[128];

	*err = (struct error)ERROR_NULL;
	snprintf(ref, sizeof(ref), "%s:%d/%s/app", host, port, kind);
	return ops_pull(&fixture.storage, ref, "", login, &job, &image, err);
}

static void expect_pulled(const char *kind, const struct registry_login *login)
{
	struct error err;
	struct store_image image;
	char ref[128];

	cr_expect_eq(pull_as(kind, "127.0.0.1", login, &err), 0, "%s: %s", kind, err.text);
	snprintf(ref, sizeof(ref), "127.0.0.1:%d/%s/app", port, kind);
	cr_expect_eq(store_remove(fixture.storage.store, ref, NULL, 0, &err), 0, "%s", err.text);
	cr_expect_eq(store_find(fixture.storage.store, ref, &image, NULL), -ENOENT);
	cr_expect(tmp_is_empty(&fixture));
}

static void expect_refused(const char *kind, const struct registry_login *login, int code,
			   const char *text)
{
	struct error err;

	cr_expect_eq(pull_as(kind, "127.0.0.1", login, &err), code, "%s: %s", kind, err.text);
	cr_expect_not_null(strstr(err.text, text), "%s: %s", kind, err.text);
	cr_expect(tmp_is_empty(&fixture));
}

Test(storage_pull, logins)
{
	const struct registry_login good = {"user", "secret"}, bad = {"user", "wrong"};

	expect_refused("basic", NULL, -EACCES, "--username");
	expect_refused("basic", &bad, -EACCES, "is the login right");
	expect_pulled("basic", &good);
	/* Its tokens are good for three requests, and there are seven; one after the other, so that
	 * a new one is not used up by others. */
	fixture.settings.parallel = 1;
	expect_pulled("token", &good);
	expect_refused("token", &bad, -EACCES, "is the login right");
	expect_refused("token", NULL, -EACCES, "without a login");
	tear_down();
}

Test(storage_pull, a_login_goes_nowhere_else)
{
	const struct registry_login good = {"user", "secret"};
	_cleanup_(freep) char *log = NULL;

	expect_refused("realm", &good, -EACCES, "token-server = 127.0.0.1");
	expect_pulled("cross", &good);
	log = requests();
	for (char *line = strtok(log, "\n"); line; line = strtok(NULL, "\n"))
		cr_expect(strncmp(line, "localhost", 9) != 0 || strstr(line, " -"), "%s", line);
	cr_expect_not_null(log);
	/* Named in the configuration it is right. */
	snprintf(fixture.settings.token_servers[0].registry, SETTINGS_HOST_MAX, "127.0.0.1:%d",
		 port);
	snprintf(fixture.settings.token_servers[0].value, SETTINGS_HOST_MAX, "localhost");
	fixture.settings.n_token_servers = 1;
	fixture.settings.parallel = 1; /* see above */
	expect_pulled("realm", &good);
	tear_down();
}

Test(storage_pull, broken_transfers_go_on)
{
	_cleanup_(freep) char *log = NULL;

	expect_pulled("break", NULL);
	log = requests();
	cr_expect_not_null(strstr(log, " bytes=100000- "), "it began again:\n%s", log);
	cr_expect_not_null(strstr(log, " bytes=300000- "), "it began again:\n%s", log);
	expect_pulled("norange", NULL);
	expect_refused("lie", NULL, -EPROTO, "another part");
	expect_refused("swap", NULL, -EBADMSG, "digest mismatch");
	tear_down();
}

Test(storage_pull, a_server_that_drips)
{
	fixture.settings.stall_s = 1;
	expect_refused("drip", NULL, -ETIMEDOUT, "too slow");
	expect_refused("silent", NULL, -ETIMEDOUT, "too slow");
	tear_down();
}

Test(storage_pull, mirrors)
{
	_cleanup_(freep) char *log = NULL;
	struct error err;

	/* The mirror has neither manifest nor layers; what it lacks comes from the registry. */
	snprintf(fixture.settings.mirrors[0].registry, SETTINGS_HOST_MAX, "localhost:%d", port);
	snprintf(fixture.settings.mirrors[0].value, SETTINGS_HOST_MAX, "127.0.0.1:%d", port);
	fixture.settings.n_mirrors = 1;
	cr_expect_eq(pull_as("mirrored", "localhost", NULL, &err), -ENOENT, "%s", err.text);
	cr_expect_eq(
		pull_as("plain", "localhost", &(struct registry_login){"user", "secret"}, &err), 0,
		"%s", err.text);
	log = requests();
	cr_expect_not_null(strstr(log, "127.0.0.1"));
	cr_expect_not_null(strstr(log, "localhost"));
	cr_expect_null(strstr(log, "Basic"), "no mirror gets a login:\n%s", log);
	tear_down();
}

Test(storage_pull, manifests_that_are_not_what_they_seem)
{
	expect_pulled("index", NULL);
	expect_refused("nested", NULL, -EBADMSG, "nested too deep");
	expect_refused("arm", NULL, -ENOENT, "no image for linux/amd64");
	expect_refused("windows", NULL, -ENOENT, "no image for linux/amd64");
	expect_refused("confused", NULL, -EBADMSG, "neither a manifest nor an index");
	expect_refused("duplicate", NULL, -EBADMSG, "not valid JSON");
	expect_refused("deep", NULL, -EBADMSG, "not valid JSON");
	expect_refused("few", NULL, -EBADMSG, "1 layers but 5 diff_ids");
	expect_refused("more", NULL, -EBADMSG, "6 layers but 5 diff_ids");
	expect_refused("huge", NULL, -EFBIG, "larger than allowed");
	expect_refused("negative", NULL, -EBADMSG, "descriptor");
	expect_refused("json", NULL, -EFBIG, "more bytes than");
	expect_refused("loop", NULL, -ELOOP, "redirects more than");
	tear_down();
}

static void expect_platform(const char *platform, int code, const char *text)
{
	struct store_image image;
	struct error err = ERROR_NULL;
	struct job job = JOB_NONE;
	char ref[128];

	snprintf(ref, sizeof(ref), "127.0.0.1:%d/variants/app", port);
	cr_expect_eq(ops_pull(&fixture.storage, ref, platform, NULL, &job, &image, &err), code,
		     "%s: %s", platform, err.text);
	cr_expect_not_null(strstr(err.text, text), "%s: %s", platform, err.text);
}

Test(storage_pull, platforms)
{
	static const char *const none[] = {"linux",	   "linux/",	   "/amd64",
					   "linux//amd64", "linux/amd64/", "linux/amd64/v3/x",
					   "Linux/amd64",  "linux/amd64 ", "linux/amd64/\x1b[2J"};

	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		expect_platform(none[i], -EINVAL, "is no platform");
	expect_platform("linux/arm64", -ENOTSUP, "zones of this host run linux/amd64");
	expect_platform("linux/arm/v7", -ENOTSUP, "zones of this host run linux/amd64");
	expect_platform("windows/amd64", -ENOTSUP, "images for windows/amd64 cannot run here");
	expect_platform("linux/amd64-v2", -ENOTSUP, "cannot run here");
	expect_platform("linux/amd64/v5", -EINVAL, "v1 to v4");
	expect_platform("linux/amd64/v1", 0, "");
	expect_platform("linux/amd64", 0, "");
	expect_pulled("variants", NULL);
	if (platform_level_here() >= 2) /* it is asked for, and the registry lacks it */
		expect_platform("linux/amd64/v2", -ENOENT, "does not have its manifest");
	if (platform_level_here() < 4)
		expect_platform("linux/amd64/v4", -ENOTSUP, "this host's processor has v");
	expect_refused("v9", NULL, -ENOENT, "no image for linux/amd64");
	tear_down();
}

Test(storage_pull, the_store_has_a_limit_and_keeps_what_runs)
{
	char digest[DIGEST_TEXT_SIZE], *in_use[] = {digest};
	struct store_image image;
	struct error err;
	char ref[64];

	store_set_limit(fixture.storage.store, MIB);
	expect_refused("plain", NULL, -EDQUOT, "max-store-size");
	store_set_limit(fixture.storage.store, 2 * MIB);
	cr_assert_eq(pull_as("plain", "127.0.0.1", NULL, &err), 0, "%s", err.text);
	snprintf(ref, sizeof(ref), "127.0.0.1:%d/plain/app", port);
	cr_assert_eq(store_find(fixture.storage.store, ref, &image, NULL), 0);
	digest_text(&image.manifest, digest);
	cr_expect_eq(store_remove(fixture.storage.store, ref, in_use, 1, &err), -EBUSY);
	cr_expect_eq(store_remove(fixture.storage.store, digest, in_use, 1, NULL), -EBUSY);
	/* A name that is not the last may go. */
	cr_assert_eq(pull_as("plainer", "127.0.0.1", NULL, &err), 0, "%s", err.text);
	cr_expect_eq(store_remove(fixture.storage.store, ref, in_use, 1, NULL), 0);
	cr_expect_eq(store_find(fixture.storage.store, digest, &image, NULL), 0);
	tear_down();
}

Test(storage_pull, foreign_urls_are_not_asked)
{
	_cleanup_(freep) char *log = NULL;

	expect_refused("foreign", NULL, -ENOENT, "does not have its layers");
	log = requests();
	cr_expect_null(strstr(log, "/stolen"));
	tear_down();
}

/* The text of a configuration, read as the service does. Returns what settings_read() does. */
static int configure(const char *text, struct settings *settings, struct error *err)
{
	char path[128];

	*err = (struct error)ERROR_NULL;
	snprintf(path, sizeof(path), "%s/protect.conf", fixture.dir);
	cr_assert_eq(io_replace_file(-1, path, text, strlen(text), 0600), 0);
	return settings_read(settings, path, true, err);
}

Test(storage_pull, configuration)
{
	static const char *const wrong[][2] = {
		{"[storage]\nmax-image-sise = 1G\n", ":2: [storage] has no key"},
		{"[storage]\nmax-image-size = 1X\n", ":2: max-image-size = '1X': not a size"},
		{"[storage]\nmax-image-size =\n", "the value is missing"},
		{"[storage]\nproxy = none\nproxy = none\n", ":3: 'proxy' is given twice"},
		{"[stroage]\n", ":1: there is no section"},
		{"a = b\n", "must come before"},
		{"[storage\n", "is not [SECTION]"},
		{"[storage]\nmirror\n", "neither"},
		{"[storage]\nmirror = docker.io\n", "two words"},
		{"[storage]\nmirror = docker.io http://m.lan\n", "insecure-registry"},
		{"[storage]\ninsecure-registry = http://r.lan\n", "not a HOST[:PORT]"},
		{"[storage]\nparallel-layers = 17\n", "1 to 16"},
		{"[storage]\nstall-timeout = 0\n", "1 to 3600"},
		{"[storage]\nca-bundle = ca.pem\n", "absolute path"},
		{"[storage]\nproxy = socks5://x\n", "proxy"},
	};
	static struct settings settings;
	struct error err;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		cr_expect_eq(configure(wrong[i][0], &settings, &err), -EINVAL, "%s", wrong[i][0]);
		cr_expect_not_null(strstr(err.text, wrong[i][1]), "%s", err.text);
	}
	cr_assert_eq(configure("# all of it\n[daemon]\nwhatever = it checks\n\n[storage]\r\n"
			       "max-image-size = 2G\n mirror = docker.io https://m.lan/ \n"
			       "mirror=docker.io n.lan:5000\ninsecure-registry = n.lan:5000\n"
			       "token-server = r.lan auth.lan\nparallel-layers = 2",
			       &settings, &err),
		     0, "%s", err.text);
	cr_expect_eq(settings.max_image_bytes, 2 * GIB);
	cr_expect_eq(settings.n_mirrors, 2);
	cr_expect_str_eq(settings.mirrors[0].value, "m.lan");
	cr_expect(settings_is_insecure(&settings, "N.lan:5000"));
	cr_expect_not(settings_is_insecure(&settings, "n.lan"));
	cr_expect(settings_is_token_server(&settings, "r.lan", "auth.lan"));
	cr_expect_not(settings_is_token_server(&settings, "other.lan", "auth.lan"));
	cr_expect_eq(settings_read(&settings, "/nonexistent", true, &err), -ENOENT);
	cr_expect_eq(settings_read(&settings, "/nonexistent", false, &err), 0);
	cr_expect_eq(settings.max_image_bytes, 20 * GIB);
	tear_down();
}
