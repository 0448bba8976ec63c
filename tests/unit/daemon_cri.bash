# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Pods, as kubelet asks containerd for them over its CRI socket (tests/cri), with our shim and Debian's containerd: sourced
# by daemon_services.sh, on its zones without a hypervisor.
# shellcheck disable=SC2154 # work, bin, pids, skip, here are its

readonly netns=protect-pods-$$

start_containerd() {
	cat >"$work/containerd.toml" <<-X
		version = 2
		root = "$work/ct/root"
		state = "$work/ct/state"
		[grpc]
		  address = "$work/ct.sock"
		[ttrpc]
		  address = "$work/ct.sock.ttrpc"
		[plugins."io.containerd.grpc.v1.cri"]
		  sandbox_image = "docker.io/library/box:latest"
		  restrict_oom_score_adj = true
		  stream_server_port = "0"
		  disable_apparmor = true
		  [plugins."io.containerd.grpc.v1.cri".cni]
		    bin_dir = "/usr/lib/cni"
		    conf_dir = "$work/cni"
		  [plugins."io.containerd.grpc.v1.cri".containerd]
		    snapshotter = "native"
		    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.protect]
		      runtime_type = "io.containerd.protect.v2"
		      pod_annotations = ["dev.protect/*"]
		    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
		      runtime_type = "io.containerd.runc.v2"
	X
	make_cni
	PATH=$bin:$PATH nsenter --net="/run/netns/$netns" containerd --config "$work/containerd.toml" >>"$work/containerd.log" 2>&1 &
	containerd=$!
	wait_until cri Version
}

# What the bridge and containerd's streams live in: this host's own network sees nothing of it.
make_cni() {
	mkdir -p "$work/cni"
	[ -e "/run/netns/$netns" ] || ip netns add "$netns"
	nsenter --net="/run/netns/$netns" ip link set lo up
	cat >"$work/cni/10-bridge.conflist" <<-X
		{"cniVersion": "0.4.0", "name": "pods", "plugins": [{"type": "bridge", "bridge": "cni0", "isGateway": true,
			"ipam": {"type": "host-local", "dataDir": "$work/ipam", "ranges": [[{"subnet": "10.99.0.0/24"}]]}}]}
	X
}

ctr() {
	timeout 40 ctr --address "$work/ct.sock" --namespace k8s.io "$@"
}

cri() { # cri METHOD [REQUEST]
	/usr/bin/python3 "$here/../cri/cri.py" "$work/ct.sock" "$@"
}

# pod_config NAME [FIELDS]: as JSON
pod_config() {
	jq -cn --arg n "$1" --arg logs "$work/logs/$1" --argjson more "${2:-"{}"}" '{metadata: {name: $n, uid: $n, namespace: "default"}, hostname: $n,
		log_directory: $logs, linux: {}} * $more'
}

run_pod() { # run_pod NAME [FIELDS]: prints its id
	mkdir -p "$work/logs/$1"
	cri RunPodSandbox "$(jq -cn --argjson c "$(pod_config "$@")" --arg h "${handler:-protect}" '{config: $c, runtime_handler: $h}')" | jq -r .pod_sandbox_id
}

# make_container POD-ID POD-NAME NAME FIELDS COMMAND…: prints its id
make_container() {
	local pod=$1 pod_name=$2 name=$3 fields=$4
	shift 4
	cri CreateContainer "$(jq -cn --arg p "$pod" --argjson c "$(pod_config "$pod_name")" --arg n "$name" --argjson more "$fields" \
		'{pod_sandbox_id: $p, sandbox_config: $c, config: ({metadata: {name: $n}, image: {image: "docker.io/library/box:latest"},
		command: $ARGS.positional, log_path: ($n + ".log"), linux: {}} * $more)}' --args -- "$@")" | jq -r .container_id
}

# of KEY VALUE METHOD: the method with that one field
of() {
	cri "$3" "$(jq -cn --arg k "$1" --arg v "$2" '{($k): $v}')"
}

run_container() { # as make_container
	local id
	id=$(make_container "$@")
	of container_id "$id" StartContainer >/dev/null
	echo "$id"
}

status_of() { # status_of CONTAINER: its state and its exit code
	of container_id "$1" ContainerStatus | jq -r '.status | [.state, .exit_code] | join(" ")'
}

exec_in() { # exec_in CONTAINER COMMAND…: its standard output; its status
	local id=$1 answer
	shift
	answer=$(cri ExecSync "$(jq -cn --arg i "$id" '{container_id: $i, cmd: $ARGS.positional, timeout: 20}' --args -- "$@")") || return 125
	jq -r '.stdout | @base64d' <<<"$answer"
	return "$(jq .exit_code <<<"$answer")"
}

stop_container() {
	cri StopContainer "$(jq -cn --arg i "$1" '{container_id: $i, timeout: 2}')" >/dev/null
}

log_of() { # log_of POD-NAME NAME: what it wrote, without times
	cut -d ' ' -f 2- "$work/logs/$1/$2.log"
}

remove_pod() {
	of pod_sandbox_id "$1" StopPodSandbox >/dev/null
	of pod_sandbox_id "$1" RemovePodSandbox >/dev/null
}

no_pod_is_left() {
	[ "$(cri ListPodSandbox | jq '.items | length')" = 0 ] && [ "$(cri ListContainers | jq '.containers | length')" = 0 ] && nothing_left &&
		[ -z "$(ls "$work/ct/state/io.containerd.runtime.v2.task/k8s.io" 2>/dev/null)" ] &&
		[ -z "$(find /run/protect-shim -name 'c*-*' -newer "$work/containerd.toml")" ] && ! grep -q "$work/ct/state" /proc/self/mounts &&
		! pgrep -f "shim.* -address $work/ct.sock" >/dev/null
}

a_pod_of_three() {
	local pod first second third
	pod=$(run_pod three)
	expect SANDBOX_READY bash -c "of pod_sandbox_id $pod PodSandboxStatus | jq -r .status.state"
	expect 1 bash -c "'$bin/protect' zone list -o json | jq length"
	# shellcheck disable=SC2016 # the container's shell expands it
	first=$(run_container "$pod" three first '{"envs": [{"key": "A", "value": "b"}]}' /bin/sh -c 'echo "A=$A"; echo err >&2; exec sleep 1000')
	second=$(run_container "$pod" three second '{}' /bin/sh -c 'trap "exit 7" TERM; while :; do sleep 0.1; done')
	third=$(run_container "$pod" three third '{}' /bin/sh -c 'echo short; exit 3')
	wait_until is 'CONTAINER_EXITED 3' status_of "$third"
	expect 2 bash -c "'$bin/protect' workload list -o json | jq length"
	expect 'CONTAINER_RUNNING 0' status_of "$first"
	# What it wrote, as kubelet reads it.
	wait_until is 'stdout F short' log_of three third
	expect 'stderr F err stdout F A=b' bash -c "log_of three first | sort | xargs"
	expect in exec_in "$first" /bin/echo in
	expect_status 5 exec_in "$second" /bin/sh -c 'exit 5'
	# A container is started anew, beside the others.
	of container_id "$third" RemoveContainer >/dev/null
	third=$(run_container "$pod" three third '{"metadata": {"attempt": 1}}' /bin/sh -c 'echo again; exit 0')
	wait_until is 'CONTAINER_EXITED 0' status_of "$third"
	# In order: TERM, and what it makes of it.
	stop_container "$second"
	expect 'CONTAINER_EXITED 7' status_of "$second"
	remove_pod "$pod"
	wait_until no_pod_is_left
}

measured_and_limited() {
	local pod id
	pod=$(run_pod measured '{"annotations": {"dev.protect/cpu": "2"}}')
	expect 2 bash -c "'$bin/protect' zone list -o json | jq '.[0].max_cpus'"
	id=$(run_container "$pod" measured busy '{}' /bin/sleep 1000)
	expect true bash -c "of container_id $id ContainerStats | jq '.stats.memory != null and .stats.cpu != null'"
	expect_error 'has no such limits' cri UpdateContainerResources "{\"container_id\": \"$id\", \"linux\": {\"memory_limit_in_bytes\": 16777216}}"
	expect_error 'more than the .* MiB of this' cri UpdateContainerResources "{\"container_id\": \"$id\", \"linux\": {\"memory_limit_in_bytes\": 1099511627776}}"
	remove_pod "$pod"
	wait_until no_pod_is_left
}

what_is_refused() {
	expect_error hostNetwork run_pod host '{"linux": {"security_context": {"namespace_options": {"network": 2}}}}'
	wait_until no_pod_is_left
}

what_crashes_leave() {
	local pod id
	pod=$(run_pod stays)
	id=$(run_container "$pod" stays one '{}' /bin/sleep 1000)
	# containerd goes: it finds the pod again.
	kill -9 "$containerd"
	wait "$containerd" || true
	start_containerd
	expect 'CONTAINER_RUNNING 0' status_of "$id"
	expect in exec_in "$id" /bin/echo in
	# The zone goes: so do its containers.
	protect zone destroy -W "$(protect zone list -o json | jq -r '.[0].name')"
	wait_until is 'CONTAINER_EXITED 137' status_of "$id"
	remove_pod "$pod"
	# The shim goes: what it had is ended.
	pod=$(run_pod orphan)
	id=$(run_container "$pod" orphan one '{}' /bin/sleep 1000)
	kill -9 "$(pgrep -f -- "-address $work/ct.sock -publish-binary .* -id $pod" | head -n 1)"
	wait_until is 'CONTAINER_EXITED 255' status_of "$id"
	remove_pod "$pod"
	wait_until no_pod_is_left
}

many_pods() {
	local list=()
	for i in 1 2 3 4; do
		list+=("$(run_pod "many$i" '{"annotations": {"dev.protect/cpu": "1", "dev.protect/initial-memory-request": "64"}}')")
		run_container "${list[-1]}" "many$i" one '{}' /bin/sleep 1000 >/dev/null
	done
	for pod in "${list[@]}"; do
		remove_pod "$pod" &
	done
	wait_until no_pod_is_left
}

leave_pods() {
	kill "$containerd" || true
	findmnt -rno TARGET | { grep -F "$work/ct/" || true; } | xargs -r umount -l
	clean_up
	ip netns del "$netns" || true
}

containerd_runs_pods() {
	command -v containerd runc >/dev/null && [ -x /usr/lib/cni/bridge ] && /usr/bin/python3 -c 'import grpc' 2>/dev/null || exit "$skip"
	export -f ctr cri of log_of
	export work here
	start_services
	start_containerd
	trap 'keep=$?; [ $keep = 0 ] || grep -v "loading plugin" "$work/containerd.log" | tail -n 60; leave_pods; exit $keep' EXIT
	tar -C "$work/box" -cf "$work/box.tar" .
	ctr images import --base-name docker.io/library/box "$work/box.tar" >/dev/null
	a_pod_of_three
	measured_and_limited
	what_is_refused
	what_crashes_leave
	many_pods
}
