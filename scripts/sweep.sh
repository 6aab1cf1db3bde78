#!/usr/bin/env bash
# Runs that differ from a config in one setting each, and the table that compares them. Finished runs are skipped, so it
# can be stopped and called again.
#   scripts/sweep.sh validation [flags of arf run]     settings on validation data; configs/icons-validation.yaml names no test set
#   scripts/sweep.sh pairs MODEL [flags of arf run]    other pairs than flyp+ita's and flyp+random's, three seeds on the tests: what explains these
#   scripts/sweep.sh pool MODEL [flags of arf run]     arf with ever smaller pools, three seeds on the tests (docs/anchors.md)
#   scripts/sweep.sh anchors MODEL [flags of arf run]  retrieval policy × k × captioner of arf, beyond docs/results.md, three seeds on the tests (docs/anchors.md)
set -euo pipefail
cd "$(dirname "$0")/.."

runs=()
# NAME METHODS KEY=VALUE...
setting() {
	local name=$prefix-$1 methods=$2 sets=()
	shift 2
	for s in "$@"; do sets+=(--set "$s"); done
	bin/arf run "$config" --quiet --set name="$name" --set methods="[$methods]" "${flags[@]}" "${sets[@]}" >&2
	runs+=("runs/$name")
}

case ${1-} in
validation)
	config=configs/icons-validation.yaml prefix=sweep flags=("${@:2}")
	setting default zeroshot,flyp,flyp+ita,flyp+random,arf,arf+random
	setting lr-1e-4 flyp,arf train.lr=1e-4
	setting lr-1e-3 flyp,arf train.lr=1e-3
	setting epochs-20 flyp,arf train.epochs=20
	setting query-image-text arf anchors.pairs.query=image-text
	setting query-class-text arf anchors.pairs.query=class-text
	setting query-caption-text arf anchors.pairs.query=caption-text
	setting query-mix arf anchors.pairs.query=mix
	setting captions-prompt caption=class-prompt
	setting captions-retrieval arf anchors.captions.captioner=retrieval
	setting query-class-text-captions-prompt caption=class-prompt anchors.pairs.query=class-text
	setting query-class-text-captions-retrieval arf anchors.pairs.query=class-text anchors.captions.captioner=retrieval
	setting query-class-text-k-30 arf anchors.pairs.query=class-text anchors.pairs.k=30
	setting query-class-text-k-100 arf anchors.pairs.query=class-text anchors.pairs.k=100
	setting k-3 arf anchors.pairs.k=3
	setting k-30 arf anchors.pairs.k=30
	setting k-100 arf anchors.pairs.k=100
	setting csls arf anchors.pairs.csls=true
	setting clip-score arf anchors.pairs.clip_score_weight=1
	setting ita-2 arf train.lambda_ita=2
	setting tca-2 arf train.lambda_tca=2
	setting tca-0 arf train.lambda_tca=0
	setting negatives-mask flyp,arf train.negatives=mask
	setting negatives-soft flyp,arf train.negatives=soft
	setting temperature-1 arf anchors.captions.temperature=1
	;;
pairs)
	model=${2?which pretrained model?}
	config=configs/icons.yaml prefix=pairs-$(basename "${model%/model}")
	flags=(--set "model=$model" --set "seeds=[0, 1, 2]" --set "eval.wise_alphas=[]" "${@:3}")
	setting image-k-100 flyp+ita anchors.pairs.k=100
	setting image-mask flyp+ita train.negatives=mask
	setting image-text flyp+ita anchors.pairs.query=image-text
	setting image-text-k-100 flyp+ita anchors.pairs.query=image-text anchors.pairs.k=100
	setting class-text flyp+ita anchors.pairs.query=class-text
	setting class-text-k-100 flyp+ita anchors.pairs.query=class-text anchors.pairs.k=100
	setting mix flyp+ita anchors.pairs.query=mix
	setting random-k-5 flyp+random anchors.pairs.k=5
	;;
pool)
	model=${2?which pretrained model?}
	config=configs/icons.yaml prefix=pool-$(basename "${model%/model}")
	flags=(--set "model=$model" --set "seeds=[0, 1, 2]" --set "eval.wise_alphas=[]" --set eval.drift.samples=0 "${@:3}")
	for pairs in 12000 3000 600; do
		setting $pairs arf,arf+class-text,arf+random data.pool.limit=$pairs
	done
	;;
anchors)
	model=${2?which pretrained model?}
	config=configs/icons.yaml prefix=anchors-$(basename "${model%/model}")
	flags=(--set "model=$model" --set "seeds=[0, 1, 2]" --set "eval.wise_alphas=[]" --set eval.drift.samples=0 "${@:3}")
	# What isn't in docs/results.md, and caption=class-prompt beside arf: both take the same pairs.
	for query in image-text caption-text mix; do
		setting $query arf,caption=class-prompt anchors.pairs.query=$query
	done
	setting class-text caption=class-prompt anchors.pairs.query=class-text
	for query in image image-text class-text caption-text mix; do
		setting $query-retrieval arf anchors.pairs.query=$query anchors.captions.captioner=retrieval
	done
	for query in image class-text; do
		setting $query-k-100 arf,caption=class-prompt anchors.pairs.query=$query anchors.pairs.k=100
		setting $query-k-100-retrieval arf anchors.pairs.query=$query anchors.pairs.k=100 anchors.captions.captioner=retrieval
	done
	;;
*)
	sed -n '2,8s/^# \?//p' "$0" >&2
	exit 2
	;;
esac
bin/arf compare "${runs[@]}"
