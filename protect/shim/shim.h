// SPDX-License-Identifier: Apache-2.0
/*
 * What a shim serves: a pod, which is a zone, with containers, which are workloads in it, with
 * processes: the container's first one and execs. One thread owns all of it. Files: task.c answers
 * containerd, container.c makes and unmakes containers, process.c runs them, pod.c has the zone,
 * resources.c what they use and may use.
 *
 * The state that counts is the daemon's and containerd's; what is here may be lost with the shim at
 * any moment, and `containerd-shim-protect-v2 delete` then ends what is left. Names of zones and
 * workloads are therefore made from namespace and id alone (shim_name()).
 */
#pragma once

#include <time.h>

#include "protect/shim/events.h"
#include "protect/shim/image.h"
#include "protect/shim/link.h"
#include "protect/shim/poller.h"
#include "protect/shim/server.h"
#include "protect/shim/spec.h"
#include "protect/shim/stdio.h"

#define SHIM_NAME_SIZE	    64u
#define SHIM_UUID_SIZE	    40u
#define SHIM_KILLED	    137u /* as if by SIGKILL: its zone is gone, or nobody knows */
#define SHIM_CONTAINERS_MAX 128u
#define SHIM_EXECS_MAX	    256u /* of one container */

struct shim;
struct container;

struct waiter {
	struct waiter *next;
	struct ticket ticket;
};

enum process_state { PROCESS_CREATED, PROCESS_STARTING, PROCESS_RUNNING, PROCESS_STOPPED };

struct process {
	struct process *next; /* of the container's execs */
	struct container *container;
	char *exec_id; /* "" = the container's first process */
	enum process_state state;
	bool terminal;
	char *in, *out, *err;
	struct stdio io;
	struct spec spec;
	uint64_t call;	  /* to the daemon, under way; 0 = none */
	uint64_t request; /* the daemon's name for what can be signalled and resized; 0 = none */
	struct ticket start;
	struct waiter *waiters;
	uint32_t exit_status;
	struct timespec exited_at;
	struct alarm retry; /* joins it again, or stops waiting for who reads its output */
	unsigned attempts;
};

struct container {
	struct container *next;
	struct shim *shim;
	char *id, *bundle, *rootfs;
	struct process init;
	struct process *execs;
	unsigned n_execs;
	char name[SHIM_NAME_SIZE]; /* of the workload */
	char uuid[SHIM_UUID_SIZE]; /* of the workload; empty before its start */
	char image[IMAGE_NAME_SIZE];
	/* While it is being made. */
	Protect__Shim__CreateRequest *request;
	struct ticket create;
	unsigned pending; /* of zone and image, what is not there yet */
	struct image_job *job;
	struct error failure;
	/* While it is being unmade. */
	struct ticket remove;
	bool removing;
};

enum pod_state { POD_NONE, POD_LAUNCHING, POD_READY, POD_ENDED };

struct pod {
	enum pod_state state;
	char name[SHIM_NAME_SIZE];
	uint32_t pid; /* of the zone's runner */
	uint64_t max_memory_mib;
	struct idm_stream *log; /* whose end is the zone's */
	bool paused;
	struct alarm retry;
};

struct shim {
	struct poller poller;
	struct server server;
	struct events events;
	struct link link;
	const char *namespace;
	struct pod pod;
	struct container *containers;
	unsigned n_containers;
	bool leaving; /* Shutdown was answered */
};

/* The name of a container's zone and workload. */
void shim_name(const char *namespace, const char *id, char name[static SHIM_NAME_SIZE]);

/* Whether it may be part of a path: an id of containerd's. */
bool shim_id_is_good(const char *id);

/* task.c: serves a listening socket until Shutdown. Returns 0 or a negative errno. */
int shim_serve(const char *namespace, const char *events_address, int listener);

/* container.c */
/* Whether the zone was launched for it, and ends with it. */
bool container_owns_zone(const struct container *container);
struct container *container_find(struct shim *shim, const char *id);
/* The process of a request; NULL for none. */
struct process *process_find(struct shim *shim, const char *id, const char *exec_id);
/* Takes the request over. Answers the ticket when zone and image are there. */
void container_create(struct shim *shim, struct ticket ticket,
		      Protect__Shim__CreateRequest *request);
/* The zone that a container waited for is there, or is not. */
void container_zone_done(struct container *container, int error, const char *text);
/* Ends all that is left of a container that does not run; answers the ticket when it is gone. */
void container_delete(struct container *container, struct ticket ticket);
void container_free(struct container *container);

/* process.c */
/* Fills one from a request; strings are copied. Returns 0 or a negative errno with *err set. */
int process_init(struct process *process, struct container *container, const char *exec_id,
		 bool terminal, const char *in, const char *out, const char *err_path,
		 struct error *err);
void process_deinit(struct process *process);
void process_start(struct process *process, struct ticket ticket);
void process_wait(struct process *process, struct ticket ticket);
/* Returns 0 or a negative errno. */
int process_kill(struct process *process, uint32_t signal);
int process_resize(struct process *process, uint32_t rows, uint32_t columns);
/* It has ended: tells all who want to know. Does nothing for one that has already. */
void process_ended(struct process *process, uint32_t exit_status, bool oom_killed);
/* The same of one whose zone has ended. */
void process_killed(struct process *process);
/* There is a connection to the daemon again. */
void process_join_again(struct process *process);
Protect__Shim__Timestamp process_exited_at(const struct process *process);

/* pod.c */
/* Launches the zone for its first container. Returns 0, and container_zone_done() follows, or a
 * negative errno. */
int pod_launch(struct container *container, struct error *err);
/* Resumes it if it was paused: what is killed in it is to end. */
void pod_let_go(struct shim *shim);
/* There is a connection to the daemon again. */
void pod_watch(struct shim *shim);

/*
 * resources.c: the requests Stats, Update, Pause and Resume. Each answers the ticket, now or later,
 * and returns 0, or returns a negative errno with *err set.
 */
int resources_stats(struct container *container, struct ticket ticket, struct error *err);
/* text: an OCI LinuxResources, borrowed. */
int resources_update(struct container *container, struct ticket ticket, const void *text,
		     size_t len, struct error *err);
int resources_pause(struct container *container, struct ticket ticket, bool pause,
		    struct error *err);
