// SPDX-License-Identifier: Apache-2.0
/*
 * The sandbox of a runner, without its filters (base/filter.h): namespaces, an empty root, ids,
 * limits, no capability. Linux only, no allocation, safe after clone3(2). It goes in stages; each
 * says what must and must not be possible from there on:
 *
 *   1. clone3() or unshare() with ISOLATE_NAMESPACES. Everything that the host has to give is open
 *      by now. All capabilities, but only over these namespaces; no id yet.
 *   2. isolate_map(), by the parent or by the process: the user namespace has one uid and one gid,
 *      the same outside, and will never have another: root does not exist in it.
 *   3. isolate_become(), isolate_names(), isolate_root(): no file but through descriptors, no
 *      process, network, IPC object, host name or cgroup but its own.
 *   4. isolate_limits(), isolate_core(), isolate_drop(): no capability and no way to one, not by an
 *      exec either. No mount, no change of ids, no namespace made here can be undone.
 *   5. isolate_check(), by the runner itself, which does not trust whoever started it.
 *
 * Seccomp and Landlock follow when all threads and rings are there.
 */
#pragma once

#include <linux/securebits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/* The cgroup namespace is not among them: it shows the cgroup that the process is in when it is
 * made, and some drivers move it after the clone; isolate_names() makes it. */
#define ISOLATE_NAMESPACES                                                                         \
	(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS)

#define ISOLATE_FILES_MAX 1024u /* descriptors of a runner */
#define ISOLATE_TASKS_MAX 1024u /* its threads: vCPUs, the loop, io_uring's workers */
#define ISOLATE_HOST_NAME "zone"

/* Root has no power and gets none, for this process and all that it executes. Also how a runner
 * knows that who started it has isolated it. */
#define ISOLATE_SECUREBITS                                                                         \
	(SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |                           \
	 SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |   \
	 SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED)

/*
 * Maps uid and gid to themselves, and nothing else, in the new user namespace of process pid (0:
 * the caller's own; the ids must then be those that it had outside). setgroups(2) is denied in it
 * for good. Needs /proc; ids that are not the caller's need CAP_SETUID and CAP_SETGID outside.
 * Returns 0 or a negative errno (user_namespaces(7)).
 */
int isolate_map(pid_t pid, uid_t uid, gid_t gid);

/* Sets all of real, effective and saved ids, and looks that they are set. Returns 0 or a negative
 * errno. */
int isolate_become(uid_t uid, gid_t gid);

/* A cgroup namespace of its own and a host name that tells nothing. Returns 0 or a negative errno.
 */
int isolate_names(void);

/* Makes an empty read-only tmpfs the root and detaches the old one (pivot_root(2)). Returns 0 or a
 * negative errno. */
int isolate_root(void);

/*
 * A folder of the host's as the root of a process: opened by its path, on which no part may be a
 * link, and be the same file as `known` says, which the parent looked at; then a mount of its own
 * with what is mounted below it, without devices, set-user-id and programs, and maybe read-only;
 * no link on it is followed, whatever who serves it does.
 * Before stage 3, where its owner may have no way to it. Returns the mount's descriptor, -ESTALE
 * (it is another one now), or another negative errno.
 */
struct stat;
int isolate_open_folder(const char *path, const struct stat *known, bool read_only);

/* In place of isolate_root(): what isolate_open_folder() returned is all there is. */
int isolate_root_at(int mount);

/* For a program that has to keep the host's root: at least a /proc of its own pid namespace.
 * Returns 0 or a negative errno. */
int isolate_proc(void);

/* Resource limits that cannot be raised again; the reason of each is beside it. n_files: open at
 * once. Returns 0 or a negative errno. */
int isolate_limits(unsigned n_files);

/*
 * A core scheduling cookie of its own: no other zone's thread runs on the other half of a core
 * meanwhile (Linux, admin-guide/hw-vuln/core-scheduling). Returns 0, 1 when the kernel has no core
 * scheduling or the processors no siblings, or a negative errno.
 */
int isolate_core(void);

/* Whether isolate_core() would do anything here; for one line in a log. */
bool isolate_has_core(void);

/*
 * ISOLATE_SECUREBITS, no_new_privs, and of the capabilities no more than the mask `keep` (bit n =
 * capability n; 0 for a runner): bounding set, permitted and effective; ambient and inheritable
 * have none. Returns 0 or a negative errno.
 */
int isolate_drop(uint64_t keep);

/* Whether who started this process has done all of the stages before the fifth, as PID 1. */
bool isolate_is_started(void);

/*
 * Stage 5: no capability in any set, securebits, no_new_privs, and, if empty_root, a root that is
 * read-only and empty. From here on the process is not dumpable: nobody with its uid reads its
 * memory. Returns 0, or a negative errno with text that says what is missing.
 */
int isolate_check(bool empty_root, struct error *err);

/*
 * The lowest open descriptor that is none of the n expected ones (any order, -1 ignored), or -1.
 * Descriptors that are not below ISOLATE_FILES_MAX cannot be expected and are closed.
 */
int isolate_stray_fd(const int *expected, unsigned n);
