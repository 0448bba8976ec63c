// SPDX-License-Identifier: Apache-2.0
/*
 * The control socket: each client is an IDM session in which the daemon is the server. Who may
 * connect is decided by the socket's mode and group. A client is not trusted: requests are unpacked
 * and checked, their number is bounded by the session, the number of clients here.
 */
#pragma once

#include "idm-vsock/session.h"
#include "proto/control.pb-c.h"
#include "supervisor/daemon/daemon.h"

#define SERVER_CLIENTS_MAX	64u
#define SERVER_PART_BYTES	(64u * 1024) /* of an answer; a longer one comes in parts */
#define SERVER_USER_CLIENTS_MAX 32u /* of one user but root: no user locks the others out */

/* Starts to listen. Returns 0 or a negative errno with text. */
int server_start(struct daemon *d, struct error *err);

/* Stops listening and ends all connections. */
void server_stop(struct daemon *d);

/* The session of a client that is still there, else NULL. */
struct idm *server_session(struct daemon *d, uint64_t client);

/* The user of a client; (uid_t)-1 if it has gone. */
uid_t server_client_uid(struct daemon *d, uint64_t client);

/* Takes what descriptors a client sent before its present request, at most max: they are the
 * caller's. What is more is closed. Returns how many. */
unsigned server_take_fds(struct daemon *d, uint64_t client, int *fds, unsigned max);

/* Answer a ticket, once. A client that has gone is not an error. */
void server_reply(struct daemon *d, struct ticket ticket, const ProtobufCMessage *message);
void server_reply_empty(struct daemon *d, struct ticket ticket);
void server_reply_raw(struct daemon *d, struct ticket ticket, const void *payload, size_t len);
void server_fail(struct daemon *d, struct ticket ticket, int code, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
void server_fail_error(struct daemon *d, struct ticket ticket, const struct error *err);

/* Tells how a request comes on. Returns false when the client has gone. */
bool server_progress(struct daemon *d, struct ticket ticket, const char *text, uint64_t done,
		     uint64_t total);

/* The same as a message without request_id, which is filled in. */
bool server_progress_message(struct daemon *d, struct ticket ticket,
			     const Protect__Control__Progress *progress);

/* Adds a ticket. Without memory it is answered with ENOMEM at once. */
void waiters_add(struct daemon *d, struct waiters *waiters, struct ticket ticket);

/* Drops those of a client that has gone. */
void waiters_drop(struct waiters *waiters, uint64_t client);

/* Answer all and empty the list. */
void waiters_reply(struct daemon *d, struct waiters *waiters, const ProtobufCMessage *message);
void waiters_fail(struct daemon *d, struct waiters *waiters, const struct error *err);

/* The methods, by group. Each answers its ticket, now or later. message is borrowed for the call.
 */
void control_host_status(struct daemon *d, struct ticket ticket, const void *message);
void control_host_hv_console(struct daemon *d, struct ticket ticket, const void *message);
void control_host_idm_snoop(struct daemon *d, struct ticket ticket, const void *message);
void control_host_hv_debug_info(struct daemon *d, struct ticket ticket, const void *message);
void control_zone_launch(struct daemon *d, struct ticket ticket, const void *message);
void control_zone_list(struct daemon *d, struct ticket ticket, const void *message);
void control_zone_resolve(struct daemon *d, struct ticket ticket, const void *message);
void control_zone_logs(struct daemon *d, struct ticket ticket, const void *message);
void control_zone_exec(struct daemon *d, struct ticket ticket, const void *message);
void control_zone_metrics(struct daemon *d, struct ticket ticket, const void *message);
void control_zone_destroy(struct daemon *d, struct ticket ticket, const void *message);
void control_zone_update(struct daemon *d, struct ticket ticket, const void *message);
void control_zone_pause(struct daemon *d, struct ticket ticket, const void *message);
void control_zone_resume(struct daemon *d, struct ticket ticket, const void *message);
void control_workload_launch(struct daemon *d, struct ticket ticket, const void *message);
void control_workload_list(struct daemon *d, struct ticket ticket, const void *message);
void control_workload_resolve(struct daemon *d, struct ticket ticket, const void *message);
void control_workload_logs(struct daemon *d, struct ticket ticket, const void *message);
void control_workload_exec(struct daemon *d, struct ticket ticket, const void *message);
void control_workload_stop(struct daemon *d, struct ticket ticket, const void *message);
void control_workload_destroy(struct daemon *d, struct ticket ticket, const void *message);
void control_workload_start(struct daemon *d, struct ticket ticket, const void *message);
void control_workload_attach(struct daemon *d, struct ticket ticket, const void *message);
void control_workload_update(struct daemon *d, struct ticket ticket, const void *message);
void control_workload_wait(struct daemon *d, struct ticket ticket, const void *message);
void control_image_pull(struct daemon *d, struct ticket ticket, const void *message);
void control_image_import(struct daemon *d, struct ticket ticket, const void *message);
void control_image_list(struct daemon *d, struct ticket ticket, const void *message);
void control_image_remove(struct daemon *d, struct ticket ticket, const void *message);
void control_volume_create(struct daemon *d, struct ticket ticket, const void *message);
void control_volume_list(struct daemon *d, struct ticket ticket, const void *message);
void control_volume_resize(struct daemon *d, struct ticket ticket, const void *message);
void control_volume_remove(struct daemon *d, struct ticket ticket, const void *message);
void control_reservation_create(struct daemon *d, struct ticket ticket, const void *message);
void control_reservation_list(struct daemon *d, struct ticket ticket, const void *message);
void control_reservation_destroy(struct daemon *d, struct ticket ticket, const void *message);
void control_zone_forward(struct daemon *d, struct ticket ticket, const void *message);
void control_exec_resize(struct daemon *d, struct ticket ticket, const void *message);
void control_exec_signal(struct daemon *d, struct ticket ticket, const void *message);

/* Frees the operations on volumes that are under way, at the daemon's own end. */
void volume_ops_free(struct daemon *d);

/* Ends the image operations of a client that has gone. */
void image_ops_client_gone(struct daemon *d, uint64_t client);

/* Frees the questions to runners that are under way, at the daemon's own end. */
void hv_debugs_free(struct daemon *d);
