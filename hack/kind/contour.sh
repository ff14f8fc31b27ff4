#!/usr/bin/env bash
# Prints the path of the manifest that Contour publishes for Ingress and Gateway API, of the version that
# hack/cluster/contour/go.mod names: from the cache, or by the project's own download, or out of its Go module.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
module=$here/../cluster/contour
sha256=67db5cabd4938cdc2ad13bc3409430abd1fb37810a9724541ab03afb1874a3ae
version=$(awk '$1 == "github.com/projectcontour/contour" { print $2 }' "$module/go.mod")
directory=${XDG_CACHE_HOME:-$HOME/.cache}/claude-gateway-testbed/kind
path=examples/render/contour-gateway.yaml

fail() {
  printf 'contour: %s\n' "$@" >&2
  exit 1
}

right() {
  local sum
  sum=$(if type -P sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi <"$1")
  [[ ${sum%% *} == "$sha256" ]]
}

file=$directory/contour-gateway-$version.yaml
if [[ ! -e $file ]] || ! right "$file"; then
  mkdir -p "$directory"
  new=$(mktemp "$directory/new.XXXXXX")
  trap 'rm -f "$new"' EXIT
  url=https://raw.githubusercontent.com/projectcontour/contour/$version/$path
  if ! curl --silent --fail --location --max-time 60 --output "$new" "$url"; then
    type -P go >/dev/null || fail "$url cannot be reached, and there is no Go to get the module with" "put that file here: $file"
    source=$(cd "$module" && go mod download github.com/projectcontour/contour && go list -mod=readonly -m -f '{{.Dir}}' github.com/projectcontour/contour)
    cat "$source/$path" >"$new"
  fi
  right "$new" || fail "the manifest of Contour $version is not the one whose checksum $0 knows"
  chmod 644 "$new"
  mv "$new" "$file"
fi
echo "$file"
