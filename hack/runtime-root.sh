#!/bin/sh
# Runs while the image is built: puts Node.js and what it needs of Debian under $1, and says which packages those
# files belong to (where scanners look in images without a package manager: /var/lib/dpkg/status.d).
set -eu
root=$1
node=$(command -v node)

mkdir -p "$root/usr/local/bin" "$root/var/lib/dpkg/status.d" "$root/etc" "$root/tmp" "$root/home/nonroot"
cp "$node" "$root/usr/local/bin/node"
chmod 755 "$root/usr/local/bin/node"

# Each library under the name by which it is asked for; the loader by its absolute path.
ldd "$node" | awk '$2 == "=>" { print $3 } $1 ~ /^\// { print $1 }' | sort | while read -r library; do
  mkdir -p "$root$(dirname "$library")"
  cp --dereference "$library" "$root$library"
  # Debian's directories are links into /usr, and the package knows the file by its real name.
  owner=$(dpkg -S "$(readlink -f "$library")" 2>/dev/null || dpkg -S "$library" 2>/dev/null || true)
  owner=${owner%%:*}
  [ -z "$owner" ] || dpkg-query -s "$owner" >"$root/var/lib/dpkg/status.d/$owner"
done
for package in base-files; do dpkg-query -s "$package" >"$root/var/lib/dpkg/status.d/$package"; done
cp --dereference /etc/os-release "$root/etc/os-release"

printf 'root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n' >"$root/etc/passwd"
printf 'root:x:0:\nnonroot:x:65532:\n' >"$root/etc/group"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
chmod 1777 "$root/tmp"
chown 65532:65532 "$root/home/nonroot"
