// SPDX-License-Identifier: Apache-2.0
/*
 * The caller's login for a registry: from the command line, or as docker and podman keep it in
 * ~/.docker/config.json. Read with the caller's rights and kept nowhere. Main thread only.
 */
#pragma once

#define LOGIN_PART_MAX 4096

struct login {
	char username[LOGIN_PART_MAX], password[LOGIN_PART_MAX]; /* empty = none */
};

/*
 * Fills *login for the registry of an image's name: username with the password from standard input
 * (one line), or what the file has, or nothing. Returns 0 or a negative errno, having said what is
 * wrong. login_wipe() afterwards.
 */
int login_find(const char *ref, const char *username, struct login *login);
void login_wipe(struct login *login);

/* The same from the text of such a file; path only names it. Pure but for messages. */
int login_parse(const char *text, const char *path, const char *ref, struct login *login);
