// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"

#include <stdio.h>
#include <string.h>

static void keep_one_line(char *text)
{
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
}

__attribute__((format(printf, 3, 0))) static void
set(struct error *err, int code, const char *format, va_list args, const char *suffix)
{
	int len;

	if (!err || err->code)
		return;
	err->code = code;
	len = vsnprintf(err->text, sizeof(err->text), format, args);
	if (suffix && len >= 0 && (size_t)len < sizeof(err->text))
		snprintf(err->text + len, sizeof(err->text) - (size_t)len, ": %s", suffix);
	keep_one_line(err->text);
}

void error_format(struct error *err, int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	set(err, code, format, args, NULL);
	va_end(args);
}

void error_format_errno(struct error *err, int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	set(err, code, format, args, strerror(-code));
	va_end(args);
}
