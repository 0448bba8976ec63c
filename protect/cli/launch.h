// SPDX-License-Identifier: Apache-2.0
/* The options of the two launch commands, for their groups' tables. */
#pragma once

#include "protect/cli/args.h"
#include "proto/control.pb-c.h"
#include "protect/cli/exec.h"
#include "protect/cli/limits.h"
#include "protect/cli/network_option.h"
#include "protect/cli/settings.h"

#define ZONE_LAUNCH_N_OPTIONS	  (16 + LIMIT_N_OPTIONS + NETWORK_N_OPTIONS)
#define WORKLOAD_LAUNCH_N_OPTIONS (16 + SETTINGS_N_OPTIONS)
#define ZONE_MEMORY_MAX_MIB	  (16u << 20) /* the daemon knows better */
#define ZONE_CPUS_MAX		  65535u

struct zone_launch_values {
	const char *name;
	const char *kernel, *kernel_variant, *virt_backend;
	uint64_t max_memory_mib, target_memory_mib, min_memory_mib;
	const char *policy;
	uint64_t max_cpus, target_cpus;
	struct limit_values limits;
	struct network_values network;
	struct arg_list env, sysctls, modules, kernel_options, volumes;
	bool wait;
};

struct workload_launch_values {
	const char *zone;
	const char *name;
	bool attach;
	bool wait;
	bool interactive;
	const char *entrypoint;
	const char *stop_signal;
	uint64_t stop_timeout_s;
	const char *restart;
	struct exec_options exec;
	struct settings_values settings;
	const char *scratch_size;
	struct arg_list volumes;
};

/* The exit status that an ended workload stands for. */
int workload_status(const Protect__Control__Workload *workload);

/* Says that the caller has left a workload that goes on. Returns CLI_OK. */
int workload_left(const char *name);

/* Of --resource-adjustment-policy, and which of them a word is. */
extern const char *const zone_policy_words[];
Protect__Control__ResourcePolicy zone_policy(const char *word);

extern const struct arg_option zone_launch_options[ZONE_LAUNCH_N_OPTIONS];
extern const struct arg_option workload_launch_options[WORKLOAD_LAUNCH_N_OPTIONS];

#define LAUNCH_ZONE_DETAILS                                                                        \
	"A kernel is an OCI image: HOST[:PORT]/NAME[:TAG|@DIGEST] of a registry, the name of an "  \
	"image in\n"                                                                               \
	"the store ('protect image list'), oci:DIR[:TAG] or oci-archive:FILE[:TAG].\n\n"           \
	"Examples:\n"                                                                              \
	"  protect zone launch --name a --wait\n"                                                  \
	"  protect zone launch -n b --max-memory 2048 --target-memory 512 -C 4 -c 2\n"             \
	"  protect zone launch --kernel oci:./build/zone-kernel:default\n"                         \
	"  protect zone launch --kernel-variant zone\n"                                            \
	"  protect zone launch -n db -v data:/srv/data\n"                                          \
	"  protect zone launch -n web -p 8080:80 -p 127.0.0.1:5353:53/udp\n"                       \
	"  protect zone launch --module nbd --module 'dummy numdummies=2' "                        \
	"--sysctl vm.swappiness=10\n"                                                              \
	"  protect zone launch --max-memory 4096 --target-memory 512 "                             \
	"--resource-adjustment-policy dynamic\n\n"                                                 \
	"Of two zones that want the same processor one with --cpu-weight 300 gets three times "    \
	"what one\nwith 100 gets. Limits of I/O count for each disk of the host on which the "     \
	"zone's files lie.\n\n"                                                                    \
	"A zone starts with its targets and may have them changed up to its maximum: 'protect "    \
	"zone\nupdate'. With the policy 'dynamic' its memory follows what it uses, between "       \
	"minimum and\nmaximum; with 'static' it stays, but for idle memory that a host short of "  \
	"memory takes for a\nwhile.\n\n"                                                           \
	"Modules are loaded and sysctls set before anything runs in the zone; if its kernel "      \
	"refuses one,\nthe launch fails with what it said.\n"

#define LAUNCH_WORKLOAD_DETAILS                                                                    \
	"An image is HOST[:PORT]/NAME[:TAG|@DIGEST] of a registry, the name of an image in the "   \
	"store\n"                                                                                  \
	"('protect image list'), oci:DIR[:TAG], oci-archive:FILE[:TAG] or "                        \
	"docker-archive:FILE[:TAG].\n"                                                             \
	"COMMAND takes the place of the image's own arguments. With --attach this program exits "  \
	"with\n"                                                                                   \
	"the command's status, 128+N if signal N killed it, 125 if it could not be run.\n\n"       \
	"A policy of --restart has it started again when it ends by itself: always, or when it "   \
	"fails, at\nmost N times. The first time after 0.1 s, then after twice as long, at most "  \
	"a "                                                                                       \
	"minute; a run of 10 s\nstarts that anew. 'workload stop' ends it for good.\n\n"           \
	"Ctrl-] on its terminal leaves it running; 'workload attach' comes back to it.\n\n"        \
	"What it may do is what Docker's default leaves it, but for CAP_MKNOD. A seccomp profile " \
	"is Docker's\nJSON. Capabilities that are added count for a user who is not root as "      \
	"well.\n\n"                                                                                \
	"Examples:\n"                                                                              \
	"  protect workload launch --zone a --attach docker.io/library/busybox -- echo hello\n"    \
	"  protect workload launch --zone a --name web --wait oci:./web:latest\n"                  \
	"  protect workload launch --zone a --attach --tty docker.io/library/debian -- bash\n"     \
	"  protect workload launch --zone a -v data:/var/lib/data docker.io/library/debian -- "    \
	"bash\n\n"                                                                                 \
	"What it writes beside volumes lies in the zone's memory, or with --scratch-size on a "    \
	"disk of its own,\nwhich goes with it.\n\n"                                                \
	"A volume ('protect volume create') has one workload that writes to it, or any number "    \
	"with ':ro'.\n"                                                                            \
	"One that the zone has itself all its workloads may share.\n"                              \
	"It is mounted without devices and set-user-id; a raw one is a device, its TARGET below "  \
	"/dev.\n"
