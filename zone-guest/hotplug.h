// SPDX-License-Identifier: Apache-2.0
/*
 * Processors and memory that the host plugs into the running zone: the kernel adds them, somebody
 * in user space must take them into use, and a zone has no udev. What is taken away again the
 * kernel gives up by itself. The thread of PID 1.
 */
#pragma once

/*
 * Before the first event: memory goes into use as it comes, as movable memory as far as the kernel
 * can afford it, so that it can be taken away again; and what came already is taken into use. Needs
 * /sys.
 */
void hotplug_prepare(void);

/* A socket of kernel events, non-blocking. Returns it or a negative errno. */
int hotplug_events_open(void);

/* Reads what is there and takes new processors into use; each may take some milliseconds. */
void hotplug_events_read(int fd);
