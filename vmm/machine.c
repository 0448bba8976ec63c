// SPDX-License-Identifier: Apache-2.0
#include "vmm/machine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "virtio/vsock.h"
#include "vmm/boot.h"
#include "vmm/control.h"
#include "vmm/filters.h"
#include "vmm/layout.h"
#include "vmm/machine_devices.h"
#include "vmm/wind_down.h"

void machine_end(struct machine *machine, const char *reason, const char *detail)
{
	if (machine->end_reason)
		return;
	machine->end_reason = reason;
	snprintf(machine->end_detail, sizeof(machine->end_detail), "%s", detail);
	loop_stop(machine->loop);
}

static void on_end(void *user, const char *reason, const char *detail)
{
	machine_end(user, reason, detail);
}

static void on_output(void *user, const void *data, size_t len)
{
	struct machine *machine = user;

	console_hub_write(&machine->console, data, len);
}

static void on_ejected(void *user, unsigned slot, struct pci_dev *dev)
{
	struct machine *machine = user;

	(void)slot;
	slots_ejected(&machine->slots, dev);
}

static int init_buses(struct machine *machine, const struct zone_spec *spec)
{
	int r = bus_init(&machine->bus, machine->loop, on_end, machine);

	if (r < 0)
		return r;
	machine->acpi_event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (machine->acpi_event_fd < 0)
		return -errno;
	pci_bus_init(&machine->pci, &machine->bus, machine->acpi_event_fd, on_ejected, machine);
	if (config_pages_init(&machine->config_pages, machine->kvm.vm) == 0)
		machine->pci.pages = &machine->config_pages;
	machine->platform.on_end = on_end;
	machine->platform.on_output = on_output;
	machine->platform.user = machine;
	platform_init(&machine->platform, &machine->bus, machine->loop);
	console_hub_init(&machine->console, machine->loop);
	slots_init(&machine->slots, machine->loop, &machine->memory.mem, &machine->pci,
		   &kvm_pci_host_ops, &machine->kvm);
	disks_init(&machine->disks, &machine->slots, spec->max_vcpus);
	nics_init(&machine->nics, &machine->slots);
	shares_init(&machine->shares, &machine->slots);
	return kvm_pin_eventfd(&machine->kvm, IRQ_GED, machine->acpi_event_fd);
}

static int load_kernel(struct machine *machine, const struct zone_spec *spec, struct error *err)
{
	const struct boot_files files = {.kernel_fd = spec->kernel_fd,
					 .initrd_fd = spec->initrd_fd,
					 .cmdline = spec->cmdline,
					 .n_vcpus = spec->vcpus,
					 .n_vcpus_max = spec->max_vcpus};
	struct boot_entry entry;
	int r = boot_load(&machine->memory, &files, &entry, err);

	if (r == 0)
		r = vcpu_enter_pvh(machine->vcpus.all[0], entry.entry, entry.start_info, err);
	return r;
}

static void on_idm(void *user, int fd)
{
	struct machine *machine = user;

	virtio_vsock_offer(machine->vsock, IDM_PORT, fd);
}

static void on_connect(void *user, uint32_t port, int fd)
{
	struct machine *machine = user;

	virtio_vsock_connect(machine->vsock, port, fd);
}

static void on_serve(void *user, uint32_t port, int fd)
{
	struct machine *machine = user;

	virtio_vsock_serve(machine->vsock, port, fd);
}

static void on_control(void *user, const void *data, size_t len, const int *fds, unsigned n_fds,
		       control_reply_fn *reply, void *reply_user)
{
	control_request(user, data, len, fds, n_fds, reply, reply_user);
}

int machine_listen(struct machine *machine, int fd)
{
	const struct runner_host host = {.loop = machine->loop,
					 .console = &machine->console,
					 .idm = on_idm,
					 .connect = on_connect,
					 .serve = on_serve,
					 .control = on_control,
					 .user = machine};

	return runner_server_init(&machine->server, &host, fd);
}

static int connect_outside(struct machine *machine, struct zone_spec *spec, struct error *err)
{
	int r = 0;

	if (spec->console_fd >= 0)
		r = console_hub_add(&machine->console, steal_fd(&spec->console_fd), false);
	if (r == 0 && spec->socket_fd >= 0)
		r = machine_listen(machine, steal_fd(&spec->socket_fd));
	if (r < 0)
		return error_set_errno(err, r, "cannot serve the zone's socket or console");
	return 0;
}

int machine_init(struct machine *machine, struct zone_spec *spec, int kvm_fd, struct error *err)
{
	int r;

	memset(machine, 0, sizeof(*machine));
	machine->acpi_event_fd = machine->bus.doorbell = -1;
	machine->kvm = (struct kvm){.fd = kvm_fd, .vm = -1};
	for (unsigned i = 0; i < KVM_IRQS_MAX; i++)
		machine->kvm.irqs[i].eventfd = -1;
	machine->started_ns = clock_now_ns();
	if (spec->backend > SPEC_BACKEND_KVM)
		return error_set(err, -EINVAL, "the spec wants a Xen domain; zone-xen runs it");
	r = loop_new(&machine->loop, MACHINE_LOOP_ENTRIES, MACHINE_LOOP_SLOTS);
	if (r < 0)
		return error_set_errno(
			err, r, "io_uring is not usable (see the sysctl kernel.io_uring_disabled)");
	r = guest_memory_init(&machine->memory, spec->memory_mib, spec->max_memory_mib,
			      spec->huge_pages, err);
	if (r == 0)
		r = kvm_init(&machine->kvm, kvm_fd, &machine->memory, err);
	if (r < 0)
		return r;
	r = init_buses(machine, spec);
	if (r < 0)
		return error_set_errno(err, r, "cannot make the zone's buses");
	r = machine_add_devices(machine, spec, err);
	if (r == 0)
		r = vcpus_init(&machine->vcpus, &machine->kvm, &machine->bus,
			       machine->acpi_event_fd, spec->vcpus, spec->max_vcpus, err);
	if (r == 0)
		r = connect_outside(machine, spec, err);
	return r;
}

/*
 * Until then all that zone-vmm asks for at its start, for who started it with a filter
 * (protect-launch). It is PID 1.
 *
 * #syscalls runner: arch_prctl set_tid_address set_robust_list rseq prlimit64 brk readlink
 *	read pread64 getrandom(_, _, GRND_NONBLOCK) getrandom(_, _, 0)
 *	mprotect(_, _, PROT_READ) mprotect(_, _, PROT_READ|PROT_WRITE)
 *	mprotect(_, _, PROT_NONE) mmap(_, _, PROT_READ|PROT_WRITE, MAP_SHARED)
 *	mmap(_, _, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_POPULATE) munmap
 *	mmap(_, _, PROT_NONE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE)
 *	mmap(_, _, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED)
 *	mmap(_, _, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE)
 *	madvise(_, _, MADV_HUGEPAGE) madvise(_, _, MADV_NOHUGEPAGE)
 *	madvise(_, _, MADV_DONTDUMP) ioctl(_, KVM_TYPE/0xFF00) ioctl(_, TUNGETIFF)
 *	ioctl(_, BLKGETSIZE64) ioctl(_, BLKSSZGET) ioctl(_, TCGETS) signalfd4 timerfd_create
 *	timerfd_settime io_uring_setup io_uring_register(_, IORING_REGISTER_FILES2)
 *	io_uring_register(_, IORING_REGISTER_RESTRICTIONS)
 *	io_uring_register(_, IORING_REGISTER_ENABLE_RINGS) landlock_create_ruleset
 *	landlock_restrict_self prctl(PR_SET_NO_NEW_PRIVS) prctl(PR_SET_NAME)
 *	seccomp(SECCOMP_SET_MODE_FILTER, 0) rt_sigaction(_, _, _, 8) rt_sigprocmask
 *	rt_sigreturn sched_getaffinity clone3 getpid gettid getuid geteuid getgid getegid
 *	openat newfstatat(_, _, _, AT_EMPTY_PATH) newfstatat(_, _, _, 0) fcntl(_, F_GETFL)
 *	fcntl(_, F_SETFL) fcntl(_, F_SETFD) fcntl(_, F_GETFD) getsockopt(_, SOL_SOCKET) poll
 *	tgkill(1, _, SIGUSR1) tgkill(1, _, SIGABRT) uname sysinfo
 */
/*
 * Takes away what a running zone does not need, from here on for good: no file, socket or process
 * by name, no new thread, no call but those of each thread's filter. The vCPUs wait meanwhile.
 */
static int confine(struct machine *machine, struct error *err)
{
	int r = filters_confine_process();

	if (r < 0)
		return error_set_errno(err, r, "Landlock refuses");
	r = loop_start_workers(machine->loop, filters_confine_worker);
	if (r < 0)
		return error_set_errno(err, r, "cannot start the loop's threads");
	vcpus_pause(&machine->vcpus, NULL, NULL);
	r = vcpus_start(&machine->vcpus, err);
	if (r < 0)
		return r;
	r = filters_confine_loop(loop_is_polling(machine->loop));
	return r < 0 ? error_set_errno(err, r, "the seccomp filter cannot be loaded") : 0;
}

int machine_boot(struct machine *machine, const struct zone_spec *spec, struct error *err)
{
	int r = confine(machine, err);

	if (r == 0)
		r = load_kernel(machine, spec, err);
	if (r == 0)
		vcpus_resume(&machine->vcpus);
	return r;
}

int machine_run(struct machine *machine, struct error *err)
{
	int r = loop_run(machine->loop);

	return r < 0 ? error_set_errno(err, r, "the event loop failed") : 0;
}

/*
 * What is still under way in guest memory after winding down ends with the ring, before the memory
 * is unmapped.
 */
void machine_deinit(struct machine *machine)
{
	if (machine->loop && machine->console.loop) {
		vcpus_stop(&machine->vcpus);
		machine_wind_down(machine);
	}
	vcpus_deinit(&machine->vcpus);
	machine->loop = loop_free(machine->loop);
	config_pages_deinit(&machine->config_pages);
	bus_deinit(&machine->bus);
	kvm_deinit(&machine->kvm);
	guest_memory_deinit(&machine->memory);
	close_fdp(&machine->acpi_event_fd);
}
