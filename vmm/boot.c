// SPDX-License-Identifier: Apache-2.0
#include "vmm/boot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/util.h"
#include "vmm/acpi.h"
#include "vmm/elf_loader.h"
#include "vmm/layout.h"
#include "vmm/unpack.h"
#include "vmm/vmgenid.h"

/* Fields of the Linux boot protocol's setup header (Documentation/arch/x86/boot.rst). */
#define SETUP_SECTS	      0x1f1
#define SETUP_MAGIC	      0x202
#define SETUP_VERSION	      0x206
#define SETUP_PAYLOAD_OFFSET  0x248
#define SETUP_PAYLOAD_LENGTH  0x24c
#define SETUP_HEAD	      0x250
#define SETUP_VERSION_PAYLOAD 0x208

/* Xen's public/arch-x86/hvm/start_info.h */
#define PVH_MAGIC	  0x336ec578u
#define PVH_E820_RAM	  1u
#define PVH_E820_RESERVED 2u

struct pvh_start_info {
	uint32_t magic, version, flags, n_modules;
	uint64_t modlist, cmdline, rsdp, memmap;
	uint32_t n_memmap, reserved;
};

struct pvh_module {
	uint64_t address, len, cmdline, reserved;
};

struct pvh_memmap {
	uint64_t address, len;
	uint32_t type, reserved;
};

static int find_payload(int fd, uint64_t size, struct unpack_source *source, struct error *err)
{
	uint8_t head[SETUP_HEAD];
	uint32_t off, len, magic;
	uint16_t version;
	uint64_t start, sectors;

	if (io_pread_full(fd, head, sizeof(head), 0) != (ssize_t)sizeof(head))
		return error_set(err, -ENOEXEC, "the kernel is too short");
	memcpy(&magic, head + SETUP_MAGIC, sizeof(magic));
	memcpy(&version, head + SETUP_VERSION, sizeof(version));
	memcpy(&off, head + SETUP_PAYLOAD_OFFSET, sizeof(off));
	memcpy(&len, head + SETUP_PAYLOAD_LENGTH, sizeof(len));
	if (magic != 0x53726448 || version < SETUP_VERSION_PAYLOAD)
		return error_set(err, -ENOEXEC,
				 "the kernel is neither an ELF vmlinux nor a bzImage");
	sectors = head[SETUP_SECTS] ? head[SETUP_SECTS] : 4;
	start = (sectors + 1) * 512 + off;
	if (len < 8 || !range_fits(start, len, size))
		return error_set(err, -ENOEXEC,
				 "the kernel is cut short: its payload ends behind the file");
	*source = (struct unpack_source){.fd = fd, .off = start, .left = len};
	return 0;
}

static int file_size(int fd, const char *what, uint64_t *size, struct error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return error_set_errno(err, -errno, "cannot look at the %s", what);
	if (!S_ISREG(st.st_mode))
		return error_set(err, -EINVAL, "the %s is not a regular file", what);
	*size = (uint64_t)st.st_size;
	return 0;
}

static int load_kernel(const struct mem *mem, int fd, uint32_t *entry, uint64_t *kernel_end,
		       struct error *err)
{
	_cleanup_(freep) struct elf_loader *elf = malloc(sizeof(*elf));
	struct unpack_source source = {.fd = fd};
	uint8_t magic[SELFMAG];
	int r;

	if (!elf)
		return -ENOMEM;
	elf_loader_init(elf, mem, err);
	r = file_size(fd, "kernel", &source.left, err);
	if (r < 0)
		return r;
	if (io_pread_full(fd, magic, sizeof(magic), 0) != (ssize_t)sizeof(magic))
		return error_set(err, -ENOEXEC, "the kernel is too short");
	if (memcmp(magic, ELFMAG, SELFMAG) == 0) {
		r = elf_loader_read(elf, fd, source.left);
	} else {
		r = find_payload(fd, source.left, &source, err);
		if (r == 0)
			r = unpack(&source, elf_loader_feed, elf, err);
	}
	if (r < 0)
		return r;
	if (elf->n_segments == 0 || elf->pos < elf->end)
		return error_set(err, -ENOEXEC, "the kernel is cut short");
	*kernel_end = elf->kernel_end;
	return elf_loader_pvh_entry(elf, entry);
}

static int load_initrd(const struct mem *mem, int fd, uint64_t kernel_end,
		       struct pvh_module *module, struct error *err)
{
	const struct mem_region *low = &mem->regions[0];
	uint64_t size = 0, start;
	ssize_t n;
	int r;

	if (fd < 0)
		return 0;
	r = file_size(fd, "initrd", &size, err);
	if (r < 0 || size == 0)
		return r;
	if (size > low->len || (start = (low->len - size) & ~(uint64_t)4095) < kernel_end)
		return error_set(err, -ENOMEM,
				 "kernel and initrd (%llu MiB) do not fit into the zone's memory; "
				 "give the zone more memory",
				 (unsigned long long)((kernel_end + size) / MIB + 1));
	n = io_pread_full(fd, mem_ptr(mem, start, size), size, 0);
	if (n != (ssize_t)size)
		return error_set_errno(err, n < 0 ? (int)n : -EIO, "cannot read the initrd");
	*module = (struct pvh_module){.address = start, .len = size};
	return 0;
}

static unsigned fill_memmap(const struct mem *mem, struct pvh_memmap *map)
{
	const struct mem_region *low = &mem->regions[0];
	unsigned n = 0;

	map[n++] = (struct pvh_memmap){.len = LAYOUT_LOW_END, .type = PVH_E820_RAM};
	map[n++] = (struct pvh_memmap){.address = LAYOUT_ACPI,
				       .len = LAYOUT_ACPI_END - LAYOUT_ACPI,
				       .type = PVH_E820_RESERVED};
	map[n++] = (struct pvh_memmap){.address = LAYOUT_KERNEL_MIN,
				       .len = low->len - LAYOUT_KERNEL_MIN,
				       .type = PVH_E820_RAM};
	map[n++] = (struct pvh_memmap){
		.address = LAYOUT_ECAM, .len = LAYOUT_ECAM_SIZE, .type = PVH_E820_RESERVED};
	/* Of memory that comes later the guest learns later. */
	if (mem->n_regions > 1 && !mem->regions[1].plugged)
		map[n++] = (struct pvh_memmap){.address = mem->regions[1].start,
					       .len = mem->regions[1].len,
					       .type = PVH_E820_RAM};
	return n;
}

/* Everything below 1 MiB is ours and in the first region: a zone has 16 MiB at least. */
static void write_low(const struct mem *mem, gpa_t at, const void *data, size_t len)
{
	memcpy(mem_ptr(mem, at, len), data, len);
}

/*
 * A hardware-reduced Linux without EFI does not use the ACPI reset register unless it is told to
 * (reboot=acpi): it goes to real mode and jumps to the BIOS. What it finds there writes to the
 * reset register.
 */
static void write_bios_reset(const struct mem *mem)
{
	static const uint8_t code[] = {
		0xba,
		PORT_RESET & 0xff,
		PORT_RESET >> 8, /* mov $PORT_RESET, %dx */
		0xb0,
		0x01, /* mov $1, %al */
		0xee, /* out %al, (%dx) */
		0xf4,
		0xeb,
		0xfd, /* hlt; jmp to it */
	};

	write_low(mem, LAYOUT_BIOS_RESET, code, sizeof(code));
}

static int write_start_info(const struct mem *mem, const struct boot_files *files,
			    const struct pvh_module *initrd, struct error *err)
{
	struct pvh_start_info info = {.magic = PVH_MAGIC,
				      .version = 1,
				      .n_modules = initrd->len ? 1 : 0,
				      .modlist = LAYOUT_MODLIST,
				      .cmdline = LAYOUT_CMDLINE,
				      .memmap = LAYOUT_MEMMAP};
	struct pvh_memmap map[8];
	size_t cmdline_size = strlen(files->cmdline) + 1;

	if (cmdline_size > LAYOUT_CMDLINE_MAX)
		return error_set(err, -E2BIG, "the kernel command line is longer than %u bytes",
				 LAYOUT_CMDLINE_MAX - 1);
	if (acpi_write(mem, files->n_vcpus,
		       files->n_vcpus_max ? files->n_vcpus_max : files->n_vcpus, &info.rsdp) < 0)
		return error_set(err, -ENOSPC, "the ACPI tables do not fit");
	if (vmgenid_init(mem) < 0)
		return error_set(err, -EIO, "the kernel gives no random bytes");
	write_bios_reset(mem);
	info.n_memmap = fill_memmap(mem, map);
	write_low(mem, LAYOUT_MEMMAP, map, info.n_memmap * sizeof(map[0]));
	write_low(mem, LAYOUT_MODLIST, initrd, sizeof(*initrd));
	write_low(mem, LAYOUT_CMDLINE, files->cmdline, cmdline_size);
	write_low(mem, LAYOUT_START_INFO, &info, sizeof(info));
	return 0;
}

int boot_load(const struct guest_memory *memory, const struct boot_files *files,
	      struct boot_entry *entry, struct error *err)
{
	struct pvh_module initrd = {0};
	uint64_t kernel_end = 0;
	int r;

	r = load_kernel(&memory->mem, files->kernel_fd, &entry->entry, &kernel_end, err);
	if (r < 0)
		return r;
	r = load_initrd(&memory->mem, files->initrd_fd, kernel_end, &initrd, err);
	if (r < 0)
		return r;
	entry->start_info = LAYOUT_START_INFO;
	return write_start_info(&memory->mem, files, &initrd, err);
}
