// SPDX-License-Identifier: Apache-2.0
#include "vmm/elf_loader.h"

#include <errno.h>
#include <string.h>

#include "base/io.h"
#include "vmm/layout.h"

#define XEN_ELFNOTE_PHYS32_ENTRY 18u

void elf_loader_init(struct elf_loader *elf, const struct mem *mem, struct error *err)
{
	elf->mem = mem;
	elf->err = err;
	elf->pos = elf->end = elf->kernel_end = elf->notes_off = 0;
	elf->head_len = elf->notes_len = 0;
	elf->n_segments = 0;
}

static int add_segment(struct elf_loader *elf, const Elf64_Phdr *p)
{
	uint64_t file_end, guest_end;

	if (!checked_add(p->p_offset, p->p_filesz, &file_end) ||
	    !checked_add(p->p_paddr, p->p_memsz, &guest_end) || p->p_filesz > p->p_memsz)
		return error_set(elf->err, -ENOEXEC, "the kernel's ELF segment sizes are wrong");
	if (p->p_memsz == 0)
		return 0;
	if (p->p_paddr < LAYOUT_KERNEL_MIN || !mem_ptr(elf->mem, p->p_paddr, p->p_memsz))
		return error_set(elf->err, -ENOMEM,
				 "the kernel (up to %llu MiB) does not fit into the zone's memory; "
				 "give the zone more memory",
				 (unsigned long long)(guest_end / MIB + 1));
	if (elf->n_segments == ELF_SEGMENTS_MAX)
		return error_set(elf->err, -ENOEXEC, "the kernel's ELF has too many segments");
	elf->segments[elf->n_segments++] = *p;
	if (file_end > elf->end)
		elf->end = file_end;
	if (guest_end > elf->kernel_end)
		elf->kernel_end = guest_end;
	return 0;
}

static void add_notes(struct elf_loader *elf, const Elf64_Phdr *p)
{
	if (elf->notes_len || p->p_filesz == 0 || p->p_filesz > ELF_NOTES_MAX ||
	    p->p_offset > UINT64_MAX - p->p_filesz)
		return;
	elf->notes_off = p->p_offset;
	elf->notes_len = p->p_filesz;
	if (p->p_offset + p->p_filesz > elf->end)
		elf->end = p->p_offset + p->p_filesz;
}

static int parse_head(struct elf_loader *elf)
{
	Elf64_Ehdr ehdr;
	int r = 0;

	memcpy(&ehdr, elf->head, sizeof(ehdr));
	if (memcmp(ehdr.e_ident, ELFMAG, SELFMAG) != 0 || ehdr.e_ident[EI_CLASS] != ELFCLASS64 ||
	    ehdr.e_machine != EM_X86_64 || ehdr.e_phentsize != sizeof(Elf64_Phdr))
		return error_set(elf->err, -ENOEXEC, "the kernel is not an ELF file for x86-64");
	if (!range_fits(ehdr.e_phoff, (uint64_t)ehdr.e_phnum * sizeof(Elf64_Phdr), ELF_HEAD_SIZE))
		return error_set(elf->err, -ENOEXEC,
				 "the kernel's ELF program headers are too far away");
	for (unsigned i = 0; i < ehdr.e_phnum && r == 0; i++) {
		Elf64_Phdr p;

		memcpy(&p, elf->head + ehdr.e_phoff + i * sizeof(p), sizeof(p));
		if (p.p_type == PT_LOAD)
			r = add_segment(elf, &p);
		else if (p.p_type == PT_NOTE)
			add_notes(elf, &p);
	}
	if (r == 0 && elf->n_segments == 0)
		return error_set(elf->err, -ENOEXEC, "the kernel's ELF has nothing to load");
	if (r == 0 && elf->end > ELF_END_MAX)
		return error_set(elf->err, -ENOEXEC,
				 "the kernel's ELF has what is to be loaded beyond %llu MiB",
				 (unsigned long long)(ELF_END_MAX / MIB));
	return r;
}

/* Copies the part of [pos, pos + len) that lies in [off, off + size) to `to`, which stands for
 * `off`. */
static void copy_part(uint64_t pos, const uint8_t *data, size_t len, uint64_t off, uint64_t size,
		      uint8_t *to)
{
	uint64_t from = pos > off ? pos : off;
	uint64_t until = pos + len < off + size ? pos + len : off + size;

	if (from < until)
		memcpy(to + (from - off), data + (from - pos), until - from);
}

static int load(struct elf_loader *elf, const uint8_t *data, size_t len)
{
	for (unsigned i = 0; i < elf->n_segments; i++) {
		const Elf64_Phdr *p = &elf->segments[i];

		copy_part(elf->pos, data, len, p->p_offset, p->p_filesz,
			  mem_ptr(elf->mem, p->p_paddr, p->p_memsz));
	}
	copy_part(elf->pos, data, len, elf->notes_off, elf->notes_len, elf->notes);
	elf->pos += len;
	return elf->pos >= elf->end;
}

int elf_loader_feed(void *user, const void *data, size_t len)
{
	struct elf_loader *elf = user;
	const uint8_t *bytes = data;
	int r;

	if (elf->head_len < ELF_HEAD_SIZE) {
		size_t part = ELF_HEAD_SIZE - elf->head_len;

		part = part < len ? part : len;
		memcpy(elf->head + elf->head_len, bytes, part);
		elf->head_len += part;
		bytes += part;
		len -= part;
		if (elf->head_len < ELF_HEAD_SIZE)
			return 0;
		r = parse_head(elf);
		if (r == 0)
			r = load(elf, elf->head, ELF_HEAD_SIZE);
		if (r)
			return r;
	}
	return load(elf, bytes, len);
}

static int read_part(struct elf_loader *elf, int fd, void *to, uint64_t off, uint64_t len)
{
	ssize_t n = io_pread_full(fd, to, len, off);

	if (n < 0)
		return error_set_errno(elf->err, (int)n, "cannot read the kernel");
	if ((uint64_t)n != len)
		return error_set(elf->err, -ENOEXEC, "the kernel is cut short");
	return 0;
}

int elf_loader_read(struct elf_loader *elf, int fd, uint64_t size)
{
	int r = read_part(elf, fd, elf->head, 0, ELF_HEAD_SIZE);

	if (r == 0)
		r = parse_head(elf);
	if (r == 0 && elf->end > size)
		return error_set(elf->err, -ENOEXEC, "the kernel is cut short");
	for (unsigned i = 0; i < elf->n_segments && r == 0; i++) {
		const Elf64_Phdr *p = &elf->segments[i];

		r = read_part(elf, fd, mem_ptr(elf->mem, p->p_paddr, p->p_memsz), p->p_offset,
			      p->p_filesz);
	}
	if (r == 0)
		r = read_part(elf, fd, elf->notes, elf->notes_off, elf->notes_len);
	elf->pos = elf->end;
	return r;
}

int elf_loader_pvh_entry(const struct elf_loader *elf, uint32_t *entry)
{
	size_t off = 0;

	while (range_fits(off, sizeof(Elf64_Nhdr), elf->notes_len)) {
		Elf64_Nhdr note;
		size_t name, desc;

		memcpy(&note, elf->notes + off, sizeof(note));
		name = off + sizeof(note);
		desc = name + align_up(note.n_namesz, 4);
		if (!range_fits(desc, note.n_descsz, elf->notes_len))
			break;
		if (note.n_type == XEN_ELFNOTE_PHYS32_ENTRY && note.n_namesz == 4 &&
		    memcmp(elf->notes + name, "Xen", 4) == 0 && note.n_descsz >= sizeof(*entry)) {
			memcpy(entry, elf->notes + desc, sizeof(*entry));
			return 0;
		}
		off = desc + align_up(note.n_descsz, 4);
	}
	return error_set(elf->err, -ENOEXEC,
			 "the kernel has no PVH entry; build it with CONFIG_PVH=y");
}
