// SPDX-License-Identifier: Apache-2.0
#include "vmm/wind_down.h"

#include <errno.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "vmm/machine.h"

#define TICK_NS	      NS_PER_MS
#define LAST_WORDS_NS (500 * NS_PER_MS)
#define DRAIN_NS      (2 * NS_PER_S)

struct wind_down {
	struct machine *machine;
	struct loop_timer tick;
	uint64_t deadline_ns;
	unsigned functions_left;
	bool closing;
};

static void function_gone(void *user)
{
	struct wind_down *wind = user;

	wind->functions_left--;
}

static void close_all(struct wind_down *wind)
{
	struct machine *machine = wind->machine;

	wind->closing = true;
	wind->deadline_ns = clock_now_ns() + DRAIN_NS;
	slots_abandon(&machine->slots);
	console_hub_close(&machine->console);
	runner_server_close(&machine->server);
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
		struct pci_dev *function = machine->pci.slots[slot];

		if (!function)
			continue;
		pci_bus_unplug(&machine->pci, slot);
		wind->functions_left++;
		function->ops->destroy(function, function_gone, wind);
	}
}

static bool is_down(const struct wind_down *wind)
{
	return wind->closing && wind->functions_left == 0 &&
	       slots_are_settled(&wind->machine->slots) &&
	       console_hub_is_closed(&wind->machine->console) &&
	       runner_server_is_closed(&wind->machine->server);
}

static void tick(struct loop_op *op, int res, uint32_t cqe_flags)
{
	struct wind_down *wind = container_of(op, struct wind_down, tick.op);
	bool late = clock_now_ns() >= wind->deadline_ns;

	(void)res;
	(void)cqe_flags;
	if (!wind->closing && (late || console_hub_is_idle(&wind->machine->console)))
		close_all(wind);
	else if (wind->closing && late)
		log_warning("msg=\"devices did not drain in time\" functions=%u",
			    wind->functions_left);
	if (is_down(wind) || (wind->closing && late) ||
	    loop_timer_start(wind->machine->loop, &wind->tick, clock_now_ns() + TICK_NS) < 0)
		loop_stop(wind->machine->loop);
}

void machine_wind_down(struct machine *machine)
{
	struct wind_down wind = {.machine = machine,
				 .tick.op.done = tick,
				 .deadline_ns = clock_now_ns() + LAST_WORDS_NS};

	if (loop_timer_start(machine->loop, &wind.tick, clock_now_ns()) == 0)
		loop_run(machine->loop);
}
