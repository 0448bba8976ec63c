// SPDX-License-Identifier: Apache-2.0
#include "protect/cli/bars.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "protect/cli/output.h"
#include "protect/cli/terminal.h"

#define BARS_MAX  127u /* layers of an image */
#define BAR_WIDTH 30u
#define TEXT_MAX  24u

struct bar {
	char item[16], text[TEXT_MAX];
	uint64_t done, total;
};

/* What is on the terminal. */
static struct {
	struct bar bars[BARS_MAX];
	unsigned n;	/* layers that were heard of: 1 to n */
	unsigned drawn; /* lines */
} shown;

static void draw_bar(const struct bar *bar)
{
	char cells[BAR_WIDTH + 1];
	unsigned full = 0;

	if (bar->total)
		full = (unsigned)(bar->done >= bar->total
					  ? BAR_WIDTH
					  : (double)bar->done * BAR_WIDTH / (double)bar->total);
	memset(cells, ' ', BAR_WIDTH);
	memset(cells, '#', full);
	cells[BAR_WIDTH] = '\0';
	fprintf(stderr, "\r\033[K%-12s [%s] %-8s %.1f of %.1f MiB\n", bar->item, cells, bar->text,
		(double)bar->done / (1 << 20), (double)bar->total / (1 << 20));
}

static void draw(void)
{
	uint32_t rows, columns;
	unsigned first = 0, n = shown.n;

	terminal_size(&rows, &columns);
	if (rows > 2 && n > rows - 2) { /* the last ones, which are under way */
		first = n - (rows - 2);
		n = rows - 2;
	}
	if (shown.drawn)
		fprintf(stderr, "\033[%uA", shown.drawn);
	for (unsigned i = first; i < first + n; i++)
		draw_bar(&shown.bars[i]);
	shown.drawn = n;
}

void bars_show(const Protect__Control__Progress *progress, bool lines)
{
	unsigned number = progress->item_number;
	struct bar *bar;

	if (number == 0 || number > BARS_MAX)
		return;
	bar = &shown.bars[number - 1];
	snprintf(bar->item, sizeof(bar->item), "%s", progress->item);
	snprintf(bar->text, sizeof(bar->text), "%s", progress->text);
	output_clean(bar->item);
	output_clean(bar->text);
	bar->done = progress->done;
	bar->total = progress->total;
	if (number > shown.n)
		shown.n = number;
	if (isatty(STDERR_FILENO))
		draw();
	else if (lines && bar->total && bar->done == bar->total && strcmp(bar->text, "pulled") == 0)
		fprintf(stderr, "layer %u of %u %s pulled, %.1f MiB\n", number, progress->items,
			bar->item, (double)bar->total / (1 << 20));
}

void bars_end(void)
{
	if (shown.drawn)
		fprintf(stderr, "\033[%uA\r\033[J", shown.drawn);
	memset(&shown, 0, sizeof(shown));
}
