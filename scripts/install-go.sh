#!/usr/bin/env bash
# Fetches a Go toolchain from the Go module proxy into ~/.cache/arf. Debian 12's own Go (1.19) is too old to
# switch toolchains by itself. The tree is checked against the hash that Go's checksum database holds for it
# (sum.golang.org/lookup/golang.org/toolchain@VERSION), which is pinned here.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

release=go1.26.8
case "$(uname -s)-$(uname -m)" in
Linux-x86_64) platform=linux-amd64 sum=ZOmGe1OnfREDMIdb1Qi4G9JSuDPBLGExZMQ4nis1RXM= ;;
Linux-aarch64) platform=linux-arm64 sum=sYL/O6MqS68ML0kjsQ36WoYIpJqkw60TxizWUYUKQMc= ;;
*) die "no Go toolchain pinned for $(uname -sm); install Go 1.26 or newer from https://go.dev/dl" ;;
esac

cache=${XDG_CACHE_HOME:-$HOME/.cache}/arf
dest=$cache/$release
[ -x "$dest/bin/go" ] && exit 0

have apt-get && apt_install ca-certificates curl unzip
for tool in curl unzip sha256sum base64; do
	have $tool || die "fetching Go needs $tool; install it, or Go 1.26 or newer"
done

mkdir -p "$cache"
tmp=$(mktemp -d "$cache/.go-XXXXXX")
trap 'chmod -R u+w "$tmp"; rm -rf "$tmp"' EXIT

module=golang.org/toolchain@v0.0.1-$release.$platform
# GOPROXY may be a list; `direct` and `off` have no toolchains.
proxies=$(tr ',|' '\n\n' <<<"${GOPROXY:-https://proxy.golang.org}" | grep '^http' || echo https://proxy.golang.org)
for proxy in $proxies; do
	say "fetching $release from $proxy"
	curl -fsSL --retry 3 -o "$tmp/go.zip" "${proxy%/}/${module/@//@v/}.zip" && break
	rm -f "$tmp/go.zip"
done
[ -s "$tmp/go.zip" ] || die "no module proxy served $module; set GOPROXY or install Go 1.26 or newer"

unzip -q "$tmp/go.zip" -d "$tmp"

# golang.org/x/mod/sumdb/dirhash.Hash1: the hash of the sorted "sha256  name" lines of all files.
hex=$(cd "$tmp" && find "$module" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1)
# shellcheck disable=SC2059 # the format is the hash, as \x escapes
hash=$(printf "$(sed 's/../\\x&/g' <<<"$hex")" | base64)
[ "$hash" = "$sum" ] || die "$module has hash h1:$hash, expected h1:$sum"

# Module zips carry no file modes.
chmod -R a+rX,u+w "$tmp/$module"
find "$tmp/$module"/{bin,pkg/tool} -type f -exec chmod a+x {} +
mv "$tmp/$module" "$dest"
say "$("$dest/bin/go" version) is in $dest/bin; to call go by hand: export PATH=$dest/bin:\$PATH"
