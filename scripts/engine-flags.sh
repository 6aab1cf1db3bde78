#!/usr/bin/env bash
# Writes the compiler's and the linker's flags of the engine into DIR/cxxflags and DIR/ldflags, and touches a
# file only when its content changes, so that make rebuilds after a switch or an upgrade of libtorch.
#
#   scripts/engine-flags.sh DIR [LIBTORCH]
#
# LIBTORCH: empty = Debian's libtorch-dev; else an unpacked libtorch zip or the folder of an installed Python
# torch (python3 -c 'import torch; print(torch.__path__[0])').
set -euo pipefail
. "$(dirname "$0")/lib.sh"

dir=$1 libtorch=${2:-}
cxx=${CXX:-g++}
multiarch=$($cxx -print-multiarch 2>/dev/null || true)

if [ -n "$libtorch" ]; then
	libtorch=$(realpath "$libtorch")
	include=$libtorch/include lib=$libtorch/lib
	[ -f "$lib/libtorch_cpu.so" ] || die "LIBTORCH=$libtorch has no lib/libtorch_cpu.so; give the unpacked libtorch folder, or the one printed by: python3 -c 'import torch; print(torch.__path__[0])'"
	includes="-isystem $include -isystem $include/torch/csrc/api/include"
else
	include=/usr/include lib=/usr/lib/$multiarch
	[ -f "$lib/libtorch_cpu.so" ] || die "libtorch is not installed; mend: make setup, or LIBTORCH=/path/to/libtorch make engine"
	# /usr/include itself is searched anyway, and naming it would break <cstdlib>'s include_next.
	includes="-isystem $include/torch/csrc/api/include"
fi
version_h=$include/torch/csrc/api/include/torch/version.h
[ -f "$version_h" ] || die "$version_h is missing; install libtorch's headers (Debian: libtorch-dev)"
version=$(awk '$2 ~ /^TORCH_VERSION_(MAJOR|MINOR|PATCH)$/ {printf "%s%s", dot, $3; dot = "."}' "$version_h")

# libtorch is built with one of two std::string ABIs; c10::Device(std::string) tells which.
abi=1
[ "$(nm -D --defined-only "$lib/libc10.so" | grep -c _ZN3c106DeviceC1ERKSs)" -eq 0 ] || abi=0

defines="-D_GLIBCXX_USE_CXX11_ABI=$abi"
libs="-Wl,--as-needed -ltorch_cpu -lc10"
if [ -d "$include/gloo" ]; then
	defines+=" -DUSE_C10D_GLOO"
	[ -n "$libtorch" ] || libs+=" -lgloo"
fi
# Loading torch_cuda registers the CUDA device; nothing here calls it by name, so --as-needed would drop it.
if [ -f "$lib/libtorch_cuda.so" ]; then
	libs+=" -Wl,--no-as-needed -ltorch_cuda -lc10_cuda"
	# The GPU's memory is counted where libtorch's CUDA headers can be used. They include those of CUDA itself: the
	# toolkit's, or those of packages that come with Python's torch.
	for cuda in "$include" "${CUDA_HOME:-/usr/local/cuda}/include" "${libtorch%/*}"/nvidia/{cuda_runtime,cu[0-9]*}/include; do
		# shellcheck disable=SC2086  # lists of flags
		if $cxx -std=c++20 -fsyntax-only $defines $includes -isystem "$cuda" -x c++ - 2>/dev/null <<<'#include <c10/cuda/CUDACachingAllocator.h>'; then
			defines+=" -DARF_WITH_CUDA"
			includes+=" -isystem $cuda"
			# Several processes on GPUs need NCCL, whose header is the system's or comes with Python's torch.
			for nccl in "$cuda" "${libtorch%/*}/nvidia/nccl/include"; do
				# shellcheck disable=SC2086
				if $cxx -std=c++20 -fsyntax-only $defines -DUSE_C10D_NCCL $includes -isystem "$nccl" -x c++ - 2>/dev/null <<<'#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>'; then
					defines+=" -DUSE_C10D_NCCL"
					includes+=" -isystem $nccl"
					break
				fi
			done
			break
		fi
	done
fi

# DT_RPATH (not RUNPATH) also holds for libtorch's own libraries: it finds the OpenMP OpenBLAS, which is twice as
# fast here as the pthread one, whichever of them is the system's default.
rpath=
[ -n "$libtorch" ] && rpath=$lib
openblas=/usr/lib/$multiarch/openblas-openmp
[ -f "$openblas/libblas.so.3" ] && rpath+="${rpath:+:}$openblas"

# put FILE: stdin into FILE, unless that is its content already.
put() {
	cat >"$1.new"
	if cmp -s "$1.new" "$1"; then rm "$1.new"; else mv "$1.new" "$1"; fi
}
mkdir -p "$dir"
put "$dir/cxxflags" <<<"$defines $includes"
put "$dir/ldflags" <<<"-L$lib $libs${rpath:+ -Wl,--disable-new-dtags,-rpath,$rpath}"
put "$dir/libtorch" <<<"$version ${libtorch:-debian} $(stat -Lc '%s %Y' "$lib/libtorch_cpu.so")"
