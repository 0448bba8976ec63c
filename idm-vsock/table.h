// SPDX-License-Identifier: Apache-2.0
/*
 * A small hash table of things with a number, embedded in their owners: the calls, requests and
 * streams of a session. It owns nothing; what is in it must be removed before it is freed. One
 * thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define TABLE_BUCKETS 64u

struct table_node {
	uint64_t key;
	struct table_node *next;
};

struct table {
	struct table_node *buckets[TABLE_BUCKETS];
	unsigned count;
};

/* Adds a node; its key is not in the table. */
static inline void table_add(struct table *table, struct table_node *node)
{
	struct table_node **bucket = &table->buckets[node->key / 2 % TABLE_BUCKETS];

	node->next = *bucket;
	*bucket = node;
	table->count++;
}

/* The node with this key, or NULL. */
static inline struct table_node *table_find(const struct table *table, uint64_t key)
{
	struct table_node *node = table->buckets[key / 2 % TABLE_BUCKETS];

	while (node && node->key != key)
		node = node->next;
	return node;
}

/* Takes a node out. */
static inline void table_remove(struct table *table, struct table_node *node)
{
	struct table_node **at = &table->buckets[node->key / 2 % TABLE_BUCKETS];

	while (*at != node)
		at = &(*at)->next;
	*at = node->next;
	table->count--;
}

/* Any node, NULL if there is none. */
static inline struct table_node *table_any(const struct table *table)
{
	for (unsigned i = 0; table->count && i < TABLE_BUCKETS; i++)
		if (table->buckets[i])
			return table->buckets[i];
	return NULL;
}
