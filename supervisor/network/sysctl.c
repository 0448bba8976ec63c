// SPDX-License-Identifier: Apache-2.0
#include "supervisor/network/sysctl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/util.h"

#define NET "/proc/sys/net"

/* #syscalls network: openat read write access close */
static int write_value(const char *path, const char *value)
{
	_cleanup_(close_fdp) int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return io_write_full(fd, value, strlen(value));
}

static int set(const char *path, const char *value, struct error *err)
{
	int r = write_value(path, value);

	return r < 0 ? error_set_errno(err, r, "cannot set %s to %s", path, value) : 0;
}

/* A one-digit value, or -1. */
static int get(const char *path)
{
	_cleanup_(freep) char *text = NULL;
	size_t len;

	if (io_read_file(AT_FDCWD, path, 64, &text, &len) < 0 || text[0] < '0' || text[0] > '9')
		return -1;
	return text[0] - '0';
}

bool sysctl_has_ipv6(void)
{
	return access(NET "/ipv6/conf/all/forwarding", F_OK) == 0;
}

/* #syscalls network.start: openat newfstatat(_, _, _, AT_EMPTY_PATH) getdents64 lseek */
static void keep_router_advertisements(void)
{
	DIR *dir = opendir(NET "/ipv6/conf");

	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		char path[320];

		if (entry->d_name[0] == '.' || strcmp(entry->d_name, "all") == 0)
			continue;
		snprintf(path, sizeof(path), NET "/ipv6/conf/%s/accept_ra", entry->d_name);
		if (get(path) == 1 && write_value(path, "2") == 0)
			log_info("link=%s accept_ra=2 msg=\"goes on to hear routers\"",
				 entry->d_name);
	}
	if (dir)
		closedir(dir);
}

int sysctl_set_up_host(const struct settings *settings, struct error *err)
{
	static const char ipv4[] = NET "/ipv4/ip_forward", ipv6[] = NET "/ipv6/conf/all/forwarding";

	if (settings->ipv4.base.family && get(ipv4) != 1) {
		if (set(ipv4, "1", err) < 0)
			return err->code;
		log_info("net.ipv4.ip_forward=1 msg=\"this host forwards now\"");
	}
	if (settings->ipv6.base.family && get(ipv6) != 1) {
		keep_router_advertisements();
		if (set(ipv6, "1", err) < 0)
			return err->code;
		log_info("net.ipv6.conf.all.forwarding=1 msg=\"this host forwards now\"");
	}
	return 0;
}

/* Ports that are published on 127.0.0.1 leave this host by a link. */
static bool publishes_on_loopback(const struct nic *nic)
{
	for (unsigned i = 0; i < nic->n_publish; i++)
		if (!nic->publish[i].host.family || address_is_loopback(&nic->publish[i].host))
			return nic->ipv4.family != 0;
	return false;
}

int sysctl_set_up_link(const struct nic *nic, struct error *err)
{
	const struct {
		int family;
		const char *key, *value;
	} values[] = {
		/* Zones' own packets never have 127.0.0.0/8 in them: rules.c. */
		{AF_INET, "route_localnet", publishes_on_loopback(nic) ? "1" : "0"},
		{AF_INET, "forwarding", "1"},
		{AF_INET, "rp_filter", "1"},
		{AF_INET, "arp_ignore", "1"},	/* for the addresses of this link only */
		{AF_INET, "arp_announce", "2"}, /* with the address of this link */
		{AF_INET, "accept_redirects", "0"},
		{AF_INET, "send_redirects", "0"},
		{AF_INET, "accept_source_route", "0"},
		{AF_INET6, "disable_ipv6", nic->ipv6.family ? "0" : "1"},
		{AF_INET6, "addr_gen_mode", "1"}, /* no address but ours */
		{AF_INET6, "forwarding", "1"},
		{AF_INET6, "accept_ra", "0"},
		{AF_INET6, "autoconf", "0"},
		{AF_INET6, "accept_redirects", "0"},
	};
	bool has_ipv6 = sysctl_has_ipv6();

	for (unsigned i = 0; i < ARRAY_SIZE(values); i++) {
		char path[128];

		if (values[i].family == AF_INET6 && !has_ipv6)
			continue;
		snprintf(path, sizeof(path), NET "/%s/conf/%s/%s",
			 values[i].family == AF_INET ? "ipv4" : "ipv6", nic->name, values[i].key);
		if (set(path, values[i].value, err) < 0)
			return err->code;
	}
	return 0;
}
