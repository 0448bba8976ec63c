// SPDX-License-Identifier: Apache-2.0
/* References and challenges: what is taken has only the characters of the grammar, and its
 * canonical form is a fixed point. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/storage/reference.h"
#include "supervisor/storage/registry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct reference reference, again;
	char url[HTTP_URL_MAX], local[REFERENCE_MAX];
	char *text = malloc(len + 1);

	memcpy(text, data, len);
	text[len] = '\0';
	if (reference_parse(text, &reference, NULL) == 0) {
		if (strpbrk(reference.repository, " \n?#%\\") || strstr(reference.repository, ".."))
			abort();
		if (strlen(reference.canonical) < REFERENCE_MAX - 16 &&
		    (reference_parse(reference.canonical, &again, NULL) < 0 ||
		     strcmp(reference.canonical, again.canonical) != 0 ||
		     strcmp(reference.host, again.host) != 0))
			abort();
	}
	if (reference_local(text, local, NULL) == 0 && strlen(local) >= REFERENCE_MAX)
		abort();
	http_url_allowed(text, (struct http_plain){.loopback = true, .host = "a:1"});
	http_url_host(text, url, sizeof(url));
	registry_token_url(text, "a/b", url);
	free(text);
	return 0;
}
