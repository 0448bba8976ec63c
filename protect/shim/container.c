// SPDX-License-Identifier: Apache-2.0
/* Containers: made from a bundle, of a zone and an image; unmade with all that was made for them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "protect/shim/shim.h"

struct container *container_find(struct shim *shim, const char *id)
{
	for (struct container *c = shim->containers; c; c = c->next)
		if (strcmp(c->id, id) == 0)
			return c;
	return NULL;
}

struct process *process_find(struct shim *shim, const char *id, const char *exec_id)
{
	struct container *container = container_find(shim, id);
	struct process *process;

	if (!container || !*exec_id)
		return container ? &container->init : NULL;
	for (process = container->execs; process; process = process->next)
		if (strcmp(process->exec_id, exec_id) == 0)
			return process;
	return NULL;
}

void container_free(struct container *container)
{
	struct shim *shim = container->shim;

	for (struct container **place = &shim->containers; *place; place = &(*place)->next)
		if (*place == container) {
			*place = container->next;
			shim->n_containers--;
			break;
		}
	for (struct process *p = container->execs, *next; p; p = next) {
		next = p->next;
		process_deinit(p);
		free(p);
	}
	process_deinit(&container->init);
	image_drop(container->job);
	protect__shim__create_request__free_unpacked(container->request, NULL);
	free(container->id);
	free(container->bundle);
	free(container->rootfs);
	free(container);
}

bool container_owns_zone(const struct container *container)
{
	return container->init.spec.kind != SPEC_MEMBER;
}

static void publish_create(const struct container *container)
{
	Protect__Shim__TaskCreate created = PROTECT__SHIM__TASK_CREATE__INIT;
	Protect__Shim__TaskIO io = PROTECT__SHIM__TASK_IO__INIT;
	const Protect__Shim__CreateRequest *request = container->request;

	io.stdin = request->stdin;
	io.stdout = request->stdout;
	io.stderr = request->stderr;
	io.terminal = request->terminal;
	created.container_id = container->id;
	created.bundle = container->bundle;
	created.rootfs = request->rootfs;
	created.n_rootfs = request->n_rootfs;
	created.io = &io;
	created.pid = container->shim->pod.pid;
	events_publish(&container->shim->events, "/tasks/create", "containerd.events.TaskCreate",
		       &created.base);
}

static void destroy_zone(struct shim *shim)
{
	Protect__Control__Destroy destroy = PROTECT__CONTROL__DESTROY__INIT;

	destroy.ref = shim->pod.name;
	link_tell(&shim->link, METHOD(ZONE_DESTROY), &destroy.base);
	shim->pod.state = POD_NONE;
}

/* Zone and image are there, or one of them cannot be had. */
static void created(struct container *container)
{
	struct shim *shim = container->shim;
	Protect__Shim__PidResponse response = PROTECT__SHIM__PID_RESPONSE__INIT;

	if (container->failure.code) {
		if (container_owns_zone(container) && shim->pod.state == POD_READY)
			destroy_zone(shim);
		log_error("container=%s err=\"%s\" not created", container->id,
			  container->failure.text);
		server_fail(&shim->server, container->create,
			    ttrpc_code_of(container->failure.code), "%s", container->failure.text);
		container_free(container);
		return;
	}
	publish_create(container);
	response.pid = shim->pod.pid;
	server_reply(&shim->server, container->create, &response.base);
}

static void part_done(struct container *container, int error, const char *text)
{
	if (error)
		error_set(&container->failure, error, "%s", text);
	if (--container->pending == 0)
		created(container);
}

void container_zone_done(struct container *container, int error, const char *text)
{
	part_done(container, error, text);
}

static void image_done(void *user, int error, const char *text)
{
	struct container *container = user;

	container->job = NULL;
	if (!error)
		snprintf(container->image, sizeof(container->image), "%s", text);
	part_done(container, error, text);
}

static int start_image(struct container *container)
{
	struct image_contents contents = {
		.folder = container->rootfs,
		.mounts = container->request->rootfs,
		.n_mounts = container->request->n_rootfs,
		.binds = container->init.spec.binds,
		.n_binds = container->init.spec.n_binds,
	};

	return image_make(&container->job, &container->shim->link, &contents, image_done, container,
			  &container->failure);
}

/* A member comes to the shim of its pod; anything else is a pod's beginning. */
static int check_kind(const struct container *container, struct error *err)
{
	const struct shim *shim = container->shim;
	char name[SHIM_NAME_SIZE];

	if (container_owns_zone(container))
		return 0;
	shim_name(shim->namespace, container->init.spec.sandbox, name);
	if (shim->pod.state == POD_READY && strcmp(shim->pod.name, name) == 0)
		return 0;
	return error_set(err, -ESHUTDOWN, "the pod %.64s of this container does not run",
			 container->init.spec.sandbox);
}

static int begin(struct container *container)
{
	const Protect__Shim__CreateRequest *request = container->request;
	struct error *err = &container->failure;
	int r = spec_read(container->bundle, &container->init.spec, err);

	if (r == 0 && *request->checkpoint)
		r = error_set(err, -ENOTSUP,
			      "a zone's workloads cannot be restored from checkpoints");
	if (r == 0)
		r = check_kind(container, err);
	if (r == 0)
		r = process_init(&container->init, container, "", request->terminal, request->stdin,
				 request->stdout, request->stderr, err);
	if (r == 0 && container_owns_zone(container)) {
		r = pod_launch(container, err);
		container->pending += r == 0;
	}
	if (r == 0 && container->init.spec.kind != SPEC_SANDBOX) {
		r = start_image(container);
		container->pending += r == 0;
	}
	return r;
}

static struct container *container_new(struct shim *shim, struct ticket ticket,
				       Protect__Shim__CreateRequest *request)
{
	struct container *container = calloc(1, sizeof(*container));

	if (!container)
		return NULL;
	container->shim = shim;
	container->create = ticket;
	container->init.container = container;
	container->id = strdup(request->id);
	container->bundle = strdup(request->bundle);
	if (asprintf(&container->rootfs, "%s/rootfs", request->bundle) < 0)
		container->rootfs = NULL;
	if (!container->id || !container->bundle || !container->rootfs) {
		free(container->id);
		free(container->bundle);
		free(container->rootfs);
		free(container);
		return NULL;
	}
	container->request = request;
	shim_name(shim->namespace, container->id, container->name);
	container->next = shim->containers;
	shim->containers = container;
	shim->n_containers++;
	return container;
}

void container_create(struct shim *shim, struct ticket ticket,
		      Protect__Shim__CreateRequest *request)
{
	struct container *container;
	enum ttrpc_code code = !shim_id_is_good(request->id)		   ? TTRPC_INVALID
			       : container_find(shim, request->id)	   ? TTRPC_EXISTS
			       : shim->n_containers >= SHIM_CONTAINERS_MAX ? TTRPC_EXHAUSTED
									   : TTRPC_OK;

	container = code ? NULL : container_new(shim, ticket, request);
	if (!container) {
		server_fail(&shim->server, ticket, code ? code : TTRPC_EXHAUSTED,
			    "container %.64s cannot be made: %s", request->id,
			    code == TTRPC_INVALID  ? "that is no id"
			    : code == TTRPC_EXISTS ? "it is there already"
						   : "there is no room for it");
		protect__shim__create_request__free_unpacked(request, NULL);
		return;
	}
	if (begin(container) < 0 && container->pending == 0)
		created(container);
}

static void removed(struct container *container)
{
	struct shim *shim = container->shim;
	Protect__Shim__DeleteResponse response = PROTECT__SHIM__DELETE_RESPONSE__INIT;
	Protect__Shim__TaskDelete deleted = PROTECT__SHIM__TASK_DELETE__INIT;
	Protect__Shim__Timestamp at = process_exited_at(&container->init);
	Protect__Control__Ref ref = PROTECT__CONTROL__REF__INIT;

	if (container_owns_zone(container))
		shim->pod.state = POD_NONE;
	if (*container->image && container->init.spec.n_binds) { /* of this container alone */
		ref.ref = container->image;
		link_tell(&shim->link, METHOD(IMAGE_REMOVE), &ref.base);
	}
	response.pid = deleted.pid = shim->pod.pid;
	response.exit_status = deleted.exit_status = container->init.exit_status;
	response.exited_at = deleted.exited_at = &at;
	deleted.container_id = deleted.id = container->id;
	events_publish(&shim->events, "/tasks/delete", "containerd.events.TaskDelete",
		       &deleted.base);
	server_reply(&shim->server, container->remove, &response.base);
	container_free(container);
}

static void destroyed(void *user, int error, const char *text, const void *payload, size_t len)
{
	struct container *container = user;

	(void)payload;
	(void)len;
	if (!error || error == -ENOENT) {
		removed(container);
		return;
	}
	container->removing = false;
	server_fail(&container->shim->server, container->remove, ttrpc_code_of(error), "%s", text);
}

/* A zone goes with all that is in it. */
void container_delete(struct container *container, struct ticket ticket)
{
	struct shim *shim = container->shim;
	Protect__Control__Destroy destroy = PROTECT__CONTROL__DESTROY__INIT;
	uint32_t method =
		container_owns_zone(container) ? METHOD(ZONE_DESTROY) : METHOD(WORKLOAD_DESTROY);
	int r;

	if (container->pending || container->removing ||
	    container->init.state == PROCESS_STARTING || container->init.state == PROCESS_RUNNING) {
		server_fail(&shim->server, ticket, TTRPC_PRECONDITION,
			    "container %s runs, or is being made or deleted", container->id);
		return;
	}
	if (container_owns_zone(container) && shim->n_containers > 1) {
		server_fail(&shim->server, ticket, TTRPC_PRECONDITION,
			    "pod %s still has containers", container->id);
		return;
	}
	container->removing = true;
	container->remove = ticket;
	destroy.ref = container->name;
	destroy.wait = true;
	if (container_owns_zone(container))
		shim->pod.state = POD_ENDED;
	r = link_call(&shim->link, method, &destroy.base, destroyed, container, NULL);
	if (r < 0)
		destroyed(container, r, "protect-daemon cannot be asked; is it running?", NULL, 0);
}
