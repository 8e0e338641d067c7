#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Records what engines do with control groups on machines that this one is not: a Debian in a virtual
# machine without a network, once with version 1 alone and once with version 2 alone. Takes a quarter
# of an hour, root, debootstrap, qemu-system-x86 (without KVM), 6 GB; what it makes stays in FOLDER.
#
#	cgroup_machine.sh FOLDER [v1|v2...]	FOLDER/recorded-* are files for tests/base/cgroups
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
cd "$1"
shift
packages=linux-image-cloud-amd64,systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,udev,kmod
packages+=,docker.io,runc,apparmor,iptables,podman,crun,netavark,uidmap,slirp4netns,fuse-overlayfs
packages+=,busybox-static,cron,procps,e2fsprogs

machine_make() {
	debootstrap --variant=minbase --include="$packages" bookworm root >debootstrap.log 2>&1
	chroot root useradd -m -s /bin/bash ana
	mkdir -p root/var/lib/systemd/linger root/etc/systemd/system/serial-getty@ttyS0.service.d
	: >root/var/lib/systemd/linger/ana
	echo machine >root/etc/hostname
	echo '127.0.0.1 localhost machine' >root/etc/hosts
	echo '/dev/vda / ext4 defaults 0 1' >root/etc/fstab
	rm -f root/etc/resolv.conf root/etc/systemd/system/timers.target.wants/*
	cat >root/etc/systemd/system/serial-getty@ttyS0.service.d/ana.conf <<-'END'
		[Service]
		ExecStart=
		ExecStart=-/sbin/agetty --autologin ana --keep-baud 115200 %I vt100
	END
	cat >root/etc/systemd/system/record.service <<-'END'
		[Unit]
		After=docker.service cron.service
		SuccessAction=poweroff-force
		FailureAction=poweroff-force
		[Service]
		Type=oneshot
		ExecStart=/bin/sh -c 'exec /root/record_cgroups.sh /root/recorded $$(sed "s/.* record=//" /proc/cmdline)'
		ExecStopPost=/bin/sync
		StandardError=journal+console
	END
	ln -s ../record.service root/etc/systemd/system/multi-user.target.wants/record.service
}

machine_run() { # KIND KERNEL-PARAMETERS
	rm -rf "disk.$1" recorded
	install -m 0755 "$here/record_cgroups.sh" root/root/
	mke2fs -q -t ext4 -d root "disk.$1" 4G
	timeout 600 nice -n 19 qemu-system-x86_64 -accel tcg -cpu max -smp 1 -m 2048 -nic none -display none \
		-monitor none -no-reboot -kernel root/vmlinuz -initrd root/initrd.img \
		-append "root=/dev/vda rw console=ttyS0 $2 record=$1" \
		-drive "file=disk.$1,format=raw,if=virtio,cache=unsafe" -serial "file:console.$1"
	debugfs -R 'rdump /root/recorded .' "disk.$1" 2>/dev/null
	mv recorded/* .
	rm -rf "disk.$1" recorded
}

[ -e root/vmlinuz ] || machine_make
[ $# -gt 0 ] || set -- v1 v2
for kind in "$@"; do
	case $kind in
	v1) machine_run v1 'systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=1' ;;
	v2) machine_run v2 'systemd.unified_cgroup_hierarchy=1' ;;
	*) exit 2 ;;
	esac
done
