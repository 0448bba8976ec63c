// SPDX-License-Identifier: Apache-2.0
/*
 * What is between containerd and a shim before and after it serves: which shim a bundle belongs to,
 * its socket, its address, and what to do when it is no more. The working folder is the bundle.
 */
#pragma once

#include "base/error.h"

#define BUNDLE_ADDRESS_SIZE 106u
#define BUNDLE_ID_SIZE	    129u

/* The id of the shim that a bundle's container belongs to: its pod's, or its own. */
int bundle_group(const char *bundle, const char *id, char group[static BUNDLE_ID_SIZE],
		 struct error *err);

/* Makes the socket of a new shim. *listener is the caller's. */
int bundle_listen(const char *namespace, const char *id, char address[static BUNDLE_ADDRESS_SIZE],
		  int *listener, struct error *err);

/* The address of a pod's shim, from the bundle beside this one. */
int bundle_find(const char *group, char address[static BUNDLE_ADDRESS_SIZE], struct error *err);

/* Writes it into the bundle and prints it as containerd wants to read it. */
int bundle_announce(const char *address, struct error *err);

/* Ends the zone or workload of that id, if there is one, and prints a DeleteResponse. */
int bundle_delete(const char *namespace, const char *id, struct error *err);

void bundle_remove_socket(const char *namespace, const char *id);
