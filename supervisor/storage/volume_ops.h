// SPDX-License-Identifier: Apache-2.0
/* The requests about volumes of proto/storage.proto, for ops.c. Any thread. */
#pragma once

#include "proto/storage.pb-c.h"
#include "supervisor/storage/ops.h"

/* Does what is asked (all but what opens one) and fills the reply. Returns 0 or a negative errno
 * with *err set. */
int volume_ops_serve(struct storage *storage, const Protect__Storage__Request *request,
		     Protect__Storage__Reply *reply, struct error *err);

/* Opens and locks a volume and fills the reply. Returns its descriptor or a negative errno with
 * *err set. */
int volume_ops_open(struct storage *storage, const Protect__Storage__VolumeOpen *open,
		    Protect__Storage__Reply *reply, struct error *err);

/* The same for a scratch disk. */
int volume_ops_make_scratch(struct storage *storage, const Protect__Storage__ScratchOpen *open,
			    Protect__Storage__Reply *reply, struct error *err);

/* Frees what these put into a reply. */
void volume_ops_clear(Protect__Storage__Reply *reply);
