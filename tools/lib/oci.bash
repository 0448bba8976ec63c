# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Write OCI image layouts with plain tools, so that equal input gives equal bytes (umoci stamps the time of day).
# A layout under construction keeps its layers in DIR/.layers until oci_write_image turns them into an image.

oci_new_layout() {
	mkdir -p "$1/blobs/sha256"
	printf '{"imageLayoutVersion":"1.0.0"}' >"$1/oci-layout"
	printf '{"schemaVersion":2,"manifests":[]}' >"$1/index.json"
}

# oci_put_blob LAYOUT MEDIA_TYPE <BYTES: stores them, prints their descriptor.
oci_put_blob() {
	local layout=$1 type=$2 file digest
	file=$(mktemp "$layout/blobs/XXXXXX")
	cat >"$file"
	digest=$(sha256sum "$file" | cut -d' ' -f1)
	jq -cn --arg t "$type" --arg d "sha256:$digest" --argjson s "$(stat -c %s "$file")" \
		'{mediaType: $t, digest: $d, size: $s}'
	chmod 0644 "$file"
	mv "$file" "$layout/blobs/sha256/$digest"
}

# oci_add_tar_layer LAYOUT TREE [gzip]: TREE's content as one more layer, owned by root, without times.
oci_add_tar_layer() {
	local names tar diff_id type=application/vnd.oci.image.layer.v1.tar pack=(cat)
	if [ "${3:-}" = gzip ]; then
		type+=+gzip pack=(gzip -n)
	fi
	names=$(cd "$2" && printf '%s\n' *)
	tar=$(mktemp "$1/.tar.XXXXXX")
	# shellcheck disable=SC2086 # names without blanks, one a word
	tar -C "$2" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --format=posix \
		--pax-option=delete=atime,delete=ctime,exthdr.name=%d/PaxHeaders/%f -cf "$tar" $names
	diff_id=sha256:$(sha256sum "$tar" | cut -d' ' -f1)
	"${pack[@]}" <"$tar" | oci_put_blob "$1" "$type" |
		jq -c --arg d "$diff_id" '{layer: ., diff_id: $d}' >>"$1/.layers"
	rm -f "$tar"
}

# oci_write_image LAYOUT TAG CONFIG [ANNOTATIONS]: CONFIG is the JSON of the image's `config` (User, Env, Entrypoint, …),
# ANNOTATIONS that of the manifest's.
oci_write_image() {
	local layout=$1 tag=$2 config=$3 annotations=${4:-null} layers config_descriptor manifest
	layers=$(jq -cs . "$layout/.layers")
	rm -f "$layout/.layers"
	config_descriptor=$(jq -cn --argjson c "$config" --argjson l "$layers" '{architecture: "amd64", os: "linux",
		config: $c, rootfs: {type: "layers", diff_ids: [$l[].diff_id]}}' |
		oci_put_blob "$layout" application/vnd.oci.image.config.v1+json)
	manifest=$(jq -cn --argjson c "$config_descriptor" --argjson l "$layers" --argjson a "$annotations" '{schemaVersion: 2,
		mediaType: "application/vnd.oci.image.manifest.v1+json", config: $c, layers: [$l[].layer]} +
		if $a then {annotations: $a} else {} end' |
		oci_put_blob "$layout" application/vnd.oci.image.manifest.v1+json)
	jq -c --argjson m "$manifest" --arg t "$tag" '.manifests = [.manifests[] |
		select(.annotations["org.opencontainers.image.ref.name"] != $t)] +
		[$m + {annotations: {"org.opencontainers.image.ref.name": $t}}]' "$layout/index.json" >"$layout/index.new"
	mv "$layout/index.new" "$layout/index.json"
}
