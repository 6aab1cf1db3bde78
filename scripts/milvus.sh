#!/usr/bin/env bash
# Runs the tests of anchors.pairs.index: milvus against real servers of PyPI: Milvus itself, in one process
# (64-bit x86 Linux only), and Milvus Lite, whose program speaks Milvus's protocol with fewer indexes and no sign-in
# (also arm64). They're fetched into build/, once (58 and 55 MB; 420 MB unpacked).
#   scripts/milvus.sh [flags of go test]
#
# ARF_TEST_MILVUS       a milvus program to use in its place; beside it are its libraries
# ARF_TEST_MILVUS_LITE  a milvus program of Milvus Lite to use in its place
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
export PIP_ROOT_USER_ACTION=ignore

# fetch DIR NAME VERSION SHA256…: a wheel, unpacked; one hash for each machine it's built for.
fetch() {
	local dir=$1 wheel=$2==$3 hashes
	hashes=$(printf ' --hash=sha256:%s' "${@:4}")
	have pip3 || die "pip is missing; mend: apt-get install python3-pip"
	rm -rf "$dir"
	pip3 install -q --no-deps --only-binary=:all: --require-hashes --target "$dir" -r /dev/stdin <<<"$wheel$hashes" ||
		die "pip could not fetch $wheel of PyPI into $dir"
}

# The last version with a program for Linux.
dir=build/milvus-2.3.5
if [[ -z ${ARF_TEST_MILVUS:-} && $(uname -sm) == 'Linux x86_64' ]]; then
	if [[ ! -x $dir/server/milvus ]]; then
		fetch "$dir" milvus 2.3.5 69515a0630ce29fd10e101fa442afea8ca1387b93a456cd9bd41fdf3deb93d04
		say "unpacking milvus 2.3.5 into $dir/server (240 MB)"
		# The program comes last: where it is, all is.
		python3 - "$dir" <<-'python'
			import lzma, os, pathlib, shutil, sys
			to = pathlib.Path(sys.argv[1], "server")
			to.mkdir()
			packed = pathlib.Path(sys.argv[1], "milvus", "data", "bin").glob("*.lzma")
			for file in sorted(packed, key=lambda p: p.stem == "milvus"):
			    with lzma.open(file) as r, open(to / "part", "wb") as w:
			        shutil.copyfileobj(r, w)
			    os.chmod(to / "part", 0o755)
			    os.rename(to / "part", to / file.stem)
			    file.unlink()
		python
	fi
	ARF_TEST_MILVUS=$PWD/$dir/server/milvus
fi

# The last version with a program of Milvus's own code; later ones are written anew in Python.
dir=build/milvus-lite-2.5.1
if [[ -z ${ARF_TEST_MILVUS_LITE:-} ]]; then
	if [[ ! -x $dir/milvus_lite/lib/milvus ]]; then
		fetch "$dir" milvus-lite 2.5.1 25ce13f4b8d46876dd2b7ac8563d7d8306da7ff3999bb0d14b116b30f71d706c \
			a13277e9bacc6933dea172e42231f7e6135bd3bdb073dd2688ee180418abd8d9
		chmod +x "$dir/milvus_lite/lib/milvus"
	fi
	ARF_TEST_MILVUS_LITE=$PWD/$dir/milvus_lite/lib/milvus
fi
export ARF_TEST_MILVUS ARF_TEST_MILVUS_LITE
scripts/go test -count=1 -timeout=30m -v "$@" ./milvus
scripts/go test -count=1 -timeout=30m -v -run=Milvus "$@" ./index ./anchor
