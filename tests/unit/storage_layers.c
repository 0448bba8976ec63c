// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/storage_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "supervisor/storage/image.h"
#include "supervisor/storage/layers.h"
#include "tests/unit/harness.h"

static struct fixture fixture;

static void set_up(void)
{
	fixture_open(&fixture, 64 * MIB);
}

UNIT_SUITE(storage_layers, .init = set_up);

/* Ends the tars, makes an image of them, and returns what unsquashfs lists, names cut to below the
 * root. */
static char *merge(struct tar **layers, unsigned n, struct error *err)
{
	struct store_image image;
	char file[STORE_PATH_MAX];
	int r;

	for (unsigned i = 0; i < n; i++)
		tar_end(layers[i]);
	layout_write(&fixture, layers, n, NULL);
	for (unsigned i = 0; i < n; i++)
		tar_free(layers[i]);
	r = layout_import(&fixture, "x", &image, err);
	if (r < 0)
		return NULL;
	store_image_file(&image.manifest, false, file);
	return output_of("unsquashfs -lln %s/store/%s | "
			 "sed -E 's| squashfs-root/| /|; s/ [0-9]+-[0-9-]+ [0-9:]+ / /; s/  +/ /g'",
			 fixture.dir, file);
}

#define MERGE(...)                                                                                 \
	({                                                                                         \
		struct tar *layers_[] = {__VA_ARGS__};                                             \
		struct error err_ = ERROR_NULL;                                                    \
		char *out_ = merge(layers_, ARRAY_SIZE(layers_), &err_);                           \
		cr_assert_not_null(out_, "%s", err_.text);                                         \
		out_;                                                                              \
	})

static bool has(const char *list, const char *line_end)
{
	for (const char *at = strstr(list, line_end); at; at = strstr(at + 1, line_end))
		if (at[strlen(line_end)] == '\n' || strncmp(at + strlen(line_end), " ->", 3) == 0)
			return true;
	return false;
}

/* Content of a file of the last image. */
static char *content(const char *path)
{
	return output_of("sqfscat %s/store/images/*.squashfs %s", fixture.dir, path);
}

static void finish(char *list)
{
	cr_expect(tmp_is_empty(&fixture));
	free(list);
	fixture_close(&fixture);
}

Test(storage_layers, whiteouts_and_opaque_folders)
{
	struct tar *low = tar_new(NULL), *high = tar_new("gzip");
	char *list;

	tar_dir(low, "etc", 0755);
	tar_file(low, "etc/gone", "1");
	tar_file(low, "etc/stays", "1");
	tar_dir(low, "data", 0700);
	tar_file(low, "data/old", "1");
	tar_dir(low, "data/sub", 0755);
	tar_file(low, "data/sub/deep", "1");
	tar_dir(low, "tree", 0755);
	tar_file(low, "tree/a", "1");
	tar_file(high, "etc/.wh.gone", "");
	tar_file(high, "etc/.wh.never-there", "");
	tar_file(high, "data/new", "2");
	tar_file(high, "data/sub/kept", "2");
	tar_file(high, "data/.wh..wh..opq",
		 ""); /* after its siblings: still only hides lower layers */
	tar_file(high, ".wh.tree", "");
	tar_file(high, "tree/b", "2");
	tar_file(high, ".wh..wh.plnk", "");
	list = MERGE(low, high);
	cr_expect(has(list, " /etc/stays") && !has(list, " /etc/gone"));
	cr_expect(has(list, " /data/new") && has(list, " /data/sub/kept"));
	cr_expect(!has(list, " /data/old") && !has(list, " /data/sub/deep"));
	cr_expect(has(list, " /tree/b") && !has(list, " /tree/a"));
	cr_expect_null(strstr(list, ".wh."), "%s", list);
	cr_expect_not_null(strstr(list, "drwx------ 0/0 "),
			   "the folder that holds the opaque mark stays as it was");
	finish(list);
}

Test(storage_layers, hard_links)
{
	struct tar *low = tar_new(NULL), *high = tar_new("zstd");
	char *list, *text;

	tar_hard_link(low, "a/before", "a/target"); /* mksquashfs alone would drop it */
	tar_file(low, "a/target", "shared");
	tar_hard_link(low, "z", "./a/target");
	tar_file(low, "gone", "kept content");
	tar_hard_link(low, "other-name", "/gone");
	tar_file(high, ".wh.gone", "");
	tar_hard_link(high, "upper", "z");
	list = MERGE(low, high);
	cr_expect(has(list, " /a/before") && has(list, " /a/target") && has(list, " /z") &&
		  has(list, " /upper"));
	cr_expect(has(list, " /other-name") && !has(list, " /gone"));
	text = content("other-name");
	cr_expect_str_eq(text, "kept content");
	free(text);
	text = content("upper");
	cr_expect_str_eq(text, "shared");
	free(text);
	finish(list);
}

Test(storage_layers, types_change)
{
	struct tar *low = tar_new(NULL), *high = tar_new(NULL);
	char *list;

	tar_dir(low, "was-dir", 0755);
	tar_file(low, "was-dir/inside", "1");
	tar_file(low, "was-file", "1");
	tar_symlink(low, "was-link", "elsewhere");
	tar_file(low, "file-parent", "1");
	tar_file(high, "was-dir", "2");
	tar_dir(high, "was-file", 0750);
	tar_file(high, "was-file/inside", "2");
	tar_dir(high, "was-link", 0755);
	tar_file(high, "file-parent/child", "2");
	list = MERGE(low, high);
	cr_expect(!has(list, " /was-dir/inside") && has(list, " /was-file/inside"));
	cr_expect_not_null(strstr(list, "-rw-r--r-- 0/0 1 /was-dir\n"), "%s", list);
	cr_expect_not_null(strstr(list, "drwxr-x--- "));
	cr_expect(has(list, " /was-link") && !strstr(list, "elsewhere"));
	cr_expect(has(list, " /file-parent/child"));
	finish(list);
}

Test(storage_layers, paths_are_normalised)
{
	struct tar *low = tar_new(NULL), *high = tar_new(NULL);
	char *list;

	tar_dir(low, "./", 0711);
	tar_dir(low, "usr/lib", 0755);
	tar_symlink(low, "lib", "usr/lib");
	tar_symlink(low, "up", "../../usr/./lib");
	tar_file(high, "/abs//file", "1");
	tar_file(high, "./lib/through", "1"); /* as unpacking would: into usr/lib */
	tar_file(high, "up/over", "1");
	tar_file(high, "no/parent/here", "1");
	tar_file(high, "n\303\251\377", "1"); /* bytes that are no UTF-8 */
	list = MERGE(low, high);
	cr_expect(has(list, " /abs/file") && has(list, " /no/parent/here"));
	cr_expect(has(list, " /usr/lib/through") && has(list, " /usr/lib/over"));
	cr_expect(has(list, " /lib") && !has(list, " /lib/through"));
	cr_expect(has(list, " /n\303\251\377"), "%s", list);
	cr_expect_not_null(strstr(list, "drwx--x--x 0/0 "), "%s", list);
	finish(list);
}

Test(storage_layers, attributes)
{
	/* struct vfs_cap_data: revision 2, CAP_NET_BIND_SERVICE permitted and effective. */
	static const char capability[20] = {1, 0, 0, 2, 0, 4};
	struct tar *tar = tar_new(NULL);
	char *list, *text;

	tar_xattr_file(tar, "cap", "security.capability", capability, sizeof(capability));
	tar_xattr_file(tar, "user", "user.mine", "v", 1);
	tar_xattr_file(tar, "whiteout", "trusted.overlay.opaque", "y", 1);
	tar_xattr_file(tar, "whiteout2", "user.overlay.opaque", "y", 1);
	tar_device(tar, "dev/null", 1, 3);
	list = MERGE(tar);
	cr_expect(has(list, " /dev/null"));
	text = output_of(
		"cd %s && unsquashfs -q -n -d root store/images/*.squashfs >/dev/null 2>&1; "
		"python3 -c 'import os\nfor f in sorted(os.listdir(\"root\")): print(f, "
		"os.listxattr(\"root/\"+f))'",
		fixture.dir);
	if (geteuid() == 0)
		cr_expect_not_null(strstr(text, "cap ['security.capability']"), "%s", text);
	cr_expect_not_null(strstr(text, "user ['user.mine']"), "%s", text);
	cr_expect_not_null(strstr(text, "whiteout []\nwhiteout2 []"), "%s", text);
	free(text);
	finish(list);
}

Test(storage_layers, refuses_what_is_hostile)
{
	char long_path[6000], long_name[400];
	const char *const paths[] = {"../x", "a/../../x", "a/..",    long_path, long_name,
				     ".wh.", ".wh...",	  "a/.wh..", ""};
	struct error err;

	memset(long_path, 'a', sizeof(long_path) - 1);
	for (size_t i = 100; i < sizeof(long_path); i += 100)
		long_path[i] = '/';
	long_path[sizeof(long_path) - 1] = '\0';
	memset(long_name, 'b', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	for (size_t i = 0; i + 1 < ARRAY_SIZE(paths); i++) {
		struct tar *tar = tar_new(NULL);

		tar_file(tar, paths[i], "x");
		err = (struct error)ERROR_NULL;
		cr_expect_null(merge(&tar, 1, &err), "%.20s was taken", paths[i]);
		cr_expect_neq(err.text[0], '\0');
		cr_expect(tmp_is_empty(&fixture));
	}
	fixture_close(&fixture);
}

Test(storage_layers, refuses_bad_links)
{
	struct error err = ERROR_NULL;
	struct tar *tar = tar_new(NULL);

	tar_hard_link(tar, "a", "missing");
	cr_expect_null(merge(&tar, 1, &err));
	cr_expect_not_null(strstr(err.text, "'missing'"), "%s", err.text);
	tar = tar_new(NULL);
	tar_dir(tar, "d", 0755);
	tar_hard_link(tar, "a", "d");
	err = (struct error)ERROR_NULL;
	cr_expect_null(merge(&tar, 1, &err));
	tar = tar_new(NULL);
	tar_hard_link(tar, "a", "../../etc/passwd");
	err = (struct error)ERROR_NULL;
	cr_expect_null(merge(&tar, 1, &err));
	tar = tar_new(NULL);
	tar_symlink(tar, "l", "l");
	tar_file(tar, "l/x", "1");
	err = (struct error)ERROR_NULL;
	cr_expect_null(merge(&tar, 1, &err));
	cr_expect_not_null(strstr(err.text, "symbolic links"), "%s", err.text);
	fixture_close(&fixture);
}

Test(storage_layers, equal_layers_give_equal_bytes)
{
	char *sums[2];

	for (int round = 0; round < 2; round++) {
		struct tar *low = tar_new(NULL);

		tar_dir(low, "d", 0755);
		tar_file(low, "d/f", "1");
		tar_hard_link(low, "d/b", "d/f");
		tar_hard_link(low, "a", "d/f");
		free(MERGE(low));
		sums[round] = output_of("cat %s/store/images/*.squashfs | sha256sum", fixture.dir);
		fixture_close(&fixture);
		if (round == 0) {
			sleep(1);
			set_up();
		}
	}
	cr_expect_str_eq(sums[0], sums[1]);
	free(sums[0]);
	free(sums[1]);
}
