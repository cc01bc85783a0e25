#!/bin/sh
# Boots systemd as process 1 of the namespaces that this runs in, on a small root of its own: this machine's /usr, what is
# in STAGE, and the rest as systemd asks it of those who run it in a container (https://systemd.io/CONTAINER_INTERFACE).
#
#     unshare --mount --uts --ipc --net --pid --cgroup --fork --kill-child boot.sh STAGE ROOT [DIRECTORY=MOUNTED_AT…]
set -eu
stage=$1 root=$2
shift 2
umask 022
mount -t tmpfs -o mode=0755 root "$root"
cd "$root"
mkdir -p usr etc/systemd/system var/log var/lib var/tmp opt proc sys dev run tmp home root mnt/old
chmod 1777 tmp var/tmp
chmod 0700 root
ln -s ../run var/run
for name in bin sbin lib lib32 lib64 libx32; do
    if [ -L "/$name" ]; then ln -s "$(readlink "/$name")" "$name"; fi
done
mount --bind /usr usr
mount -o remount,bind,ro usr
for name in ld.so.conf ld.so.conf.d alternatives ssl/openssl.cnf nsswitch.conf login.defs; do
    if [ -e "/etc/$name" ]; then mkdir -p "etc/$(dirname $name)" && cp -a "/etc/$name" "etc/$name"; fi
done
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n' >etc/passwd
printf 'root:x:0:\nnogroup:x:65534:\n' >etc/group
printf 'root:*:19000:0:99999:7:::\nnobody:*:19000:0:99999:7:::\n' >etc/shadow
printf '127.0.0.1 localhost www.example.com\n' >etc/hosts
printf 'ID=test\n' >etc/os-release
printf 'edge-test\n' >etc/hostname
: >etc/machine-id
cp -a "$stage"/* .
for pair in "$@"; do
    mkdir -p ".${pair#*=}"
    mount --bind "${pair%%=*}" ".${pair#*=}"
    mount -o remount,bind,ro ".${pair#*=}"
done
chroot . ldconfig

mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup sys/fs/cgroup
mount -t tmpfs -o mode=0755 dev dev
mkdir dev/pts dev/shm
node() { mknod -m 0666 "dev/$1" c "$2" "$3"; }
node null 1 3
node zero 1 5
node full 1 7
node random 1 8
node urandom 1 9
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs -o mode=1777 shm dev/shm
mount -t tmpfs -o mode=0755 run run

pivot_root . mnt/old
umount -l mnt/old
# systemd hands credentials to a unit by mounts that it makes elsewhere, and takes no others to be shared in a container.
mount --make-rshared /
exec env -i container=edge-test PATH=/usr/sbin:/usr/bin /lib/systemd/systemd --unit=basic.target --show-status=no
