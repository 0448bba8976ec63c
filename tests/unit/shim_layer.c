// SPDX-License-Identifier: Apache-2.0
/* What the shim reads of a container's files: real mounts, real tar. As root. */
#include "tests/unit/harness.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <archive.h>
#include <archive_entry.h>

#include "base/io.h"
#include "protect/shim/layer.h"

UNIT_SUITE(shim_layer);

static char folder[64];

static void make_file(const char *path, const char *text)
{
	char full[256];
	int fd;

	snprintf(full, sizeof(full), "%s/%s", folder, path);
	fd = open(full, O_CREAT | O_WRONLY | O_TRUNC, 0640);
	cr_assert_geq(fd, 0, "%s", full);
	cr_assert_eq(io_write_full(fd, text, strlen(text)), 0);
	close(fd);
}

static void make_dir(const char *path)
{
	char full[256];

	snprintf(full, sizeof(full), "%s/%s", folder, path);
	cr_assert_eq(mkdir(full, 0755), 0, "%s", full);
}

static void make_tree(void)
{
	if (geteuid() != 0)
		cr_skip_test("SKIP: needs root");
	strcpy(folder, "/tmp/shim-layer-XXXXXX");
	cr_assert_neq(mkdtemp(folder), NULL);
	make_dir("rootfs");
	make_dir("s");
	make_dir("s/1");
	make_dir("s/1/fs");
	make_dir("s/2");
	make_dir("s/2/fs");
	make_dir("s/2/work");
	make_file("s/1/fs/lower", "below");
	make_file("s/2/fs/upper", "above");
}

static char *read_all(struct layer_reader *reader, size_t *len)
{
	char *text = NULL, chunk[4096];
	ssize_t n;

	*len = 0;
	fcntl(reader->fd, F_SETFL, 0);
	while ((n = read(reader->fd, chunk, sizeof(chunk))) > 0) {
		text = realloc(text, *len + (size_t)n);
		memcpy(text + *len, chunk, (size_t)n);
		*len += (size_t)n;
	}
	return text;
}

/* The names in a tar, in order, parted by blanks. */
static void names_of(const char *tar, size_t len, char *out, size_t size)
{
	struct archive *archive = archive_read_new();
	struct archive_entry *entry;
	size_t used = 0;

	archive_read_support_format_tar(archive);
	cr_assert_eq(archive_read_open_memory(archive, tar, len), ARCHIVE_OK);
	*out = '\0';
	while (archive_read_next_header(archive, &entry) == ARCHIVE_OK)
		used += (size_t)snprintf(out + used, size - used, "%s ",
					 archive_entry_pathname(entry));
	archive_read_free(archive);
}

Test(shim_layer, an_overlay_is_mounted_for_its_reader_alone, .init = make_tree)
{
	struct layer_reader reader = LAYER_READER_NULL, again = LAYER_READER_NULL;
	Protect__Shim__Mount overlay = PROTECT__SHIM__MOUNT__INIT, *mounts[] = {&overlay};
	struct error err = ERROR_NULL;
	char options[3][160], *list[] = {options[0], options[1], options[2]};
	char root[80], names[256], type[] = "overlay", *tar, *second;
	size_t len, len2;

	snprintf(root, sizeof(root), "%s/rootfs", folder);
	snprintf(options[0], sizeof(options[0]), "workdir=%s/s/2/work", folder);
	snprintf(options[1], sizeof(options[1]), "upperdir=%s/s/2/fs", folder);
	snprintf(options[2], sizeof(options[2]), "lowerdir=%s/s/1/fs", folder);
	overlay.type = overlay.source = type;
	overlay.options = list;
	overlay.n_options = 3;
	cr_assert_eq(layer_read_root(&reader, mounts, 1, root, &err), 0, "%s", err.text);
	tar = read_all(&reader, &len);
	cr_assert_eq(layer_reader_finish(&reader), 0);
	names_of(tar, len, names, sizeof(names));
	cr_assert_str_eq(names, "lower upper ");
	cr_assert_neq(rmdir(root), -1, "a mount is left");
	mkdir(root, 0755);
	cr_assert_eq(layer_read_root(&again, mounts, 1, root, &err), 0, "%s", err.text);
	second = read_all(&again, &len2);
	cr_assert_eq(layer_reader_finish(&again), 0);
	cr_assert(len == len2 && memcmp(tar, second, len) == 0, "another stream of the same tree");
	free(tar);
	free(second);
}
