// SPDX-License-Identifier: Apache-2.0
#include "supervisor/network/links.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "supervisor/network/rules.h"
#include "supervisor/network/state.h"
#include "supervisor/network/sysctl.h"
#include "supervisor/network/tap.h"

#define REBUILDS_MAX 5 /* taps can go while their rules are made */

/* Text for libnftables, written like a file. */
struct script {
	char *text;
	size_t len;
	FILE *out;
};

static void script_clear(struct script *script)
{
	if (script->out)
		fclose(script->out);
	free(script->text);
}

static int script_open(struct script *script)
{
	script->out = open_memstream(&script->text, &script->len);
	return script->out ? 0 : -ENOMEM;
}

static int script_run(struct script *script, struct nft *nft, struct error *err)
{
	int r = fclose(script->out);

	script->out = NULL;
	return r == 0 ? nft_run(nft, script->text, err) : error_set(err, -ENOMEM, "out of memory");
}

static struct link **find(struct links *links, uint32_t slot, uint32_t index)
{
	struct link **at = &links->first;

	while (*at && ((*at)->nic.slot != slot || (*at)->nic.index != index))
		at = &(*at)->next;
	return at;
}

static struct link *add(struct links *links, const struct nic *nic)
{
	struct link *link = calloc(1, sizeof(*link));

	if (link) {
		link->nic = *nic;
		link->next = links->first;
		links->first = link;
		links->n++;
	}
	return link;
}

static void drop(struct links *links, struct link **at)
{
	struct link *link = *at;

	*at = link->next;
	hold_release(&link->hold);
	free(link);
	links->n--;
}

void links_deinit(struct links *links)
{
	while (links->first)
		drop(links, &links->first);
}

static void save(const struct links *links)
{
	int r = state_save(links->state_path, links->first);

	if (r < 0)
		log_warning(
			"state=%s err=\"cannot be written, a restart will need the daemon: %s\"",
			links->state_path, strerror(-r));
}

static void write_unknown(void *user, const char *name)
{
	rules_write_unknown(user, name);
}

/* All rules, as the list says. Taps that the list does not have come first: the chain of one that
 * it has takes the place of theirs. */
static int rebuild_once(struct links *links, struct error *err)
{
	_cleanup_(script_clear) struct script script = {.text = NULL};

	if (script_open(&script) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	rules_write_tables(script.out, links->settings);
	route_each_link(links->route, write_unknown, script.out);
	for (struct link *link = links->first; link; link = link->next)
		if (route_find_link(links->route, link->nic.name) == 1)
			rules_write_link(script.out, &link->nic, links->settings);
	return script_run(&script, links->nft, err);
}

static int rebuild(struct links *links, struct error *err)
{
	struct error reason = ERROR_NULL;

	for (unsigned i = 0; i < REBUILDS_MAX; i++) {
		reason = (struct error)ERROR_NULL;
		if (rebuild_once(links, &reason) == 0)
			return 0;
	}
	return error_set(err, reason.code, "%s", reason.text);
}

/* One link's part of the rules; all of them when that fails: somebody may have emptied them. */
static int write_rules(struct links *links, struct script *script, struct error *err)
{
	struct error reason = ERROR_NULL;

	if (script_run(script, links->nft, &reason) == 0)
		return 0;
	log_warning("err=\"%s\" msg=\"all rules are made anew\"", reason.text);
	return rebuild(links, err);
}

static int set_up(struct links *links, const struct nic *nic, struct error *err)
{
	_cleanup_(script_clear) struct script script = {.text = NULL};
	int r = sysctl_set_up_link(nic, err);

	if (r < 0)
		return r;
	if (script_open(&script) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	rules_write_link(script.out, nic, links->settings);
	r = write_rules(links, &script, err);
	return r < 0 ? r : route_set_up_link(links->route, nic, links->settings, err);
}

/* What two links cannot both have; NULL = nothing. */
static const char *find_collision(const struct nic *a, const struct nic *b)
{
	if (memcmp(a->mac, b->mac, MAC_BYTES) == 0)
		return "MAC address";
	if (a->ipv4.family && address_equal(&a->ipv4, &b->ipv4))
		return "IPv4 address";
	if (a->ipv6.family && address_equal(&a->ipv6, &b->ipv6))
		return "IPv6 address";
	for (unsigned i = 0; i < a->n_publish; i++)
		for (unsigned k = 0; k < b->n_publish; k++)
			if (publish_collides(&a->publish[i], &b->publish[k]))
				return "published port";
	return NULL;
}

/* A link whose tap is gone has nothing any more: its zone has ended, and nobody said so. */
static int make_room(struct links *links, const struct nic *nic, struct error *err)
{
	for (struct link *link = links->first, *next; link; link = next) {
		const char *what = find_collision(&link->nic, nic);

		next = link->next;
		if (!what)
			continue;
		if (route_find_link(links->route, link->nic.name) == 1)
			return error_set(err, -EADDRINUSE, "%s: %s has this %s already", nic->name,
					 link->nic.name, what);
		if (links_detach(links, link->nic.slot, link->nic.index, err) < 0)
			return err->code;
	}
	return 0;
}

int links_attach(struct links *links, const struct nic *nic, unsigned queues, int *fds,
		 struct error *err)
{
	struct link *link;
	int r;

	if (queues < 1 || queues > NIC_QUEUES_MAX)
		return error_set(err, -EINVAL, "%s: %u queues are not from 1 to %u", nic->name,
				 queues, NIC_QUEUES_MAX);
	r = links_detach(links, nic->slot, nic->index, err);
	if (r == 0)
		r = make_room(links, nic, err);
	if (r < 0)
		return r;
	link = add(links, nic);
	if (!link)
		return error_set(err, -ENOMEM, "out of memory");
	r = hold_ports(&link->hold, nic, err);
	/* What was left of whoever had its addresses before. */
	if (r == 0)
		flows_forget(links->flows, nic);
	if (r == 0)
		r = tap_make(nic->name, queues, fds, err);
	if (r < 0) {
		drop(links, find(links, nic->slot, nic->index));
		return r;
	}
	r = set_up(links, nic, err);
	if (r < 0) {
		for (unsigned i = 0; i < queues; i++)
			close_fdp(&fds[i]);
		links_detach(links, nic->slot, nic->index, NULL);
		return r;
	}
	save(links);
	return 0;
}

int links_detach(struct links *links, uint32_t slot, uint32_t index, struct error *err)
{
	_cleanup_(script_clear) struct script script = {.text = NULL};
	struct link **at = find(links, slot, index);
	char name[IF_NAMESIZE];
	struct nic nic;
	int r = nic_name(slot, index, name, err);

	if (r == 0)
		r = route_remove_link(links->route, name, err);
	if (r < 0 || !*at)
		return r;
	nic = (*at)->nic;
	drop(links, at);
	if (script_open(&script) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	rules_write_removal(script.out, &nic);
	r = write_rules(links, &script, err);
	flows_forget(links->flows, &nic);
	save(links);
	return r;
}

/* A link that was there before, as it was. */
static void restore(struct links *links, const struct nic *nic)
{
	struct error err = ERROR_NULL;
	struct link *link = *find(links, nic->slot, nic->index) ? NULL : add(links, nic);

	if (link && hold_ports(&link->hold, nic, &err) < 0) {
		log_warning("link=%s err=\"%s\" msg=\"its ports are not published any more\"",
			    nic->name, err.text);
		link->nic.n_publish = 0;
	}
}

/* Those whose tap is gone, or whose addresses are none of ours any more, are left out. */
static void restore_all(struct links *links, const struct nic *nics, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		const struct nic *nic = &nics[i];

		if (route_find_link(links->route, nic->name) == 1)
			restore(links, nic);
		else
			log_info("link=%s msg=\"its zone has ended\"", nic->name);
	}
}

/* Sysctls, addresses and routes once more: what is there already does not change. */
static void set_up_again(struct links *links)
{
	for (struct link *link = links->first; link; link = link->next) {
		struct error err = ERROR_NULL;

		if (sysctl_set_up_link(&link->nic, &err) < 0 ||
		    route_set_up_link(links->route, &link->nic, links->settings, &err) < 0)
			log_warning("link=%s err=\"%s\"", link->nic.name, err.text);
	}
}

int links_start(struct links *links, struct error *err)
{
	_cleanup_(freep) struct nic *nics = NULL;
	unsigned n = 0;
	int r = state_load(links->state_path, links->settings, &nics, &n);

	if (r < 0)
		log_warning(
			"state=%s err=\"%s\" msg=\"the daemon will tell which links there are\"",
			links->state_path, strerror(-r));
	restore_all(links, nics, n);
	r = rebuild(links, err);
	if (r == 0)
		set_up_again(links);
	return r;
}

static void remove_stray(void *user, const char *name)
{
	struct links *links = user;
	uint32_t slot, index;

	if (nic_parse_name(name, &slot, &index) && !*find(links, slot, index)) {
		log_info("link=%s msg=\"no zone has it, removed\"", name);
		route_remove_link(links->route, name, NULL);
	}
}

int links_reconcile(struct links *links, const struct nic *nics, unsigned n, struct error *err)
{
	int r;

	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < i; k++)
			if ((nics[i].slot == nics[k].slot && nics[i].index == nics[k].index) ||
			    find_collision(&nics[i], &nics[k]))
				return error_set(err, -EINVAL,
						 "%s and %s of the list are not two links",
						 nics[i].name, nics[k].name);
	links_deinit(links); /* ports are free for a moment: they are in this list, or nobody's */
	restore_all(links, nics, n);
	route_each_link(links->route, remove_stray, links);
	r = rebuild(links, err);
	if (r == 0)
		set_up_again(links);
	save(links);
	return r;
}
