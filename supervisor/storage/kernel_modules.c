// SPDX-License-Identifier: Apache-2.0
#include "supervisor/storage/kernel_modules.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "supervisor/storage/child.h"

#define DEPTH_MAX 16

/*
 * What a zone needs before it has its addons: the bus and the console first, so that it can speak,
 * then the way to the daemon, then disks and the file systems of addons and images, then what
 * reports a panic and gives entropy and a network. What Xen has in their place comes last:
 * zone-init loads one or the other (zone-guest/boot.c). All else, ext4 and nftables for instance,
 * it loads from the addons: every byte here costs each zone boot time and memory.
 */
static const char *const wanted[] = {
	"virtio_pci",	"virtio_console", "vmw_vsock_virtio_transport",
	"virtio_blk",	"squashfs",	  "overlay",
	"virtio_rng",	"pvpanic_mmio",	  "pvpanic_pci",
	"virtio_net",	"rng_core",	  "loop",
	"af_packet",	"xen_evtchn",	  "xen_gntalloc",
	"xen_blkfront", "xen_netfront",
};

/* A line of modules.dep: "PATH: DEPENDENCY…", the last dependency to be loaded first. */
struct line {
	const char *text;
	size_t len, path_len;
	char name[sizeof(((struct kernel_module *)0)->name)];
};

struct dep {
	struct line *lines;
	size_t n;
};

/* kernel/a/virtio-rng.ko.xz → virtio_rng. False for what no module is called. */
static bool name_of(const char *path, size_t len, char *out, size_t size)
{
	const char *base = memrchr(path, '/', len);
	size_t n = 0;

	base = base ? base + 1 : path;
	for (const char *c = base; c < path + len && *c != '.'; c++) {
		if (n + 1 >= size)
			return false;
		out[n++] = *c == '-' ? '_' : *c;
	}
	out[n] = '\0';
	return n > 0;
}

/* A path may go to unsquashfs, which takes wildcards, and a name into a cpio archive: plain
 * characters only. */
static bool path_ok(const char *path, size_t len)
{
	static const char allowed[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+./";

	if (len == 0 || len > 255 || path[0] == '-' || path[0] == '/' || memmem(path, len, "..", 2))
		return false;
	for (size_t i = 0; i < len; i++)
		if (!strchr(allowed, path[i]) || !path[i])
			return false;
	return true;
}

static int split_lines(const char *text, struct dep *dep)
{
	size_t n = 1;

	for (const char *c = text; *c; c++)
		n += *c == '\n';
	dep->lines = calloc(n, sizeof(*dep->lines));
	if (!dep->lines)
		return -ENOMEM;
	while (*text) {
		size_t len = strcspn(text, "\n");
		const char *colon = memchr(text, ':', len);
		struct line *line = &dep->lines[dep->n];

		if (colon && path_ok(text, (size_t)(colon - text)) &&
		    name_of(text, (size_t)(colon - text), line->name, sizeof(line->name))) {
			line->text = text;
			line->len = len;
			line->path_len = (size_t)(colon - text);
			dep->n++;
		}
		text += len + (text[len] ? 1 : 0);
	}
	return 0;
}

static const struct line *find_line(const struct dep *dep, const char *name)
{
	for (size_t i = 0; i < dep->n; i++)
		if (strcmp(dep->lines[i].name, name) == 0)
			return &dep->lines[i];
	return NULL;
}

static bool is_listed(const struct kernel_modules *modules, const char *name)
{
	for (unsigned i = 0; i < modules->n; i++)
		if (strcmp(modules->list[i].name, name) == 0)
			return true;
	return false;
}

/* Adds a module behind everything it depends on. A circle ends at DEPTH_MAX. */
static int visit(struct kernel_modules *modules, const struct dep *dep, const char *name, int depth)
{
	const struct line *line = find_line(dep, name);
	const char *first, *end;

	if (!line || is_listed(modules, name))
		return 0;
	if (depth > DEPTH_MAX)
		return -ELOOP;
	first = line->text + line->path_len + 1;
	end = line->text + line->len;
	while (end > first) {
		const char *start = end;
		char dependency[sizeof(line->name)];
		int r;

		while (start > first && start[-1] != ' ')
			start--;
		if (end > start &&
		    name_of(start, (size_t)(end - start), dependency, sizeof(dependency))) {
			r = visit(modules, dep, dependency, depth + 1);
			if (r < 0)
				return r;
		}
		end = start > first ? start - 1 : first;
	}
	if (is_listed(modules, name))
		return 0;
	if (modules->n == KERNEL_MODULES_MAX)
		return -E2BIG;
	modules->list[modules->n].path = strndup(line->text, line->path_len);
	if (!modules->list[modules->n].path)
		return -ENOMEM;
	memcpy(modules->list[modules->n].name, line->name, sizeof(line->name));
	modules->n++;
	return 0;
}

int kernel_modules_plan(struct kernel_modules *modules, const char *modules_dep)
{
	struct dep dep = {.lines = NULL};
	int r;

	memset(modules, 0, sizeof(*modules));
	r = split_lines(modules_dep, &dep);
	for (size_t i = 0; i < ARRAY_SIZE(wanted) && r == 0; i++)
		r = visit(modules, &dep, wanted[i], 0);
	free(dep.lines);
	return r;
}

void kernel_modules_clear(struct kernel_modules *modules)
{
	while (modules->n)
		free(modules->list[--modules->n].path);
}

int kernel_modules_read(const char *squashfs, const char *path, size_t max, char **out, size_t *len,
			struct error *err)
{
	const char *const argv[] = {"unsquashfs", "-no-wildcards", "-cat", squashfs, path, NULL};
	_cleanup_(freep) char *data = NULL;
	int status = child_output(argv, max, &data, len, err);

	if (status < 0)
		return status;
	if (status == CHILD_NOT_RUN)
		return error_set(err, -ENOENT, "unsquashfs cannot be run; install squashfs-tools");
	if (status > 0)
		return error_set(err, -ENOENT, "the kernel's addons.squashfs has no readable '%s'",
				 path);
	*out = steal_ptr(&data);
	return 0;
}

static int read_all(struct archive *archive, size_t max, char **out, size_t *out_len)
{
	struct archive_entry *entry;
	_cleanup_(freep) char *data = malloc(max + 1);
	size_t used = 0;
	la_ssize_t n;

	if (!data)
		return -ENOMEM;
	if (archive_read_next_header(archive, &entry) != ARCHIVE_OK)
		return -EBADMSG;
	while ((n = archive_read_data(archive, data + used, max + 1 - used)) > 0) {
		used += (size_t)n;
		if (used > max)
			return -EFBIG;
	}
	if (n < 0)
		return -EBADMSG;
	*out = steal_ptr(&data);
	*out_len = used;
	return 0;
}

int kernel_modules_unpack(char **data, size_t *len, size_t max, struct error *err)
{
	struct archive *archive = archive_read_new();
	_cleanup_(freep) char *packed = steal_ptr(data);
	int r = -ENOMEM;

	if (archive) {
		archive_read_support_filter_xz(archive);
		archive_read_support_filter_zstd(archive);
		archive_read_support_filter_gzip(archive);
		archive_read_support_format_raw(archive);
		r = archive_read_open_memory(archive, packed, *len) == ARCHIVE_OK
			    ? read_all(archive, max, data, len)
			    : -EBADMSG;
		archive_read_free(archive);
	}
	return r < 0 ? error_set_errno(err, r, "cannot unpack a module of the kernel") : 0;
}
