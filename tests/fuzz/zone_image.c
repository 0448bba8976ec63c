// SPDX-License-Identifier: Apache-2.0
/*
 * What an image and a request can say about a program to run: the user with the image's passwd and
 * group files, and the Process message. The input is user, passwd and group as three strings, then
 * the bytes of the message.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "zone-guest/user.h"
#include "zone-guest/zone.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t len);

static void check_user(const char *spec, const char *passwd, const char *group)
{
	struct error err = ERROR_NULL;
	struct user user;

	if (user_resolve(spec, passwd, group, &user, &err) < 0) {
		assert(err.code < 0 && err.text[0]);
		return;
	}
	assert(user.n_groups <= USER_GROUPS_MAX);
	assert(memchr(user.home, '\0', sizeof(user.home)));
	/* -1 would leave the zone's root in place. */
	assert(user.uid != (uid_t)-1 && user.gid != (gid_t)-1);
}

static void check_program(const uint8_t *data, size_t len)
{
	Protect__Agent__Process *message = protect__agent__process__unpack(NULL, len, data);
	struct error err = ERROR_NULL;
	struct program program;

	if (!message)
		return;
	if (program_read(message, &program, &err) == 0) {
		assert(program.argv.count && !program.argv.items[program.argv.count]);
		assert(program.argv.bytes + program.env.bytes <= STRINGS_BYTES_MAX);
		for (size_t i = 0; i < program.env.count; i++)
			assert(strchr(program.env.items[i], '=') > program.env.items[i]);
	}
	program_deinit(&program);
	protect__agent__process__free_unpacked(message, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t len)
{
	char *copy = malloc(len + 3), *part[3];
	size_t at = 0;

	memcpy(copy, input, len);
	memset(copy + len, 0, 3);
	for (int i = 0; i < 3; i++) {
		part[i] = copy + at;
		at += strlen(part[i]) + 1;
		if (at > len)
			at = len;
	}
	check_user(part[0], part[1], part[2]);
	check_program(input + at, len - at);
	free(copy);
	return 0;
}
