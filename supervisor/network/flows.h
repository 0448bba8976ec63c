// SPDX-License-Identifier: Apache-2.0
/*
 * Connections that the kernel tracks. It keeps them for minutes after a zone has ended: whoever
 * gets its address next must not get its packets, nor the translation of its published ports. Owned
 * by one thread.
 */
#pragma once

#include "supervisor/network/nic.h"

struct flows;

/* Returns 0 or a negative errno with *err set. */
int flows_open(struct flows **out, struct error *err);
struct flows *flows_close(struct flows *flows);

/* Forgets all connections from and to the addresses of a NIC. What cannot be forgotten is a line in
 * the log. */
void flows_forget(struct flows *flows, const struct nic *nic);
