// SPDX-License-Identifier: Apache-2.0
/* Whole images and archives made to attack the store: what gets in, and what is on the host then.
 */
#include "tests/unit/storage_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "supervisor/storage/archive_import.h"
#include "supervisor/storage/oci.h"
#include "tests/unit/harness.h"
#include "tests/unit/storage_raw_tar.h"

static struct fixture fixture;

static void set_up(void)
{
	fixture_open(&fixture, 64 * MIB);
}

UNIT_SUITE(storage_attacks_image, .init = set_up);

/* Imports the image whose only layer is this tar, which is freed. */
static int import_layer(struct raw_tar *raw, struct error *err)
{
	struct tar tar = {.data = raw->data, .len = raw->len}, *layers[] = {&tar};
	struct store_image image;
	int r;

	layout_write(&fixture, layers, 1, NULL);
	r = layout_import(&fixture, "x", &image, err);
	raw_free(raw);
	return r;
}

/* What unsquashfs lists of the image, without times. */
static char *list(void)
{
	return output_of("unsquashfs -lln %s/store/images/*.squashfs | "
			 "sed -E 's| squashfs-root/| /|; s/ [0-9]+-[0-9-]+ [0-9:]+ / /; s/  +/ /g'",
			 fixture.dir);
}

static void expect_in_list(const char *line)
{
	_cleanup_(freep) char *text = list();

	cr_expect_not_null(strstr(text, line), "'%s' is not in\n%s", line, text);
}

Test(storage_attacks_image, as_deep_as_a_path_may_be)
{
	struct raw_tar tar = {.data = NULL};
	_cleanup_(freep) char *path = calloc(1, LAYERS_PATH_MAX), *text = NULL;
	struct error err = ERROR_NULL;

	for (int i = 0; i < 2047; i++)
		memcpy(path + 2 * i, "d/", 2);
	path[4094] = 'f';
	raw_pax_one(&tar, "path", path, strlen(path));
	raw_file(&tar, "unused", "x");
	raw_end(&tar);
	cr_expect_eq(import_layer(&tar, &err), 0, "%s", err.text);
	text = output_of("unsquashfs -lln %s/store/images/*.squashfs | grep -c /d", fixture.dir);
	cr_expect_str_eq(text, "2048\n");
	fixture_close(&fixture);
}

static void *stop_soon(void *context)
{
	usleep(200000);
	atomic_store((atomic_bool *)context, true);
	return NULL;
}

/* However long a layer takes to read, who waits for it may leave. */
Test(storage_attacks_image, reading_can_be_cancelled)
{
	struct raw_tar raw = {.data = NULL};
	struct tar tar, *layers[] = {&tar};
	atomic_bool stop = false;
	struct job job = {.socket = -1, .stop = &stop};
	struct error err = ERROR_NULL;
	struct store_image image;
	pthread_t thread;

	for (unsigned i = 0; i < 18000; i++) {
		char name[16];

		snprintf(name, sizeof(name), "d/%u", i);
		raw_entry(&raw, '0', i < 9000 ? name : ".wh.d", "");
	}
	raw_end(&raw);
	tar = (struct tar){.data = raw.data, .len = raw.len};
	layout_write(&fixture, layers, 1, NULL);
	raw_free(&raw);
	cr_assert_eq(pthread_create(&thread, NULL, stop_soon, &stop), 0);
	cr_expect_eq(
		ops_import_layout(&fixture.storage, fixture.layout, NULL, "x", &job, &image, &err),
		-ECANCELED, "%s", err.text);
	pthread_join(thread, NULL);
	cr_expect(tmp_is_empty(&fixture));
	fixture_close(&fixture);
}

/* They are the image's, which only the zone's own kernel ever mounts. */
Test(storage_attacks_image, nothing_special_on_the_host)
{
	struct tar *tar = tar_new(NULL);
	_cleanup_(freep) char *text = NULL;
	struct archive_entry *entry = archive_entry_new();
	struct store_image image;
	struct error err = ERROR_NULL;

	tar_device(tar, "dev/mem", 1, 1);
	tar_symlink(tar, "kernel/image", "/etc/shadow");
	archive_entry_set_pathname(entry, "bin/su");
	archive_entry_set_mode(entry, AE_IFREG | 06755);
	archive_entry_set_size(entry, 0);
	archive_write_header(tar->archive, entry);
	archive_entry_set_pathname(entry, "pipe");
	archive_entry_set_mode(entry, AE_IFIFO | 0666);
	archive_write_header(tar->archive, entry);
	archive_entry_free(entry);
	tar_end(tar);
	layout_write(&fixture, &tar, 1, NULL);
	tar_free(tar);
	cr_assert_eq(layout_import(&fixture, "x", &image, &err), 0, "%s", err.text);
	cr_expect_not(image.kernel, "a link is no kernel");
	expect_in_list("crw------- 0/0 1, 1 /dev/mem");
	expect_in_list("-rwsr-sr-x 0/0 0 /bin/su");
	expect_in_list("prw-rw-rw- 0/0 0 /pipe");
	expect_in_list("/kernel/image -> /etc/shadow");
	text = output_of("find %s ! -type f ! -type d -o -type f -perm /6000", fixture.dir);
	cr_expect_str_eq(text, "");
	fixture_close(&fixture);
}

/* Imports a tar as an archive. */
static void expect_archive_refused(struct raw_tar *tar, int code, const char *text)
{
	_cleanup_(close_fdp) int fd = memfd_create("archive", MFD_CLOEXEC);
	struct job job = JOB_NONE;
	struct store_image image;
	struct error err = ERROR_NULL;

	raw_end(tar);
	cr_assert_eq(io_write_full(fd, tar->data, tar->len), 0);
	cr_assert_eq(lseek(fd, 0, SEEK_SET), 0);
	cr_expect_eq(ops_import_fd(&fixture.storage, fd, "x", "", &job, &image, &err), code,
		     "%s: %s", text, err.text);
	cr_expect_not_null(strstr(err.text, text), "'%s' is not in '%s'", text, err.text);
	cr_expect(tmp_is_empty(&fixture));
	raw_free(tar);
}

Test(storage_attacks_image, members_of_an_archive)
{
	struct raw_tar tar = {.data = NULL};

	raw_file(&tar, "../index.json", "{}");
	expect_archive_refused(&tar, -EINVAL, "a member outside itself");
	raw_file(&tar, "blobs/../../x", "{}");
	expect_archive_refused(&tar, -EINVAL, "a member outside itself");
	raw_entry(&tar, '2', "index.json", "../../../etc/passwd");
	expect_archive_refused(&tar, -EINVAL, "a link outside itself");
	raw_entry(&tar, '2', "index.json", "/etc/passwd"); /* of the archive, which has none */
	expect_archive_refused(&tar, -EBADMSG, "neither an OCI layout");
	raw_entry(&tar, '2', "index.json", "manifest.json");
	raw_entry(&tar, '1', "manifest.json", "index.json");
	expect_archive_refused(&tar, -EBADMSG, "neither an OCI layout");
	raw_entry(&tar, '6', "index.json", "");
	expect_archive_refused(&tar, -EINVAL, "a member that is no file");
	raw_entry(&tar, '3', "x", "");
	expect_archive_refused(&tar, -EINVAL, "a member that is no file");
	raw_entry(&tar, '5', "index.json", "");
	expect_archive_refused(&tar, -EBADMSG, "neither an OCI layout");
	for (unsigned i = 0; i <= ARCHIVE_MEMBERS_MAX; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%u", i);
		raw_file(&tar, name, "x");
	}
	expect_archive_refused(&tar, -E2BIG, "too many or too long names");
	fixture_close(&fixture);
}

Test(storage_attacks_image, documents_of_an_archive)
{
	static const char docker[] = "[{\"Config\":\"%s\",\"Layers\":[\"%s\"]}]";
	struct raw_tar tar = {.data = NULL};
	char text[256], *big = calloc(1, 4 * MIB + 2);

	memset(big, ' ', 4 * MIB + 1);
	raw_file(&tar, "index.json", big);
	expect_archive_refused(&tar, -EFBIG, "larger than 4 MiB");
	free(big);
	snprintf(text, sizeof(text), docker, "/etc/passwd", "../../etc/shadow");
	raw_file(&tar, "manifest.json", text);
	expect_archive_refused(&tar, -EBADMSG, "lacks the configuration '/etc/passwd'");
	raw_file(&tar, "c", "{}");
	snprintf(text, sizeof(text), docker, "c", "../../etc/shadow");
	raw_file(&tar, "manifest.json", text);
	expect_archive_refused(&tar, -EBADMSG, "lacks the layer '../../etc/shadow'");
	/* Its own index as the image, and a layer that is its own manifest. */
	raw_file(&tar, "manifest.json", "[{\"Config\":\"manifest.json\",\"Layers\":[]}]");
	expect_archive_refused(&tar, -EBADMSG, "not valid JSON");
	raw_file(
		&tar, "index.json",
		"{\"manifests\":[{\"digest\":\"sha256:"
		"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\",\"size\":1}]}");
	expect_archive_refused(&tar, -EBADMSG, "holds no bytes of");
	raw_file(&tar, "index.json", "{\"manifests\":[],\"manifests\":[]}");
	expect_archive_refused(&tar, -EBADMSG, "not valid JSON");
	fixture_close(&fixture);
}

/* A platform is given in an index or in the configuration; neither may be another's, and an entry
 * or a configuration without one counts as ours. */
Test(storage_attacks_image, platforms)
{
	static const char entry[] = "{\"manifests\":[{\"digest\":\"sha256:"
				    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd"
				    "ef\",\"size\":1%s}]}";
	static const char *const others[] = {
		",\"platform\":{}",
		",\"platform\":{\"os\":\"linux\"}",
		",\"platform\":{\"architecture\":\"amd64\"}",
		",\"platform\":\"linux/amd64\"",
		",\"platform\":{\"os\":[\"linux\"],\"architecture\":\"amd64\"}",
		",\"platform\":{\"os\":\"Linux\",\"architecture\":\"amd64\"}"};
	static const char rootfs[] = "{%s\"rootfs\":{\"diff_ids\":[]}}";
	struct oci_descriptor chosen;
	struct oci_rootfs *parsed = malloc(sizeof(*parsed));
	char text[512];

	snprintf(text, sizeof(text), entry, "");
	cr_expect_eq(oci_select(text, strlen(text), NULL, 0, 0, &chosen, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		snprintf(text, sizeof(text), entry, others[i]);
		cr_expect_eq(oci_select(text, strlen(text), NULL, 0, 0, &chosen, NULL), -ENOENT,
			     "%s", text);
	}
	snprintf(text, sizeof(text), rootfs, "");
	cr_expect_eq(oci_parse_rootfs(text, strlen(text), parsed, NULL), 0);
	snprintf(text, sizeof(text), rootfs, "\"os\":\"windows\",");
	cr_expect_eq(oci_parse_rootfs(text, strlen(text), parsed, NULL), -ENOTSUP);
	snprintf(text, sizeof(text), rootfs, "\"architecture\":\"arm64\",");
	cr_expect_eq(oci_parse_rootfs(text, strlen(text), parsed, NULL), -ENOTSUP);
	free(parsed);
	fixture_close(&fixture);
}
