#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What keeps zones apart that share a host: processors by weight, memory, tasks, I/O, logs. Figures come from the control
# groups themselves.

load helpers

setup_file() {
	local zone
	is_unified || return 0
	for zone in slow fast calm; do
		# Far from any limit of time: on a busy emulated host the kernel's timer for it comes late, and then it throttles
		# whom it should not.
		protect zone launch --name "$zone" --max-memory 128 --max-cpus 1 --cpus 1 --cpu-percent 800 "$(weight_option "$zone")"
	done
	for zone in slow fast calm; do
		wait_until 400 zone_is "$zone" ready || {
			diagnose "$zone"
			return 1
		}
	done
}

teardown_file() {
	destroy_zones slow fast calm disky
	store_to_memory
}

# One that others wait for weighs much: it hardly ever runs, and then at once.
weight_option() {
	case $1 in
	slow) echo --cpu-weight=100 ;;
	fast) echo --cpu-weight=300 ;;
	calm) echo --cpu-weight=10000 ;;
	esac
}

is_unified() {
	[ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ] && [ "$(nproc)" -ge 2 ]
}

setup() {
	is_unified || skip "SKIP: needs a cgroup v2 tree and two processors"
}

# group_of ZONE: its control group's folder
group_of() {
	find /sys/fs/cgroup -type d -name "zone-$(zone_field "$1" uuid)*" | head -n 1
}

# value ZONE FILE: what a file of its control group holds
value() {
	cat "$(group_of "$1")/$2"
}

# field ZONE FILE KEY: the number behind KEY
field() {
	value "$1" "$2" | awk -v key="$3" '$1 == key { print $2 }'
}

# median NUMBER…
median() {
	printf '%s\n' "$@" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}

# spin ZONE…: their processors work until stop_spinning
spin() {
	local zone
	for zone in "$@"; do
		# shellcheck disable=SC2016 # for the shell there
		protect zone exec "$zone" -- sh -c 'echo $$ >/tmp/spinner; while :; do :; done' >/dev/null 2>&1 3>&- &
		wait_until 60 protect zone exec "$zone" -- test -s /tmp/spinner
	done
}

stop_spinning() {
	local zone
	for zone in "$@"; do
		# shellcheck disable=SC2016 # for the shell there
		protect zone exec "$zone" -- sh -c 'kill -9 $(cat /tmp/spinner); rm /tmp/spinner' || true
	done
	wait
}

# shares SECONDS: what slow and fast used of their processor meanwhile, in microseconds. Both are read in one go: between
# two commands this host may be away for long.
shares() {
	local files used
	files=("$(group_of slow)/cpu.stat" "$(group_of fast)/cpu.stat")
	# shellcheck disable=SC2016 # for the awk there
	used=$(awk '/^usage_usec/ { print $2 }' "${files[@]}" && sleep "$1" && awk '/^usage_usec/ { print $2 }' "${files[@]}")
	# shellcheck disable=SC2086 # four numbers
	set -- $used
	echo "$(($3 - $1)) $(($4 - $2))"
}

@test "limits of a zone are those that were asked for" {
	[ "$(value slow cpu.weight) $(value fast cpu.weight) $(value calm cpu.weight)" = "100 300 10000" ]
	[ "$(value slow cpuset.cpus) $(value slow cpuset.cpus.effective)" = "1 1" ]
	[ "$(value slow cpu.max)" = "800000 100000" ]
	[ "$(value slow pids.max)" = 1024 ]
	[ "$(value slow memory.swap.max) $(value slow memory.oom.group)" = "0 1" ]
	[ "$(value slow memory.max)" -gt $((128 << 20)) ]
	[ "$(value slow memory.max)" -le $((160 << 20)) ]
	[ "$(value slow memory.high)" -lt "$(value slow memory.max)" ]
	[ "$(value slow memory.high)" -gt $((128 << 20)) ]
	[ "$(zone_field fast cpu | jq -c '[.weight, .percent, .cpus]')" = '[300,800,"1"]' ]
	protect host status -o json | jq -e '.cgroups | test("unified|systemd")'
	protect host status -o json | jq -e '.memory_overcommit == 1'
	protect host status | grep -E 'limits of zones +(unified|systemd)'
}

@test "limits that cannot be" {
	fails_with_line 'list of CPUs' protect zone launch --cpus 3-1
	fails_with_line 'CPUs' protect zone launch --cpus 4000
	fails_with_line 'weight' protect zone launch --cpu-weight 10001
	fails_with_line 'CPUs' protect zone update slow --cpus 1,4000
	[ "$(value slow cpuset.cpus)" = 1 ]
	[ "$(zone_field slow cpu | jq -r .cpus)" = 1 ]
	[ "$(protect zone list -o json | jq length)" -eq 3 ]
}

@test "two zones that spin share a processor by their weights, and a third answers soon" {
	long_only
	local used quiet=() loaded=() start round
	spin slow fast
	read -r -a used <<<"$(shares 30)"
	echo "30 s on one processor: slow ${used[0]} us, fast ${used[1]} us; $(value fast cpu.stat | tr '\n' ' ')"
	echo "# weights 100 and 300 for 30 s: ${used[0]} and ${used[1]} us, 1 : $((used[1] * 100 / used[0]))/100" >&3
	[ $((used[1] * 100 / used[0])) -ge 270 ]
	[ $((used[1] * 100 / used[0])) -le 330 ]

	# One after the other, so that this host's own load is the same for both.
	for round in 1 2 3 4 5 6 7; do
		protect zone pause slow fast
		start=$(date +%s%N)
		protect zone exec calm -- true
		quiet+=($((($(date +%s%N) - start) / 1000000)))
		protect zone resume slow fast
		start=$(date +%s%N)
		protect zone exec calm -- true
		loaded+=($((($(date +%s%N) - start) / 1000000)))
	done
	echo "exec, ms: quiet ${quiet[*]}; beside two that spin ${loaded[*]} (round $round)"
	echo "# exec in the calm zone: median $(median "${quiet[@]}") ms quiet, $(median "${loaded[@]}") ms beside two that spin" >&3
	[ "$(median "${loaded[@]}")" -le $((2 * $(median "${quiet[@]}"))) ]
}

@test "new weights and limits count at once in a running zone" {
	long_only
	local equal tenth
	protect zone update slow --cpu-weight 300
	[ "$(value slow cpu.weight) $(zone_field slow cpu | jq .weight)" = "300 300" ]
	[ "$(zone_field slow cpu | jq -r .cpus)" = 1 ] # what was not given stays
	read -r -a equal <<<"$(shares 10)"
	protect zone update slow --cpu-weight 100 --cpu-percent 10
	[ "$(value slow cpu.max)" = "10000 100000" ]
	read -r -a tenth <<<"$(shares 10)"
	protect zone update slow --cpu-percent 0 --cpus all
	[ "$(value slow cpu.max)" = "125000 100000" ] # by its one processor
	[ "$(value slow cpuset.cpus.effective)" = "$(cat /sys/fs/cgroup/cpuset.cpus.effective)" ]
	protect zone update slow --cpu-percent 800 --cpus 1
	stop_spinning slow fast
	echo "equal weights: ${equal[*]} us; one with a tenth of a processor: ${tenth[*]} us"
	[ $((equal[1] * 100 / equal[0])) -ge 85 ]
	[ $((equal[1] * 100 / equal[0])) -le 115 ]
	[ $((tenth[0] * 100 / (tenth[0] + tenth[1]))) -le 14 ]
}

@test "limits outlive the daemon, and are set again" {
	echo 55 >"$(group_of slow)/cpu.weight"
	kill -KILL "$(pgrep -xo protect-daemon)"
	wait_until 30 protect host status
	wait_until 30 protect zone exec slow -- true
	[ "$(value slow cpu.weight)" = 100 ]
	[ "$(zone_field fast cpu | jq .weight)" -eq 300 ]
}

# Workers of io_uring come and go between two looks. KVM has a thread of its own for each VM in the group besides.
has_these_threads() { # has_these_threads GROUP PID
	[ -z "$(comm -23 <(find "/proc/$2/task" -mindepth 1 -maxdepth 1 -printf "%f\n" | sort) <(sort "$1/cgroup.threads"))" ]
}

@test "all threads of a runner are its zone's, those of io_uring too" {
	local pid group tasks counted used
	pid=$(zone_field slow pid)
	group=$(group_of slow)
	protect zone exec slow -- sh -c 'for i in 1 2 3; do cat /dev/vda >/dev/null; done'
	protect zone exec slow -- sh -c 'dd if=/dev/zero of=/dev/null bs=1M count=2000'
	tasks=$(cat "/proc/$pid/task"/*/cgroup | sort -u)
	echo "threads: $(cat "/proc/$pid/task"/*/comm | tr '\n' ' ') in $tasks"
	[ "$(printf '%s\n' "$tasks" | wc -l)" -eq 1 ]
	[ "/sys/fs/cgroup${tasks#0::}" = "$group" ]
	wait_until 20 has_these_threads "$group" "$pid"
	# Processor time of the process (which counts its io_uring workers) is the group's: nothing runs elsewhere for it.
	counted=$(awk -v hz="$(getconf CLK_TCK)" '{ print int(($14 + $15) * 1000 / hz) }' "/proc/$pid/stat")
	used=$(($(field slow cpu.stat usage_usec) / 1000))
	echo "the process: $counted ms, its group: $used ms"
	[ "$counted" -le $((used * 11 / 10)) ]
	[ "$used" -le $((counted * 11 / 10 + 500)) ]
}

@test "what a runner needs beside its zone's memory is far below what it is given" {
	local free beside given
	# shellcheck disable=SC2016 # for the awk there
	free=$(protect zone exec calm -- awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)
	protect zone exec calm -- dd if=/dev/zero of=/dev/null bs="$((free - 12))M" count=1 # written to
	protect zone exec calm -- sh -c 'head -c 3000000 /dev/zero | tr "\0" x; cat /dev/vda >/dev/null' | wc -c
	beside=$(($(value calm memory.peak) - (128 << 20)))
	given=$(($(value calm memory.max) - (128 << 20)))
	echo "peak $(value calm memory.peak), page cache $(field calm memory.stat file), beside the zone's memory $beside of $given"
	echo "# beside 128 MiB of zone: $((beside / 1024)) KiB at the peak, $((given / 1024)) KiB are given" >&3
	[ "$beside" -le $((given / 2)) ]
	[ "$(field calm memory.events max)" -eq 0 ]
}

@test "a hog in a zone dies in it, by its own kernel" {
	protect zone exec slow -- dd if=/dev/zero of=/dev/null bs=118M count=1 || true
	protect zone exec slow -- true
	zone_is slow ready
	[ "$(field slow memory.events oom_kill)" -eq 0 ]
}

# in_group ZONE COMMAND…: as a child in the zone's control group
in_group() {
	local group
	group=$(group_of "$1")
	shift
	# shellcheck disable=SC2016 # for the shell there
	bash -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$group" "$@"
}

@test "no zone has more tasks than its limit" {
	local group refused
	group=$(group_of slow)
	echo $(($(cat "$group/pids.current") + 5)) >"$group/pids.max" # not 1024 of them, for this host's sake
	in_group slow bash -c 'for i in 1 2 3 4 5 6 7 8; do sleep 3 & done; wait' 2>"$BATS_TEST_TMPDIR/forks" || true
	refused=$(field slow pids.events max)
	cat "$BATS_TEST_TMPDIR/forks"
	echo 1024 >"$group/pids.max"
	[ "$refused" -ge 1 ]
	protect zone exec slow -- true
}

tells_of_high_memory() {
	protect host hv-console slow | grep 'higher than it should be'
}

@test "memory above the mark is told" {
	local above
	above=$(($(value slow memory.high) - $(value slow memory.current) + (3 << 20)))
	# shellcheck disable=SC2016 # for the shell there
	in_group slow bash -c 'head -c "$0" /dev/zero >/dev/shm/guardrails' "$above"
	wait_until 40 tells_of_high_memory
	grep "zone=$(zone_field slow uuid) .*higher than it should be" /var/log/protect/protect-daemon.log
	rm /dev/shm/guardrails
	protect zone exec slow -- true
	[ "$(field slow memory.events oom_kill)" -eq 0 ]
}

@test "a hog in a runner's place ends its zone, with the reason, and nothing else" {
	local uuid
	uuid=$(zone_field fast uuid)
	in_group fast dd if=/dev/zero of=/dev/null bs=400M count=1 || true
	wait_until 60 zone_is fast failed
	zone_field fast reason
	zone_field fast reason | grep -E '^out of memory: .* limit of [0-9]+ MiB'
	grep "zone=$uuid .*oom_kills=[1-9]" /var/log/protect/protect-daemon.log
	wait_until 10 has_no_control_group "$uuid"
	zone_is slow ready
	zone_is calm ready
	protect zone exec slow -- true
	protect zone exec calm -- true
	protect zone destroy -W fast
}

is_at_most() { # is_at_most BYTES FILE
	[ "$(stat -c %s "$2")" -le "$1" ]
}

@test "what is kept of a zone's console is bounded" {
	long_only # Linux writes it in pieces of 16 bytes
	protect zone exec slow -- sh -c 'yes 0123456789012345678901234567890 | head -c 1500000 >/dev/console'
	sleep 1
	[ "$(protect zone logs slow | wc -c)" -le 1100000 ]
}

@test "what a runner writes is bounded" {
	local uuid
	uuid=$(zone_field slow uuid)
	yes 'info a runner that talks too much' | head -c 3000000 >>"/run/protect/zones/$uuid/log" || true
	wait_until 45 is_at_most 1048576 "/run/protect/zones/$uuid/log"
	grep "zone=$uuid .*log emptied" /var/log/protect/protect-daemon.log
	grep -qE '^Max open files +1024 +1024 ' "/proc/$(zone_field slow pid)/limits"
}

# The store on a disk of its own, as hosts have it: the lab's is in memory, where there is nothing to limit.
store=/var/lib/protect-storage

restart_services() {
	tools/services start --prefix "$(dirname "$(dirname "$(command -v protect)")")"
}

store_to_disk() {
	local disk copy=/run/guardrails-store
	tools/services stop
	truncate -s 1G /var/tmp/guardrails-disk
	mkfs.ext4 -q /var/tmp/guardrails-disk
	disk=$(losetup --find --show /var/tmp/guardrails-disk)
	mkdir "$copy"
	mount "$disk" "$copy"
	cp -a "$store/." "$copy/"
	umount "$copy"
	rmdir "$copy"
	mount "$disk" "$store"
	chown protect-storage:protect-storage "$store"
	restart_services
}

store_to_memory() {
	local disk
	disk=$(findmnt -no SOURCE "$store" | grep ^/dev/loop) || return 0
	tools/services stop
	umount "$store"
	losetup -d "$disk"
	rm -f /var/tmp/guardrails-disk
	restart_services
}

# read_ms MIB: how long a zone reads so much from its first disk, nobody having it in memory
read_ms() {
	local start
	protect zone exec disky -- sh -c 'echo 3 >/proc/sys/vm/drop_caches'
	sync
	echo 3 >/proc/sys/vm/drop_caches
	start=$(date +%s%N)
	protect zone exec disky -- dd if=/dev/vda of=/dev/null bs=1M count="$1"
	echo $((($(date +%s%N) - start) / 1000000))
}

@test "I/O is limited on the disk that a zone's files lie on" {
	long_only
	local fast slow
	fails_with_line 'no file of the zone lies on a block device' protect zone launch --io-read-bps 1000000
	destroy_zones slow calm
	store_to_disk
	launch_zone disky --max-memory 128 --io-read-bps 2000000 --io-write-iops 50
	value disky io.max
	value disky io.max | grep -q ' rbps=2000000 wbps=max riops=max wiops=50$'
	slow=$(read_ms 10)
	protect zone update disky --io-read-bps 0 --io-write-iops 0
	[ -z "$(value disky io.max)" ]
	fast=$(read_ms 10)
	echo "# 10 MiB at 2 MB/s: $slow ms; unlimited: $fast ms" >&3
	[ "$slow" -ge 4000 ]
	[ "$slow" -ge $((2 * fast)) ]
	destroy_zones disky
}
