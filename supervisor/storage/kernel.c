// SPDX-License-Identifier: Apache-2.0
#include "supervisor/storage/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/util.h"
#include "supervisor/storage/cpio.h"
#include "supervisor/storage/kernel_modules.h"
#include "supervisor/storage/layers_emit.h"

#define CHUNK_SIZE	   (64u * 1024)
#define MODULES_DEP_MAX	   (4 * MIB)
#define MODULE_MAX	   (16 * MIB)
#define BOOT_MODULES_MAX   (64 * MIB)
#define METADATA_MAX	   (64 * KIB)
#define VARIANT_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

/* The files of a kernel image, and what they are called in the store. */
static const struct known_file {
	const char *path, *name;
	uint64_t max_bytes;
} known_files[] = {
	{"kernel/image", "image", 256 * MIB},
	{"kernel/addons.squashfs", "addons.squashfs", 4 * GIB},
	{"kernel/metadata", "metadata", METADATA_MAX},
	{"kernel/config.gz", "config.gz", 4 * MIB},
};

struct extraction {
	int dir_fd;
	uint64_t size_bytes;
};

bool kernel_present(struct layers_plan *plan)
{
	const struct layers_node *node = layers_plan_find(plan, known_files[0].path);

	return node && S_ISREG(node->inode->type);
}

static int copy_file(struct extraction *to, const struct known_file *file,
		     struct layer_reader *reader, struct error *err)
{
	_cleanup_(close_fdp) int fd =
		openat(to->dir_fd, file->name,
		       O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0400);
	char chunk[CHUNK_SIZE];
	uint64_t size = 0;
	ssize_t n;

	if (fd < 0)
		return error_set_errno(err, -errno, "cannot make the kernel's %s", file->name);
	while ((n = layer_reader_data(reader, chunk, sizeof(chunk), err)) > 0) {
		int r;

		size += (uint64_t)n;
		if (size > file->max_bytes)
			return error_set(err, -EFBIG, "the kernel image's %s is too large",
					 file->path);
		r = io_write_full(fd, chunk, (size_t)n);
		if (r == -ENOSPC)
			return r; /* whoever knows the store says it */
		if (r < 0)
			return error_set_errno(err, r, "cannot write the kernel's %s", file->name);
	}
	to->size_bytes += size;
	return n < 0 ? (int)n : 0;
}

static int extract_entry(void *context, struct layers_node *const *names, uint32_t n,
			 struct archive_entry *entry, struct layer_reader *reader,
			 struct error *err)
{
	char path[LAYERS_PATH_MAX];

	if (archive_entry_filetype(entry) != S_IFREG)
		return 0;
	for (uint32_t i = 0; i < n; i++) {
		layers_path(names[i], path);
		for (size_t k = 0; k < ARRAY_SIZE(known_files); k++)
			if (strcmp(path, known_files[k].path) == 0)
				return copy_file(context, &known_files[k], reader, err);
	}
	return 0;
}

static void remove_extracted(const char *dir, int dir_fd)
{
	for (size_t k = 0; dir_fd >= 0 && k < ARRAY_SIZE(known_files); k++)
		unlinkat(dir_fd, known_files[k].name, 0);
	rmdir(dir);
}

/* A kernel may come without addons or metadata; an empty file keeps that simple for everybody after
 * this. */
static int fill_gaps(int dir_fd, struct error *err)
{
	for (size_t k = 0; k < ARRAY_SIZE(known_files); k++) {
		_cleanup_(close_fdp) int fd = openat(dir_fd, known_files[k].name,
						     O_WRONLY | O_CREAT | O_CLOEXEC | O_EXCL, 0400);

		if (fd < 0 && errno != EEXIST)
			return error_set_errno(err, -errno, "cannot make the kernel's %s",
					       known_files[k].name);
	}
	return 0;
}

int kernel_extract(struct layers_plan *plan, const int *fds, uint32_t n, uint64_t *budget,
		   const char *dir, uint64_t *size_bytes, struct error *err)
{
	_cleanup_(close_fdp) int dir_fd = -1;
	struct extraction to = {.size_bytes = 0};
	const struct layers_sink sink = {.entry = extract_entry, .context = &to};
	int r;

	if (mkdir(dir, 0700) < 0)
		return error_set_errno(err, -errno, "cannot make the kernel's folder");
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	to.dir_fd = dir_fd;
	r = dir_fd < 0 ? error_set_errno(err, -errno, "cannot open the kernel's folder")
		       : layers_emit(plan, fds, n, budget, &sink, err);
	if (r == 0)
		r = fill_gaps(dir_fd, err);
	if (r < 0)
		remove_extracted(dir, dir_fd);
	*size_bytes = to.size_bytes;
	return r;
}

static bool unchanged(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* Opens the base initramfs and tells its digest, which is only worked out when the file has
 * changed. */
static int open_base(struct kernel_base *base, struct digest *digest, struct error *err)
{
	_cleanup_(close_fdp) int fd = -1;
	struct stat st;
	int r = 0;

	if (!base->path)
		return error_set(err, -ENOENT,
				 "no base initramfs; start protect-storage with --base-initrd");
	fd = open(base->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_set_errno(err, -errno, "cannot open the base initramfs %s",
				       base->path);
	pthread_mutex_lock(&base->lock);
	if (!unchanged(&st, &base->seen)) {
		r = digest_of_fd(fd, &base->digest);
		base->seen = r == 0 ? st : (struct stat){.st_size = 0};
	}
	*digest = base->digest;
	pthread_mutex_unlock(&base->lock);
	if (r < 0)
		return error_set_errno(err, r, "cannot read the base initramfs %s", base->path);
	return steal_fd(&fd);
}

/* Appends the base initramfs to fd. Returns its length or a negative errno. */
static int64_t copy_base(int from, int to)
{
	char chunk[CHUNK_SIZE];
	int64_t offset = 0;
	ssize_t n;

	while ((n = io_pread_full(from, chunk, sizeof(chunk), (uint64_t)offset)) > 0) {
		int r = io_write_full(to, chunk, (size_t)n);

		if (r < 0)
			return r;
		offset += n;
	}
	return n < 0 ? n : offset;
}

static int add_module(struct cpio *cpio, const char *addons, const struct kernel_module *module,
		      unsigned number, uint64_t *total, struct error *err)
{
	_cleanup_(freep) char *data = NULL;
	char path[300], name[128];
	size_t len = 0;
	int r;

	snprintf(path, sizeof(path), "modules/%s", module->path);
	r = kernel_modules_read(addons, path, MODULE_MAX, &data, &len, err);
	if (r == 0 && strcmp(strrchr(path, '.'), ".ko") != 0)
		r = kernel_modules_unpack(&data, &len, MODULE_MAX, err);
	if (r < 0)
		return r;
	*total += len;
	if (*total > BOOT_MODULES_MAX)
		return error_set(err, -EFBIG, "the kernel's boot modules are larger than 64 MiB");
	snprintf(name, sizeof(name), "boot-modules/%02u-%s.ko", number, module->name);
	r = cpio_add_file(cpio, name, 0400, data, len);
	return r < 0 ? error_set_errno(err, r, "cannot write the initrd") : 0;
}

static int add_modules(struct cpio *cpio, const char *addons, struct error *err)
{
	_cleanup_(kernel_modules_clear) struct kernel_modules modules = {.n = 0};
	_cleanup_(freep) char *dep = NULL;
	uint64_t total = 0;
	size_t len;
	int r = kernel_modules_read(addons, "modules/modules.dep", MODULES_DEP_MAX, &dep, &len,
				    err);

	if (r < 0)
		return r;
	r = kernel_modules_plan(&modules, dep);
	if (r < 0)
		return error_set_errno(err, r, "cannot make sense of the kernel's modules.dep");
	r = cpio_add_dir(cpio, "boot-modules", 0755);
	if (r < 0)
		return error_set_errno(err, r, "cannot write the initrd");
	for (unsigned i = 0; i < modules.n && r == 0; i++)
		r = add_module(cpio, addons, &modules.list[i], i, &total, err);
	return r;
}

/* Writes base initramfs and boot modules to fd. */
static int write_initrd(struct store *store, const char *folder, int base_fd, int fd,
			struct error *err)
{
	char addons[STORE_PATH_MAX + 256];
	struct cpio cpio;
	struct stat st;
	int64_t base_len = copy_base(base_fd, fd);
	int r = base_len < 0 ? (int)base_len : cpio_begin(&cpio, fd, (uint64_t)base_len);

	if (r < 0)
		return store_failed(store, r, "write an initrd", err);
	snprintf(addons, sizeof(addons), "%s/%s/addons.squashfs", store_path(store), folder);
	if (stat(addons, &st) < 0)
		return store_failed(store, -errno, "open the kernel's addons", err);
	/* Without addons everything the kernel needs is built in. */
	if (st.st_size > 0)
		r = add_modules(&cpio, addons, err);
	if (r < 0)
		return r;
	r = cpio_end(&cpio);
	return r < 0 ? store_failed(store, r, "write an initrd", err) : 0;
}

static int make_initrd(struct store *store, const char *folder, const char *name, int base_fd,
		       struct error *err)
{
	char tmp[STORE_PATH_MAX];
	_cleanup_(close_fdp) int fd = -1;
	int r = store_tmp_path(store, tmp, err);

	if (r < 0)
		return r;
	fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
	r = fd < 0 ? store_failed(store, -errno, "make an initrd", err)
		   : write_initrd(store, folder, base_fd, fd, err);
	if (r == 0)
		r = store_publish(store, tmp, name, err);
	if (r < 0)
		unlink(tmp);
	return r;
}

/* Opens the initrd for this kernel and the present base initramfs. */
static int open_initrd(struct store *store, const struct store_image *image,
		       struct kernel_base *base, const char *folder, struct error *err)
{
	char hex[DIGEST_HEX_SIZE], name[STORE_PATH_MAX + 128];
	_cleanup_(close_fdp) int base_fd = -1;
	struct digest digest;
	int fd, r = 0;

	base_fd = open_base(base, &digest, err);
	if (base_fd < 0)
		return base_fd;
	digest_hex(&digest, hex);
	snprintf(name, sizeof(name), "%s/initrd-%s", folder, hex);
	store_claim(store, &image->manifest);
	fd = store_open_file(store, name, NULL);
	if (fd < 0)
		r = make_initrd(store, folder, name, base_fd, err);
	store_release(store, &image->manifest);
	if (fd >= 0 || r < 0)
		return fd >= 0 ? fd : r;
	return store_open_file(store, name, err);
}

static int open_in(struct store *store, const char *folder, const char *file, struct error *err)
{
	char name[STORE_PATH_MAX + 64];

	snprintf(name, sizeof(name), "%s/%s", folder, file);
	return store_open_file(store, name, err);
}

int kernel_open(struct store *store, const struct store_image *image, struct kernel_base *base,
		int fds[KERNEL_FILES], struct error *err)
{
	_cleanup_(close_fdp) int kernel = -1;
	_cleanup_(close_fdp) int initrd = -1;
	_cleanup_(close_fdp) int addons = -1;
	char folder[STORE_PATH_MAX];

	store_image_file(&image->manifest, true, folder);
	kernel = open_in(store, folder, "image", err);
	if (kernel < 0)
		return kernel;
	addons = open_in(store, folder, "addons.squashfs", err);
	if (addons < 0)
		return addons;
	initrd = open_initrd(store, image, base, folder, err);
	if (initrd < 0)
		return initrd;
	fds[KERNEL_IMAGE] = steal_fd(&kernel);
	fds[KERNEL_INITRD] = steal_fd(&initrd);
	fds[KERNEL_ADDONS] = steal_fd(&addons);
	return 0;
}

/* Puts one KEY=VALUE line where it belongs; unknown keys are for others. */
static int take_line(Protect__Storage__KernelMetadata *metadata, const char *line)
{
	const struct {
		const char *key;
		char **value;
	} keys[] = {
		{"KERNEL_ARCH=", &metadata->arch},
		{"KERNEL_VERSION=", &metadata->version},
		{"KERNEL_UNAME_R=", &metadata->uname_r},
		{"KERNEL_FLAVOR=", &metadata->flavor},
	};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		size_t len = strlen(keys[i].key);

		if (strncmp(line, keys[i].key, len) != 0)
			continue;
		if (*keys[i].value != protobuf_c_empty_string)
			free(*keys[i].value);
		*keys[i].value = strndup(line + len, 256);
		return *keys[i].value ? 0 : -ENOMEM;
	}
	return 0;
}

int kernel_read_metadata(struct store *store, const struct store_image *image,
			 Protect__Storage__KernelMetadata **out, struct error *err)
{
	_cleanup_(freep) char *text = NULL;
	_cleanup_(close_fdp) int fd = -1;
	char folder[STORE_PATH_MAX];
	Protect__Storage__KernelMetadata *metadata;
	size_t len;
	int r;

	store_image_file(&image->manifest, true, folder);
	fd = open_in(store, folder, "metadata", err);
	if (fd < 0)
		return fd;
	r = io_read_fd(fd, METADATA_MAX, &text, &len);
	if (r < 0)
		return store_failed(store, r, "read the kernel's metadata", err);
	metadata = malloc(sizeof(*metadata));
	if (!metadata)
		return error_set(err, -ENOMEM, "out of memory");
	protect__storage__kernel_metadata__init(metadata);
	for (char *save = NULL, *l = strtok_r(text, "\r\n", &save); l && r == 0;
	     l = strtok_r(NULL, "\r\n", &save))
		r = take_line(metadata, l);
	*out = metadata;
	return r < 0 ? error_set(err, r, "out of memory") : 0;
}

void kernel_variant(struct store *store, const struct store_image *image,
		    char variant[static KERNEL_VARIANT_MAX])
{
	Protect__Storage__KernelMetadata *metadata = NULL;
	struct error ignored = ERROR_NULL;
	size_t len;

	variant[0] = '\0';
	if (!image->kernel || kernel_read_metadata(store, image, &metadata, &ignored) < 0 ||
	    !metadata)
		return;
	len = strlen(metadata->flavor);
	if (len < KERNEL_VARIANT_MAX && strspn(metadata->flavor, VARIANT_CHARACTERS) == len)
		memcpy(variant, metadata->flavor, len + 1);
	protect__storage__kernel_metadata__free_unpacked(metadata, NULL);
}

/* The search for a variant. */
struct variant_search {
	struct store *store;
	const char *variant, *preferred;
	struct store_image *best;
	bool found;
	char known[256]; /* the variants that there are, for a person */
};

static void note_variant(struct variant_search *search, const char *variant)
{
	size_t len = strlen(search->known), n = strlen(variant);

	for (const char *seen = search->known; n && (seen = strstr(seen, variant)); seen++)
		/* Whole words only: "zone" is also a part of "zone-debug". */
		if ((seen == search->known || seen[-1] == ' ') && (!seen[n] || seen[n] == ','))
			return;
	if (n == 0 || len + n + 3 > sizeof(search->known))
		return;
	snprintf(search->known + len, sizeof(search->known) - len, "%s%s", len ? ", " : "",
		 variant);
}

static int look_at_variant(void *context, const struct store_image *image)
{
	struct variant_search *search = context;
	char variant[KERNEL_VARIANT_MAX];

	kernel_variant(search->store, image, variant);
	note_variant(search, variant);
	if (!variant[0] || strcmp(variant, search->variant) != 0)
		return 0;
	if (strcmp(image->name, search->preferred) != 0 && search->found &&
	    image->created_unix_ms <= search->best->created_unix_ms)
		return 0;
	*search->best = *image;
	search->found = true;
	return strcmp(image->name, search->preferred) == 0;
}

int kernel_find_variant(struct store *store, const char *variant, const char *preferred,
			struct store_image *out, struct error *err)
{
	struct variant_search search = {
		.store = store, .variant = variant, .preferred = preferred, .best = out};
	int r = store_list(store, look_at_variant, &search, err);

	if (r < 0)
		return r;
	if (search.found)
		return 0;
	if (!search.known[0])
		return error_set(err, -ENOENT,
				 "no kernel in the store has a variant; '%s' was asked", variant);
	return error_set(err, -ENOENT, "no kernel of variant '%s' is in the store; there is: %s",
			 variant, search.known);
}
