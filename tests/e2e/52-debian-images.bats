#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Programs that people run, from Debian's packages (tools/debian-image, in build/demo): started, used, stopped, started again.

load helpers

readonly images='debian postgresql redis python'

setup() {
	long_only
}

setup_file() {
	local image
	is_long || return 0
	launch_zone real --max-memory 1024 --max-cpus 2
	for image in $images; do
		protect image import "oci:build/demo/$image:latest" --name "real/$image:1"
	done
}

teardown_file() {
	local image
	is_long || return 0
	destroy_zones real
	for image in $images; do
		protect image remove "real/$image:1"
	done
}

start_workload() { # start_workload NAME [OPTION…]
	protect workload launch --zone real --name "$1" --wait "${@:2}" "real/$1:1"
}

sql() {
	protect workload exec postgresql -- psql -h /run/postgresql -qtAc "$1"
}

@test "Debian: a shell, its packages, what later layers changed" {
	# shellcheck disable=SC2016 # for the shell there
	run protect workload launch --zone real --attach real/debian:1 -- bash -c \
		'. /etc/os-release; echo "$ID $VERSION_ID"; dpkg -l | grep -c ^ii; cat /etc/motd/hello; ls /usr/share/doc; stat -c %a:%u /var/lib /srv'
	[ "$status" -eq 0 ]
	[ "${lines[0]}" = "debian 12" ]
	[ "${lines[1]}" -gt 80 ]
	[ "${lines[2]} ${lines[3]}" = "hello new" ]
	[ "${lines[4]} ${lines[5]}" = "711:0 755:1000" ]
}

@test "PostgreSQL: a table outlives a stop and a start" {
	start_workload postgresql
	wait_until 120 sql 'select 1'
	sql 'create table t(i int); insert into t select generate_series(1, 1000)'
	[ "$(sql 'select count(*) from t')" = 1000 ]
	protect zone exec real -- ps | grep -q 'postgres: checkpointer'
	protect workload stop postgresql
	[ "$(protect workload list -o json | jq -r '.[] | select(.name == "postgresql") | .exit_status')" = 0 ]
	protect workload start --wait postgresql
	wait_until 120 sql 'select 1'
	[ "$(sql 'select sum(i) from t')" = 500500 ]
	protect workload destroy postgresql
}

@test "Redis: keys outlive a kill and a start" {
	start_workload redis --restart always
	wait_until 60 protect workload exec redis -- redis-cli ping
	protect workload exec redis -- redis-cli set key value
	protect workload exec redis -- redis-cli config set appendfsync always
	protect workload exec redis -- redis-cli set other one
	protect workload exec redis -- redis-cli debug segfault || true
	wait_until 60 protect workload exec redis -- redis-cli ping
	[ "$(protect workload exec redis -- redis-cli get other)" = one ]
	protect workload destroy redis
}

@test "Python: a web server without rights, seen through zone forward" {
	start_workload python
	protect zone forward real 18000:8000 &
	wait_until 60 sh -c 'curl -s http://127.0.0.1:18000/ | grep -q "served from a zone"'
	kill $!
	[ "$(protect workload exec python -- id -u)" = 65534 ]
	protect workload destroy python
}
