// SPDX-License-Identifier: Apache-2.0
/*
 * Seccomp filters, made at build time from annotations beside the code that needs each call
 * (tools/seccomp). A thread takes a filter on and never gets rid of it; the threads it starts
 * inherit it. So each thread takes its own before it looks at the first byte that a stranger wrote,
 * and where threads need different ones, all are started before the first filter is loaded.
 */
#pragma once

#include <stdint.h>

#include <linux/filter.h>

#define FILTER_CODE_MAX 1024u

struct filter {
	const char *name;
	const struct sock_filter *code;
	uint16_t n_code;
	/* Instructions that compare with the process's own id, which no build can know. */
	const uint16_t *self;
	unsigned n_self;
};

/*
 * Confines the calling thread for good: any call that the filter does not name kills the process.
 * Sets no_new_privs, so it needs no privilege. Returns 0, or a negative errno (-EINVAL: this kernel
 * has no seccomp filters); without a filter a program must not go on.
 */
int filter_load(const struct filter *filter);
