// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/daemon.h"

#include <ctype.h>
#include <string.h>
#include <time.h>

#include "supervisor/daemon/exec.h"
#include "supervisor/daemon/server.h"
#include "supervisor/daemon/workload.h"
#include "supervisor/daemon/zone.h"

uint64_t daemon_unix_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

#define STATE_RETRY_NS NS_PER_S

void daemon_retry_state(void *user)
{
	struct daemon *d = user;

	if (state_retry(d->state) < 0)
		timer_set(&d->hub, &d->state_retry, clock_now_ns() + STATE_RETRY_NS,
			  daemon_retry_state, d);
}

bool daemon_name_is_good(const char *name)
{
	struct uuid uuid;
	size_t len = strlen(name);

	if (len < 1 || len >= NAME_SIZE || !isalnum((unsigned char)name[0]) ||
	    uuid_parse(name, &uuid) == 0)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("._-", name[i]))
			return false;
	return true;
}

void daemon_copy_text(char *out, size_t size, const char *text)
{
	size_t n = 0;

	for (; text[n] && n + 1 < size; n++)
		out[n] = (unsigned char)text[n] < ' ' || text[n] == 0x7f ? '?' : text[n];
	out[n] = '\0';
}

void daemon_client_gone(struct daemon *d, uint64_t client)
{
	execs_client_gone(d, client);
	image_ops_client_gone(d, client);
	for (struct zone *z = d->zones; z; z = z->next)
		waiters_drop(&z->gone, client);
	for (struct workload *w = d->workloads; w; w = w->next) {
		waiters_drop(&w->ended, client);
		waiters_drop(&w->gone, client);
	}
}
