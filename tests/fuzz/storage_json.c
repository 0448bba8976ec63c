// SPDX-License-Identifier: Apache-2.0
/* Every JSON document that an image brings. */
#include <stdint.h>
#include <stdlib.h>

#include "supervisor/storage/oci.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct oci_manifest manifest;
	static struct oci_rootfs rootfs;
	Protect__Storage__ImageConfig *config = NULL;
	struct oci_docker_image docker;
	struct oci_descriptor chosen;
	const char *json = (const char *)data;
	enum oci_kind kind;

	oci_kind_of(json, len, &kind, NULL);
	if (oci_parse_manifest(json, len, &manifest, NULL) == 0) {
		char *text = oci_make_manifest(&manifest);

		if (!text || manifest.n_layers > LAYERS_MAX)
			abort();
		free(text);
	}
	if (oci_select(json, len, NULL, 0, 0, &chosen, NULL) == 0)
		free(oci_ref_name(json, len, &chosen.digest));
	oci_select(json, len, "t", 1, 0, &chosen, NULL);
	oci_parse_rootfs(json, len, &rootfs, NULL);
	if (oci_parse_config(json, len, &config, NULL) == 0) {
		if (protect__storage__image_config__get_packed_size(config) > 60 * KIB)
			abort();
		protect__storage__image_config__free_unpacked(config, NULL);
	}
	if (oci_parse_docker(json, len, "t", &docker, NULL) == 0)
		oci_docker_image_clear(&docker);
	return 0;
}
