// SPDX-License-Identifier: Apache-2.0
/*
 * protect-network: the links of zones, with their addresses, routes and rules. It runs as a user of
 * its own with CAP_NET_ADMIN, and CAP_NET_BIND_SERVICE for published ports below 1024; in one
 * thread. What it made stays when it ends: zones keep their network.
 */
#include <errno.h>
#include <nss.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/config.h"
#include "base/denied.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/options.h"
#include "base/util.h"
#include "supervisor/network/filters.h"
#include "supervisor/network/server.h"
#include "supervisor/network/sysctl.h"
#include "supervisor/network/tap.h"

struct options {
	const char *socket, *state, *config;
	uid_t allow_uid;
};

#define AT(field) offsetof(struct options, field)

static const struct option_entry option_table[] = {
	{"socket", OPTION_TEXT, AT(socket), "PATH",
	 "where the daemon connects (/run/protect-network/network.sock)", 0, 0},
	{"state", OPTION_TEXT, AT(state), "PATH", "the list of links (/run/protect-network/links)",
	 0, 0},
	{"config", OPTION_TEXT, AT(config), "FILE",
	 "settings, section [network] (" CONFIG_DEFAULT_PATH ", which may be absent)", 0, 0},
	{"allow-uid", OPTION_U32, AT(allow_uid), "N", "who may ask, beside root (the user protect)",
	 0, INT32_MAX},
};

/* The host as zones' networks need it. */
static int prepare_host(struct links *links, struct settings *settings, struct error *err)
{
	int r = tap_check_rights(err);

	if (settings->ipv6.base.family && !sysctl_has_ipv6()) {
		log_warning("this host has no IPv6: zones have IPv4 only");
		settings->ipv6 = (struct subnet){.prefix = 0};
	}
	if (r == 0)
		r = route_open(&links->route, err);
	if (r == 0)
		r = flows_open(&links->flows, err);
	if (r == 0)
		r = nft_open(&links->nft, err);
	if (r == 0)
		r = route_find_conflict(links->route, settings, err);
	if (r == 0)
		r = nft_check_kernel(links->nft, err);
	if (r == 0)
		r = nft_check_tables(links->nft, err);
	if (r == 0)
		r = sysctl_set_up_host(settings, err);
	if (r == 0)
		r = route_set_up_host(links->route, settings, err);
	return r == 0 ? links_start(links, err) : r;
}

static int run(const struct options *o, struct links *links, struct settings *settings,
	       struct error *err)
{
	_cleanup_(close_fdp) int notify = notify_open();
	struct server *server = NULL;
	struct ops ops = {.links = links};
	int r;

	denied_watch("protect-network", o->socket);
	r = filters_confine_start();
	if (r < 0)
		return error_set_errno(err, r, "no seccomp filter can be taken on");
	r = settings_read(settings, o->config ? o->config : CONFIG_DEFAULT_PATH, o->config != NULL,
			  err);
	if (r == 0 && getrandom(&ops.instance, sizeof(ops.instance), 0) < 0)
		r = error_set_errno(err, -errno, "no random number");
	if (r == 0)
		r = server_open(&server, o->socket, o->allow_uid, err);
	if (r == 0)
		r = prepare_host(links, settings, err);
	if (r == 0) {
		r = filters_confine_running();
		if (r < 0)
			error_set_errno(err, r, "no seccomp filter can be taken on");
	}
	if (r == 0) {
		log_info("socket=%s links=%u ready", o->socket, links->n);
		notify_send(notify, "READY=1");
		r = server_run(server, &ops, notify);
	}
	server_close(server);
	return r;
}

int main(int argc, char **argv)
{
	const struct passwd *user = getpwnam("protect");
	struct options o = {.socket = "/run/protect-network/network.sock",
			    .state = "/run/protect-network/links",
			    .allow_uid = user ? user->pw_uid : 0};
	static struct settings settings;
	struct links links = {.settings = &settings};
	struct error err = ERROR_NULL;
	int r;

	log_open();
	if (options_parse("protect-network", option_table, ARRAY_SIZE(option_table), argc, argv,
			  &o) < 0)
		return EXIT_FAILURE;
	links.state_path = o.state;
	/* Names of protocols come from /etc/protocols: no library is loaded any more for others'.
	 */
	__nss_configure_lookup("protocols", "files");
	umask(077);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	signal(SIGPIPE, SIG_IGN);
	r = run(&o, &links, &settings, &err);
	if (r < 0)
		log_error("err=\"%s\"", err.code ? err.text : strerror(-r));
	links_deinit(&links);
	nft_close(links.nft);
	flows_close(links.flows);
	route_close(links.route);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
