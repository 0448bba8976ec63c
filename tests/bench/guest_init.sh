#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash
# /init of the guest that measures from inside: the first disk holds the tools, the second is measured, eth0 has the host at 192.0.2.1. Says
# "BENCH NAME VALUE" for each figure on the console and powers off. bench.seconds=N on the command line: for each figure.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
mount -t tmpfs tmp /tmp
while read -r module; do
	insmod "/modules/$module" 2>/dev/null
done </modules/order
[ -c /dev/hvc0 ] && exec </dev/hvc0 >/dev/hvc0 2>&1

seconds=$(sed -n 's/.*bench\.seconds=\([0-9]*\).*/\1/p' /proc/cmdline)
mount -t squashfs -o ro /dev/vda /tools || echo "BENCH error no-tools"
mount -t devtmpfs dev /tools/dev
mount -t proc proc /tools/proc
mount -t tmpfs tmp /tools/tmp

# One fio for all: loading it takes a guest seconds.
run_fio() {
	chroot /tools /usr/bin/fio --filename=/dev/vdb --ioengine=io_uring --direct=1 --time_based --runtime="$seconds" --ramp_time=1 \
		--norandommap --random_generator=lfsr --gtod_reduce=1 --thread --minimal \
		--name=fio_guest_randread --stonewall --rw=randread --bs=4k --iodepth=32 \
		--name=fio_guest_randwrite --stonewall --rw=randwrite --bs=4k --iodepth=32 \
		--name=fio_guest_randread_qd1 --stonewall --rw=randread --bs=4k --iodepth=1 \
		--name=fio_guest_seqread --stonewall --rw=read --bs=128k --iodepth=8 2>/tools/tmp/err |
		awk -F ';' '$3 ~ /^fio_guest/ { print "BENCH", $3, ($8 > $49 ? $8 : $49) }'
}

# The server takes one test at a time and may not be ready for the next one at once.
run_iperf3() { # name [options]
	name=$1 tries=5
	shift
	until chroot /tools /usr/bin/iperf3 -c 192.0.2.1 -t "$seconds" -O 1 -f m "$@" >/tmp/iperf3 2>&1; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || break
		sleep 1
	done
	awk -v name="$name" '/receiver/ { print "BENCH", name, $7; found = 1 } { all = all "; " $0 }
		END { if (!found) print "BENCH error " name all }' /tmp/iperf3
}

if [ -b /dev/vdb ]; then
	run_fio
fi
if [ -d /sys/class/net/eth0 ]; then
	ip link set lo up
	ip addr add 192.0.2.2/24 dev eth0
	ip link set eth0 up
	run_iperf3 iperf3_guest
	run_iperf3 iperf3_guest_rx -R
fi
echo "BENCH end 0"
poweroff -f
