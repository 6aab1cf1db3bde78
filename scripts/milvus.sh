#!/usr/bin/env bash
# Runs the tests of anchors.pairs.index: milvus against a real server: Milvus Lite of PyPI, whose program speaks Milvus's
# protocol on a port of this machine. It's fetched into build/milvus-lite, once (55 MB; 64-bit x86 Linux or arm64).
#   scripts/milvus.sh [flags of go test]
#
# ARF_TEST_MILVUS  a server's program to use in its place
set -euo pipefail
cd "$(dirname "$0")/.."

# The last version with a program of Milvus's own code; later ones are written anew in Python.
version=2.5.1
dir=build/milvus-lite
if [[ -z ${ARF_TEST_MILVUS:-} ]]; then
	if [[ ! -x $dir/milvus_lite/lib/milvus ]]; then
		command -v pip3 >/dev/null || {
			echo "error: pip is missing; mend: apt-get install python3-pip" >&2
			exit 1
		}
		rm -rf "$dir"
		pip3 install -q --no-deps --target "$dir" "milvus-lite==$version"
		chmod +x "$dir/milvus_lite/lib/milvus"
	fi
	ARF_TEST_MILVUS=$PWD/$dir/milvus_lite/lib/milvus
fi
export ARF_TEST_MILVUS
scripts/go test -count=1 -v "$@" ./milvus
scripts/go test -count=1 -v -run=Milvus "$@" ./anchor
