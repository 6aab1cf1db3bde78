#!/usr/bin/env bash
# Installs what the project needs on Debian 12: compiler, libtorch, OpenBLAS, libvips, Go, Node and the npm
# packages that draw the icon corpus. Installs only what is missing; with nothing missing it takes no second.
#
#   scripts/setup.sh          what building and `arf demo` need
#   scripts/setup.sh test     also what the tests need (Chromium, photographs)
#   scripts/setup.sh lint     also shellcheck
#   scripts/setup.sh bench    also Python's torch, which `make bench` compares with
#
# LIBTORCH=/path: an own libtorch or Python torch is used, so Debian's isn't installed.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

packages=(g++ make pkg-config libvips-dev libjpeg-dev libfaiss-dev)
[ -n "${LIBTORCH:-}" ] || packages+=(libtorch-dev libgloo-dev libopenblas0-openmp)
for group in "$@"; do
	case $group in
	test) packages+=(chromium fonts-dejavu-core tuxpaint-stamps-default) ;;
	lint) packages+=(shellcheck) ;;
	bench) packages+=(python3-torch python3-torchvision python3-pil) ;;
	*) die "unknown group $group; known: test, lint, bench" ;;
	esac
done

if have apt-get && have dpkg-query; then
	have node && have npm || packages+=(nodejs npm)
	apt_install "${packages[@]}"
else
	for tool in g++ pkg-config node npm; do
		have $tool || die "$tool is missing; this script installs packages on Debian only: install the equivalents of ${packages[*]}"
	done
	pkg-config --exists vips || die "libvips with its headers is missing; install it (https://www.libvips.org/install.html)"
	pkg-config --exists libjpeg || die "libjpeg-turbo with its headers is missing; install it (https://libjpeg-turbo.org)"
fi

node=$(node -p 'process.versions.node.split(".")[0]')
[ "$node" -ge 18 ] || die "node $node is too old; install Node.js 18 or newer"

scripts/go version >/dev/null 2>&1 || scripts/install-go.sh

# npm's own check takes seconds, so the lock file's hash tells whether anything is to be done.
draw=corpus/draw
if [ -f $draw/package-lock.json ]; then
	lock=$(sha256sum <$draw/package-lock.json)
	if [ "$(cat $draw/node_modules/.installed 2>/dev/null)" != "$lock" ]; then
		say "npm ci in $draw"
		(cd $draw && npm ci --no-audit --no-fund --loglevel=error) >&2 || die "npm ci failed in $draw"
		echo "$lock" >$draw/node_modules/.installed
	fi
fi
