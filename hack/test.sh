#!/usr/bin/env bash
# Runs jest and sums up what happened.
#
#   hack/test.sh [JEST OPTION…] -- [PATH OR JEST OPTION…]
#
# Where the results go, for programs: .cache/test-results/*.json (jest's own format), one file a run.
set -uo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

options=()
while (($#)) && [[ $1 != -- ]]; do
  options+=("$1")
  shift
done
shift || true

results=.cache/test-results
mkdir -p "$results"
report=$results/$(date +%Y%m%dT%H%M%S)-$$.json

node --experimental-vm-modules --disable-warning=ExperimentalWarning node_modules/jest/bin/jest.js \
  --json --outputFile="$report" "$@" ${options[@]+"${options[@]}"} >/dev/null
status=$?

if ((status)); then
  cat <<'HOW'
Above, "●" names each test that failed, with what was expected and the line. One file again:
  make test TESTS=path/to/file.test.ts
HOW
fi
# Last: programs and people read the sum at the end.
node hack/test-summary.mjs "$report"
exit "$status"
