#!/usr/bin/env bash
# The container image.
#
#   hack/image.sh build TAG               builds it
#   hack/image.sh with-engine COMMAND…    runs a command that can talk to the engine which has it (DOCKER, DOCKER_HOST)
#
# Uses the Docker engine that answers. On a Debian machine without one, as root, it runs one of its own for as long as
# the command takes: Debian's docker.io with its data in the cache, and, since such machines may reach no image
# registry, a base image made of Debian's packages and the Node.js of hack/node.sh under the name in the Dockerfile.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

base=node:24-bookworm-slim
cache=${CLAUDE_GATEWAY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/claude-gateway}
home=$cache/docker

fail() {
  printf 'image: %s\n' "$@" >&2
  exit 1
}

say() { printf 'image: %s\n' "$*" >&2; }

# install PROGRAM PACKAGE…
install() {
  type -P "$1" >/dev/null && return
  say "installing $2"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${@:2}" >/dev/null </dev/null ||
    { apt-get update -qq >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${@:2}" >/dev/null </dev/null; }
}

own_engine() {
  [[ $(id -u) == 0 ]] && type -P apt-get >/dev/null ||
    fail 'no Docker engine answers' 'start one (Docker Desktop, colima, dockerd), or point DOCKER_HOST at one'
  install dockerd docker.io iptables
  mkdir -p "$home"
  exec 9>"$home/lock"
  flock 9
  run=$(mktemp -d /tmp/claude-gateway-docker.XXXXXX)
  dockerd --data-root "$home/data" --exec-root "$run/exec" -H "unix://$run/docker.sock" -p "$run/docker.pid" \
    --bridge=none --iptables=false --log-level=error >"$run/log" 2>&1 9>&- &
  engine=$!
  trap stop_engine EXIT
  export DOCKER=/usr/bin/docker DOCKER_HOST=unix://$run/docker.sock
  for ((try = 0; ; try++)); do
    "$DOCKER" version >/dev/null 2>&1 && break
    kill -0 "$engine" 2>/dev/null && ((try < 100)) || fail 'dockerd did not start:' "$(tail -5 "$run/log")"
    sleep 0.2
  done
  "$DOCKER" image inspect "$base" >/dev/null 2>&1 || make_base
}

stop_engine() {
  kill "$engine" 2>/dev/null || true
  wait "$engine" 2>/dev/null || true
  umount "$run"/exec/netns/* 2>/dev/null || true
  rm -rf --one-file-system "$run" 2>/dev/null || true
}

make_base() {
  # Whoever reaches a registry has the real thing.
  if "$DOCKER" pull -q "$base" >/dev/null 2>&1; then return; fi
  say "making $base of Debian's packages (once, about a minute)"
  install debootstrap debootstrap
  local rootfs npm
  rootfs=$(mktemp -d "$home/rootfs.XXXXXX")
  debootstrap --variant=minbase --include=ca-certificates,libstdc++6 bookworm "$rootfs" >"$home/debootstrap.log" 2>&1 ||
    fail 'debootstrap failed:' "$(tail -5 "$home/debootstrap.log")"
  cp "$(hack/node.sh)/node" "$rootfs/usr/local/bin/node"
  npm=$(dirname -- "$(dirname -- "$(readlink -f -- "$(type -P npm)")")")
  mkdir -p "$rootfs/usr/local/lib/node_modules"
  cp -RL "$npm" "$rootfs/usr/local/lib/node_modules/npm"
  ln -s ../lib/node_modules/npm/bin/npm-cli.js "$rootfs/usr/local/bin/npm"
  ln -s ../lib/node_modules/npm/bin/npx-cli.js "$rootfs/usr/local/bin/npx"
  cp /etc/ssl/certs/ca-certificates.crt "$rootfs/etc/ssl/certs/ca-certificates.crt"
  tar -C "$rootfs" --numeric-owner -c . |
    "$DOCKER" import -c 'ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt' - "$base" >/dev/null
  rm -rf --one-file-system "$rootfs"
}

with_engine() {
  if [[ -z ${DOCKER_HOST:-} || -z ${DOCKER:-} ]]; then
    if type -P docker >/dev/null && docker version >/dev/null 2>&1; then
      export DOCKER=docker
    else
      own_engine
    fi
  fi
  "$@"
}

build() {
  local tag=$1 epoch revision
  epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
  revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
  DOCKER_BUILDKIT=1 "$DOCKER" build --network=host --progress=plain --tag "$tag" \
    --build-arg "SOURCE_DATE_EPOCH=$epoch" \
    --build-arg "REVISION=$revision" \
    --build-arg "VERSION=$(node -p 'require("./package.json").version')" \
    --build-arg "CREATED=$(node -p "new Date($epoch * 1000).toISOString()")" \
    . >"$log" 2>&1 || fail 'the build failed:' "$(tail -40 "$log")"
  # Our own engine has nobody else to tidy it up.
  if [[ -n ${engine:-} ]]; then
    "$DOCKER" image prune --force >/dev/null
    "$DOCKER" builder prune --force --keep-storage 3GB >/dev/null
  fi
  say "built $tag, $("$DOCKER" image inspect --format '{{.Size}}' "$tag" | awk '{ printf "%.0f MB", $1 / 1e6 }') (log: $log)"
}

log=.cache/image-build.log
mkdir -p .cache
case ${1:-} in
  build) with_engine build "${2:?usage: hack/image.sh build TAG}" ;;
  with-engine) with_engine "${@:2}" ;;
  *) fail 'usage: hack/image.sh build TAG | with-engine COMMAND…' ;;
esac
