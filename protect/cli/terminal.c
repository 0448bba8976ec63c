// SPDX-License-Identifier: Apache-2.0
#include "protect/cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

void terminal_make_raw(struct terminal *terminal)
{
	struct termios raw;

	if (terminal->raw || tcgetattr(STDIN_FILENO, &terminal->before) < 0)
		return;
	raw = terminal->before;
	cfmakeraw(&raw);
	terminal->raw = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
}

void terminal_read_keys(struct terminal *terminal)
{
	struct termios keys;

	if (terminal->raw || tcgetattr(STDIN_FILENO, &terminal->before) < 0)
		return;
	keys = terminal->before;
	keys.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	terminal->raw = tcsetattr(STDIN_FILENO, TCSADRAIN, &keys) == 0;
}

void terminal_restore(struct terminal *terminal)
{
	if (terminal->raw)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &terminal->before);
	terminal->raw = false;
}

void terminal_size(uint32_t *rows, uint32_t *columns)
{
	struct winsize size;

	*rows = 24;
	*columns = 80;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 &&
	    ioctl(STDIN_FILENO, TIOCGWINSZ, &size) < 0)
		return;
	if (size.ws_row && size.ws_col) {
		*rows = size.ws_row;
		*columns = size.ws_col;
	}
}
