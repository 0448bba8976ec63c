// SPDX-License-Identifier: Apache-2.0
/*
 * linux_vsock_echo PORT: for a zone with Linux: sends back what comes on a vsock port, each
 * connection by a process of its own, until the other side ends its half; then ends its own.
 * Static, so that it runs in any zone.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

static void send_all_back(int fd)
{
	static char buf[65536];
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		for (ssize_t done = 0, m; done < n; done += m) {
			m = write(fd, buf + done, (size_t)(n - done));
			if (m <= 0)
				return;
		}
}

int main(int argc, char **argv)
{
	struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY};
	int listener = socket(AF_VSOCK, SOCK_STREAM, 0), fd;

	if (argc != 2)
		return EXIT_FAILURE;
	signal(SIGCHLD, SIG_IGN);
	address.svm_port = (uint32_t)strtoul(argv[1], NULL, 10);
	if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(listener, 64) < 0) {
		perror("linux_vsock_echo");
		return EXIT_FAILURE;
	}
	puts("listening");
	fflush(stdout);
	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		if (fork() == 0) {
			send_all_back(fd);
			_exit(EXIT_SUCCESS);
		}
		close(fd);
	}
	return EXIT_FAILURE;
}
