// SPDX-License-Identifier: Apache-2.0
/*
 * vCPUs on a real KVM, where there is one: pause and resume in each of the places where a vCPU may
 * be, and the hot-plug registers, as a guest that lies would use them. The tests' thread is the
 * loop thread; a thread of its own plays a vCPU at the registers.
 */
#include "tests/unit/harness.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"
#include "vmm/layout.h"
#include "vmm/vcpus.h"

UNIT_SUITE(vcpus);

#define CODE	   0x100000u
#define IN	   (CODE + 4)
#define COUNTER	   0x200000u
#define LOST	   0x300000u
#define PORT_SLOW  0x1000u
#define PORT_HOST  0x2000u
#define UP	   PORT_CPU_HOTPLUG
#define DOWN	   (PORT_CPU_HOTPLUG + 8)
#define PRESENT	   (PORT_CPU_HOTPLUG + 16)
#define EJECT	   (PORT_CPU_HOTPLUG + 24)
#define PATIENCE_S 10u

/* incl COUNTER; jmp back to it */
static const uint8_t counts[] = {0xff, 0x05, 0x00, 0x00, 0x20, 0x00, 0xeb, 0xf8};
/* mov $PORT_SLOW, %dx; in %dx, %al; incl COUNTER; jmp back to in */
static const uint8_t asks[] = {0x66, 0xba, 0x00, 0x10, 0xec, 0xff, 0x05,
			       0x00, 0x00, 0x20, 0x00, 0xeb, 0xf7};
/* incl COUNTER; hlt with interrupts off */
static const uint8_t halts[] = {0xff, 0x05, 0x00, 0x00, 0x20, 0x00, 0xf4};
/* jmp LOST: memory that the host took away */
static const uint8_t loses[] = {0xe9, 0xfb, 0xff, 0x1f, 0x00};
/* An undefined instruction and no IDT: a triple fault */
static const uint8_t dies[] = {0x0f, 0x0b};

struct fixture {
	struct loop *loop;
	struct guest_memory memory;
	struct kvm kvm;
	struct bus bus;
	struct bus_call call; /* of the thread that plays a vCPU */
	struct vcpus vcpus;
	int event_fd;
	struct loop_timer tick;
	bool (*done)(struct fixture *f);
	uint64_t deadline_ns;
	unsigned slow_accesses, paused_calls;
	uint32_t at_least;
	int paused_code;
	const char *end_reason;
	char end_detail[128];
	void (*as_vcpu)(struct fixture *f);
	bool played;
};

static void ended(void *user, const char *reason, const char *detail)
{
	struct fixture *f = user;

	f->end_reason = reason;
	snprintf(f->end_detail, sizeof(f->end_detail), "%s", detail);
}

static void slow(void *user, struct bus_access *access)
{
	struct fixture *f = user;

	(void)access;
	f->slow_accesses++;
}

/* In the loop thread, as the daemon's request would be. */
static void from_host(void *user, struct bus_access *access)
{
	struct fixture *f = user;
	struct error err = ERROR_NULL;
	unsigned target = access->data[0];

	if (target == 0xff)
		f->played = true;
	else
		cr_expect_eq(vcpus_set_target(&f->vcpus, target, &err), 0, "%s", err.text);
}

static void prepare(struct fixture *f, const uint8_t *code, size_t len, unsigned n_boot,
		    unsigned n_max)
{
	struct error err = ERROR_NULL;

	if (access("/dev/kvm", R_OK | W_OK) < 0)
		cr_skip_test("/dev/kvm is not there or not ours to open");
	memset(f, 0, sizeof(*f));
	cr_assert_eq(loop_new(&f->loop, 16, 16), 0);
	cr_assert_eq(guest_memory_init(&f->memory, 16, 16, false, &err), 0);
	cr_assert_eq(kvm_init(&f->kvm, -1, &f->memory, &err), 0, "%s", err.text);
	cr_assert_eq(bus_init(&f->bus, f->loop, ended, f), 0);
	bus_add_call(&f->bus, &f->call);
	bus_add_range(
		&f->bus,
		&(struct bus_range){
			.start = PORT_SLOW, .len = 1, .port = true, .access = slow, .user = f});
	bus_add_range(&f->bus, &(struct bus_range){.start = PORT_HOST,
						   .len = 1,
						   .port = true,
						   .access = from_host,
						   .user = f});
	f->event_fd = eventfd(0, EFD_NONBLOCK);
	memcpy(mem_ptr(&f->memory.mem, CODE, len), code, len);
	cr_assert_eq(vcpus_init(&f->vcpus, &f->kvm, &f->bus, f->event_fd, n_boot, n_max, &err), 0,
		     "%s", err.text);
	cr_assert_eq(vcpu_enter_pvh(f->vcpus.all[0], CODE, 0, &err), 0);
}

static void start(struct fixture *f)
{
	struct error err = ERROR_NULL;

	cr_assert_eq(vcpus_start(&f->vcpus, &err), 0, "%s", err.text);
}

static void setup(struct fixture *f, const uint8_t *code, size_t len, unsigned n_boot,
		  unsigned n_max)
{
	prepare(f, code, len, n_boot, n_max);
	start(f);
}

static void teardown(struct fixture *f)
{
	vcpus_stop(&f->vcpus);
	vcpus_deinit(&f->vcpus);
	f->loop = loop_free(f->loop);
	bus_deinit(&f->bus);
	kvm_deinit(&f->kvm);
	guest_memory_deinit(&f->memory);
	close(f->event_fd);
}

static void tick(struct loop_op *op, int res, uint32_t cqe_flags)
{
	struct fixture *f = container_of(op, struct fixture, tick.op);

	(void)res, (void)cqe_flags;
	if (f->done(f) || clock_now_ns() > f->deadline_ns)
		loop_stop(f->loop);
	else
		loop_timer_start(f->loop, &f->tick, clock_now_ns() + NS_PER_MS);
}

/* Runs the loop until done(); false: the time was up. */
static bool run_until(struct fixture *f, bool (*done)(struct fixture *f))
{
	f->done = done;
	f->deadline_ns = clock_now_ns() + PATIENCE_S * NS_PER_S;
	f->tick.op.done = tick;
	loop_timer_start(f->loop, &f->tick, clock_now_ns());
	cr_assert_eq(loop_run(f->loop), 0);
	return done(f);
}

static uint32_t counter(struct fixture *f)
{
	return __atomic_load_n((uint32_t *)mem_ptr(&f->memory.mem, COUNTER, 4), __ATOMIC_SEQ_CST);
}

static bool has_counted(struct fixture *f)
{
	return counter(f) >= f->at_least;
}

static bool count_on(struct fixture *f)
{
	f->at_least = counter(f) + 3;
	return run_until(f, has_counted);
}

static void on_paused(void *user, int code)
{
	struct fixture *f = user;

	f->paused_calls++;
	f->paused_code = code;
}

static bool was_called(struct fixture *f)
{
	return f->paused_calls > 0;
}

static bool has_waited(struct fixture *f)
{
	return clock_now_ns() + (PATIENCE_S * NS_PER_S - 30 * NS_PER_MS) > f->deadline_ns;
}

static void pause_all(struct fixture *f)
{
	f->paused_calls = 0;
	cr_assert_eq(vcpus_pause(&f->vcpus, on_paused, f), 0);
	cr_assert_eq(f->paused_calls, 0, "not from inside the call");
	cr_assert(run_until(f, was_called));
	cr_assert_eq(f->paused_code, 0);
	cr_assert(vcpus_are_paused(&f->vcpus));
}

/* The counter stands still over 30 ms. */
static void expect_still(struct fixture *f)
{
	uint32_t before = counter(f);
	unsigned slow_before = f->slow_accesses;

	cr_expect(run_until(f, has_waited));
	cr_expect_eq(counter(f), before);
	cr_expect_eq(f->slow_accesses, slow_before);
}

Test(vcpus, a_running_vcpu_stands_still_and_goes_on)
{
	struct fixture f;
	struct vcpus_info info;

	setup(&f, counts, sizeof(counts), 1, 1);
	for (unsigned i = 0; i < 20; i++) {
		cr_assert(count_on(&f), "round %u", i);
		vcpus_info(&f.vcpus, 0, &info);
		cr_expect_eq(info.state, VCPU_STATE_RUNNING);
		cr_expect(!info.has_registers);
		pause_all(&f);
		if (i % 10 == 0)
			expect_still(&f);
		vcpus_info(&f.vcpus, 0, &info);
		cr_expect_eq(info.state, VCPU_STATE_PARKED);
		cr_expect(info.has_registers && info.registers.rip >= CODE &&
			  info.registers.rip < CODE + sizeof(counts));
		cr_expect_eq(vcpus_resume(&f.vcpus), 0);
	}
	cr_assert(count_on(&f));
	teardown(&f);
}

Test(vcpus, a_vcpu_that_waits_for_the_loop_is_served_and_stands_still)
{
	struct fixture f;
	struct vcpus_info info;

	setup(&f, asks, sizeof(asks), 1, 1);
	for (unsigned i = 0; i < 50; i++) {
		cr_assert(count_on(&f), "round %u", i);
		pause_all(&f);
		if (i % 10 == 0)
			expect_still(&f);
		/* Each access was ended before: none is done twice, none is lost. */
		cr_expect(f.slow_accesses - counter(&f) <= 1);
		vcpus_info(&f.vcpus, 0, &info);
		cr_expect(f.slow_accesses == counter(&f) || info.registers.rip != IN);
		cr_expect_eq(vcpus_resume(&f.vcpus), 0);
	}
	vcpus_info(&f.vcpus, 0, &info);
	cr_expect_geq(info.port_accesses, f.slow_accesses);
	teardown(&f);
}

Test(vcpus, halted_ones_and_ones_that_wait_for_init_stand_still)
{
	struct fixture f;

	setup(&f, halts, sizeof(halts), 3, 4);
	f.at_least = 1;
	cr_assert(run_until(&f, has_counted));
	pause_all(&f);
	cr_expect_eq(vcpus_pause(&f.vcpus, on_paused, &f), 1, "is paused already");
	cr_expect_eq(vcpus_resume(&f.vcpus), 0);
	cr_expect_eq(vcpus_resume(&f.vcpus), 1);
	pause_all(&f);
	cr_expect_eq(counter(&f), 1);
	teardown(&f);
}

Test(vcpus, a_resume_calls_a_pause_off)
{
	struct fixture f;

	setup(&f, counts, sizeof(counts), 1, 1);
	cr_assert(count_on(&f));
	cr_assert_eq(vcpus_pause(&f.vcpus, on_paused, &f), 0);
	cr_expect_eq(vcpus_pause(&f.vcpus, on_paused, &f), -EBUSY);
	cr_expect(!vcpus_are_paused(&f.vcpus));
	cr_expect_eq(vcpus_resume(&f.vcpus), 0);
	cr_expect_eq(f.paused_calls, 1);
	cr_expect_eq(f.paused_code, -ECANCELED);
	cr_assert(count_on(&f));
	/* And the end of the zone does. */
	cr_assert_eq(vcpus_pause(&f.vcpus, on_paused, &f), 0);
	teardown(&f);
	cr_expect_eq(f.paused_calls, 2);
	cr_expect_eq(f.paused_code, -ECANCELED);
}

static bool second_is_parked(struct fixture *f)
{
	struct vcpus_info info;

	vcpus_info(&f->vcpus, 1, &info);
	return info.state == VCPU_STATE_PARKED;
}

Test(vcpus, one_that_is_plugged_during_a_pause_does_not_run)
{
	struct fixture f;
	struct error err = ERROR_NULL;
	struct vcpus_info info;

	setup(&f, counts, sizeof(counts), 1, 2);
	pause_all(&f);
	cr_assert_eq(vcpus_set_target(&f.vcpus, 2, &err), 0);
	cr_expect_eq(vcpus_plugged(&f.vcpus), 2);
	cr_assert(run_until(&f, second_is_parked));
	expect_still(&f);
	vcpus_info(&f.vcpus, 1, &info);
	cr_expect_eq(info.exits, 0);
	cr_expect_eq(vcpus_resume(&f.vcpus), 0);
	cr_assert(count_on(&f));
	teardown(&f);
}

static bool has_ended(struct fixture *f)
{
	return f->end_reason;
}

Test(vcpus, one_that_has_ended_does_not_hold_up_a_pause)
{
	struct fixture f;

	setup(&f, dies, sizeof(dies), 1, 1);
	cr_assert(run_until(&f, has_ended));
	cr_expect(strcmp(f.end_reason, "triple-fault") == 0 || strcmp(f.end_reason, "error") == 0);
	pause_all(&f);
	teardown(&f);
}

Test(vcpus, memory_that_is_gone_ends_the_zone_and_says_so)
{
	struct fixture f;

	prepare(&f, loses, sizeof(loses), 1, 1);
	cr_assert_eq(mprotect(mem_ptr(&f.memory.mem, LOST, 4096), 4096, PROT_NONE), 0);
	start(&f);
	cr_assert(run_until(&f, has_ended));
	cr_expect_str_eq(f.end_reason, "error");
	/* Which of the two depends on whether this KVM emulates every instruction. */
	cr_expect(strstr(f.end_detail, "KVM_RUN of vCPU 0: ") ||
			  strstr(f.end_detail, "KVM internal error 1 on vCPU 0"),
		  "%s", f.end_detail);
	teardown(&f);
}

static uint32_t in(struct fixture *f, uint64_t port)
{
	uint32_t value = 0;

	bus_do(&f->bus, &f->call, true, false, port, &value, sizeof(value));
	return value;
}

static void out(struct fixture *f, uint64_t port, uint32_t value)
{
	bus_do(&f->bus, &f->call, true, true, port, &value, sizeof(value));
}

static void host_wants(struct fixture *f, uint8_t target)
{
	bus_do(&f->bus, &f->call, true, true, PORT_HOST, &target, 1);
}

static void *play(void *user)
{
	struct fixture *f = user;

	f->as_vcpu(f);
	host_wants(f, 0xff);
	return NULL;
}

static bool has_played(struct fixture *f)
{
	return f->played;
}

/* A vCPU's thread may start late, and only one that is parked can be plugged at once. */
static bool spare_ones_are_parked(struct fixture *f)
{
	bool all = true;

	for (unsigned i = 1; i < f->vcpus.n_max; i++)
		all = all && vcpu_is_parked(f->vcpus.all[i]);
	return all;
}

/* Runs as_vcpu in a thread, beside a zone with 1 of 4 vCPUs. */
static void play_vcpu(struct fixture *f, void (*as_vcpu)(struct fixture *f))
{
	pthread_t thread;

	setup(f, counts, sizeof(counts), 1, 4);
	cr_assert(run_until(f, spare_ones_are_parked));
	f->as_vcpu = as_vcpu;
	pthread_create(&thread, NULL, play, f);
	cr_assert(run_until(f, has_played));
	pthread_join(thread, NULL);
}

/* One that was let go of comes back when it is out of the guest. */
static bool wait_n_present(struct fixture *f, int wanted)
{
	for (unsigned i = 0; i < 2000 && __builtin_popcount(in(f, PRESENT)) != wanted; i++)
		usleep(1000);
	return __builtin_popcount(in(f, PRESENT)) == wanted;
}

static void comes_and_goes(struct fixture *f)
{
	cr_expect_eq(in(f, PRESENT), 0x1);
	host_wants(f, 3);
	cr_expect_eq(in(f, UP), 0x6);
	cr_expect_eq(in(f, UP), 0, "read once");
	cr_expect_eq(in(f, UP + 4), 0);
	cr_expect_eq(in(f, PRESENT), 0x7);
	cr_expect_eq(in(f, PRESENT + 4), 0);
	host_wants(f, 1);
	cr_expect_eq(in(f, PRESENT), 0x7, "only with the guest's consent");
	cr_expect_eq(in(f, DOWN), 0x6);
	out(f, EJECT, 2);
	cr_expect_eq(in(f, PRESENT), 0x3);
	out(f, EJECT, 1);
	cr_expect_eq(in(f, PRESENT), 0x1);
	host_wants(f, 4);
	cr_expect(wait_n_present(f, 4));
	cr_expect_eq(in(f, UP), 0xe);
}

Test(vcpus, they_come_and_go_and_come_again)
{
	struct fixture f;

	play_vcpu(&f, comes_and_goes);
	cr_expect_eq(vcpus_plugged(&f.vcpus), 4);
	teardown(&f);
}

static void lies(struct fixture *f)
{
	static const uint32_t nobody[] = {0, 1, 3, 4, 31, 32, 63, 64, 0x7fffffff, 0xffffffff};

	host_wants(f, 3);
	for (unsigned i = 0; i < ARRAY_SIZE(nobody); i++)
		out(f, EJECT, nobody[i]);
	cr_expect_eq(in(f, PRESENT), 0x7);
	host_wants(f, 2);
	out(f, EJECT, 2);
	cr_expect_eq(in(f, PRESENT), 0x7, "it was not told yet");
	cr_expect_eq(in(f, DOWN), 0x4);
	for (unsigned i = 0; i < 1000; i++)
		out(f, EJECT, 2);
	cr_expect_eq(in(f, PRESENT), 0x3);
	for (unsigned i = 0; i < ARRAY_SIZE(nobody); i++)
		out(f, EJECT, nobody[i]);
	cr_expect_eq(in(f, PRESENT), 0x3);
	out(f, UP, 0xffffffff);
	out(f, PRESENT, 0xffffffff);
	cr_expect_eq(in(f, UP), 0x2);
	bus_do(&f->bus, &f->call, true, true, EJECT + 2, &(uint16_t){1}, 2);
	bus_do(&f->bus, &f->call, true, false, PRESENT + 1, &(uint32_t){0}, 4);
	bus_do(&f->bus, &f->call, true, false, EJECT, &(uint64_t){0}, 8);
	cr_expect_eq(in(f, PRESENT), 0x3);
}

Test(vcpus, a_guest_that_lies_gets_nowhere)
{
	struct fixture f;

	play_vcpu(&f, lies);
	cr_expect_eq(vcpus_plugged(&f.vcpus), 2);
	teardown(&f);
}

/* Whether debug information says that the guest is to let go of it. */
static bool is_asked(const struct fixture *f, unsigned index)
{
	struct vcpus_info info;

	vcpus_info(&f->vcpus, index, &info);
	return info.asked;
}

static void changes_its_mind(struct fixture *f)
{
	host_wants(f, 4);
	cr_expect_eq(in(f, UP), 0xe);
	host_wants(f, 2);
	host_wants(f, 4);
	cr_expect_eq(in(f, DOWN), 0, "called off before the guest knew");
	cr_expect_eq(in(f, UP), 0);
	host_wants(f, 2);
	cr_expect_eq(in(f, DOWN), 0xc);
	cr_expect(is_asked(f, 2) && is_asked(f, 3));
	host_wants(f, 3);
	cr_expect(!is_asked(f, 2) && is_asked(f, 3), "one of them was called back");
	cr_expect_eq(in(f, UP), 0x4, "announced again: it may have let go already");
	cr_expect_eq(in(f, DOWN), 0x8, "asked again");
	out(f, EJECT, 2);
	cr_expect_eq(in(f, PRESENT), 0xb);
	cr_expect_eq(in(f, UP), 0x8, "so the other one may stay");
	out(f, EJECT, 3);
	cr_expect(wait_n_present(f, 3), "it was told to go, so it may; another one comes");
	out(f, EJECT, 2);
	out(f, EJECT, 3);
	cr_expect(wait_n_present(f, 3), "a request is good for one eject");
}

Test(vcpus, a_host_that_changes_its_mind_gets_what_it_last_wanted)
{
	struct fixture f;

	play_vcpu(&f, changes_its_mind);
	cr_expect_eq(vcpus_plugged(&f.vcpus), 3);
	cr_expect_eq(vcpus_target(&f.vcpus), 3);
	teardown(&f);
}

static void hears_late(struct fixture *f)
{
	host_wants(f, 3);
	host_wants(f, 1);
	host_wants(f, 2);
	cr_expect(in(f, UP) & 0x2, "it is there to stay, and the guest has not heard of it");
	cr_expect_eq(in(f, DOWN), 0x4);
}

Test(vcpus, one_that_was_called_back_before_the_guest_knew_is_told_of)
{
	struct fixture f;

	play_vcpu(&f, hears_late);
	teardown(&f);
}

Test(vcpus, after_the_end_nothing_starts)
{
	struct fixture f;
	struct error err = ERROR_NULL;

	setup(&f, counts, sizeof(counts), 1, 2);
	cr_assert(count_on(&f));
	vcpus_stop(&f.vcpus);
	cr_expect_eq(vcpus_set_target(&f.vcpus, 2, &err), -ESHUTDOWN);
	cr_expect(!f.vcpus.all[1]->started);
	cr_expect_eq(vcpus_pause(&f.vcpus, on_paused, &f), -ESHUTDOWN);
	cr_expect_eq(f.paused_calls, 0);
	teardown(&f);
}

Test(vcpus, targets_out_of_range_change_nothing)
{
	struct fixture f;
	struct error err = ERROR_NULL;

	setup(&f, counts, sizeof(counts), 1, 2);
	cr_expect_eq(vcpus_set_target(&f.vcpus, 0, &err), -ERANGE);
	cr_expect_eq(vcpus_set_target(&f.vcpus, 3, &err), -ERANGE);
	cr_expect_eq(vcpus_target(&f.vcpus), 1);
	teardown(&f);
}
