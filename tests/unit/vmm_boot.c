// SPDX-License-Identifier: Apache-2.0
/* Loading kernels: ELF and bzImages with each packing arrive whole in guest memory; damaged ones
 * are refused, whatever byte is wrong. */
#include "tests/unit/harness.h"

#include <lz4.h>
#include <lzma.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "vmm/boot.h"
#include "vmm/elf_loader.h"
#include "vmm/layout.h"
#include "vmm/unpack.h"

UNIT_SUITE(boot);

#define PAYLOAD_OFF 0x3000u
#define TEXT_SIZE   300000u
#define ENTRY	    0x100abcu

struct kernel {
	Elf64_Ehdr ehdr;
	Elf64_Phdr load, note;
	struct {
		Elf64_Nhdr head;
		char name[4];
		uint32_t entry;
	} pvh;
	uint8_t pad[4096 - sizeof(Elf64_Ehdr) - 2 * sizeof(Elf64_Phdr) - 20];
	uint8_t text[TEXT_SIZE];
};

static struct kernel *make_kernel(void)
{
	struct kernel *k = calloc(1, sizeof(*k));

	memcpy(k->ehdr.e_ident, ELFMAG, SELFMAG);
	k->ehdr.e_ident[EI_CLASS] = ELFCLASS64;
	k->ehdr.e_machine = EM_X86_64;
	k->ehdr.e_phentsize = sizeof(Elf64_Phdr);
	k->ehdr.e_phoff = offsetof(struct kernel, load);
	k->ehdr.e_phnum = 2;
	k->load = (Elf64_Phdr){.p_type = PT_LOAD,
			       .p_offset = offsetof(struct kernel, text),
			       .p_paddr = 0x100000,
			       .p_filesz = TEXT_SIZE,
			       .p_memsz = TEXT_SIZE + 100};
	k->note = (Elf64_Phdr){.p_type = PT_NOTE,
			       .p_offset = offsetof(struct kernel, pvh),
			       .p_filesz = sizeof(k->pvh)};
	k->pvh.head = (Elf64_Nhdr){.n_namesz = 4, .n_descsz = 4, .n_type = 18};
	memcpy(k->pvh.name, "Xen", 4);
	k->pvh.entry = ENTRY;
	for (unsigned i = 0; i < TEXT_SIZE; i++)
		k->text[i] = (uint8_t)(i * i >> 3);
	return k;
}

static int file_of(const void *data, size_t len)
{
	int fd = memfd_create("kernel", MFD_CLOEXEC);

	cr_assert_eq(write(fd, data, len), (ssize_t)len);
	return fd;
}

/* A bzImage around a payload, with the trailing size that the kernel's build appends. */
static int bzimage_of(const void *payload, size_t len)
{
	uint8_t *image = calloc(1, PAYLOAD_OFF + len + 4);
	uint32_t magic = 0x53726448, off = PAYLOAD_OFF - 2 * 512, payload_len = (uint32_t)len + 4;
	uint16_t version = 0x20f;
	int fd;

	image[0x1f1] = 1;
	memcpy(image + 0x202, &magic, 4);
	memcpy(image + 0x206, &version, 2);
	memcpy(image + 0x248, &off, 4);
	memcpy(image + 0x24c, &payload_len, 4);
	memcpy(image + PAYLOAD_OFF, payload, len);
	payload_len = sizeof(struct kernel);
	memcpy(image + PAYLOAD_OFF + len, &payload_len, 4);
	fd = file_of(image, PAYLOAD_OFF + len + 4);
	free(image);
	return fd;
}

static size_t pack_lz4(const struct kernel *k, uint8_t *out, size_t room)
{
	uint32_t magic = 0x184c2102, len;

	len = (uint32_t)LZ4_compress_default((const char *)k, (char *)out + 8, sizeof(*k),
					     (int)room - 8);
	memcpy(out, &magic, 4);
	memcpy(out + 4, &len, 4);
	return len + 8;
}

static size_t pack_gzip(const struct kernel *k, uint8_t *out, size_t room)
{
	z_stream z = {0};

	cr_assert_eq(deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_in = (Bytef *)(uintptr_t)k;
	z.avail_in = sizeof(*k);
	z.next_out = out;
	z.avail_out = (uInt)room;
	cr_assert_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return room - z.avail_out;
}

static size_t pack_xz(const struct kernel *k, uint8_t *out, size_t room)
{
	size_t len = 0;

	cr_assert_eq(lzma_easy_buffer_encode(1, LZMA_CHECK_CRC32, NULL, (const uint8_t *)k,
					     sizeof(*k), out, &len, room),
		     LZMA_OK);
	return len;
}

static size_t pack_zstd(const struct kernel *k, uint8_t *out, size_t room)
{
	return ZSTD_compress(out, room, k, sizeof(*k), 1);
}

static int boot_fd(int kernel_fd, struct guest_memory *memory, struct boot_entry *entry,
		   struct error *err)
{
	struct boot_files files = {
		.kernel_fd = kernel_fd, .initrd_fd = -1, .cmdline = "quiet", .n_vcpus = 2};

	cr_assert_eq(guest_memory_init(memory, 32, 32, false, err), 0);
	return boot_load(memory, &files, entry, err);
}

static void check_loads(int kernel_fd, const struct kernel *k, const char *what)
{
	struct guest_memory memory = GUEST_MEMORY_NULL;
	struct error err = ERROR_NULL;
	struct boot_entry entry;

	cr_assert_eq(boot_fd(kernel_fd, &memory, &entry, &err), 0, "%s: %s", what, err.text);
	cr_assert_eq(entry.entry, ENTRY);
	cr_assert_eq(memcmp(memory.host + 0x100000, k->text, TEXT_SIZE), 0, "%s", what);
	guest_memory_deinit(&memory);
	close(kernel_fd);
}

Test(boot, loads_elf_and_every_packing)
{
	static const struct {
		const char *name;
		size_t (*pack)(const struct kernel *, uint8_t *, size_t);
	} packings[] = {
		{"lz4", pack_lz4}, {"gzip", pack_gzip}, {"xz", pack_xz}, {"zstd", pack_zstd}};
	struct kernel *k = make_kernel();
	size_t room = 2 * sizeof(*k);
	uint8_t *packed = malloc(room);

	check_loads(file_of(k, sizeof(*k)), k, "elf");
	for (unsigned i = 0; i < ARRAY_SIZE(packings); i++)
		check_loads(bzimage_of(packed, packings[i].pack(k, packed, room)), k,
			    packings[i].name);
	free(packed);
	free(k);
}

static int refused(int kernel_fd, struct error *err)
{
	struct guest_memory memory = GUEST_MEMORY_NULL;
	struct boot_entry entry;
	int r;

	*err = (struct error)ERROR_NULL;
	r = boot_fd(kernel_fd, &memory, &entry, err);
	guest_memory_deinit(&memory);
	close(kernel_fd);
	cr_expect(r < 0 && err->text[0], "not refused");
	return r;
}

Test(boot, refuses_what_is_damaged)
{
	struct kernel *k = make_kernel();
	const size_t room = 2 * sizeof(*k);
	uint8_t *packed = malloc(room);
	size_t len = pack_gzip(k, packed, room);
	struct error err;

	refused(file_of("x", 1), &err);
	refused(file_of(k, sizeof(*k) - 1), &err);
	cr_expect(strstr(err.text, "cut short"), "%s", err.text);
	refused(file_of(k, 100), &err);
	refused(bzimage_of(packed, len / 2), &err);
	cr_expect(strstr(err.text, "gzip"), "%s", err.text);
	refused(bzimage_of("garbage!", 8), &err);
	cr_expect(strstr(err.text, "unknown way"), "%s", err.text);
	k->load.p_paddr = UINT64_MAX - 10;
	refused(file_of(k, sizeof(*k)), &err);
	k->load.p_paddr = 0x100000;
	k->load.p_memsz = 64 << 20;
	refused(file_of(k, sizeof(*k)), &err);
	cr_expect(strstr(err.text, "more memory"), "%s", err.text);
	k->load.p_memsz = 10;
	refused(file_of(k, sizeof(*k)), &err);
	k->load.p_memsz = TEXT_SIZE;
	k->load.p_paddr = 0x1000;
	refused(file_of(k, sizeof(*k)), &err);
	k->load.p_paddr = 0x100000;
	k->pvh.head.n_type = 1;
	refused(file_of(k, sizeof(*k)), &err);
	cr_expect(strstr(err.text, "CONFIG_PVH"), "%s", err.text);
	k->ehdr.e_phnum = 0xffff;
	refused(file_of(k, sizeof(*k)), &err);
	free(packed);
	free(k);
}

/* A packed kernel that says that what it needs comes after a petabyte: that is not unpacked. */
Test(boot, a_bomb_is_not_unpacked)
{
	struct kernel *k = make_kernel();
	const size_t room = 2 * sizeof(*k);
	uint8_t *packed = malloc(room);
	struct error err;

	k->load.p_offset = UINT64_C(1) << 50;
	refused(bzimage_of(packed, pack_gzip(k, packed, room)), &err);
	cr_expect(strstr(err.text, "beyond 512 MiB"), "%s", err.text);
	k->load.p_offset = ELF_END_MAX - TEXT_SIZE + 1;
	refused(bzimage_of(packed, pack_gzip(k, packed, room)), &err);
	cr_expect(strstr(err.text, "beyond 512 MiB"), "%s", err.text);
	k->load.p_offset--;
	refused(bzimage_of(packed, pack_gzip(k, packed, room)), &err);
	cr_expect(strstr(err.text, "cut short"), "%s", err.text);
	k->load.p_offset = offsetof(struct kernel, text);
	k->note.p_offset = UINT64_C(1) << 50;
	refused(bzimage_of(packed, pack_gzip(k, packed, room)), &err);
	cr_expect(strstr(err.text, "beyond 512 MiB"), "%s", err.text);
	free(packed);
	free(k);
}

Test(boot, an_initrd_that_does_not_fit_is_refused)
{
	struct kernel *k = make_kernel();
	struct guest_memory memory = GUEST_MEMORY_NULL;
	struct error err = ERROR_NULL;
	struct boot_entry entry;
	struct boot_files files = {.kernel_fd = file_of(k, sizeof(*k)),
				   .initrd_fd = memfd_create("initrd", MFD_CLOEXEC),
				   .cmdline = "",
				   .n_vcpus = 1};

	cr_assert_eq(ftruncate(files.initrd_fd, 31 << 20), 0);
	cr_assert_eq(guest_memory_init(&memory, 32, 32, false, &err), 0);
	cr_assert_lt(boot_load(&memory, &files, &entry, &err), 0);
	cr_assert(strstr(err.text, "initrd"), "%s", err.text);
	guest_memory_deinit(&memory);
	close(files.kernel_fd);
	close(files.initrd_fd);
	free(k);
}

Test(boot, memory_has_a_hole_below_4_gib)
{
	struct guest_memory memory = GUEST_MEMORY_NULL;
	struct error err = ERROR_NULL;

	cr_assert_eq(guest_memory_init(&memory, 4096, 4096, false, &err), 0);
	cr_assert_eq(memory.mem.n_regions, 2);
	cr_assert_null(mem_ptr(&memory.mem, LAYOUT_LOW_MAX - 1, 2));
	cr_assert_not_null(mem_ptr(&memory.mem, LAYOUT_HIGH, GIB));
	cr_assert_null(mem_ptr(&memory.mem, LAYOUT_HIGH, GIB + 1));
	guest_memory_deinit(&memory);
	cr_assert_lt(
		guest_memory_init(&memory, UINT64_MAX / MIB + 2, UINT64_MAX / MIB + 2, false, &err),
		0);
}
