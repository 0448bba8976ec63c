// SPDX-License-Identifier: Apache-2.0
/*
 * Volumes that come and go while their user, a workload or the zone itself, runs. Each is a child
 * of its own that mounts or unmounts, in the workload's mount namespace if it is one's: a hostile
 * file system can hang it, and nothing else. The request is answered when the child has.
 */
#pragma once

#include "zone-guest/zone.h"

/* The methods VOLUME_ATTACH and VOLUME_DETACH. */
void volume_jobs_attach(struct zone *zone, uint64_t id,
			const Protect__Agent__VolumeAttach *message);
void volume_jobs_detach(struct zone *zone, uint64_t id,
			const Protect__Agent__VolumeDetach *message);

/* Nobody waits for an answer any more. */
void volume_jobs_session_lost(struct zone *zone);

/* Forgets them; children go on. */
void volume_jobs_free(struct zone *zone);
