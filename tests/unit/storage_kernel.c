// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/storage_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "supervisor/storage/cpio.h"
#include "supervisor/storage/kernel.h"
#include "supervisor/storage/kernel_modules.h"
#include "tests/unit/harness.h"

static struct fixture fixture;
static char base_path[128];

static void set_up(void)
{
	fixture_open(&fixture, 64 * MIB);
	snprintf(base_path, sizeof(base_path), "%s/base", fixture.dir);
	fixture.storage.base.path = base_path;
}

UNIT_SUITE(storage_kernel, .init = set_up);

static const char dep[] =
	"kernel/virtio/virtio_pci.ko: kernel/virtio/modern.ko kernel/virtio/virtio.ko "
	"kernel/virtio/virtio_ring.ko\n"
	"kernel/virtio/modern.ko:\n"
	"kernel/virtio/virtio.ko: kernel/virtio/virtio_ring.ko\n"
	"kernel/virtio/virtio_ring.ko:\n"
	"kernel/hw/virtio-rng.ko.xz: kernel/virtio/virtio.ko kernel/virtio/virtio_ring.ko\n"
	"kernel/fs/squashfs.ko.gz:\n"
	"kernel/fs/ext4.ko:\n";

Test(storage_kernel, modules_in_order)
{
	static const char *const expected[] = {"virtio_ring", "virtio",	  "modern",
					       "virtio_pci",  "squashfs", "virtio_rng"};
	struct kernel_modules modules;

	cr_assert_eq(kernel_modules_plan(&modules, dep), 0);
	cr_assert_eq(modules.n, ARRAY_SIZE(expected));
	for (unsigned i = 0; i < modules.n; i++)
		cr_expect_str_eq(modules.list[i].name, expected[i]);
	kernel_modules_clear(&modules);
	fixture_close(&fixture);
}

Test(storage_kernel, hostile_modules_dep)
{
	static const char *const texts[] = {
		"",
		"\n\n:\n: :\n",
		"virtio_pci.ko: virtio_pci.ko\n",
		"a/virtio_pci.ko: a/b.ko\na/b.ko: a/virtio_pci.ko\n",
		"../../etc/virtio_pci.ko:\n",
		"/etc/virtio_pci.ko:\n",
		"-x/virtio_pci.ko:\n",
		"*/virtio_pci.ko:\n",
		"virtio_pci.ko",
	};
	struct kernel_modules modules;
	char *many = malloc(64 * 4096);
	size_t used = 0;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		int r = kernel_modules_plan(&modules, texts[i]);

		cr_expect(r == 0 || r == -ELOOP);
		for (unsigned m = 0; m < modules.n; m++)
			cr_expect(!strstr(modules.list[m].path, "..") &&
				  !strchr(modules.list[m].path, '*'));
		kernel_modules_clear(&modules);
	}
	used += (size_t)sprintf(many + used, "virtio_pci.ko:");
	for (int i = 0; i < 200; i++)
		used += (size_t)sprintf(many + used, " m%d.ko", i);
	for (int i = 0; i < 200; i++)
		used += (size_t)sprintf(many + used, "\nm%d.ko:", i);
	cr_expect_eq(kernel_modules_plan(&modules, many), -E2BIG);
	kernel_modules_clear(&modules);
	free(many);
	fixture_close(&fixture);
}

/* Writes dir/layout with a kernel whose addons hold three modules, one of them compressed. */
static void write_kernel(void)
{
	struct tar *tar = tar_new(NULL);
	struct archive_entry *entry = archive_entry_new();
	char *out, *squashfs;
	size_t len;
	char path[128];

	out = output_of("cd %s && mkdir -p m/modules/kernel/virtio m/modules/kernel/fs "
			"m/modules/kernel/hw && cd m/modules && "
			"for m in virtio_pci modern virtio virtio_ring; do echo \"module $m\" > "
			"kernel/virtio/$m.ko; done && "
			"echo 'module squashfs' | gzip > kernel/fs/squashfs.ko.gz && "
			"echo 'module rng' | xz > kernel/hw/virtio-rng.ko.xz && printf '%s' > "
			"modules.dep && cd ../.. && "
			"mksquashfs m addons -quiet -no-progress -comp lz4 >/dev/null && "
			"printf 'base initramfs, not a multiple of four' > base",
			fixture.dir, dep);
	free(out);
	snprintf(path, sizeof(path), "%s/addons", fixture.dir);
	cr_assert_eq(io_read_file(AT_FDCWD, path, 1 << 20, &squashfs, &len), 0);
	tar_file(tar, "kernel/image", "a bzImage");
	tar_file(tar, "kernel/metadata",
		 "KERNEL_ARCH=x86_64\nKERNEL_VERSION=6.1\nOTHER=1\nKERNEL_UNAME_R=6.1-c\n");
	archive_entry_set_pathname(entry, "kernel/addons.squashfs");
	archive_entry_set_mode(entry, S_IFREG | 0644);
	archive_entry_set_size(entry, (int64_t)len);
	archive_write_header(tar->archive, entry);
	archive_write_data(tar->archive, squashfs, len);
	archive_entry_free(entry);
	free(squashfs);
	tar_end(tar);
	layout_write(&fixture, &tar, 1, NULL);
	tar_free(tar);
}

Test(storage_kernel, kernel_initrd_and_addons)
{
	Protect__Storage__KernelMetadata *metadata = NULL;
	struct error err = ERROR_NULL;
	struct store_image image;
	int fds[KERNEL_FILES];
	char *out, *text;
	size_t len;

	write_kernel();
	cr_assert_eq(layout_import(&fixture, OPS_DEFAULT_KERNEL, &image, &err), 0, "%s", err.text);
	cr_expect(image.kernel);
	cr_assert_eq(ops_open_kernel(&fixture.storage, "", "", fds, &image, &err), 0, "%s",
		     err.text);
	cr_assert_eq(kernel_read_metadata(fixture.storage.store, &image, &metadata, &err), 0);
	cr_expect_str_eq(metadata->version, "6.1");
	cr_expect_str_eq(metadata->uname_r, "6.1-c");
	cr_expect_str_eq(metadata->flavor, "");
	protect__storage__kernel_metadata__free_unpacked(metadata, NULL);
	cr_assert_eq(io_read_fd(fds[KERNEL_INITRD], 1 << 20, &text, &len), 0);
	cr_expect_eq(memcmp(text, "base initramfs", 14), 0);
	cr_expect_eq(len % CPIO_BLOCK, 0);
	cr_expect_eq(memcmp(text + CPIO_BLOCK, "070701", 6), 0,
		     "the second archive starts at a multiple of 512");
	free(text);
	out = output_of("tail -c +513 %s/store/kernels/*/initrd-* | (mkdir -p %s/x; cd %s/x; cpio "
			"-idm 2>/dev/null; "
			"cd boot-modules && head -n 1 *)",
			fixture.dir, fixture.dir, fixture.dir);
	cr_expect_str_eq(out, "==> 00-virtio_ring.ko <==\nmodule virtio_ring\n\n==> 01-virtio.ko "
			      "<==\nmodule virtio\n\n"
			      "==> 02-modern.ko <==\nmodule modern\n\n==> 03-virtio_pci.ko "
			      "<==\nmodule virtio_pci\n\n"
			      "==> 04-squashfs.ko <==\nmodule squashfs\n\n==> 05-virtio_rng.ko "
			      "<==\nmodule rng\n");
	free(out);
	for (int i = 0; i < KERNEL_FILES; i++)
		close(fds[i]);
	fixture_close(&fixture);
}

Test(storage_kernel, initrd_follows_the_base)
{
	struct error err = ERROR_NULL;
	struct store_image image;
	int fds[KERNEL_FILES];
	char *out;

	write_kernel();
	cr_assert_eq(layout_import(&fixture, "k", &image, &err), 0, "%s", err.text);
	for (int round = 0; round < 3; round++) {
		cr_assert_eq(ops_open_kernel(&fixture.storage, "k", "", fds, &image, &err), 0, "%s",
			     err.text);
		for (int i = 0; i < KERNEL_FILES; i++)
			close(fds[i]);
		if (round == 1)
			free(output_of("echo changed > %s", base_path));
	}
	out = output_of("ls %s/store/kernels/* | grep -c initrd-", fixture.dir);
	cr_expect_str_eq(out, "2\n", "one for each base: %s", out);
	free(out);
	free(output_of("rm %s", base_path));
	cr_expect_lt(ops_open_kernel(&fixture.storage, "k", "", fds, &image, &err), 0);
	cr_expect_not_null(strstr(err.text, base_path), "%s", err.text);
	cr_expect(tmp_is_empty(&fixture));
	fixture_close(&fixture);
}

Test(storage_kernel, damaged_addons)
{
	struct tar *tar = tar_new(NULL);
	struct error err = ERROR_NULL;
	struct store_image image;
	int fds[KERNEL_FILES];

	tar_file(tar, "kernel/image", "a bzImage");
	tar_file(tar, "kernel/addons.squashfs", "hsqs but nothing more");
	tar_end(tar);
	layout_write(&fixture, &tar, 1, NULL);
	tar_free(tar);
	free(output_of("echo base > %s", base_path));
	cr_assert_eq(layout_import(&fixture, "k", &image, &err), 0, "%s", err.text);
	cr_expect_lt(ops_open_kernel(&fixture.storage, "k", "", fds, &image, &err), 0);
	cr_expect_not_null(strstr(err.text, "addons.squashfs"), "%s", err.text);
	cr_expect(tmp_is_empty(&fixture));
	fixture_close(&fixture);
}

Test(storage_kernel, a_workload_is_no_kernel)
{
	struct tar *tar = tar_new(NULL);
	struct error err = ERROR_NULL;
	struct store_image image;
	int fds[KERNEL_FILES];

	tar_file(tar, "bin/x", "1");
	tar_end(tar);
	layout_write(&fixture, &tar, 1, NULL);
	tar_free(tar);
	cr_assert_eq(layout_import(&fixture, "w", &image, &err), 0, "%s", err.text);
	cr_expect_eq(ops_open_kernel(&fixture.storage, "w", "", fds, &image, &err), -EINVAL);
	cr_expect_not_null(strstr(err.text, "'w' is not a zone kernel"), "%s", err.text);
	fixture_close(&fixture);
}

/* Imports a kernel of its own bytes under a name, with this metadata. */
static void import_kernel(const char *name, const char *metadata)
{
	struct tar *tar = tar_new(NULL);
	struct error err = ERROR_NULL;
	struct store_image image;

	tar_file(tar, "kernel/image", name);
	tar_file(tar, "kernel/metadata", metadata);
	tar_end(tar);
	layout_write(&fixture, &tar, 1, NULL);
	tar_free(tar);
	cr_assert_eq(layout_import(&fixture, name, &image, &err), 0, "%s", err.text);
}

static void expect_variant(const char *variant, const char *name)
{
	struct error err = ERROR_NULL;
	struct store_image image;

	cr_expect_eq(kernel_find_variant(fixture.storage.store, variant, OPS_DEFAULT_KERNEL, &image,
					 &err),
		     0, "%s", err.text);
	cr_expect_str_eq(image.name, name);
}

static void expect_no_variant(const char *variant, const char *text)
{
	struct error err = ERROR_NULL;
	struct store_image image;

	cr_expect_eq(kernel_find_variant(fixture.storage.store, variant, OPS_DEFAULT_KERNEL, &image,
					 &err),
		     -ENOENT);
	cr_expect_not_null(strstr(err.text, text), "%s", err.text);
}

Test(storage_kernel, variants_by_name)
{
	struct error err = ERROR_NULL;
	struct store_image image;
	int fds[KERNEL_FILES];

	expect_no_variant("zone", "no kernel in the store has a variant");
	import_kernel("a:1", "KERNEL_FLAVOR=zone-debug\n");
	import_kernel(OPS_DEFAULT_KERNEL, "KERNEL_ARCH=x86_64\nKERNEL_FLAVOR=cloud\n");
	import_kernel("b:1", "KERNEL_FLAVOR=zone\n");
	import_kernel("none:1", "KERNEL_ARCH=x86_64\n");
	import_kernel("evil:1", "KERNEL_FLAVOR=z\x1b[2Jne\n");
	expect_variant("zone", "b:1");
	expect_variant("zone-debug", "a:1");
	expect_no_variant("zon", "there is: zone-debug, zone, cloud");
	expect_no_variant("z\x1b[2Jne", "there is");
	/* The newest, but the default kernel before it. */
	free(output_of("sleep 0.01"));
	import_kernel("a:2", "KERNEL_FLAVOR=zone\n");
	import_kernel("z:1", "KERNEL_FLAVOR=cloud\n");
	expect_variant("zone", "a:2");
	expect_variant("cloud", OPS_DEFAULT_KERNEL);
	cr_expect_eq(ops_open_kernel(&fixture.storage, "b:1", "zone", fds, &image, &err), -EINVAL);
	fixture_close(&fixture);
}
