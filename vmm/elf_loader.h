// SPDX-License-Identifier: Apache-2.0
/*
 * Loads an ELF64 vmlinux into guest memory: as its bytes come by, in order, so that an unpacked
 * kernel is never held twice, or straight from a file. The file is not trusted: every offset and
 * address is checked against guest memory, and no more than headers and PT_LOAD ranges is kept.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <elf.h>

#include "base/error.h"
#include "base/util.h"
#include "virtio/mem.h"

#define ELF_HEAD_SIZE	 4096u
#define ELF_SEGMENTS_MAX 32u
#define ELF_NOTES_MAX	 (16u * 1024)
/* All that is loaded lies before it: a file of some KiB may unpack to any length, and who unpacks
 * it serves nobody meanwhile. Debian's largest kernel needs 60 MiB. */
#define ELF_END_MAX (512 * MIB)

struct elf_loader {
	const struct mem *mem;
	struct error *err;
	uint64_t pos, end; /* of the file: fed so far, last byte needed */
	size_t head_len;
	unsigned n_segments;
	uint64_t kernel_end; /* first guest address behind all segments */
	uint64_t notes_off;
	size_t notes_len;
	Elf64_Phdr segments[ELF_SEGMENTS_MAX];
	uint8_t head[ELF_HEAD_SIZE];
	uint8_t notes[ELF_NOTES_MAX];
};

/* mem and err are borrowed and outlive the loader. */
void elf_loader_init(struct elf_loader *elf, const struct mem *mem, struct error *err);

/* Next bytes of the file. Returns 0 to go on, 1 when all that is needed has come, or a negative
 * errno with *err. */
int elf_loader_feed(void *elf, const void *data, size_t len);

/*
 * Reads the segments of the ELF file fd (borrowed, size bytes) straight to their places. Returns 0,
 * or a negative errno with *err.
 */
int elf_loader_read(struct elf_loader *elf, int fd, uint64_t size);

/*
 * After 1 of elf_loader_feed() or 0 of elf_loader_read(): the 32-bit PVH entry (ELF note Xen/18,
 * XEN_ELFNOTE_PHYS32_ENTRY). Returns 0, or -ENOEXEC with *err if the kernel has none.
 */
int elf_loader_pvh_entry(const struct elf_loader *elf, uint32_t *entry);
