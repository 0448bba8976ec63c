// SPDX-License-Identifier: Apache-2.0
/*
 * What a service says when its filter denies a call, before it dies of it: one line in its log, and
 * the call's number as a line of a small file beside its socket, which /metrics counts. The filter
 * must be made with TELL (tools/cmake/ProtectSeccomp.cmake): a denied call is not carried out, and
 * SIGSYS is sent. The handler is good for one call; the next one denied, which it makes itself,
 * kills the process.
 *
 * Programs that are executed inherit no handler and die at once.
 */
#pragma once

#define DENIED_FILE	 "denied"
#define DENIED_BYTES_MAX 4096u /* more than that is not kept, nor read */

/*
 * To be called once, before the filter is loaded. `service` is a constant that outlives the
 * process; the file lies in the folder of the socket `beside`. One that cannot be opened costs only
 * the count.
 */
void denied_watch(const char *service, const char *beside);

/* Writes the file's path for a socket into out: "FOLDER/denied". */
void denied_path(const char *beside, char *out, unsigned long size);
