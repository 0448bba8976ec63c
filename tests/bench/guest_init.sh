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
while read -r module; do
	insmod "/modules/$module" 2>/dev/null
done </modules/order
[ -c /dev/hvc0 ] && exec </dev/hvc0 >/dev/hvc0 2>&1

seconds=$(sed -n 's/.*bench\.seconds=\([0-9]*\).*/\1/p' /proc/cmdline)
mount -t squashfs -o ro /dev/vda /tools || echo "BENCH error no-tools"
mount -t devtmpfs dev /tools/dev
mount -t proc proc /tools/proc
mount -t tmpfs tmp /tools/tmp

run_fio() { # name rw block_size depth
	chroot /tools /usr/bin/fio --name=b --filename=/dev/vdb --rw="$2" --bs="$3" --iodepth="$4" --ioengine=io_uring --direct=1 --time_based \
		--runtime="$seconds" --ramp_time=1 --norandommap --random_generator=lfsr --gtod_reduce=1 --thread --minimal 2>/tools/tmp/err |
		awk -F ';' -v name="$1" '{ print "BENCH", name, ($8 > $49 ? $8 : $49) }'
}

run_iperf3() { # name [options]
	name=$1
	shift
	chroot /tools /usr/bin/iperf3 -c 192.0.2.1 -t "$seconds" -O 1 -f m "$@" 2>&1 |
		awk -v name="$name" '/receiver/ { print "BENCH", name, $7; found = 1 } { all = all "\n" $0 }
			END { if (!found) print "BENCH error " name ": " all }'
}

if [ -b /dev/vdb ]; then
	run_fio fio_guest_randread randread 4k 32
	run_fio fio_guest_randwrite randwrite 4k 32
	run_fio fio_guest_randread_qd1 randread 4k 1
	run_fio fio_guest_seqread read 128k 8
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
