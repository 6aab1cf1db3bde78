#!/usr/bin/env bash
# Runs every fuzz target of the packages for a while: scripts/fuzz.sh 10s ./...
# One that fails doesn't keep the others from running; all that failed are named at the end.
set -euo pipefail
cd "$(dirname "$0")/.."

time=$1
shift
dirs=$(scripts/go list -f '{{.Dir}}' "$@")
failed=()
while read -r dir; do
	targets=$(sed -nE 's/^func (Fuzz[A-Za-z0-9_]*)\(.*/\1/p' "$dir"/*_test.go 2>/dev/null || true)
	for target in $targets; do
		echo "== ${dir#"$PWD"/}: $target"
		scripts/go test -run='^$' -fuzz="^$target\$" -fuzztime="$time" -fuzzminimizetime=20x "$dir" </dev/null ||
			failed+=("${dir#"$PWD"/}: $target")
	done
done <<<"$dirs"
if [ ${#failed[@]} -gt 0 ]; then
	printf 'failed: %s\n' "${failed[@]}" >&2
	echo "the inputs are in testdata/fuzz of the package; go test runs them from now on" >&2
	exit 1
fi
