// SPDX-License-Identifier: Apache-2.0
/* The caller's terminal: its size, and raw mode for as long as a zone's terminal is shown on it.
 * Main thread only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <termios.h>

struct terminal {
	bool raw;
	struct termios before;
};

#define TERMINAL_NULL                                                                              \
	{                                                                                          \
		.raw = false                                                                       \
	}

/* Makes standard input raw if it is a terminal; otherwise nothing. */
void terminal_make_raw(struct terminal *terminal);

/* Keys come one by one and are not shown; signals and output are as before. */
void terminal_read_keys(struct terminal *terminal);

/* Undoes either; may run twice. */
void terminal_restore(struct terminal *terminal);

/* The size of the terminal at standard output or input; 24 by 80 where there is none. */
void terminal_size(uint32_t *rows, uint32_t *columns);
