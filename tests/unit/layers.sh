#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# layers.sh: which folder may include which (docs/architecture.md). One line a folder: its name, then what it may use.
set -euo pipefail
cd "$(dirname "$0")/../.."
failed=0
while read -r folder allowed; do
	pattern=$(echo "$folder $allowed" | tr ' ' '|')
	if grep -rnE --include='*.[ch]' '^#include "[a-z-]+/' "$folder" | grep -vE "#include \"($pattern)/"; then
		echo "not ok: $folder may include: $folder $allowed"
		failed=1
	fi
done <<'TABLE'
base
idm-vsock base proto
virtio base
runner base proto virtio
vmm base proto virtio runner
xen-compat base proto idm-vsock runner
zone-fs base
supervisor/daemon base proto idm-vsock supervisor
supervisor/launch base supervisor
supervisor/network base proto supervisor
supervisor/storage base proto supervisor
zone-guest base proto idm-vsock
protect base proto idm-vsock
TABLE
# What a folder of supervisor/ may know of another: only the launch contract.
for service in daemon launch network storage; do
	if grep -rn --include='*.[ch]' '#include "supervisor/' "supervisor/$service" | grep -vE "include \"supervisor/($service/|launch/launch\\.h)"; then
		echo "not ok: supervisor/$service may know no other service, and of launch its contract"
		failed=1
	fi
done
if grep -rn --include='*.[ch]' 'base/loop.h' zone-guest protect; then
	echo "not ok: zone-guest and protect do without the loop"
	failed=1
fi
if grep -rn --include='*.[ch]' 'linux/kvm.h' . | grep -vE '^\./(vmm|build|tests/(sandbox/|(unit|bench)/vmm_)|tools/seccomp/|protect/cli/host_check|supervisor/launch)'; then
	echo "not ok: KVM is known to vmm (and to those who ask whether it is there)"
	failed=1
fi
exit $failed
