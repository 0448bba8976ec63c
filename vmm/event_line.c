// SPDX-License-Identifier: Apache-2.0
#include "vmm/event_line.h"

#include <assert.h>
#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"

#define PAUSE_FIRST_NS (250 * NS_PER_MS)
#define PAUSE_MAX_NS   (8 * NS_PER_S)

/* #syscalls loop: write */
static void interrupt(const struct event_line *line)
{
	const uint64_t one = 1;

	if (write(line->fd, &one, sizeof(one)) < 0)
		assert(errno == EAGAIN);
}

/* Without room for a timer it is raised again only with what comes next. */
static void wait(struct event_line *line)
{
	line->waiting =
		loop_timer_start(line->loop, &line->again, clock_now_ns() + line->pause_ns) == 0;
}

static void on_time(struct loop_op *op, int res, uint32_t cqe_flags)
{
	struct event_line *line = container_of(op, struct event_line, again.op);

	(void)res;
	(void)cqe_flags;
	line->waiting = false;
	if (!line->unread(line->user))
		return;
	interrupt(line);
	if (line->pause_ns < PAUSE_MAX_NS)
		line->pause_ns *= 2;
	wait(line);
}

void event_line_init(struct event_line *line, struct loop *loop, int fd, bool (*unread)(void *user),
		     void *user)
{
	*line = (struct event_line){
		.loop = loop, .fd = fd, .unread = unread, .user = user, .again.op.done = on_time};
}

void event_line_raise(struct event_line *line)
{
	interrupt(line);
	line->pause_ns = PAUSE_FIRST_NS;
	if (!line->waiting)
		wait(line);
}
