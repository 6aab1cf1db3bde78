#!/usr/bin/env bash
# Trains and evaluates everything that docs/results.md reports: every method with three seeds on each pretrained model,
# and the learning-rate sweep. Finished parts are skipped, so it can be stopped and called again.
#   scripts/results.sh MODEL... -- [flags of arf run]
set -euo pipefail
cd "$(dirname "$0")/.."

models=()
while (($#)) && [[ $1 != -- ]]; do models+=("$1"); shift; done
(($#)) && shift
((${#models[@]})) || { echo "usage: scripts/results.sh MODEL... [-- flags of arf run]" >&2; exit 2; }

config=configs/icons.yaml
methods='[zeroshot, ft, flyp, flyp+tca, flyp+ita, arf, flyp+class-text, arf+class-text, flyp-2x, flyp+random, flyp+random-matched, arf+random, pairs-only, caption=class-prompt]'
rates=(1e-4 1e-3)

runs=() sweep=()
for i in "${!models[@]}"; do
	name=results-$((i + 1))
	bin/arf run $config --quiet --set model="${models[i]}" --set name="$name" --set seeds='[0, 1, 2]' --set methods="$methods" "$@"
	runs+=("runs/$name") sweep+=(--sweep "runs/$name")
done
for i in "${!models[@]}"; do
	for rate in "${rates[@]}"; do
		name=results-$((i + 1))-lr-$rate
		bin/arf run $config --quiet --set model="${models[i]}" --set name="$name" --set seeds='[0, 1, 2]' --set methods='[zeroshot, flyp, arf, arf+class-text]' \
			"$@" --set train.lr="$rate" --set eval.wise_alphas='[]' --set eval.drift.samples=0
		sweep+=(--sweep "runs/$name")
	done
done
bin/arf results "${runs[@]}" "${sweep[@]}" --out docs
