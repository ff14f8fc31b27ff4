#!/usr/bin/env bash
# Attacks real gateways, PostgreSQL and an upstream that keeps a bill of its own, all on 127.0.0.1: the suites that CI runs for
# a minute or so, for longer. Run it with `make attack`, alone on the machine: liveness is measured, too.
#
#   ATTACK_BODIES   fuzzed request bodies, 100000 unless set; about 200 a second on two cores
#   ATTACK_SEED     which ones; today's number unless set, so that each day tries others
#   STORM_REQUESTS  requests of the storm, 20000 unless set
#   STORM_SEED      which ones
#   ATTACK_SECONDS  at most so long for each of the two, 1200 unless set
#
# How to read it: the last line is the result. Each line that begins with "seed" says what was tried and what came back. A test
# that failed is named after the thing that broke; run it again with the seed that was printed. Status 0 is a connection that
# was closed.
set -uo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

export ATTACK_SEED=${ATTACK_SEED:-$(date -u +%Y%m%d)} ATTACK_BODIES=${ATTACK_BODIES:-100000}
export STORM_SEED=${STORM_SEED:-$ATTACK_SEED} STORM_REQUESTS=${STORM_REQUESTS:-20000}
seconds=${ATTACK_SECONDS:-1200}

failed=''
for suite in e2e/src/attack 'e2e/src/(fuzz|spend/storm)'; do
  timeout --kill-after=30 "$seconds" hack/test.sh -- --runInBand "$suite"
  status=$?
  case $status in
    0) ;;
    124 | 137) failed+=" $suite was not done within $seconds s;" ;;
    *) failed+=" $suite found something, see above;" ;;
  esac
done

tried="$ATTACK_BODIES bodies (seed $ATTACK_SEED) and a storm of $STORM_REQUESTS requests (seed $STORM_SEED)"
if [[ -n $failed ]]; then
  echo "attack FAILED after $tried:${failed%;}"
  exit 1
fi
echo "attack: nothing found in $tried, nor in the other cases"
