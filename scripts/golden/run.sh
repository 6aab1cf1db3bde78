#!/usr/bin/env bash
# Runs scripts of this folder with the reference libraries, in a Python
# environment of their own, which is made when it isn't there.
#
#   scripts/golden/run.sh golden    write all golden files anew
#   scripts/golden/run.sh parity    let the libraries load what arf writes; measured errors → build/parity.json
#                                   and of indexes, in both directions, → build/parity-faiss.json
#   scripts/golden/run.sh benchmark MODEL IMAGES [ARF]   the numbers of arf eval and of clip_benchmark
#   scripts/golden/run.sh NAME      one script
#
# GOLDEN_VENV  where the environment is (build/golden-venv); that of FAISS's scripts is beside it (build/golden-venv-faiss)
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=${GOLDEN_VENV:-build/golden-venv}

# torch_env makes the environment of most scripts, faiss_env that of FAISS's, which has another numpy.
torch_env() {
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
}

faiss_env() {
	[[ -x $venv-faiss/bin/python ]] || /usr/bin/python3 -m venv "$venv-faiss"
	if ! cmp -s scripts/golden/requirements-faiss.txt "$venv-faiss/requirements.txt"; then
		"$venv-faiss/bin/pip" install -q -r scripts/golden/requirements-faiss.txt
		cp scripts/golden/requirements-faiss.txt "$venv-faiss/requirements.txt"
	fi
}

export HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error PYTHONWARNINGS=ignore PYTHONDONTWRITEBYTECODE=1
golden=(clipbpe text_small tokenizer imaging_small preprocess weights clip_small positions features features_store metrics blip)
case ${1:-} in
golden) scripts=("${golden[@]}") ;;
parity) scripts=(parity faiss_parity) && set -- ;;
'') echo "usage: ${0##*/} golden|parity|NAME" >&2 && exit 2 ;;
*) scripts=("$1") ;;
esac
status=0
for name in "${scripts[@]}"; do
	echo "golden: $name"
	case $name in
	faiss_*)
		faiss_env
		python=$venv-faiss/bin/python
		;;
	*)
		torch_env
		python=$venv/bin/python
		;;
	esac
	"$python" "scripts/golden/$name.py" "${@:2}" || status=$? # the others are still told
done
exit "$status"
