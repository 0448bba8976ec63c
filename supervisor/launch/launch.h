// SPDX-License-Identifier: Apache-2.0
/*
 * The contract between protect-daemon and protect-launch, the only privileged process of Protect.
 *
 * SOCK_SEQPACKET; one struct launch_request a packet (descriptors attached to it), one struct
 * launch_reply back, in order. Only the uid of user `protect` and root are heard. The daemon is not
 * trusted with more than this: it names a zone by UUID and a uid by its slot, and gives limits and
 * descriptors; it never gives a path, a program or a number that is used as a process id.
 *
 * What a runner finds when it starts: 0 = /dev/null, 1 and 2 = the log, LAUNCH_FD_KVM = /dev/kvm,
 * then the other descriptors of SPAWN without the log, in the order sent; everything else closed.
 * Its environment is empty, its arguments are `--kvm-fd 3 --spec-fd 4`. It is PID 1 of namespaces
 * of its own (user, mount, pid, net, ipc, uts, cgroup; base/isolate.h) with an empty read-only
 * root, has a session, a cgroup and a uid, the same inside and outside, and no group and no
 * capability. SIGTERM and SIGINT are blocked until it asks for them.
 *
 * A runner on Xen (LAUNCH_XEN) finds the same descriptors, with /dev/null in the place of KVM, and
 * `--spec-fd 4`; it keeps the host's namespaces, root directory and uid 0, without any capability
 * (docs/security.md says why). When it has ended, whatever is left of its domain is destroyed
 * before REAP answers.
 */
#pragma once

#include <stdint.h>

#include "base/uuid.h"

#define LAUNCH_VERSION	     3u
#define LAUNCH_SOCKET	     "/run/protect-launch/launch.sock"
#define LAUNCH_TEXT_SIZE     256
#define LAUNCH_PATH_SIZE     256
#define LAUNCH_UID_BASE	     200000u
#define LAUNCH_UID_COUNT     4096u
#define LAUNCH_CPU_PERIOD_US 100000u
#define LAUNCH_CPUS_SIZE     64

/* What a zone runs on. */
enum launch_backend { LAUNCH_KVM, LAUNCH_XEN };

/* Descriptors of SPAWN, by place in the message. Files that the spec names follow. */
enum launch_place {
	LAUNCH_PLACE_SPEC,   /* the ZoneSpec, readable from its start */
	LAUNCH_PLACE_SOCKET, /* a listening unix stream socket */
	LAUNCH_PLACE_EXIT,   /* the exit record, writable */
	LAUNCH_PLACE_LOG,    /* where stderr goes, writable */
	LAUNCH_PLACE_FILES,
};

/* Descriptor numbers in the runner. */
enum launch_fd {
	LAUNCH_FD_KVM = 3,
	LAUNCH_FD_SPEC = 4,
	LAUNCH_FD_SOCKET = 5,
	LAUNCH_FD_EXIT = 6,
	LAUNCH_FD_FILES = 7,
};

#define LAUNCH_FDS_MAX 16u /* in one SPAWN */

enum launch_op {
	LAUNCH_SPAWN = 1, /* reply: pid, and one descriptor, its pidfd */
	LAUNCH_SIGNAL =
		2, /* SIGTERM or SIGKILL; SIGKILL reaches all that is in the zone's cgroup */
	/*
	 * Forget an ended runner; its cgroup is gone after it. Reply: wait_status. -EBUSY: it still
	 * runs. -ENOENT: no runner is known by this UUID and no cgroup of it is left.
	 */
	LAUNCH_REAP = 3,
	LAUNCH_LIST = 4, /* reply: the index-th known runner (uuid, pid, ended), -ENOENT behind the
			    last */
	LAUNCH_UPDATE = 5, /* new limits of a running zone: all of struct launch_limits */
	LAUNCH_STATUS = 6, /* reply: text, how zones are limited here, and what cannot be */
	/*
	 * Starts the server of a folder (zone-fs) for a running zone, in its cgroup. Reply: pid,
	 * and one descriptor, a SOCK_STREAM connection to it: it ends with the last copy of that.
	 * It runs as the folder's owner, or, where that is root or another zone, as the zone's uid.
	 */
	LAUNCH_SHARE = 7,
};

/* For each block device on which a file of the zone lies. 0 = no limit. */
struct launch_io {
	uint64_t read_bytes_per_s, write_bytes_per_s;
	uint64_t read_ops_per_s, write_ops_per_s;
};

struct launch_share {
	char path[LAUNCH_PATH_SIZE]; /* from the root, NUL-terminated */
	uint32_t read_only;	     /* 0 or 1 */
};

struct launch_limits {
	uint64_t memory_bytes;	     /* memory.max of the runner with all that belongs to it */
	uint64_t memory_high_bytes;  /* above it the kernel slows the zone down; 0 = no such mark */
	uint32_t cpu_quota_us;	     /* CPU time in LAUNCH_CPU_PERIOD_US; 0 = no limit */
	uint32_t cpu_weight;	     /* 1 to 10000 */
	char cpus[LAUNCH_CPUS_SIZE]; /* as cpuset.cpus ("0-3,8"), NUL-terminated; empty = all */
	struct launch_io io;
};

struct launch_request {
	uint32_t version;
	uint32_t op;
	struct uuid uuid;
	struct launch_limits limits; /* SPAWN, UPDATE */
	struct launch_share share;   /* SHARE */
	uint32_t slot;		     /* SPAWN, SHARE: the zone's uid = gid = base + slot */
	uint32_t n_fds;		     /* SPAWN: descriptors attached */
	uint32_t signal;	     /* SIGNAL */
	uint32_t index;		     /* LIST */
	uint32_t backend;	     /* SPAWN: enum launch_backend */
};

struct launch_reply {
	uint32_t version;
	int32_t error; /* 0 or a negative errno */
	struct uuid uuid;
	int32_t pid;
	int32_t wait_status; /* as of waitpid(2); -1 = not known, its parent was an earlier
				protect-launch */
	uint32_t ended;
	uint32_t oom_kills; /* REAP: processes of the zone that were killed at its memory limit */
	uint64_t memory_peak_bytes; /* REAP: 0 = not known */
	/* SPAWN, LIST, UPDATE: where the zone's cgroup is below its tree's mount; empty = it has
	 * none. */
	char cgroup[LAUNCH_TEXT_SIZE];
	char text[LAUNCH_TEXT_SIZE]; /* one line for a person, if error; of STATUS */
};
