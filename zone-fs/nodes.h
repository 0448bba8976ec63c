// SPDX-License-Identifier: Apache-2.0
/*
 * The files that a guest knows, by the numbers that it names them with (FUSE's node ids). A node is
 * a file of the host (device and inode number) and a place where it was seen: the node of its
 * folder, and a name in that. A folder has a descriptor (O_PATH) as long as it is known; a file has
 * none, or a zone with a large tree in its cache would hold a descriptor of the host's for each: it
 * is reached by its name, and then looked at whether it still is the one that was meant (-ESTALE if
 * not: the guest looks it up again). A file that lost its last known name while the guest knows it
 * is pinned: it has a descriptor, too.
 *
 * So no path is ever walked here: whatever is done is done with a folder's descriptor and one
 * name, which is no link (fs_name_is_good()), and links are never followed.
 *
 * A node goes when the guest forgot it as often as it was told of it, and nothing needs it: no open
 * file and no node in it. One thread. Numbers come from a guest: any may be wrong.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#define NODES_MAX      131072u
#define NODES_FDS_MAX  8192u /* folders and pinned files */
#define NODES_ROOT     1u    /* its number: FUSE_ROOT_ID */
#define NODES_NAME_MAX 255u

struct node {
	uint32_t number;
	uint32_t n_users;   /* open files, and nodes whose folder it is */
	uint64_t n_lookups; /* how often the guest was told */
	dev_t dev;
	ino_t ino;
	mode_t type; /* S_IFMT */
	int fd;	     /* O_PATH; -1: none */
	int open_fd; /* of a file that the guest has open; borrowed from its handle; -1: none */
	struct node *folder; /* NULL: the root */
	char *name;
	struct node *next; /* in its chain of the table */
};

struct nodes;

/* root_fd: the folder that is shared, taken over, also on failure. Returns 0 or a negative errno.
 * nodes_free() is always NULL. */
int nodes_new(struct nodes **out, int root_fd);
struct nodes *nodes_free(struct nodes *nodes);

/* The node of that number; NULL: there is none. */
struct node *nodes_get(const struct nodes *nodes, uint64_t number);

/*
 * What is called name in a folder, with its attributes, told to the guest once more. Returns 0 and
 * *out, or a negative errno (-ENFILE: too many are known).
 */
int nodes_look_up(struct nodes *nodes, struct node *folder, const char *name, struct node **out,
		  struct stat *st);

/* Whether one more file or folder can be known: to be asked before it is made. */
bool nodes_have_room(const struct nodes *nodes, bool for_folder);

/* The guest forgets n times of it (no more than it was told). The root stays. */
void nodes_forget(struct nodes *nodes, struct node *node, uint64_t n);

/* Forgets everything but the root. Only when no file is open. */
void nodes_forget_all(struct nodes *nodes);

/* For who keeps a pointer to it. */
void nodes_use(struct node *node);
void nodes_unuse(struct nodes *nodes, struct node *node);

/* Its attributes. Returns 0, -ESTALE (it is not where it was seen) or another negative errno. */
int nodes_stat(const struct node *node, struct stat *st);

/*
 * Opens a file or folder for good, with the access mode, O_SYNC and O_DSYNC of flags. Returns a
 * descriptor, -ESTALE, -EPERM (what is neither), or another negative errno.
 */
int nodes_open(const struct node *node, int flags);

/* Where it was seen, for calls of the *at() kind. Returns -ESTALE if it is not there (any more), or
 * never had a name: the root. */
int nodes_place(const struct node *node, int *folder_fd, const char **name);

/*
 * Around what may take a name away from a file: nodes_pin() before (NULL: the guest does not know
 * what is there, or needs nothing), nodes_unpin() after, with whether the name is gone.
 */
struct node *nodes_pin(struct nodes *nodes, const struct node *folder, const char *name);
void nodes_unpin(struct nodes *nodes, struct node *pinned, bool is_gone);

/* What is called name in a folder is a file that the guest may know by another name: it is here
 * now. */
void nodes_moved(struct nodes *nodes, struct node *folder, const char *name);
