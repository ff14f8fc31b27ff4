#!/usr/bin/env bash
# Gets the programs that end-to-end tests drive: a browser, a terminal multiplexer, and for CI Prometheus, PgBouncer and nginx. Installs them
# where that can be done without asking (Debian, as root); elsewhere says what is missing, and the tests that need it are skipped.
set -euo pipefail

declare -a packages=()
for program in curl jq; do
  type -P "$program" >/dev/null || packages+=("$program")
done
type -P tmux >/dev/null || packages+=(tmux)
if [[ -z ${CHROMIUM_BIN:-} && -z $(type -P chromium chromium-browser google-chrome) ]]; then
  packages+=(chromium)
fi
# On a person's machine they would come as services.
if [[ -n ${CI:-} ]]; then
  type -P promtool >/dev/null || packages+=(prometheus)
  PATH=$PATH:/usr/sbin type -P "${PGBOUNCER_BIN:-pgbouncer}" >/dev/null || packages+=(pgbouncer)
  PATH=$PATH:/usr/sbin type -P "${NGINX_BIN:-nginx}" >/dev/null || packages+=(nginx-light)
fi
((${#packages[@]})) || exit 0

if type -P apt-get >/dev/null && [[ $(id -u) == 0 ]]; then
  echo "Installing ${packages[*]} for the end-to-end tests …" >&2
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq >/dev/null
  # Of a machine in this run level no service is started.
  RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null </dev/null
  exit
fi

cat >&2 <<HINT
Some end-to-end tests will be skipped: ${packages[*]} not found.
  Debian, Ubuntu:  sudo apt-get install ${packages[*]}
  macOS:           brew install tmux; brew install --cask chromium   (or name a browser in CHROMIUM_BIN)
HINT
[[ -z ${CI:-} ]]
