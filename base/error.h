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
 * Sets *err (NULL is allowed and ignored) unless it already holds an error, and returns code, so
 * that a caller can write `return error_set(err, -ENOENT, "...")`. code is a negative errno.
 * Control bytes in the result become '?'.
 */
int error_set(struct error *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* As error_set(), with ": <strerror(-code)>" appended. */
int error_set_errno(struct error *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
