// SPDX-License-Identifier: Apache-2.0
/*
 * containerd-shim-protect-v2: what containerd starts for the runtime io.containerd.protect.v2.
 *
 *   -info, -v                 what this is
 *   … start                   starts the shim of a pod, or finds it, and prints its address
 *   … delete                  ends what a shim that is no more has left, and prints a
 * DeleteResponse
 *
 * `start` leaves a process behind that serves (task.c); it is the same program, forked before
 * anything else was done.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/io.h"
#include "base/log.h"
#include "protect/shim/bundle.h"
#include "protect/shim/shim.h"

#define PROGRAM "containerd-shim-protect-v2"

struct arguments {
	const char *namespace, *id, *address, *bundle, *action;
};

static const char *value_of(const char *arg, const char *name, char **argv, int *i)
{
	size_t len = strlen(name);

	while (*arg == '-')
		arg++;
	if (strncmp(arg, name, len) != 0)
		return NULL;
	if (arg[len] == '=')
		return arg + len + 1;
	return arg[len] || !argv[*i + 1] ? NULL : argv[++*i];
}

/* As Go's package flag reads them: one dash or two, a value behind "=" or as the next word. */
static int parse(int argc, char **argv, struct arguments *out)
{
	*out = (struct arguments){
		.namespace = "", .id = "", .address = "", .bundle = "", .action = ""};
	for (int i = 1; i < argc; i++) {
		const char *arg = argv[i], *value;

		if (arg[0] != '-') {
			out->action = arg;
			return 0;
		}
		if ((value = value_of(arg, "namespace", argv, &i)))
			out->namespace = value;
		else if ((value = value_of(arg, "id", argv, &i)))
			out->id = value;
		else if ((value = value_of(arg, "address", argv, &i)))
			out->address = value;
		else if ((value = value_of(arg, "bundle", argv, &i)))
			out->bundle = value;
		else if (value_of(arg, "publish-binary", argv, &i) ||
			 value_of(arg, "socket", argv, &i))
			continue;
		else if (strcmp(arg, "-v") == 0 || strcmp(arg, "--version") == 0)
			out->action = "version";
		else if (strcmp(arg, "-info") == 0 || strcmp(arg, "--info") == 0)
			out->action = "info";
		else if (strcmp(arg, "-debug") != 0 && strcmp(arg, "--debug") != 0)
			return -EINVAL;
	}
	return 0;
}

/* RuntimeInfo{name = 1, version = RuntimeVersion{version = 1} = 2}: asked for by containerd 2.x. */
static int print_info(void)
{
	static const char name[] = "io.containerd.protect.v2";
	char out[64];
	size_t n = 0, len = sizeof(PROTECT_VERSION) - 1;

	n += (size_t)snprintf(out, sizeof(out), "\x0a%c%s\x12%c\x0a%c%s", (int)sizeof(name) - 1,
			      name, (int)len + 2, (int)len, PROTECT_VERSION);
	return io_write_full(STDOUT_FILENO, out, n);
}

/* From here on the process serves. Its log is the FIFO that containerd reads, or nobody's. */
static _Noreturn void serve(const struct arguments *args, int listener)
{
	const char *events = getenv("TTRPC_ADDRESS");
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int log = open("log", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	int r;

	setsid();
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(log >= 0 ? log : null, STDERR_FILENO);
	dup2(listener, 3);
	close_range(4, ~0U, 0);
	fcntl(3, F_SETFD, FD_CLOEXEC);
	signal(SIGPIPE, SIG_IGN);
	if (chdir("/") < 0)
		log_warning("err=%d not in /", errno);
	prctl(PR_SET_NAME, "protect-shim");
	r = shim_serve(args->namespace, events ? events : "", 3);
	bundle_remove_socket(args->namespace, args->id);
	_exit(r < 0);
}

static int start(const struct arguments *args, struct error *err)
{
	_cleanup_(close_fdp) int listener = -1;
	char address[BUNDLE_ADDRESS_SIZE], group[BUNDLE_ID_SIZE];
	pid_t pid;
	int r = bundle_group(".", args->id, group, err);

	if (r == 0)
		r = strcmp(group, args->id) == 0
			    ? bundle_listen(args->namespace, args->id, address, &listener, err)
			    : bundle_find(group, address, err);
	if (r < 0)
		return r;
	if (listener >= 0) {
		pid = fork();
		if (pid < 0)
			return error_set_errno(err, -errno, "a process for the shim");
		if (pid == 0) {
			struct arguments own = *args;

			serve(&own, listener);
		}
	}
	return bundle_announce(address, err);
}

int main(int argc, char **argv)
{
	struct error err = ERROR_NULL;
	struct arguments args;
	int r = parse(argc, argv, &args);

	if (r == 0 && strcmp(args.action, "version") == 0) {
		printf(PROGRAM ":\n  Version:  " PROTECT_VERSION "\n");
		return 0;
	}
	if (r == 0 && strcmp(args.action, "info") == 0)
		return print_info() < 0;
	if (r < 0 || (strcmp(args.action, "start") != 0 && strcmp(args.action, "delete") != 0)) {
		fprintf(stderr, PROGRAM
			": for containerd, which says: -namespace NAME -id ID -address SOCKET "
			"[-bundle DIR] start|delete; see docs/kubernetes.md\n");
		return 1;
	}
	if (!shim_id_is_good(args.id) || !shim_id_is_good(args.namespace)) {
		fprintf(stderr, PROGRAM ": '%s' in '%s' is no container\n", args.id,
			args.namespace);
		return 1;
	}
	r = strcmp(args.action, "start") == 0 ? start(&args, &err)
					      : bundle_delete(args.namespace, args.id, &err);
	if (r < 0)
		fprintf(stderr, PROGRAM ": %s\n", err.text);
	return r < 0;
}
