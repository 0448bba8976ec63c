// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/storage_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "supervisor/storage/oci.h"
#include "tests/unit/harness.h"

static struct fixture fixture;

static void set_up(void)
{
	fixture_open(&fixture, 64 * MIB);
}

UNIT_SUITE(storage_image, .init = set_up);

static void write_layout(const char *filter, const struct layout_faults *faults)
{
	struct tar *tar = tar_new(filter);

	tar_dir(tar, "bin", 0755);
	tar_file(tar, "bin/x", "hello, this is not much but it is a program");
	tar_end(tar);
	layout_write(&fixture, &tar, 1, faults);
	tar_free(tar);
}

static void expect_nothing_left(void)
{
	_cleanup_(freep) char *out =
		output_of("find %s/store/images %s/store/kernels %s/store/blobs %s/store/tmp "
			  "-mindepth 1 ! -name sha256",
			  fixture.dir, fixture.dir, fixture.dir, fixture.dir);

	cr_expect_str_eq(out, "");
}

static void expect_refused(const char *filter, struct layout_faults faults, const char *text)
{
	struct error err = ERROR_NULL;
	struct store_image image;

	write_layout(filter, &faults);
	cr_expect_lt(layout_import(&fixture, "x", &image, &err), 0);
	cr_expect_not_null(strstr(err.text, text), "%s", err.text);
	cr_expect_eq(store_find(fixture.storage.store, "x", &image, NULL), -ENOENT);
	expect_nothing_left();
}

Test(storage_image, digests_and_sizes_are_verified)
{
	expect_refused(NULL, (struct layout_faults){.digest = true}, "digest mismatch");
	expect_refused("gzip", (struct layout_faults){.digest = true}, "digest mismatch");
	expect_refused("zstd", (struct layout_faults){.diff_id = true}, "diff_id");
	expect_refused(NULL, (struct layout_faults){.diff_id = true}, "diff_id");
	expect_refused("gzip", (struct layout_faults){.truncated = true}, "truncated");
	expect_refused(NULL, (struct layout_faults){.size = true}, "more bytes than announced");
	fixture_close(&fixture);
}

/* Imports dir/layout once more as `name`, as a folder or, as the command line does, as an archive.
 */
static int import_again(bool archive, const char *name, struct store_image *image,
			struct error *err)
{
	_cleanup_(close_fdp) int fd = -1;
	char path[256];
	struct job job = JOB_NONE;

	if (!archive)
		return layout_import(&fixture, name, image, err);
	free(output_of("tar -C %s -cf %s/again.tar . 2>&1", fixture.layout, fixture.dir));
	snprintf(path, sizeof(path), "%s/again.tar", fixture.dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return ops_import_fd(&fixture.storage, fd, name, "test", &job, image, err);
}

static void expect_damage_noticed(bool archive, const char *damage, const char *text)
{
	struct error err = ERROR_NULL;
	struct store_image image;

	write_layout(NULL, NULL);
	cr_assert_eq(layout_import(&fixture, "good", &image, &err), 0, "%s", err.text);
	cr_expect_eq(import_again(archive, "again", &image, &err), 0, "%s", err.text);
	/* The layer is the only blob of more than a sector. */
	free(output_of("find %s/blobs -size +2 -exec %s {} ';' 2>&1", fixture.layout, damage));
	cr_expect_lt(import_again(archive, "bad", &image, &err), 0);
	cr_expect_not_null(strstr(err.text, text), "%s", err.text);
	cr_expect_eq(store_find(fixture.storage.store, "bad", &image, NULL), -ENOENT);
	cr_expect_eq(store_find(fixture.storage.store, "good", &image, NULL), 0);
}

Test(storage_image, damaged_copies_of_what_is_there_are_refused)
{
	expect_damage_noticed(false, "truncate -s -1", "truncated");
	expect_damage_noticed(true, "truncate -s -1", "digest mismatch");
	expect_damage_noticed(false, "sed -i s/program/pragrom/", "digest mismatch");
	expect_damage_noticed(true, "sed -i s/program/pragrom/", "digest mismatch");
	expect_damage_noticed(false, "rm", "cannot open");
	expect_damage_noticed(true, "rm", "digest mismatch");
	fixture_close(&fixture);
}

Test(storage_image, a_tar_that_ends_early)
{
	struct tar *tar = tar_new(NULL);
	struct error err = ERROR_NULL;
	struct store_image image;

	tar_file(tar, "a", "some content that is cut away");
	tar_end(tar);
	tar->len = 512 + 10;
	layout_write(&fixture, &tar, 1, NULL);
	tar_free(tar);
	cr_expect_eq(layout_import(&fixture, "x", &image, &err), -EBADMSG);
	cr_expect_not_null(strstr(err.text, "damaged"), "%s", err.text);
	expect_nothing_left();
	fixture_close(&fixture);
}

Test(storage_image, a_bomb_is_stopped)
{
	struct tar *tar = tar_new("zstd");
	_cleanup_(freep) char *zeros = calloc(1, 16 * MIB);
	struct error err = ERROR_NULL;
	struct store_image image;

	memset(zeros, '0', 16 * MIB - 1);
	for (int i = 0; i < 5; i++) {
		char name[8];

		snprintf(name, sizeof(name), "f%d", i);
		tar_file(tar, name, zeros);
	}
	tar_end(tar);
	layout_write(&fixture, &tar, 1, NULL);
	tar_free(tar);
	cr_expect_eq(layout_import(&fixture, "x", &image, &err), -EFBIG);
	cr_expect_not_null(strstr(err.text, "--max-size"), "%s", err.text);
	expect_nothing_left();
	fixture_close(&fixture);
}

Test(storage_image, names_and_removal)
{
	struct error err = ERROR_NULL;
	struct store_image image, found;
	struct store *store = fixture.storage.store;
	char text[DIGEST_TEXT_SIZE], file[STORE_PATH_MAX], buf[4];
	int fd;

	write_layout("gzip", NULL);
	cr_assert_eq(layout_import(&fixture, "one", &image, &err), 0, "%s", err.text);
	cr_assert_eq(layout_import(&fixture, "r.io/two:2", &image, &err), 0, "%s", err.text);
	digest_text(&image.manifest, text);
	cr_expect_eq(store_find(store, "one", &found, NULL), 0);
	cr_expect_eq(store_find(store, "one:latest", &found, NULL), 0);
	cr_expect_eq(store_find(store, "r.io/two:2", &found, NULL), 0);
	cr_expect_eq(store_find(store, text, &found, NULL), 0);
	cr_expect_eq(store_find(store, text + 7, &found, NULL), 0);
	text[7 + 12] = '\0';
	cr_expect_eq(store_find(store, text + 7, &found, NULL), 0);
	text[7 + 11] = '\0';
	cr_expect_eq(store_find(store, text + 7, &found, NULL), -ENOENT);
	cr_expect_eq(store_find(store, "r.io/two", &found, NULL), -ENOENT);
	cr_expect_eq(store_find(store, "one:2", &found, NULL), -ENOENT);
	cr_expect_eq(store_find(store, "' OR 1=1 --", &found, NULL), -ENOENT);
	store_image_file(&image.manifest, false, file);
	fd = store_open_file(store, file, &err);
	cr_assert_geq(fd, 0);
	cr_expect_eq(store_remove(store, "one", NULL, 0, &err), 0);
	cr_expect_eq(store_find(store, "r.io/two:2", &found, NULL), 0,
		     "its other name keeps the image");
	cr_expect_eq(store_remove(store, "r.io/two:2", NULL, 0, &err), 0);
	cr_expect_eq(store_open_file(store, file, NULL), -ENOENT);
	cr_expect_eq(pread(fd, buf, 4, 0), 4, "descriptors handed out stay good");
	cr_expect_eq(memcmp(buf, "hsqs", 4), 0);
	close(fd);
	cr_expect_eq(store_remove(store, "one", NULL, 0, &err), -ENOENT);
	cr_expect_str_eq(err.text, "image 'one' is not in the store; get it with 'protect image "
				   "pull' or 'protect image import'");
	fixture_close(&fixture);
}

Test(storage_image, leftovers_of_a_crash_go)
{
	char path[128];
	struct store_image image;
	struct error err = ERROR_NULL;
	char *out;

	write_layout(NULL, NULL);
	cr_assert_eq(layout_import(&fixture, "x", &image, &err), 0, "%s", err.text);
	out = output_of("cd %s/store && touch tmp/a images/b.squashfs blobs/sha256/c && mkdir -p "
			"kernels/d tmp/e && "
			"touch kernels/d/image tmp/e/image",
			fixture.dir);
	free(out);
	snprintf(path, sizeof(path), "%s/store", fixture.dir);
	store_close(fixture.storage.store);
	cr_assert_eq(store_open(&fixture.storage.store, path, 64 * MIB, &err), 0, "%s", err.text);
	out = output_of("find %s/store -mindepth 2 -type f | wc -l; find %s/store/kernels "
			"%s/store/tmp -mindepth 1",
			fixture.dir, fixture.dir, fixture.dir);
	cr_expect_str_eq(out, "3\n", "the image, its manifest and its configuration stay: %s", out);
	free(out);
	cr_expect_eq(store_find(fixture.storage.store, "x", &image, NULL), 0);
	fixture_close(&fixture);
}

static int import_file(const char *command, const char *name, struct store_image *image,
		       struct error *err)
{
	_cleanup_(close_fdp) int fd = -1;
	struct job job = JOB_NONE;
	char path[128];
	char *out = output_of("cd %s && %s", fixture.dir, command);

	free(out);
	snprintf(path, sizeof(path), "%s/archive", fixture.dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	cr_assert_geq(fd, 0);
	return ops_import_fd(&fixture.storage, fd, name, "", &job, image, err);
}

Test(storage_image, archives)
{
	struct store_image direct, image;
	struct error err = ERROR_NULL;

	write_layout("gzip", NULL);
	cr_assert_eq(layout_import(&fixture, "direct", &direct, &err), 0, "%s", err.text);
	cr_expect_eq(import_file("tar -C layout -cf archive .", "a", &image, &err), 0, "%s",
		     err.text);
	cr_expect(digest_equal(&direct.manifest, &image.manifest));
	cr_expect_eq(import_file("tar -C layout -cf archive index.json oci-layout blobs", "b",
				 &image, &err),
		     0);
	cr_expect_eq(import_file("tar -C layout -czf archive blobs oci-layout index.json", "c",
				 &image, &err),
		     0);
	cr_expect_eq(
		import_file("tar -C layout --exclude='blobs/*' -cf archive .", "d", &image, &err),
		-EBADMSG);
	err = (struct error)ERROR_NULL;
	cr_expect_eq(import_file("tar -C layout -cf archive . && truncate -s 2000 archive", "e",
				 &image, &err),
		     -EBADMSG);
	err = (struct error)ERROR_NULL;
	cr_expect_eq(import_file("head -c 5000 /dev/urandom >archive", "f", &image, &err),
		     -EBADMSG);
	err = (struct error)ERROR_NULL;
	cr_expect_eq(import_file(": >archive", "g", &image, &err), -EBADMSG);
	err = (struct error)ERROR_NULL;
	cr_expect_eq(import_file("tar -C layout -cf archive .", "", &image, &err), -EINVAL,
		     "a tag is no name");
	cr_expect_not_null(strstr(err.text, "--name"));
	cr_expect(tmp_is_empty(&fixture));
	fixture_close(&fixture);
}

Test(storage_image, docker_archive_of_skopeo)
{
	struct store_image image, found;
	struct error err = ERROR_NULL;
	char *a, *b;

	write_layout("gzip", NULL);
	cr_assert_eq(import_file("skopeo copy -q oci:layout:test docker-archive:archive:my/app:3",
				 "", &image, &err),
		     0, "%s", err.text);
	cr_expect_eq(store_find(fixture.storage.store, "my/app:3", &found, &err), 0, "%s",
		     err.text);
	cr_assert_eq(layout_import(&fixture, "direct", &image, &err), 0, "%s", err.text);
	a = output_of("sha256sum %s/store/images/* | cut -c1-64 | sort -u | wc -l", fixture.dir);
	b = output_of("ls %s/store/images | wc -l", fixture.dir);
	cr_expect_str_eq(a, "1\n", "the same content whichever way it came");
	cr_expect_str_eq(b, "2\n");
	free(a);
	free(b);
	fixture_close(&fixture);
}

Test(storage_image, hostile_json)
{
	static const char *const manifests[] = {
		"",
		"[]",
		"{}",
		"{\"layers\":[]}",
		"{\"config\":{},\"layers\":{}}",
		"{\"manifests\":[],\"layers\":[]}",
		"{\"config\":{\"digest\":\"sha256:00\",\"size\":1},\"layers\":[]}",
		"{\"config\":{\"digest\":5,\"size\":1},\"layers\":[]}",
		"{\"layers\":[],\"layers\":[],\"config\":{}}",
		"{\"config\":{\"digest\":\"md5:00\",\"size\":1},\"layers\":[]}",
		"{\"config\":{\"digest\":\"sha256:"
		"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\",\"size\":-1},"
		"\"layers\":[]}",
		"{\"config\":{\"digest\":\"sha256:"
		"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\","
		"\"size\":99999999999},\"layers\":[]}",
	};
	_cleanup_(freep) char *deep = malloc(100001);
	struct oci_manifest *manifest = malloc(sizeof(*manifest));
	enum oci_kind kind;

	for (size_t i = 0; i < ARRAY_SIZE(manifests); i++) {
		struct error err = ERROR_NULL;

		cr_expect_lt(oci_parse_manifest(manifests[i], strlen(manifests[i]), manifest, &err),
			     0, "%s", manifests[i]);
		cr_expect_neq(err.text[0], '\0');
	}
	memset(deep, '[', 100000);
	cr_expect_lt(oci_kind_of(deep, 100000, &kind, NULL), 0);
	free(manifest);
	fixture_close(&fixture);
}

Test(storage_image, index_choice)
{
	static const char index[] =
		"{\"manifests\":["
		"{\"digest\":\"sha256:"
		"1111111111111111111111111111111111111111111111111111111111111111\",\"size\":1,"
		"\"platform\":{\"os\":\"linux\",\"architecture\":\"arm64\"}},"
		"{\"digest\":\"sha256:"
		"2222222222222222222222222222222222222222222222222222222222222222\",\"size\":2,"
		"\"platform\":{\"os\":\"linux\",\"architecture\":\"amd64\"},"
		"\"annotations\":{\"org.opencontainers.image.ref.name\":\"r.io/a:one\"}},"
		"{\"digest\":\"sha256:"
		"3333333333333333333333333333333333333333333333333333333333333333\",\"size\":3,"
		"\"annotations\":{\"org.opencontainers.image.ref.name\":\"two\"}}]}";
	struct oci_descriptor chosen;
	struct error err = ERROR_NULL;
	char *name;

	cr_expect_eq(oci_select(index, strlen(index), NULL, 0, 0, &chosen, &err), 0);
	cr_expect_eq(chosen.size_bytes, 2);
	cr_expect_eq(oci_select(index, strlen(index), "one", 1, 0, &chosen, &err), 0);
	cr_expect_eq(chosen.size_bytes, 2);
	name = oci_ref_name(index, strlen(index), &chosen.digest);
	cr_expect_str_eq(name, "r.io/a:one");
	free(name);
	cr_expect_eq(oci_select(index, strlen(index), "two", 1, 0, &chosen, &err), 0);
	cr_expect_eq(chosen.size_bytes, 3);
	cr_expect_eq(oci_select(index, strlen(index), NULL, 1, 0, &chosen, &err), -EINVAL);
	cr_expect_eq(oci_select(index, strlen(index), "wo", 1, 0, &chosen, NULL), -ENOENT);
	fixture_close(&fixture);
}

Test(storage_image, a_full_store)
{
	char path[128];
	struct store_image image;
	struct error err = ERROR_NULL;
	_cleanup_(freep) char *noise = malloc(3 * MIB);
	struct tar *tar = tar_new(NULL);

	/* The disk that fills up is a small file system of its own, which takes root to mount. */
	snprintf(path, sizeof(path), "%s/small", fixture.dir);
	cr_assert_eq(mkdir(path, 0700), 0);
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("small", path, "tmpfs", 0, "size=5m") < 0) {
		tar_end(tar);
		tar_free(tar);
		fixture_close(&fixture);
		cr_skip_test("needs root");
	}
	store_close(fixture.storage.store);
	cr_assert_eq(store_open(&fixture.storage.store, path, 64 * MIB, &err), 0, "%s", err.text);
	for (size_t i = 0; i < 3 * MIB; i += 256)
		cr_assert_eq(getrandom(noise + i, 256, 0), 256);
	for (size_t i = 0; i < 3 * MIB; i++)
		noise[i] = (char)(noise[i] | 1);
	noise[3 * MIB - 1] = '\0';
	tar_file(tar, "noise", noise);
	tar_end(tar);
	layout_write(&fixture, &tar, 1, NULL);
	cr_expect_eq(layout_import(&fixture, "x", &image, &err), -ENOSPC, "%s", err.text);
	cr_expect_not_null(strstr(err.text, "is full"), "%s", err.text);
	cr_expect_eq(store_find(fixture.storage.store, "x", &image, NULL), -ENOENT);
	tar_free(tar);
	write_layout(NULL, NULL);
	err = (struct error)ERROR_NULL;
	cr_expect_eq(layout_import(&fixture, "y", &image, &err), 0, "%s", err.text);
	umount2(path, MNT_DETACH);
	fixture_close(&fixture);
}

static void *import_in_thread(void *context)
{
	const char *name = context;
	struct error err = ERROR_NULL;
	struct store_image image;

	cr_expect_eq(layout_import(&fixture, name, &image, &err), 0, "%s", err.text);
	return NULL;
}

Test(storage_image, equal_imports_at_once)
{
	char names[6][8];
	pthread_t threads[6];
	struct store_image image;
	char *out;

	write_layout("gzip", NULL);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		snprintf(names[i], sizeof(names[i]), "n%zu", i);
		cr_assert_eq(pthread_create(&threads[i], NULL, import_in_thread, names[i]), 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		cr_expect_eq(store_find(fixture.storage.store, names[i], &image, NULL), 0);
	out = output_of("ls %s/store/images | wc -l", fixture.dir);
	cr_expect_str_eq(out, "1\n");
	free(out);
	cr_expect(tmp_is_empty(&fixture));
	fixture_close(&fixture);
}
