#!/usr/bin/env bash
# Runs scripts of this folder with the reference libraries, in a Python
# environment of their own, which is made when it isn't there.
#
#   scripts/golden/run.sh golden    write all golden files anew
#   scripts/golden/run.sh parity    let the libraries load what arf writes; measured errors → build/parity.json
#   scripts/golden/run.sh benchmark MODEL IMAGES [ARF]   the numbers of arf eval and of clip_benchmark
#   scripts/golden/run.sh NAME      one script
#
# GOLDEN_VENV  where the environment is (build/golden-venv)
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=${GOLDEN_VENV:-build/golden-venv}

if [[ ! -x $venv/bin/python ]]; then
	/usr/bin/python3 -c 'import torch, torchvision' 2>/dev/null || {
		echo "golden: Debian's PyTorch is missing; mend: apt-get install python3-torch python3-torchvision python3-venv" >&2
		exit 1
	}
	/usr/bin/python3 -m venv --system-site-packages "$venv"
fi
if ! cmp -s scripts/golden/requirements.txt "$venv/requirements.txt"; then
	# Without dependencies: pip would replace Debian's torch by gigabytes.
	alone='^open_clip\|^timm\|^clip-benchmark\|^pycoco'
	grep -v "$alone" scripts/golden/requirements.txt | "$venv/bin/pip" install -q -r /dev/stdin
	grep "$alone" scripts/golden/requirements.txt | "$venv/bin/pip" install -q --no-deps -r /dev/stdin
	cp scripts/golden/requirements.txt "$venv/requirements.txt"
fi

export HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error PYTHONWARNINGS=ignore PYTHONDONTWRITEBYTECODE=1
golden=(clipbpe text_small tokenizer imaging_small preprocess weights clip_small positions features features_store metrics blip)
case ${1:-} in
golden) scripts=("${golden[@]}") ;;
'') echo "usage: ${0##*/} golden|parity|NAME" >&2 && exit 2 ;;
*) scripts=("$1") ;;
esac
for name in "${scripts[@]}"; do
	echo "golden: $name"
	"$venv/bin/python" "scripts/golden/$name.py" "${@:2}"
done
