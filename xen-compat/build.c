// SPDX-License-Identifier: Apache-2.0
#include "xen-compat/build.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <xenguest.h>

#include <xen/hvm/e820.h>
#include <xen/hvm/params.h>

#include "base/util.h"

#define KERNEL_MAX  (512 * MIB) /* unpacked */
#define INITRD_MAX  (512 * MIB)
#define PVH_LOW_MAX UINT64_C(0xf0000000) /* HVM_BELOW_4G_MMIO_START of Xen */
#define PVH_HIGH    UINT64_C(0x100000000)
#define PVH_MAP_MAX 3u

/* A file in memory, as long as it is needed. */
struct mapping {
	void *at;
	size_t len;
};

static int map_file(int fd, uint64_t max, struct mapping *map, const char *what, struct error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || st.st_size <= 0 || (uint64_t)st.st_size > max)
		return error_set(err, -EINVAL, "the %s must be a file of 1 byte to %llu MiB", what,
				 (unsigned long long)(max / MIB));
	map->len = (size_t)st.st_size;
	map->at = mmap(NULL, map->len, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map->at == MAP_FAILED) {
		map->at = NULL;
		return error_set_errno(err, -errno, "the %s cannot be mapped", what);
	}
	return 0;
}

static void unmap_file(struct mapping *map)
{
	if (map->at)
		munmap(map->at, map->len);
}

/* What a PVH domain needs to know beside: where its memory is. */
static int set_memory_map(struct xen *xen, const struct zone_spec *spec, struct domain *domain,
			  struct xc_dom_image *image, struct error *err)
{
	struct e820entry *map = xc_dom_malloc(image, PVH_MAP_MAX * sizeof(*map));
	uint64_t bytes = spec->memory_mib * MIB;
	uint32_t n = 0;

	if (!map)
		return xen_failed(xen, err, "out of memory");
	image->lowmem_end = bytes < PVH_LOW_MAX ? bytes : PVH_LOW_MAX;
	image->highmem_end = bytes > PVH_LOW_MAX ? PVH_HIGH + bytes - PVH_LOW_MAX : 0;
	image->mmio_start = PVH_LOW_MAX;
	image->mmio_size = PVH_HIGH - PVH_LOW_MAX;
	map[n++] = (struct e820entry){.addr = 0, .size = image->lowmem_end, .type = E820_RAM};
	map[n++] = (struct e820entry){
		.addr = (uint64_t)(X86_HVM_END_SPECIAL_REGION - X86_HVM_NR_SPECIAL_PAGES)
			<< XC_PAGE_SHIFT,
		.size = (uint64_t)X86_HVM_NR_SPECIAL_PAGES << XC_PAGE_SHIFT,
		.type = E820_RESERVED};
	if (image->highmem_end)
		map[n++] = (struct e820entry){
			.addr = PVH_HIGH, .size = image->highmem_end - PVH_HIGH, .type = E820_RAM};
	image->e820 = map;
	image->e820_entries = n;
	if (xc_domain_set_memory_map(xen->control, domain->id, map, n) < 0)
		return xen_failed(xen, err, "the zone's memory map");
	return 0;
}

static int take_files(struct xen *xen, struct xc_dom_image *image, const struct mapping *kernel,
		      const struct mapping *initrd, struct error *err)
{
	if (xc_dom_kernel_max_size(image, KERNEL_MAX) < 0 ||
	    xc_dom_module_max_size(image, INITRD_MAX) < 0 ||
	    xc_dom_kernel_mem(image, kernel->at, kernel->len) < 0)
		return xen_failed(xen, err, "the kernel cannot be read");
	if (initrd->at && xc_dom_module_mem(image, initrd->at, initrd->len, NULL) < 0)
		return xen_failed(xen, err, "the initramfs cannot be read");
	return 0;
}

static int fill_memory(struct xen *xen, const struct zone_spec *spec, struct domain *domain,
		       struct xc_dom_image *image, struct error *err)
{
	int r = 0;

	if (xc_dom_boot_xen_init(image, xen->control, domain->id) < 0)
		return xen_failed(xen, err, "the zone cannot be prepared");
	if (xc_dom_parse_image(image) < 0)
		return xen_failed(xen, err,
				  domain->hvm ? "the kernel does not boot as a PVH domain"
					      : "the kernel does not boot as a PV domain");
	if (domain->hvm)
		r = set_memory_map(xen, spec, domain, image, err);
	if (r < 0)
		return r;
	if (xc_dom_mem_init(image, (unsigned)spec->memory_mib) < 0 ||
	    xc_dom_boot_mem_init(image) < 0)
		return xen_failed(xen, err, "Xen has not enough memory for the zone");
	if (xc_dom_build_image(image) < 0 || xc_dom_boot_image(image) < 0 ||
	    xc_dom_gnttab_init(image) < 0)
		return xen_failed(xen, err, "kernel and initramfs do not fit into the zone");
	return 0;
}

static int set_parameters(struct xen *xen, struct domain *domain, struct error *err)
{
	if (xc_hvm_param_set(xen->control, domain->id, HVM_PARAM_STORE_EVTCHN, domain->store_port) <
		    0 ||
	    xc_hvm_param_set(xen->control, domain->id, HVM_PARAM_CONSOLE_EVTCHN,
			     domain->console_port) < 0)
		return xen_failed(xen, err, "the zone's parameters");
	return 0;
}

static int build(struct xen *xen, const struct zone_spec *spec, struct domain *domain,
		 const struct mapping *kernel, const struct mapping *initrd, struct error *err)
{
	struct xc_dom_image *image = xc_dom_allocate(xen->control, spec->cmdline, NULL);
	int r;

	if (!image)
		return xen_failed(xen, err, "out of memory");
	image->container_type = domain->hvm ? XC_DOM_HVM_CONTAINER : XC_DOM_PV_CONTAINER;
	image->console_evtchn = domain->console_port;
	image->xenstore_evtchn = domain->store_port;
	image->max_vcpus = spec->max_vcpus;
	image->target_pages = spec->memory_mib * MIB / XC_PAGE_SIZE;
	r = take_files(xen, image, kernel, initrd, err);
	if (r == 0)
		r = fill_memory(xen, spec, domain, image, err);
	if (r == 0 && domain->hvm)
		r = set_parameters(xen, domain, err);
	domain->store_frame = r == 0 ? xc_dom_p2m(image, image->xenstore_pfn) : 0;
	xc_dom_release(image);
	return r;
}

int build_domain(struct xen *xen, const struct zone_spec *spec, struct domain *domain,
		 struct error *err)
{
	struct mapping kernel = {.at = NULL}, initrd = {.at = NULL};
	int r = map_file(spec->kernel_fd, KERNEL_MAX, &kernel, "kernel", err);

	if (r == 0 && spec->initrd_fd >= 0)
		r = map_file(spec->initrd_fd, INITRD_MAX, &initrd, "initramfs", err);
	if (r == 0)
		r = build(xen, spec, domain, &kernel, &initrd, err);
	unmap_file(&initrd);
	unmap_file(&kernel);
	return r;
}
