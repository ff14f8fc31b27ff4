#!/usr/bin/env bash
# Runs a command of this checkout with everything it needs in place: Node.js (hack/node.sh), the dependencies of
# package-lock.json, and the generated database client. Each is brought up to date only when its source changed.
#
#   hack/run.sh COMMAND [ARGUMENT…]
#   CLAUDE_GATEWAY_SKIP_INSTALL=1 leaves node_modules as it is.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

node_bin=$(hack/node.sh)
PATH=$node_bin:$PWD/node_modules/.bin:$PATH
export PATH

installed=node_modules/.installed-package-lock.json
if [[ -z ${CLAUDE_GATEWAY_SKIP_INSTALL:-} ]] && ! cmp -s package-lock.json "$installed"; then
  type -P npm >/dev/null || { echo 'npm is needed to install the dependencies; it comes with Node.js' >&2; exit 1; }
  echo 'Installing dependencies (package-lock.json changed since the last time) …' >&2
  npm ci --no-audit --no-fund --loglevel=error >&2 </dev/null
  cp package-lock.json "$installed"
fi

schema=prisma/schema.prisma
generated=prisma/src/generated
if [[ -f $schema ]] && ! cmp -s "$schema" "$generated/.generated-from.prisma"; then
  npm run --silent generate -w @claude-gateway/prisma >&2 </dev/null
  cp "$schema" "$generated/.generated-from.prisma"
fi

exec "$@"
