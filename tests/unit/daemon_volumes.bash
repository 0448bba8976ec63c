# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Volumes: sourced by daemon_services.sh, on its zones without a hypervisor.
# shellcheck disable=SC2154 # work, bin, daemon, pids, skip are its

volume() { # volume NAME FIELD
	protect volume list -o json | jq -er --arg n "$1" --arg f "$2" '.[] | select(.name == $n) | .[$f] | if type == "array" then join(" ") else . end'
}

in_box() { # in_box VOLUME:TARGET[:ro] SCRIPT: attached; what it prints
	protect workload launch --zone one --attach -v "$1" localbox -- /bin/sh -c "$2"
}

nothing_is_used() {
	! protect volume list -o json | jq -e 'any(.use != "free")' >/dev/null
}

volumes_are_made_and_go() {
	expect '[]' protect volume list -o json
	expect data protect volume create data --size 64M
	expect raw protect volume create -f raw -s 16M raw
	expect '67108864 ext4 free ' bash -c "'$bin/protect' volume list -o json | jq -r '.[0] | \"\(.size_bytes) \(.format) \(.use) \(.users | join(\" \"))\"'"
	protect volume list | grep -Eq '^NAME +FORMAT +BYTES +ON DISK +USE +USERS$' || fail 'no head'
	expect_error 'exists already' protect volume create data -s 1G
	expect_error '16 MiB to 16 TiB' protect volume create x -s 1M
	expect_error 'cannot name a volume' protect volume create ../x -s 1G
	expect_status 2 protect volume create x
	expect_status 2 protect volume create x --size 10X
	expect_status 2 protect volume create x --size 99999999999G
	expect_status 2 protect volume create x --size 1G --format xfs
	expect_error "no volume 'nosuch'" protect volume remove nosuch
	expect_error "no volume 'nosuch'" protect volume resize nosuch -s 1G
	expect_error 'cannot become smaller' protect volume resize data -s 16M
	expect data protect volume resize data -s 128M
	expect 134217728 volume data size_bytes
	expect 2 bash -c "ls '$work/store/volumes' | wc -l"
}

data_outlives_workloads() {
	in_box data:/data 'echo kept >/data/file; echo one >/data/one'
	wait_until nothing_is_used
	expect kept in_box data:/data 'cat /data/file'
	expect 'start' in_box raw:/dev/raw 'printf start >/dev/raw; head -c 5 /dev/raw'
	expect 'start' in_box raw:/dev/raw:ro 'head -c 5 /dev/raw'
	expect $'kept\nstart' protect workload launch --zone one --attach -v data:/a -v raw:/dev/disk/raw:ro localbox -- \
		/bin/sh -c 'cat /a/file; head -c 5 /dev/disk/raw'
	# Its row stays; its volumes are free.
	wait_until nothing_is_used
}

one_writer_or_many_readers() {
	protect workload launch --zone one --name writer --wait -v data:/data localbox -- /bin/sleep 1000 >/dev/null
	expect writer volume data use
	expect writer volume data users
	expect data bash -c "'$bin/protect' workload list -o json | jq -r '.[] | select(.name == \"writer\") | .volumes[0].volume'"
	expect_error "volume 'data' is in use by workload 'writer' in zone 'one'" protect workload launch --zone one -v data:/x localbox
	expect_error "in use by workload 'writer'.*may write" protect workload launch --zone one -v data:/x:ro localbox
	expect_error "in use by workload 'writer'" protect volume remove data
	expect_error "in use by workload 'writer'" protect volume resize data -s 1G
	protect workload destroy -W writer
	wait_until is free volume data use
	for name in r1 r2; do
		protect workload launch --zone one --name $name --wait -v data:/data:ro localbox -- /bin/sleep 1000 >/dev/null
	done
	expect readers volume data use
	expect 'r1 r2' volume data users
	expect kept protect workload exec r1 -- /bin/cat /data/file
	expect_error "in use by workload 'r1'" protect workload launch --zone one -v data:/x localbox
	protect workload destroy -W r1 r2
}

what_is_wrong_is_said() {
	expect_error "no volume 'nosuch'" protect workload launch --zone one -v nosuch:/x localbox
	expect_error 'no place for a volume' protect workload launch --zone one -v data:/x/.. localbox
	expect_error 'kernel' protect workload launch --zone one -v data:/proc localbox
	expect_error 'below /dev' protect workload launch --zone one -v raw:/raw localbox
	expect_error 'two volumes' protect workload launch --zone one -v data:/x -v raw:/x localbox
	expect_status 2 protect workload launch --zone one -v data localbox
	expect_status 2 protect workload launch --zone one -v data:x localbox
	expect_error 'may not be shared' protect workload launch --zone one -v /etc:/etc localbox
	expect_status 2 protect workload launch --zone one -v etc/x:/etc localbox
	expect_error 'no command' protect workload launch --zone one --wait -v data:/data nocmd
	wait_until nothing_is_used
	expect 0 bash -c "'$bin/protect' workload list -o json | jq '[.[] | select(.state != \"exited\")] | length'"
}

# Between runs of one that has ended others may have its volumes; between runs by a policy nobody.
started_again() {
	protect workload launch --zone one --name again --wait -v data:/data localbox -- /bin/sh -c 'echo run >>/data/runs' >/dev/null
	wait_until is free volume data use
	protect workload start again
	wait_until is free volume data use
	expect $'run\nrun' in_box data:/data 'cat /data/runs'
	wait_until is free volume data use
	protect workload launch --zone one --name other --wait -v data:/data localbox -- /bin/sleep 1000 >/dev/null
	expect_error "in use by workload 'other'" protect workload start again
	protect workload destroy -W other
	wait_until protect workload start again
	protect workload destroy -W again
	protect workload launch --zone one --name policy --restart always --wait -v data:/data localbox -- /bin/sh -c 'echo x >>/data/xs; exit 1' >/dev/null
	wait_until is 3 bash -c "'$bin/protect' workload list -o json | jq '.[] | select(.name == \"policy\") | [.restarts, 3] | min'"
	expect writer volume data use
	protect workload stop policy
	wait_until is free volume data use
	protect workload destroy -W policy
}

# Services that are killed: what runs keeps its volume, and nobody else gets it.
locks_outlive_the_services() {
	protect workload launch --zone one --name holder --wait -v data:/data localbox -- /bin/sh -c 'sleep 3; exec sleep 1000' >/dev/null
	kill -9 "$daemon"
	wait "$daemon" 2>/dev/null || true
	stop_storage
	start_storage
	start_daemon
	wait_until is writer volume data use
	expect holder volume data users
	expect_error 'in use' protect volume remove data
	# Nor does one who knows nothing of the daemon.
	expect_error 'in use' env PROTECT_SOCKET="$PROTECT_SOCKET" "$bin/protect" volume resize data -s 1G
	wait_until protect workload exec holder -- /bin/echo
	protect workload destroy -W holder
	wait_until is free volume data use
}

# One that ended while no daemon looked.
a_volume_is_released_later() {
	protect workload launch --zone one --name short --wait -v data:/data localbox -- /bin/sleep 2 >/dev/null
	kill -9 "$daemon"
	wait "$daemon" 2>/dev/null || true
	sleep 3
	start_daemon
	wait_until is exited workload short state
	wait_until is free volume data use
}

a_zone_that_ends_lets_go() {
	protect zone launch --name two --max-memory 128 --wait >/dev/null
	protect workload launch --zone two --name held --wait -v data:/data localbox -- /bin/sleep 1000 >/dev/null
	expect writer volume data use
	protect zone destroy -W two
	expect data protect volume resize data -s 256M
}

# The zone's own: mounted before it is ready, shared by its workloads, nobody else's.
a_zone_has_volumes() {
	protect volume create shared --size 64M >/dev/null
	protect zone launch --name three --max-memory 128 --wait -v shared:/run/three -v data:/run/more/data:ro >/dev/null
	expect 'shared data' bash -c "'$bin/protect' zone list -o json | jq -r '.[] | select(.name == \"three\") | [.volumes[].volume] | join(\" \")'"
	expect 'kept' protect zone exec three -- sh -c 'echo zone >/run/three/file; cat /run/more/data/file'
	expect writer volume shared use
	expect three volume shared users
	expect_error "volume 'shared' is in use by zone 'three'" protect workload launch --zone one -v shared:/x localbox
	expect_error "in use by zone 'three'" protect zone launch --name four --max-memory 128 -v shared:/run/x
	expect_error "no zone 'four'" protect zone resolve four
	expect_error "in use by zone 'three'" protect volume remove shared
	for name in s1 s2; do
		protect workload launch --zone three --name $name --wait -v shared:/srv localbox -- /bin/sh -c 'cat /srv/file; exec sleep 1000' >/dev/null
	done
	expect 'three s1 s2' volume shared users
	protect workload exec s1 -- /bin/sh -c 'echo from-s1 >/srv/file'
	expect from-s1 protect workload exec s2 -- /bin/cat /srv/file
	expect kept protect workload launch --zone three --attach -v data:/d:ro localbox -- /bin/cat /d/file
	expect_error "has volume 'data' read-only" protect workload launch --zone three -v data:/d localbox
	expect_error "shared by workload 's1'" protect volume detach --zone three shared
	expect_error 'cannot be at' protect workload launch --zone three -v shared:/dev/x localbox
	# A daemon that comes later knows all that.
	kill -9 "$daemon"
	wait "$daemon" 2>/dev/null || true
	start_daemon
	expect 'three s1 s2' volume shared users
	wait_until protect workload exec s1 -- /bin/echo
	protect workload stop --timeout 1 s1
	expect 'three s2' volume shared users
	protect workload start s1
	expect from-s1 protect workload exec s1 -- /bin/cat /srv/file
	protect workload destroy -W s1 s2
	protect zone destroy -W three
	expect shared protect volume resize shared -s 128M
}

volumes_come_and_go() {
	protect volume attach --zone one shared:/run/hot
	expect from-s1 protect zone exec one -- cat /run/hot/file
	expect_error "in use by zone 'one'" protect zone launch --max-memory 128 -v shared:/run/x
	expect_error "has volume 'shared' at '/run/hot' already" protect volume attach --zone one data:/run/hot
	expect_error "no volume 'nosuch'" protect volume attach --zone one nosuch:/run/x
	expect_error "no place for a volume" protect volume attach --zone one data:/run/../x
	expect_error "below /dev" protect volume attach --zone one raw:/run/x
	expect_error "has no volume 'data'" protect volume detach --zone one data
	expect_status 2 protect volume attach data:/x
	expect_status 2 protect volume attach --zone one --workload one data:/x
	protect zone exec one -- sh -c 'cd /run/hot; echo here; exec sleep 1000' >"$work/hot" &
	lookers+=($!)
	wait_until grep -q here "$work/hot"
	expect_error "volume 'shared' is busy" protect volume detach --zone one shared
	expect one volume shared users
	kill "${lookers[@]}"
	wait "${lookers[@]}" 2>/dev/null || true
	lookers=()
	wait_until protect volume detach --zone one shared
	wait_until is free volume shared use
	# A workload that runs.
	protect workload launch --zone one --name hot --wait localbox -- /bin/sleep 1000 >/dev/null
	protect volume attach --workload hot data:/var/data
	expect kept protect workload exec hot -- /bin/cat /var/data/file
	expect hot volume data users
	expect_error "in use by workload 'hot'" protect volume attach --zone one data:/run/x
	protect volume attach --workload hot raw:/dev/raw
	expect start protect workload exec hot -- /bin/head -c 5 /dev/raw
	protect volume detach --workload hot raw
	wait_until is free volume raw use
	# It keeps what came over its restarts, and gives it back with its end.
	protect workload stop --timeout 1 hot
	wait_until is free volume data use
	protect workload start hot
	expect kept protect workload exec hot -- /bin/cat /var/data/file
	protect volume detach --workload hot data
	wait_until is free volume data use
	expect_error 'No such file' protect workload exec hot -- /bin/cat /var/data/file
	protect volume attach --workload hot data:/var/data
	protect workload destroy -W hot
	wait_until is free volume data use
}

# Devices of the host: those that the configuration names, one user at a time.
devices_of_the_host() {
	local device
	truncate -s 64M "$work/disk"
	mkfs.ext4 -q "$work/disk"
	device=$(losetup -f --show "$work/disk")
	loops+=("$device")
	expect_error "device '$device' is not allowed" protect workload launch --zone one -v "$device:/x" localbox
	printf '[storage]\nblock-device = %s\nblock-device = /dev/null\n' "$device" >"$work/conf"
	stop_storage
	start_storage --config "$work/conf"
	wait_until protect volume list
	protect volume attach --zone one "$device:/run/device"
	expect device protect zone exec one -- sh -c 'echo device >/run/device/file; cat /run/device/file'
	expect_error "'$device' is in use by zone 'one'" protect zone launch --max-memory 128 -v "$device:/x"
	protect volume detach --zone one "$device"
	expect device in_box "$device:/x:ro" '/bin/cat /x/file'
	mkdir "$work/mnt"
	mount "$device" "$work/mnt"
	expect_error "device '$device' is in use: mounted" protect workload launch --zone one -v "$device:/x" localbox
	expect_error "device '$device' is in use" protect volume attach --zone one "$device:/dev/x:ro"
	umount "$work/mnt"
	expect_error "'/dev/null' is no block device" protect volume attach --zone one /dev/null:/dev/x
	expect_error 'cannot be the name' protect volume attach --zone one /dev/../etc/passwd:/dev/x
	expect_error 'to workloads only' protect volume attach --zone one /etc:/x
	losetup -d "$device"
	printf '[storage]\nblock-device = /etc/passwd\n' >"$work/conf"
	expect_error 'not a path below /dev' "$bin/protect-storage" --store "$work/mnt" --socket "$work/s" --config "$work/conf"
}

# What a workload writes, on a disk without a name.
scratch_disks() {
	local before
	before=$(find "$work/store/volumes" -type f | wc -l)
	expect_error '16 MiB to 16 TiB' protect workload launch --zone one --scratch-size 1M localbox
	expect_status 2 protect workload launch --zone one --scratch-size much localbox
	protect workload launch --zone one --name scratched --wait --scratch-size 64M localbox -- /bin/sh -c 'echo run >>/runs; exec sleep 1000' >/dev/null
	expect 67108864 workload scratched scratch_bytes
	# shellcheck disable=SC2016 # for the shell there
	expect small protect workload exec scratched -- /bin/sh -c 'blocks=$(/bin/busybox stat -f -c %b /); [ "$blocks" -gt 10000 ] && [ "$blocks" -lt 16384 ] && echo small'
	expect_error 'No space left' protect workload exec scratched -- /bin/busybox dd if=/dev/zero of=/big bs=1M count=100
	protect workload exec scratched -- /bin/busybox rm /big
	expect "$before" bash -c "find '$work/store/volumes' -type f | wc -l"
	# It stays over runs and other daemons, and goes with its workload.
	protect workload stop --timeout 1 scratched
	kill -9 "$daemon"
	wait "$daemon" 2>/dev/null || true
	start_daemon
	wait_until protect workload start scratched
	wait_until is $'run\nrun' protect workload exec scratched -- /bin/cat /runs
	losetup -l -n -O BACK-FILE | grep -q "$work/store/volumes.*deleted" || fail 'no scratch disk is there'
	protect workload destroy -W scratched
	! losetup -l -n -O BACK-FILE | grep -q "$work/store/volumes.*deleted" || fail 'a scratch disk is left'
}

stop_storage() {
	kill -9 "$storage"
	wait "$storage" 2>/dev/null || true
}

volumes() {
	command -v mkfs.ext4 >/dev/null || exit "$skip"
	grep -qw ext4 /proc/filesystems || exit "$skip"
	start_services
	protect image import --name localbox "oci:$work/box" >/dev/null
	make_image "$work/nocmd" "$work/tree" '{}'
	protect image import --name nocmd "oci:$work/nocmd" >/dev/null
	protect zone launch --name one --max-memory 128 --wait >/dev/null
	volumes_are_made_and_go
	data_outlives_workloads
	one_writer_or_many_readers
	what_is_wrong_is_said
	started_again
	locks_outlive_the_services
	a_volume_is_released_later
	a_zone_that_ends_lets_go
	a_zone_has_volumes
	volumes_come_and_go
	devices_of_the_host
	scratch_disks
	protect zone destroy -W one
	expect '' protect volume remove data raw shared
	expect '[]' protect volume list -o json
	[ -z "$(ls "$work/store/volumes")" ] || fail 'a file is left'
}
