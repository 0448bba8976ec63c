// SPDX-License-Identifier: Apache-2.0
/* Any bytes as a kernel: the loader refuses or loads them, within the zone's memory. */
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/io.h"
#include "vmm/boot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct guest_memory memory = GUEST_MEMORY_NULL;
	struct error err = ERROR_NULL;
	struct boot_entry entry;
	struct boot_files files = {.kernel_fd = memfd_create("kernel", MFD_CLOEXEC),
				   .initrd_fd = -1,
				   .cmdline = "quiet",
				   .n_vcpus = 1};

	if (io_write_full(files.kernel_fd, data, len) == 0 &&
	    guest_memory_init(&memory, 16, 16, false, &err) == 0)
		boot_load(&memory, &files, &entry, &err);
	guest_memory_deinit(&memory);
	close(files.kernel_fd);
	return 0;
}
