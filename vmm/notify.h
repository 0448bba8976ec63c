// SPDX-License-Identifier: Apache-2.0
/* The readiness datagram of systemd's Type=notify (sd_notify(3)), without libsystemd, which has no
 * static library. */
#pragma once

/* Sends READY=1 to $NOTIFY_SOCKET if it is set. Failing to is no error: nobody may be listening. */
void notify_ready(void);
