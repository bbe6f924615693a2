#!/bin/sh
# Run by mmdebstrap with the new root as its argument, while /proc and the package lists are there.
# The files of the image's own lie already in the folder beside this script.
set -eu
root=$1
here=$(dirname "$0")
run() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive "$@"; }

# What is in it, with the digests of the archive.
run dpkg-query -W -f '${Package}=${Version}\n' >"$here/installed"
run sh -c 'xargs apt-cache show' <"$here/installed" >"$here/packages"

cp -R "$here/overlay/." "$root/"
mkdir -p "$root/usr/lib/systemd/system-generators"
ln -s ../../nube/nube-guest "$root/usr/lib/systemd/system-generators/nube-template"
run systemctl -q enable systemd-networkd systemd-networkd-wait-online systemd-resolved systemd-timesyncd ssh
# What finds nothing to do on an instance: no LVM, no screen, a boot loader that counts no boots.
run systemctl -q disable e2scrub_reap.service e2scrub_all.timer getty@tty1.service
for unit in grub-common.service grub-initrd-fallback.service; do
    if [ -e "$root/lib/systemd/system/$unit" ]; then run systemctl -q disable "$unit"; fi
done
run systemctl -q mask modprobe@drm.service modprobe@efi_pstore.service
# Compiled Python runs by its name without the kernel's help, too; registering formats at each boot costs more than that.
rm -f "$root"/usr/lib/binfmt.d/python3.*.conf

# The boot loader in both forms, and its modules for the menu that `update-grub` writes.
mkdir -p "$root/boot/grub"
for platform in i386-pc x86_64-efi; do
    mkdir -p "$root/boot/grub/$platform"
    cp "$root/usr/lib/grub/$platform/"*.mod "$root/usr/lib/grub/$platform/"*.lst "$root/boot/grub/$platform/"
done
cp "$here/grub-early.cfg" "$root/tmp/early.cfg"
modules="part_gpt ext2 search search_fs_uuid linux configfile normal boot echo serial terminal minicmd"
run grub-mkimage -O i386-pc -p /boot/grub -c /tmp/early.cfg -o /tmp/core.img biosdisk $modules
run grub-mkimage -O x86_64-efi -p /boot/grub -c /tmp/early.cfg -o /tmp/grub.efi fat $modules
mv "$root/tmp/core.img" "$root/tmp/grub.efi" "$here/"
cp "$root/usr/lib/grub/i386-pc/boot.img" "$here/"
rm "$root/tmp/early.cfg"

# The first login's user, made by cloud-init's own hand, so that a first login need not wait for it: at the first boot it
# finds the user there and does the rest. Who does not want the user says so in the user data, which is read before.
run python3 - <<'PYTHON'
from cloudinit import stages
from cloudinit.distros import ug_util
init = stages.Init(ds_deps=[])
init.read_cfg()
users, groups = ug_util.normalize_users_groups(init.cfg, init.distro)
for name, members in groups.items():
    init.distro.create_group(name, members)
for name, settings in users.items():
    init.distro.create_user(name, **settings)
PYTHON
# The rule for sudo is written at the first boot, into a file that is expected not to be there.
rm -f "$root"/etc/sudoers.d/90-cloud-init-users
rm -rf "$root"/var/lib/cloud "$root"/run/cloud-init

# What belongs to an instance is made at its first boot.
rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/hostname" "$root/var/lib/dbus/machine-id" "$root/var/lib/systemd/random-seed"
: >"$root/etc/machine-id"
rm -f "$root/initrd.img.old" "$root/vmlinuz.old"
ln -sf ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
# The exclusions were for this build; packages that are installed later come whole.
rm -f "$root"/etc/dpkg/dpkg.cfg.d/99mmdebstrap "$root"/etc/apt/apt.conf.d/99mmdebstrap
find "$root/var/log" -type f -delete
rm -rf "$root"/var/cache/debconf/*-old "$root"/var/lib/dpkg/*-old
# Nothing was updated offline: the indexes are those of these very packages.
touch "$root/etc/.updated" "$root/var/.updated"
