// SPDX-License-Identifier: Apache-2.0
/*
 * A container's config.json (OCI runtime-spec) as the messages that the daemon knows: the process
 * and how it is confined. What a workload cannot be given is refused with a line that says so; what
 * the zone does by itself (its own proc, sys, dev …) is left to it. docs/kubernetes.md has the
 * table.
 *
 * The file comes from containerd, and much in it from whoever wrote the pod: sizes are bounded here
 * and by the packets it has to fit in, values are checked by the zone.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "proto/control.pb-c.h"

#define SPEC_MAX (4u * 1024 * 1024)

/* What a container is to its pod, by CRI's annotations. */
enum spec_kind {
	SPEC_ALONE,   /* no annotation: a zone of its own */
	SPEC_SANDBOX, /* a pod's: the zone itself */
	SPEC_MEMBER,  /* a container in a pod's zone */
};

/* A bind mount: its source is a path of the host. */
struct spec_bind {
	char *source, *target;
	bool read_only;
};

struct spec {
	enum spec_kind kind;
	char *sandbox; /* of a member: the pod's id */
	Protect__Control__Process process;
	Protect__Agent__Settings settings;
	Protect__Control__ZoneLaunch zone; /* unless a member: sizes, kernel */
	struct spec_bind *binds;
	size_t n_binds;
	char *netns;  /* path of the network namespace, empty = a fresh one */
	void *memory; /* what the above points into */
};

/* What `start` has to know: only the kind and the sandbox. Otherwise as spec_read(). */
int spec_read_kind(const char *bundle, struct spec *spec, struct error *err);

/* Reads config.json of a bundle. Returns 0 or a negative errno with *err set; spec_deinit() in both
 * cases. */
int spec_read(const char *bundle, struct spec *spec, struct error *err);

/* The same of its text, of len bytes. */
int spec_parse(const char *text, size_t len, struct spec *spec, struct error *err);

/* A process as an exec has it: the text of an OCI Process. */
int spec_parse_process(const char *text, size_t len, struct spec *spec, struct error *err);

/* Limits as an update has them: the text of an OCI LinuxResources, into settings. */
int spec_parse_resources(const char *text, size_t len, struct spec *spec, struct error *err);

void spec_deinit(struct spec *spec);
