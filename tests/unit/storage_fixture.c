// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/storage_fixture.h"

#include <locale.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "supervisor/storage/layer_reader.h"
#include "tests/unit/harness.h"

#define TAR_MAX (4u * 1024 * 1024)
#define CONFIG_HEAD                                                                                \
	"{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{\"Cmd\":[\"/bin/x\",\"y\"],"     \
	"\"Env\":[\"A=b\"],\"User\":\"12:34\",\"WorkingDir\":\"/w\",\"StopSignal\":\"SIGINT\"},"   \
	"\"rootfs\":{\"type\":\"layers\",\"diff_ids\":["

void fixture_open(struct fixture *fixture, uint64_t max_bytes)
{
	struct error err = ERROR_NULL;
	char path[128];

	setlocale(LC_CTYPE, "C.UTF-8"); /* both as main does */
	signal(SIGPIPE, SIG_IGN);
	memset(fixture, 0, sizeof(*fixture));
	snprintf(fixture->dir, sizeof(fixture->dir), "/tmp/storage-test.XXXXXX");
	cr_assert_not_null(mkdtemp(fixture->dir));
	snprintf(path, sizeof(path), "%s/store", fixture->dir);
	snprintf(fixture->layout, sizeof(fixture->layout), "%s/layout", fixture->dir);
	cr_assert_eq(settings_read(&fixture->settings, "/nonexistent", false, &err), 0);
	fixture->storage.settings = &fixture->settings;
	pthread_mutex_init(&fixture->storage.base.lock, NULL);
	cr_assert_eq(store_open(&fixture->storage.store, path, max_bytes, &err), 0, "%s", err.text);
}

void fixture_close(struct fixture *fixture)
{
	char *out;

	store_close(fixture->storage.store);
	out = output_of("rm -rf %s", fixture->dir);
	free(out);
}

char *output_of(const char *format, ...)
{
	char command[4096], *text = calloc(1, 1u << 20);
	va_list args;
	FILE *from;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	from = popen(command, "r");
	cr_assert(from && text);
	text[fread(text, 1, (1u << 20) - 1, from)] = '\0';
	pclose(from);
	return text;
}

bool tmp_is_empty(struct fixture *fixture)
{
	_cleanup_(freep) char *out = output_of("ls -A %s/store/tmp", fixture->dir);

	return out[0] == '\0';
}

struct tar *tar_new(const char *filter)
{
	struct tar *tar = calloc(1, sizeof(*tar));

	tar->archive = archive_write_new();
	tar->data = malloc(TAR_MAX);
	archive_write_set_format_pax_restricted(tar->archive);
	if (filter)
		archive_write_add_filter_by_name(tar->archive, filter);
	cr_assert_eq(archive_write_open_memory(tar->archive, tar->data, TAR_MAX, &tar->len),
		     ARCHIVE_OK);
	return tar;
}

static struct archive_entry *entry_new(const char *path, unsigned mode)
{
	struct archive_entry *entry = archive_entry_new();

	archive_entry_set_pathname(entry, path);
	archive_entry_set_mode(entry, mode);
	archive_entry_set_mtime(entry, 1000, 0);
	archive_entry_set_size(entry, 0);
	return entry;
}

static void put(struct tar *tar, struct archive_entry *entry, const char *text)
{
	cr_assert_geq(archive_write_header(tar->archive, entry), ARCHIVE_WARN, "%s",
		      archive_error_string(tar->archive));
	if (text)
		archive_write_data(tar->archive, text, strlen(text));
	archive_entry_free(entry);
}

void tar_dir(struct tar *tar, const char *path, unsigned mode)
{
	put(tar, entry_new(path, S_IFDIR | mode), NULL);
}

void tar_file(struct tar *tar, const char *path, const char *text)
{
	struct archive_entry *entry = entry_new(path, S_IFREG | 0644);

	archive_entry_set_size(entry, (int64_t)strlen(text));
	put(tar, entry, text);
}

void tar_xattr_file(struct tar *tar, const char *path, const char *name, const void *value,
		    size_t len)
{
	struct archive_entry *entry = entry_new(path, S_IFREG | 0644);

	archive_entry_xattr_add_entry(entry, name, value, len);
	put(tar, entry, NULL);
}

void tar_symlink(struct tar *tar, const char *path, const char *target)
{
	struct archive_entry *entry = entry_new(path, S_IFLNK | 0777);

	archive_entry_set_symlink(entry, target);
	put(tar, entry, NULL);
}

void tar_hard_link(struct tar *tar, const char *path, const char *target)
{
	struct archive_entry *entry = entry_new(path, S_IFREG | 0644);

	archive_entry_set_hardlink(entry, target);
	put(tar, entry, NULL);
}

void tar_device(struct tar *tar, const char *path, unsigned major, unsigned minor)
{
	struct archive_entry *entry = entry_new(path, S_IFCHR | 0600);

	archive_entry_set_rdevmajor(entry, major);
	archive_entry_set_rdevminor(entry, minor);
	put(tar, entry, NULL);
}

void tar_end(struct tar *tar)
{
	cr_assert_eq(archive_write_close(tar->archive), ARCHIVE_OK);
}

void tar_free(struct tar *tar)
{
	archive_write_free(tar->archive);
	free(tar->data);
	free(tar);
}

static void write_file(const char *dir, const char *name, const void *data, size_t len)
{
	char path[512];
	FILE *to;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	to = fopen(path, "w");
	cr_assert(to && fwrite(data, 1, len, to) == len);
	fclose(to);
}

/* Stores a blob and appends its descriptor, of the media type …TYPE, to text. */
static void put_blob(struct fixture *fixture, const char *type, const void *data, size_t len,
		     char *text, size_t size)
{
	char digest[DIGEST_TEXT_SIZE], name[128];
	struct digest sum;

	digest_of(data, len, &sum);
	digest_text(&sum, digest);
	snprintf(name, sizeof(name), "blobs/sha256/%s", digest + strlen("sha256:"));
	write_file(fixture->layout, name, data, len);
	snprintf(text + strlen(text), size - strlen(text),
		 "{\"mediaType\":\"application/vnd.oci.image.%s\",\"digest\":\"%s\",\"size\":%zu}",
		 type, digest, len);
}

struct memory {
	const char *data;
	size_t left;
};

static ssize_t read_memory(void *context, void *buf, size_t len)
{
	struct memory *memory = context;
	size_t n = len < memory->left ? len : memory->left;

	memcpy(buf, memory->data, n);
	memory->data += n;
	memory->left -= n;
	return (ssize_t)n;
}

static void diff_id_of(const struct tar *tar, char text[DIGEST_TEXT_SIZE])
{
	struct memory memory = {tar->data, tar->len};
	struct layer_reader *reader = NULL;
	struct error err = ERROR_NULL;
	uint64_t budget = UINT64_MAX;
	struct digest digest;

	cr_assert_eq(layer_reader_open(&reader, read_memory, &memory, &budget, "test", &err), 0,
		     "%s", err.text);
	cr_assert_eq(layer_reader_finish(reader, &digest, &err), 0, "%s", err.text);
	layer_reader_close(reader);
	digest_text(&digest, text);
}

void layout_write(struct fixture *fixture, struct tar *const *layers, unsigned n,
		  const struct layout_faults *faults)
{
	static const struct layout_faults none;
	char config[32768] = CONFIG_HEAD, manifest[32768] = "", list[16384] = "", index[1024] = "",
	     *out;

	faults = faults ? faults : &none;
	out = output_of("mkdir -p %s/blobs/sha256", fixture->layout);
	free(out);
	for (unsigned i = 0; i < n; i++) {
		char diff_id[DIGEST_TEXT_SIZE];
		size_t at = strlen(list);

		diff_id_of(layers[i], diff_id);
		if (faults->diff_id && i == 0)
			diff_id[DIGEST_TEXT_SIZE - 2] =
				diff_id[DIGEST_TEXT_SIZE - 2] == '0' ? '1' : '0';
		snprintf(config + strlen(config), sizeof(config) - strlen(config), "%s\"%s\"",
			 i ? "," : "", diff_id);
		snprintf(list + at, sizeof(list) - at, "%s", i ? "," : "");
		put_blob(fixture, layers[i]->data[0] == 0x1f ? "layer.v1.tar+gzip" : "layer.v1.tar",
			 layers[i]->data, layers[i]->len, list, sizeof(list));
		if (i == 0 && (faults->digest || faults->truncated)) {
			char name[128];

			snprintf(name, sizeof(name), "blobs/sha256/%.64s",
				 strstr(list, "sha256:") + 7);
			layers[i]->data[layers[i]->len / 2] ^= (char)faults->digest;
			write_file(fixture->layout, name, layers[i]->data,
				   layers[i]->len - faults->truncated);
		}
		if (i == 0 && faults->size)
			snprintf(strstr(list, "\"size\""), 64, "\"size\":%zu}", layers[i]->len - 1);
	}
	snprintf(config + strlen(config), sizeof(config) - strlen(config), "]}}");
	snprintf(manifest, sizeof(manifest), "{\"schemaVersion\":2,\"config\":");
	put_blob(fixture, "config.v1+json", config, strlen(config), manifest, sizeof(manifest));
	snprintf(manifest + strlen(manifest), sizeof(manifest) - strlen(manifest),
		 ",\"layers\":[%s]}", list);
	snprintf(index, sizeof(index), "{\"schemaVersion\":2,\"manifests\":[");
	put_blob(fixture, "manifest.v1+json", manifest, strlen(manifest), index, sizeof(index));
	index[strlen(index) - 1] = '\0';
	snprintf(index + strlen(index), sizeof(index) - strlen(index),
		 ",\"annotations\":{\"org.opencontainers.image.ref.name\":\"test\"}}]}");
	write_file(fixture->layout, "index.json", index, strlen(index));
	write_file(fixture->layout, "oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}", 30);
}

int layout_import(struct fixture *fixture, const char *name, struct store_image *image,
		  struct error *err)
{
	struct job job = JOB_NONE;

	return ops_import_layout(&fixture->storage, fixture->layout, NULL, name, &job, image, err);
}
