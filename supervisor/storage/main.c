// SPDX-License-Identifier: Apache-2.0
/* protect-storage: options, then the service or one command. */
#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <locale.h>
#include <nss.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <curl/curl.h>

#include "base/cleanup.h"
#include "base/config.h"
#include "base/denied.h"
#include "base/log.h"
#include "base/notify.h"
#include "supervisor/storage/child.h"
#include "supervisor/storage/filters.h"
#include "supervisor/storage/helper.h"
#include "supervisor/storage/oneshot.h"
#include "supervisor/storage/server.h"
#include "supervisor/storage/volume.h"

#define DEFAULT_STORE  "/var/lib/protect-storage"
#define DEFAULT_SOCKET "/run/protect-storage/storage.sock"
#define DEFAULT_USER   "protect"
#define DEFAULT_MKFS   "mkfs.ext4"

struct options {
	const char *store, *socket, *allow_uid, *kernel_layout, *base_initrd, *name, *output, *mkfs;
	const char *config;
	mode_t socket_mode;
	uid_t allowed_uid;
	uint64_t max_bytes; /* 0 = as configured */
};

enum option_id {
	OPT_STORE = 256,
	OPT_SOCKET,
	OPT_MODE,
	OPT_UID,
	OPT_KERNEL,
	OPT_BASE,
	OPT_MAX,
	OPT_NAME,
	OPT_OUTPUT,
	OPT_MKFS,
	OPT_CONFIG,
};

static const struct option long_options[] = {
	{"store", required_argument, NULL, OPT_STORE},
	{"socket", required_argument, NULL, OPT_SOCKET},
	{"socket-mode", required_argument, NULL, OPT_MODE},
	{"allow-uid", required_argument, NULL, OPT_UID},
	{"kernel-layout", required_argument, NULL, OPT_KERNEL},
	{"base-initrd", required_argument, NULL, OPT_BASE},
	{"max-size", required_argument, NULL, OPT_MAX},
	{"name", required_argument, NULL, OPT_NAME},
	{"output", required_argument, NULL, OPT_OUTPUT},
	{"mkfs", required_argument, NULL, OPT_MKFS},
	{"config", required_argument, NULL, OPT_CONFIG},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

static void print_help(void)
{
	puts("usage: protect-storage [OPTION…]                                  serve images to "
	     "protect-daemon\n"
	     "       protect-storage [OPTION…] import "
	     "oci:DIR[:TAG]|oci-archive:FILE|docker-archive:FILE [--name N]\n"
	     "       protect-storage [OPTION…] prepare-kernel REF|oci:DIR[:TAG] --output DIR\n"
	     "       protect-storage [OPTION…] list\n"
	     "\n"
	     "  --store DIR          where images are kept (default " DEFAULT_STORE ")\n"
	     "  --socket PATH        where to listen (default " DEFAULT_SOCKET ")\n"
	     "  --socket-mode MODE   its permissions, octal (default 0666)\n"
	     "  --allow-uid USER     who may connect besides root, a name or number "
	     "(default " DEFAULT_USER ")\n"
	     "  --kernel-layout DIR  OCI layout of the default zone kernel, imported at start\n"
	     "  --base-initrd FILE   the base initramfs of zones\n"
	     "  --max-size SIZE      the largest image, unpacked; bytes or with K, M, G (default: "
	     "as configured, "
	     "20G)\n"
	     "  --mkfs PROGRAM       what makes the file systems of volumes (default " DEFAULT_MKFS
	     ")\n"
	     "  --config FILE        settings, section [storage] (default " CONFIG_DEFAULT_PATH
	     ", which may be absent)");
}

static int take_option(struct options *options, int id, const char *value)
{
	char *end;
	unsigned long mode;

	switch (id) {
	case OPT_STORE:
		options->store = value;
		return 0;
	case OPT_SOCKET:
		options->socket = value;
		return 0;
	case OPT_MODE:
		mode = strtoul(value, &end, 8);
		options->socket_mode = (mode_t)mode;
		return *end || !*value || mode > 0777 ? -EINVAL : 0;
	case OPT_UID:
		options->allow_uid = value;
		return 0;
	case OPT_KERNEL:
		options->kernel_layout = value;
		return 0;
	case OPT_BASE:
		options->base_initrd = value;
		return 0;
	case OPT_MAX:
		return config_size(value, &options->max_bytes);
	case OPT_CONFIG:
		options->config = value;
		return 0;
	case OPT_NAME:
		options->name = value;
		return 0;
	case OPT_OUTPUT:
		options->output = value;
		return 0;
	case OPT_MKFS:
		options->mkfs = value;
		return 0;
	default:
		return -EINVAL;
	}
}

static int usage_error(const char *text, const char *what)
{
	fprintf(stderr, "protect-storage: %s%s (see protect-storage --help)\n", text, what);
	return 2;
}

/* The user id of a name or a number. 0 (root, who is always allowed) if there is no such user. */
static uid_t find_user(const char *text)
{
	const struct passwd *user = getpwnam(text);
	char *end;
	unsigned long number;

	if (user)
		return user->pw_uid;
	number = strtoul(text, &end, 10);
	if (*text && !*end && number < UINT32_MAX)
		return (uid_t)number;
	log_warning("storage: no such user, only root may connect user=%s", text);
	return 0;
}

/* A command run by root works as the store's owner, so that the service can use what it leaves
 * there. */
static int become_owner(const char *path, struct error *err)
{
	struct stat st;

	if (geteuid() != 0 || stat(path, &st) < 0 || st.st_uid == 0)
		return 0;
	if (setgroups(0, NULL) < 0 || setresgid(st.st_gid, st.st_gid, st.st_gid) < 0 ||
	    setresuid(st.st_uid, st.st_uid, st.st_uid) < 0)
		return error_set_errno(err, -errno, "cannot become the owner of the store %s",
				       path);
	return 0;
}

struct startup {
	struct storage *storage;
	const struct options *options;
	int notify;
};

/* Brings the default kernel into the store and makes its initrd, so that the first zone does not
 * wait for it. */
static void import_kernel(void *context)
{
	const struct startup *startup = context;
	struct error err = ERROR_NULL;
	struct store_image image;
	struct job job = JOB_NONE;
	int fds[KERNEL_FILES];
	int r;

	/* Who connects meanwhile waits in the socket; nobody has to wait for this before. */
	if (filters_confine_running() < 0)
		abort(); /* the one before has been taken on by the same kernel */
	notify_send(startup->notify, "READY=1\nSTATUS=The default kernel is looked at");
	if (startup->options->kernel_layout) {
		r = ops_import_layout(startup->storage, startup->options->kernel_layout, NULL,
				      OPS_DEFAULT_KERNEL, &job, &image, &err);
		if (r == 0)
			r = ops_open_kernel(startup->storage, "", "", fds, &image, &err);
		for (unsigned i = 0; r == 0 && i < KERNEL_FILES; i++)
			close(fds[i]);
		if (r < 0)
			log_error("storage: no default kernel err=\"%s\"", err.text);
	}
	notify_send(startup->notify, "STATUS=");
	log_info("storage: ready socket=%s store=%s", startup->options->socket,
		 startup->options->store);
}

static int run_service(struct storage *storage, const struct options *options, struct error *err)
{
	struct server_options server = {.path = options->socket,
					.mode = options->socket_mode,
					.allowed_uid = options->allowed_uid};
	_cleanup_(close_fdp) int notify = notify_open();
	struct startup startup = {.storage = storage, .options = options, .notify = notify};

	return server_run(storage, &server, import_kernel, &startup, err);
}

static int run_command(struct storage *storage, const struct options *options, char **args, int n,
		       struct error *err)
{
	if (n == 0)
		return run_service(storage, options, err);
	if (strcmp(args[0], "import") == 0 && n == 2)
		return oneshot_import(storage, args[1], options->name, err);
	if (strcmp(args[0], "prepare-kernel") == 0 && n == 2 && options->output)
		return oneshot_prepare_kernel(storage, args[1], options->output, err);
	if (strcmp(args[0], "list") == 0 && n == 1)
		return oneshot_list(storage, err);
	return error_set(err, -EINVAL,
			 "cannot understand '%s' and what follows (see protect-storage --help)",
			 args[0]);
}

/* What must be so before the first thread, the first file and the first foreign byte. */
static void prepare_process(void)
{
	sigset_t signals;

	log_open();
	umask(077);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	setlocale(LC_CTYPE, "C.UTF-8"); /* libarchive converts names by it */
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* The service's helper and its first filter. The user is looked up before: which library tells who
 * that is depends on the host, and none is loaded any more. */
static int confine(struct options *options, struct error *err)
{
	int helper = helper_start(options->mkfs), r;

	if (helper < 0)
		return error_set_errno(err, helper, "no process for helper programs");
	child_use_helper(helper);
	options->allowed_uid = find_user(options->allow_uid);
	/* Other ways to find addresses are libraries as well. */
	__nss_configure_lookup("hosts", "files dns");
	denied_watch("protect-storage", options->socket);
	r = filters_confine_start();
	return r < 0 ? error_set_errno(err, r, "no seccomp filter can be taken on") : 0;
}

static int run(struct options *options, char **args, int n)
{
	static struct settings settings; /* too large for a stack; main thread, before others */
	struct storage storage = {.base = KERNEL_BASE_INIT(options->base_initrd),
				  .mkfs = options->mkfs,
				  .settings = &settings};
	struct error err = ERROR_NULL;
	int r = settings_read(&settings, options->config ? options->config : CONFIG_DEFAULT_PATH,
			      options->config != NULL, &err);

	if (r == 0 && options->max_bytes)
		settings.max_image_bytes = options->max_bytes;
	if (r == 0)
		r = n ? become_owner(options->store, &err) : confine(options, &err);
	if (r == 0)
		r = store_open(&storage.store, options->store, settings.max_image_bytes, &err);
	if (r == 0)
		store_set_limit(storage.store, settings.max_store_bytes);
	if (r == 0)
		r = volumes_start(storage.store, &err);
	if (r == 0)
		r = run_command(&storage, options, args, n, &err);
	store_close(storage.store);
	if (r < 0)
		fprintf(stderr, "protect-storage: %s\n", err.text[0] ? err.text : strerror(-r));
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	struct options options = {.store = DEFAULT_STORE,
				  .socket = DEFAULT_SOCKET,
				  .socket_mode = 0666,
				  .allow_uid = DEFAULT_USER,
				  .mkfs = DEFAULT_MKFS};
	int id, status;

	while ((id = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		if (id == 'h') {
			print_help();
			return EXIT_SUCCESS;
		}
		if (id == '?')
			return 2;
		if (take_option(&options, id, optarg) < 0)
			return usage_error("this value is not valid: ", optarg);
	}
	prepare_process();
	/* Commands stop at Ctrl-C as any program does: there is no loop that would read the signal.
	 */
	if (optind < argc) {
		sigset_t none;

		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
	}
	status = run(&options, argv + optind, argc - optind);
	curl_global_cleanup();
	return status;
}
