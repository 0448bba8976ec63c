// SPDX-License-Identifier: Apache-2.0
/*
 * A runner as the daemon sees it, for tests: starts zone-vmm with a guest program and asks things
 * of it over its socket. One at a time; whatever goes wrong ends the program with FAIL.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/runner.pb-c.h"

#define RUNNER_EXIT_SKIP 77 /* of a test, without /dev/kvm */

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "FAIL: %s:%d: %s\n", __FILE__, __LINE__, #condition);      \
			runner_show_console();                                                     \
			exit(EXIT_FAILURE);                                                        \
		}                                                                                  \
	} while (0)

/* Ends the test, skipped, where there is no KVM to use. */
void runner_need_kvm(void);

/* Starts it in a folder of its own, which is removed at the program's end, and connects. members:
 * of the spec, besides kernel, console and socket. RUN_UNDER: a program that runs it. */
void runner_start(const char *program, const char *guest, const char *cmdline, const char *members);

/* Kills it by request, and checks that it ended so. */
void runner_kill(void);

/* A path in its folder; valid until the next call. */
const char *runner_path(const char *name);

/* Sends a request with descriptors and returns the reply's error. The reply, if it is wanted, is
 * freed by the caller. */
int runner_ask(const Protect__Runner__Request *request, const int *fds, unsigned n_fds,
	       Protect__Runner__Reply **reply);

int runner_attach_disk(const char *serial, int fd);
int runner_detach_disk(const char *serial, uint32_t timeout_ms, bool force);
int runner_swap_disk(const char *serial, int fd);
int runner_resize_disk(const char *serial);
int runner_attach_nic(const char *name, const uint8_t mac[6], int fd);
int runner_link_nic(const char *name, bool up);
int runner_detach_nic(const char *name, uint32_t timeout_ms, bool force);

/* Its state; of the reply only the numbers. */
Protect__Runner__StatusReply runner_status(void);

/* Sets targets; 0 = as it is. Returns the reply's error. */
int runner_set_resources(uint64_t memory_bytes, uint32_t vcpus);

/* A new connection to its socket, after these len bytes. */
int runner_connect(const void *hello, size_t len);

/* Waits until the console holds this text `times` times; false if it does not within 20 s. */
bool runner_console_says(const char *text, unsigned times);
void runner_show_console(void);
