#!/usr/bin/env bash
# One setting at a time away from configs/icons.yaml, on validation data: configs/icons-validation.yaml names no test set.
# Finished runs are skipped, so it can be stopped and called again. Prints the table of docs/results.md.
#   scripts/sweep.sh [flags of arf run]
set -euo pipefail
cd "$(dirname "$0")/.."

runs=()
# NAME METHODS KEY=VALUE...
setting() {
	local name=sweep-$1 methods=$2 sets=()
	shift 2
	for s in "$@"; do sets+=(--set "$s"); done
	bin/arf run configs/icons-validation.yaml --quiet --set name="$name" --set methods="[$methods]" "${flags[@]}" "${sets[@]}" >&2
	runs+=("runs/$name")
}
flags=("$@")

setting default zeroshot,flyp,arf
setting lr-1e-4 flyp,arf train.lr=1e-4
setting lr-1e-3 flyp,arf train.lr=1e-3
setting epochs-20 flyp,arf train.epochs=20
setting query-class-text arf anchors.pairs.query=class-text
setting query-mix arf anchors.pairs.query=mix
setting query-image-text arf anchors.pairs.query=image-text
setting query-caption-text arf anchors.pairs.query=caption-text
setting ita-2 arf train.lambda_ita=2
setting tca-2 arf train.lambda_tca=2
setting tca-0 arf train.lambda_tca=0
setting negatives-mask flyp,arf train.negatives=mask
setting negatives-soft flyp,arf train.negatives=soft
setting k-3 arf anchors.pairs.k=3
setting k-30 arf anchors.pairs.k=30
setting csls arf anchors.pairs.csls=true
setting clip-score arf anchors.pairs.clip_score_weight=1
setting temperature-1 arf anchors.captions.temperature=1
bin/arf compare "${runs[@]}"
