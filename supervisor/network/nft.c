// SPDX-License-Identifier: Apache-2.0
#include "supervisor/network/nft.h"

#include <errno.h>
#include <nftables/libnftables.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "supervisor/network/rules.h"

struct nft {
	struct nft_ctx *context;
};

/*
 * One socket for all commands. libnftables reads names of marks, groups and the like from files
 * that may be there, and makes room in its socket for what it sends.
 *
 * #syscalls network.start: socket(AF_NETLINK) bind getsockname setsockopt(_, SOL_NETLINK)
 *	getuid geteuid newfstatat(_, _, _, 0) newfstatat(_, _, _, AT_EMPTY_PATH) openat read
 *	lseek close
 *
 * #syscalls network: setsockopt(_, SOL_SOCKET, SO_SNDBUF) setsockopt(_, SOL_SOCKET, SO_RCVBUF)
 *	setsockopt(_, SOL_SOCKET, SO_SNDBUFFORCE) setsockopt(_, SOL_SOCKET, SO_RCVBUFFORCE)
 *	getsockopt(_, SOL_SOCKET, SO_SNDBUF) getsockopt(_, SOL_SOCKET, SO_RCVBUF)
 *	sendmsg recvmsg recvfrom sendto(_, _, _, 0) pselect6 getpid close
 */
int nft_open(struct nft **out, struct error *err)
{
	struct nft *nft = calloc(1, sizeof(*nft));

	*out = nft;
	if (nft)
		nft->context = nft_ctx_new(NFT_CTX_DEFAULT);
	if (!nft || !nft->context)
		return error_set(err, -ENOMEM, "libnftables cannot be used");
	nft_ctx_clear_include_paths(nft->context);
	/* What it lists it would look up in /etc/services otherwise. */
	nft_ctx_output_set_flags(nft->context, NFT_CTX_OUTPUT_NUMERIC_ALL);
	nft_ctx_buffer_output(nft->context);
	nft_ctx_buffer_error(nft->context);
	return 0;
}

struct nft *nft_close(struct nft *nft)
{
	if (nft && nft->context)
		nft_ctx_free(nft->context);
	free(nft);
	return NULL;
}

/* Its errors end with the kernel's reason: the text of an errno. */
static int find_errno(const char *line, size_t len)
{
	static const int known[] = {ENOENT, EEXIST, EPERM,  EBUSY,    EOPNOTSUPP,
				    ENOMEM, EINVAL, ENOSPC, EMSGSIZE, EAFNOSUPPORT};

	for (unsigned i = 0; i < ARRAY_SIZE(known); i++) {
		const char *text = strerror(known[i]);
		size_t n = strlen(text);

		if (len >= n && memcmp(line + len - n, text, n) == 0)
			return -known[i];
	}
	return -EINVAL;
}

int nft_run(struct nft *nft, const char *text, struct error *err)
{
	int r = nft_run_cmd_from_buffer(nft->context, text);
	const char *said = nft_ctx_get_error_buffer(nft->context);
	size_t len = said ? strcspn(said, "\n") : 0;

	nft_ctx_get_output_buffer(nft->context); /* what it holds is not kept for the next one */
	if (r == 0)
		return 0;
	return error_set(err, find_errno(said ? said : "", len), "nftables: %.*s", (int)len,
			 said ? said : "no reason given");
}

int nft_check_tables(struct nft *nft, struct error *err)
{
	static const char *const families[] = {"inet", "netdev"};

	for (unsigned i = 0; i < ARRAY_SIZE(families); i++) {
		char text[64];
		const char *listed;
		int r;

		snprintf(text, sizeof(text), "list table %s " RULES_TABLE, families[i]);
		r = nft_run_cmd_from_buffer(nft->context, text);
		listed = nft_ctx_get_output_buffer(nft->context);
		nft_ctx_get_error_buffer(nft->context);
		if (r == 0 && (!listed || !strstr(listed, "comment \"" RULES_MARK "\"")))
			return error_set(err, -EEXIST,
					 "there is a table '%s " RULES_TABLE
					 "' of nftables that is not ours: rename or remove it "
					 "(nft list table %s " RULES_TABLE ")",
					 families[i], families[i]);
	}
	return 0;
}

bool nft_finds_dropper(struct nft *nft, char *table, size_t size)
{
	int r = nft_run_cmd_from_buffer(nft->context, "list chains");
	const char *listed = nft_ctx_get_output_buffer(nft->context);
	_cleanup_(freep) char *text = r == 0 && listed ? strdup(listed) : NULL;
	char *save = NULL;

	nft_ctx_get_error_buffer(nft->context);
	table[0] = '\0';
	for (char *line = text ? strtok_r(text, "\n", &save) : NULL; line;
	     line = strtok_r(NULL, "\n", &save)) {
		if (strncmp(line, "table ", 6) == 0)
			snprintf(table, size, "%.*s", (int)strcspn(line + 6, "{") - 1, line + 6);
		if (strstr(line, "hook forward") && strstr(line, "policy drop"))
			return true;
	}
	return false;
}

int nft_check_kernel(struct nft *nft, struct error *err)
{
	static const struct {
		const char *what, *chain, *rule;
	} needs[] = {
		{"tables (CONFIG_NF_TABLES_INET)", "", "accept"},
		{"connection tracking (CONFIG_NFT_CT)", "", "ct state new accept"},
		{"a limit of connections (CONFIG_NFT_CONNLIMIT)", "", "ct count over 9 drop"},
		{"a limit of rates (CONFIG_NFT_LIMIT)", "", "limit rate over 9/second drop"},
		{"lookups of addresses (CONFIG_NFT_FIB_INET)", "type filter hook input priority 0;",
		 "fib daddr type local accept"},
		{"address translation (CONFIG_NFT_NAT)", "type nat hook prerouting priority 0;",
		 "dnat ip to 10.0.0.1"},
		{"masquerading (CONFIG_NFT_MASQ)", "type nat hook postrouting priority 100;",
		 "masquerade"},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(needs); i++) {
		struct error reason = ERROR_NULL;
		char text[256];

		snprintf(text, sizeof(text),
			 "table inet protect_check { chain check { %s\n%s\n}\n}\n", needs[i].chain,
			 needs[i].rule);
		nft_ctx_set_dry_run(nft->context, true);
		nft_run(nft, text, &reason);
		nft_ctx_set_dry_run(nft->context, false);
		if (reason.code)
			return error_set(err, -ENOTSUP, "this kernel has no %s: %s", needs[i].what,
					 reason.text);
	}
	/* Of the link that every host has, a chain that nobody sees. */
	nft_ctx_set_dry_run(nft->context, true);
	if (nft_run(nft,
		    "table netdev protect_check { chain check { type filter hook ingress device "
		    "\"lo\" priority -500; ether type arp drop\n}\n}\n",
		    NULL) < 0)
		error_set(err, -ENOTSUP,
			  "this kernel has no filters for arriving packets "
			  "(CONFIG_NF_TABLES_NETDEV, CONFIG_NETFILTER_INGRESS)");
	nft_ctx_set_dry_run(nft->context, false);
	return err->code;
}
