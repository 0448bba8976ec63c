// SPDX-License-Identifier: Apache-2.0
#include "runner/shutdown.h"

#include <errno.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/util.h"

static void grace_over(struct loop_op *op, int res, uint32_t cqe_flags)
{
	struct shutdown *shutdown = container_of(op, struct shutdown, timer.op);

	(void)cqe_flags;
	if (res == -ETIME && shutdown->host.end(shutdown->host.user, shutdown->cause))
		log_warning("msg=\"the guest did not power off in time\" grace_ms=%llu",
			    (unsigned long long)(shutdown->grace_ns / NS_PER_MS));
}

void shutdown_init(struct shutdown *shutdown, const struct shutdown_host *host, uint64_t grace_ns,
		   int notify)
{
	*shutdown = (struct shutdown){
		.host = *host, .grace_ns = grace_ns, .notify = notify, .timer.op.done = grace_over};
}

static bool ask(struct shutdown *shutdown)
{
	struct shutdown_host *host = &shutdown->host;

	return shutdown->grace_ns && host->ask(host->user) &&
	       loop_timer_start(host->loop, &shutdown->timer,
				clock_now_ns() + shutdown->grace_ns) == 0;
}

void shutdown_request(struct shutdown *shutdown, const char *cause)
{
	bool again = shutdown->cause;

	shutdown->cause = cause;
	notify_send(shutdown->notify, "STOPPING=1\nSTATUS=The guest was asked to power off");
	if (again || !ask(shutdown))
		shutdown->host.end(shutdown->host.user, cause);
	else
		log_info("msg=\"the guest was asked to power off\" cause=\"%s\"", cause);
}
