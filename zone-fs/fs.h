// SPDX-License-Identifier: Apache-2.0
/*
 * A FUSE server (linux/fuse.h, protocol 7.31 to 7.38) for one folder of the host: a request's bytes
 * in, an answer's bytes out, system calls below one descriptor in between. It knows no device, no
 * socket and no zone, so tests and a fuzzer drive it as a guest does.
 *
 * Requests are a guest's, and hostile: each is one copy in our memory, lengths and names are
 * checked, numbers are looked up in tables, flags are taken one by one. What a guest may do is
 * what this process may do in that folder, less these: it makes no devices, no set-user-id and no
 * set-group-id files, gives no file to another owner, and reads no extended attributes. Files of
 * this process's ids belong to root in the guest's eyes, all others to nobody (65534). Locks are
 * not the host's: the guest's kernel keeps them, among its own processes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FS_IO_MAX      (512u * 1024) /* bytes of one read or write: FS_IO_PAGES */
#define FS_IO_PAGES    128u
#define FS_REQUEST_MAX (FS_IO_MAX + 4096u) /* an answer is no longer, either */
#define FS_HANDLES_MAX 4096u		   /* open files and folders */

struct fs;

/* root_fd: the folder, taken over, also on failure. Returns 0 or a negative errno. fs_free() closes
 * all; always NULL. */
int fs_new(struct fs **out, int root_fd, bool read_only);
struct fs *fs_free(struct fs *fs);

/*
 * The length of the request that begins here, as it says itself: 0 if more than `len` bytes are
 * needed to know it, or -EBADMSG if it cannot be one (there is no way on then).
 */
int fs_request_len(const void *data, size_t len);

/*
 * Serves one request of fs_request_len() bytes. Writes the answer to `answer`, which has room for
 * FS_REQUEST_MAX bytes, and returns its length; 0: this request has none.
 */
size_t fs_serve(struct fs *fs, const void *request, size_t len, void *answer);
