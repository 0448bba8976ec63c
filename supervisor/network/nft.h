// SPDX-License-Identifier: Apache-2.0
/* Text of nft(8) to the kernel (libnftables): all of it or nothing. Owned by one thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "supervisor/network/settings.h"

struct nft;

/* Returns 0 or a negative errno with *err set. */
int nft_open(struct nft **out, struct error *err);
struct nft *nft_close(struct nft *nft);

/* One transaction. Returns 0 or a negative errno (-EINVAL when the kernel's reason is not known)
 * with the first line of what libnftables says in *err. */
int nft_run(struct nft *nft, const char *text, struct error *err);

/* Whether no table of our names is somebody else's: 0, or -EEXIST with *err set. */
int nft_check_tables(struct nft *nft, struct error *err);

/* Whether a table of somebody else's drops forwarded packets that it does not name; then which one.
 * Ours cannot let zones' packets through there. */
bool nft_finds_dropper(struct nft *nft, char *table, size_t size);

/* Tries, changing nothing, what the tables need of the kernel. Returns 0, or -ENOTSUP with *err
 * naming what is missing. */
int nft_check_kernel(struct nft *nft, struct error *err);
