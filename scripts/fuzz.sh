#!/usr/bin/env bash
# Runs every fuzz target of the packages for a while: scripts/fuzz.sh 10s ./...
set -euo pipefail
cd "$(dirname "$0")/.."

time=$1
shift
scripts/go list -f '{{.Dir}}' "$@" | while read -r dir; do
	targets=$(sed -nE 's/^func (Fuzz[A-Za-z0-9_]*)\(.*/\1/p' "$dir"/*_test.go 2>/dev/null || true)
	for target in $targets; do
		echo "== ${dir#"$PWD"/}: $target"
		scripts/go test -run='^$' -fuzz="^$target\$" -fuzztime="$time" -fuzzminimizetime=20x "$dir"
	done
done
