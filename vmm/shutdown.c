// SPDX-License-Identifier: Apache-2.0
#include "vmm/shutdown.h"

#include <errno.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/runner.h"
#include "base/util.h"
#include "vmm/machine.h"

static void end_now(struct shutdown *shutdown)
{
	machine_end(shutdown->machine, RUNNER_EXIT_KILLED, shutdown->cause);
}

static void grace_over(struct loop_op *op, int res, uint32_t cqe_flags)
{
	struct shutdown *shutdown = container_of(op, struct shutdown, timer.op);

	(void)cqe_flags;
	if (res != -ETIME || shutdown->machine->end_reason)
		return;
	log_warning("msg=\"the guest did not power off in time\" grace_ms=%llu",
		    (unsigned long long)(shutdown->grace_ns / NS_PER_MS));
	end_now(shutdown);
}

void shutdown_init(struct shutdown *shutdown, struct machine *machine, uint64_t grace_ns,
		   int notify)
{
	*shutdown = (struct shutdown){.machine = machine,
				      .grace_ns = grace_ns,
				      .notify = notify,
				      .timer.op.done = grace_over};
}

void shutdown_request(struct shutdown *shutdown, const char *cause)
{
	struct machine *machine = shutdown->machine;
	bool again = shutdown->cause;

	shutdown->cause = cause;
	notify_send(shutdown->notify, "STOPPING=1\nSTATUS=The guest was asked to power off");
	if (again || shutdown->grace_ns == 0 || vcpus_are_paused(&machine->vcpus) ||
	    loop_timer_start(machine->loop, &shutdown->timer, clock_now_ns() + shutdown->grace_ns) <
		    0) {
		end_now(shutdown);
		return;
	}
	log_info("msg=\"the guest was asked to power off\" cause=\"%s\"", cause);
	pci_bus_event(&machine->pci, PCI_EVENT_POWER_BUTTON);
}
