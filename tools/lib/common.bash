# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What every tool here needs: messages, the cache folder, root rights, and the unpacked Debian kernel.
# Sourced, never run. Sets `project` (this checkout) and `tool` (the sourcing tool's name).

# shellcheck disable=SC2034 # used by the tools that source this
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
tool=tools/$(basename "$0")

note() {
	printf '%s: %s\n' "$tool" "$*" >&2
}

die() {
	note "error: $*"
	exit 1
}

# The tool's own opening comment is its help: one text, always beside the code.
show_help() {
	awk 'NR > 2 && /^#/ { sub(/^# ?/, ""); print; next } NR > 2 { exit }' "$0"
}

# need_value OPTION REMAINING_ARGUMENTS: an option that takes a value was given one.
need_value() {
	[ "$2" -ge 2 ] || die "$1 needs a value (see $tool --help)"
}

# need_number OPTION VALUE
need_number() {
	[[ $2 =~ ^[1-9][0-9]{0,8}$ ]] || die "$1 takes a positive number, not '$2'"
}

need_command() {
	command -v "$1" >/dev/null || die "$1 is not installed; run tools/setup"
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo -- "$@"
	else
		die "needs root for: $*; run it as root or install sudo"
	fi
}

cache_dir() {
	local dir=${PROTECT_CACHE:-}
	if [ -z "$dir" ]; then
		if [ "$(id -u)" -eq 0 ]; then
			dir=/var/cache/protect
		else
			dir=${XDG_CACHE_HOME:-$HOME/.cache}/protect
		fi
	fi
	mkdir -p "$dir" || die "cannot make the cache folder $dir; set PROTECT_CACHE"
	(cd "$dir" && pwd -P)
}

# The package that a kernel metapackage stands for today; empty when apt knows none.
kernel_package() {
	apt-cache depends "linux-image-$1" 2>/dev/null | awk '$1 == "Depends:" { print $2; exit }' || true
}

# fetch_package PACKAGE: the .deb into the current folder. Lists go stale (a security update removes the
# old file), so a failure refreshes them once.
fetch_package() {
	apt-get download -qq -o APT::Sandbox::User="$(id -un)" "$1" 2>/dev/null && return
	note "package lists are old; running apt-get update"
	as_root apt-get update -qq
	apt-get download -qq -o APT::Sandbox::User="$(id -un)" "$1" || die "apt-get cannot download $1"
}

# debian_kernel FLAVOR: prints a folder with boot/vmlinuz, boot/config, lib/modules/UNAME_R, version, uname_r;
# unpacked from Debian's package into the cache once, never installed.
debian_kernel() {
	local flavor=$1 cache package dir lock
	cache=$(cache_dir)
	package=$(kernel_package "$flavor")
	if [ -z "$package" ]; then
		dir=$(find "$cache" -maxdepth 1 -name "kernel-*-$flavor" | sort -V | tail -n 1)
		if [ -n "$dir" ]; then
			printf '%s\n' "$dir"
			return
		fi
		as_root apt-get update -qq >&2
		package=$(kernel_package "$flavor")
		[ -n "$package" ] || die "apt knows no linux-image-$flavor; is this Debian 12?"
	fi
	dir=$cache/kernel-${package#linux-image-}
	exec {lock}>"$cache/kernel.lock"
	flock "$lock"
	[ -f "$dir/version" ] || unpack_kernel "$package" "$dir"
	exec {lock}>&-
	printf '%s\n' "$dir"
}

# unpack_kernel PACKAGE DIR: through a temporary folder, so that DIR is whole or absent.
unpack_kernel() {
	local package=$1 dir=$2 tmp uname_r
	note "unpacking Debian's $package into $dir"
	tmp=$(mktemp -d "$dir.XXXXXX")
	(
		cd "$tmp"
		fetch_package "$package"
		dpkg -x ./*.deb .
		dpkg-deb -f ./*.deb Version >version
		uname_r=$(basename lib/modules/*)
		printf '%s\n' "$uname_r" >uname_r
		ln -s "vmlinuz-$uname_r" boot/vmlinuz
		ln -s "config-$uname_r" boot/config
		/sbin/depmod -b "$tmp" "$uname_r"
		rm -rf -- ./*.deb usr
		chmod 0755 .
	) >&2 || {
		rm -rf "$tmp"
		die "could not unpack $package"
	}
	rm -rf "$dir"
	mv "$tmp" "$dir"
}

# debian_xen: prints a folder with hypervisor (an ELF that QEMU loads), version, usr/lib/xen-4.17/bin and usr/sbin, unpacked from
# Debian's packages into the cache once, never installed.
debian_xen() {
	local package=xen-hypervisor-4.17-amd64 version dir lock
	version=$(apt-cache show --no-all-versions "$package" 2>/dev/null | sed -n 's/^Version: //p')
	if [ -z "$version" ]; then
		as_root apt-get update -qq >&2
		version=$(apt-cache show --no-all-versions "$package" 2>/dev/null | sed -n 's/^Version: //p')
		[ -n "$version" ] || die "apt knows no $package; is this Debian 12?"
	fi
	dir=$(cache_dir)/xen-$version
	exec {lock}>"$(cache_dir)/xen.lock"
	flock "$lock"
	[ -f "$dir/version" ] || unpack_xen "$version" "$dir"
	exec {lock}>&-
	printf '%s\n' "$dir"
}

# unpack_xen VERSION DIR: as unpack_kernel
unpack_xen() {
	local version=$1 dir=$2 tmp package
	note "unpacking Debian's Xen $version into $dir"
	tmp=$(mktemp -d "$dir.XXXXXX")
	(
		cd "$tmp"
		for package in xen-hypervisor-4.17-amd64 xen-utils-4.17 xenstore-utils; do
			fetch_package "$package"
		done
		for package in ./*.deb; do
			dpkg -x "$package" .
		done
		gunzip -c boot/xen-4.17-amd64.gz >hypervisor
		printf '%s\n' "$version" >version
		rm -rf -- ./*.deb boot etc usr/share
		chmod 0755 .
	) >&2 || {
		rm -rf "$tmp"
		die "could not unpack Xen"
	}
	rm -rf "$dir"
	mv "$tmp" "$dir"
}

# content_key FILE…: one hash over the files' bytes, for caches that must notice any change.
content_key() {
	cat -- "$@" | sha256sum | cut -c1-16
}
