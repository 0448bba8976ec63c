// SPDX-License-Identifier: Apache-2.0
/*
 * An error with the text that a person will read. Functions deep inside return a negative errno;
 * where the knowledge is (which file, which zone, what to do next) error_set() attaches one line,
 * once. The text never holds a newline.
 */
#pragma once

#include <stdarg.h>

#define ERROR_TEXT_MAX 512

struct error {
	int code;		   /* negative errno, 0 = no error */
	char text[ERROR_TEXT_MAX]; /* one line, NUL-terminated */
};

#define ERROR_NULL                                                                                 \
	{                                                                                          \
		.code = 0, .text = ""                                                              \
	}

/*
 * Sets *err (NULL is allowed and ignored) unless it already holds an error. Control bytes in the
 * result become '?'. Use the macros below.
 */
void error_format(struct error *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* As error_format(), with ": <strerror(-code)>" appended. */
void error_format_errno(struct error *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Set *err as above and have the value of code, a negative errno, so that a caller can write
 * `return error_set(err, -ENOENT, "no zone '%s'", name)`. Macros, so that compilers and analyzers
 * see which value is returned.
 */
#define error_set(err, code, ...)                                                                  \
	({                                                                                         \
		int code_ = (code);                                                                \
		error_format((err), code_, __VA_ARGS__);                                           \
		code_;                                                                             \
	})

#define error_set_errno(err, code, ...)                                                            \
	({                                                                                         \
		int code_ = (code);                                                                \
		error_format_errno((err), code_, __VA_ARGS__);                                     \
		code_;                                                                             \
	})
