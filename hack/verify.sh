#!/usr/bin/env bash
# Everything that is checked without running the program. Goes through all of it and names what failed at the end.
set -uo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

failed=()

check() {
  local name=$1
  shift
  printf '── %s\n' "$name"
  "$@" || failed+=("$name")
}

# What git sees of the work tree: names of changed and untracked files, and a digest of every change.
work_tree() {
  git status --porcelain
  git diff HEAD | git hash-object --stdin
}

generated_in_step() {
  local before after
  if ! git rev-parse --git-dir >/dev/null 2>&1; then
    echo 'not a git checkout: cannot tell whether generated files are in step' >&2
    return 0
  fi
  before=$(work_tree)
  npm run --silent generate || return 1
  after=$(work_tree)
  [[ $before == "$after" ]] && return 0
  printf 'generating changed files: look at them and commit them\n' >&2
  git status --short >&2
  return 1
}

shell_scripts_parse() {
  local script
  for script in hack/*.sh hack/*/*.sh .ci/run; do bash -n "$script" || return 1; done
}

check 'generated files are in step' generated_in_step
check 'lock file is complete' node hack/complete-lock.mjs --check
check 'format (prettier)' prettier --check --log-level warn .
check 'lint (eslint)' eslint . --max-warnings 0
check 'import rules (dependency-cruiser)' depcruise --config .dependency-cruiser.mjs contract crds dev prisma operator gateway e2e bench
check 'types (tsc)' tsc --build
check 'shell scripts parse' shell_scripts_parse

if ((${#failed[@]})); then
  printf 'not in order: %s\n' "${failed[@]}" >&2
  exit 1
fi
echo 'All in order.'
