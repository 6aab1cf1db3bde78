# shellcheck shell=bash
# Shell helpers of the set-up scripts; sourced, not run.

say() { printf '==> %s\n' "$*" >&2; }

die() {
	printf 'error: %s\n' "$*" >&2
	exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# as_root CMD…: as it is for root, otherwise through sudo.
as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif have sudo; then
		sudo "$@"
	else
		die "needs root or sudo for: $*"
	fi
}

# apt_install PKG…: installs what dpkg doesn't have yet; does nothing, and asks for nothing, when all is there.
apt_install() {
	local missing=() p
	for p in "$@"; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing+=("$p")
	done
	[ ${#missing[@]} -eq 0 ] && return 0
	say "apt-get install ${missing[*]}"
	local log
	log=$(mktemp)
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 update >"$log" 2>&1 ||
		say "apt-get update failed; trying with the package lists at hand"
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 \
		install -y --no-install-recommends "${missing[@]}" >>"$log" 2>&1 || {
		grep -E '^(E|W|Err)' "$log" >&2 || tail -n 20 "$log" >&2
		die "apt-get could not install ${missing[*]}; its output is in $log"
	}
	rm "$log"
}
