// SPDX-License-Identifier: Apache-2.0
#include "zone-guest/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"

#define MODPROBE	 "/sbin/modprobe"
#define SYSCTL_DIR	 "/proc/sys/"
#define MODULE_TEXT_MAX	 1024u
#define MODULE_WORDS_MAX 32u
#define SYSCTL_KEY_MAX	 256u

/* argv[0] and options included. The signal mask is the one that programs expect. */
static int start_modprobe(char *const *argv, pid_t *pid)
{
	posix_spawnattr_t attributes;
	sigset_t none;
	int r;

	sigemptyset(&none);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	posix_spawnattr_setsigmask(&attributes, &none);
	r = -posix_spawn(pid, MODPROBE, NULL, &attributes, argv, NULL);
	posix_spawnattr_destroy(&attributes);
	return r;
}

int kernel_load_modules_later(char *const *names)
{
	char *argv[3 + KERNEL_MODULES_MAX] = {(char *)(uintptr_t)MODPROBE,
					      (char *)(uintptr_t) "-a"};
	pid_t pid;

	for (unsigned i = 0; i < KERNEL_MODULES_MAX && names[i]; i++)
		argv[2 + i] = names[i];
	return start_modprobe(argv, &pid);
}

static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -ENOENT;
}

int kernel_load_module(const char *text, struct error *err)
{
	char words[MODULE_TEXT_MAX], *next = words, *argv[2 + MODULE_WORDS_MAX] = {NULL}, *word;
	unsigned n = 0;
	pid_t pid;
	int r;

	if (!*text || *text == '-' || strlen(text) >= sizeof(words))
		return error_set(err, -EINVAL, "'%.64s' cannot name a module", text);
	snprintf(words, sizeof(words), "%s", text);
	argv[n++] = (char *)(uintptr_t)MODPROBE;
	while (n <= MODULE_WORDS_MAX && (word = strsep(&next, " ")))
		if (*word)
			argv[n++] = word;
	if (next)
		return error_set(err, -E2BIG, "module '%.64s' has more than %u words", text,
				 MODULE_WORDS_MAX);
	r = start_modprobe(argv, &pid);
	if (r == 0)
		r = wait_for(pid);
	if (r < 0)
		return error_set(err, r, "the zone's kernel cannot load module '%.64s'%s%s", text,
				 r == -ENOENT ? "" : ": ", r == -ENOENT ? "" : strerror(-r));
	return 0;
}

/* The file of a key, below SYSCTL_DIR. */
static int sysctl_path(const char *key, size_t len, char *path, size_t size)
{
	size_t first = strcspn(key, "./"), start = strlen(SYSCTL_DIR);
	int n = snprintf(path, size, SYSCTL_DIR "%.*s", (int)len, key);

	if (n < 0 || (size_t)n >= size || len == 0 || len > SYSCTL_KEY_MAX)
		return -EINVAL;
	for (size_t i = start; first < len && key[first] == '.' && path[i]; i++)
		path[i] = path[i] == '.' ? '/' : path[i] == '/' ? '.' : path[i];
	return strstr(path, "..") ? -EINVAL : 0;
}

int kernel_set_sysctl(const char *text, struct error *err)
{
	char path[sizeof(SYSCTL_DIR) + SYSCTL_KEY_MAX];
	size_t len = strcspn(text, "=");
	_cleanup_(close_fdp) int fd = -1;
	ssize_t n;

	if (!text[len] || sysctl_path(text, len, path, sizeof(path)) < 0)
		return error_set(err, -EINVAL, "sysctl '%.64s' is not KEY=VALUE", text);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return error_set(err, -errno, "the zone's kernel has no sysctl '%.*s' to set: %s",
				 (int)len, text, strerror(errno));
	n = write(fd, text + len + 1, strlen(text + len + 1)); /* a sysctl takes one write */
	if (n < 0)
		return error_set(err, -errno, "the zone's kernel refuses sysctl '%.128s': %s", text,
				 strerror(errno));
	return 0;
}
