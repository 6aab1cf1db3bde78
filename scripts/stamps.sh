#!/usr/bin/env bash
# Photographs with what they show, and drawings with their titles: lays data/stamps out from Debian's
# tuxpaint-stamps-default and openclipart-png, for configs/stamps.yaml (docs/anchors.md).
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
apt_install tuxpaint-stamps-default openclipart-png libimage-exiftool-perl libvips-tools

out=data/stamps
mkdir -p "$out"

# What is transparent would be black, as in Python: line drawings would be all black. Files above 1 MiB, some of hundreds of
# megapixels, are left out, and so are broken ones.
flatten() {
	local from=$1 to=$out/images/$2 folder made log=$out/flatten.log
	[[ ! -d $to ]] || return 0
	rm -rf "$to.tmp"
	(cd "$from" && find . -type d) | while read -r folder; do
		mkdir -p "$to.tmp/$folder"
		# shellcheck disable=SC2016 # the inner shell is to expand them
		find "$from/$folder" -maxdepth 1 -name '*.png' -size -2M -print0 |
			xargs -0r sh -c 'vipsthumbnail --size 256 -o "$0" "$@" || exit 1' "$PWD/$to.tmp/$folder/%s.jpg[background=255]" 2>>"$log" || true
	done
	made=$(find "$to.tmp" -name '*.jpg' | wc -l)
	((made * 10 >= $(find "$from" -name '*.png' | wc -l) * 9)) || die "only $made pictures of $from could be made; $log says why"
	mv "$to.tmp" "$to"
}
stamps=/usr/share/tuxpaint/stamps clipart=/usr/share/openclipart/png
# The folders that show things; the others have buttons, arrows, flags and patterns.
things=(animals buildings containers education electronics food geography people plants recreation science tools transportation)
flatten "$stamps" stamps
for t in "${things[@]}"; do flatten "$clipart/$t" "clipart/$t"; done

# CSV of the pictures right in a folder of stamps: path, class, and what the file beside the original says.
rows() {
	local folder=$1 class=$2 png text
	for png in "$stamps/$folder"/*.png; do
		text=
		[[ ! -f ${png%.png}.txt ]] || read -r text <"${png%.png}.txt" || true
		png=images/stamps/${png#"$stamps"/}
		printf '%s,%s,"%s"\n' "${png%.png}.jpg" "$class" "${text//\"/\"\"}"
	done
}
# Those whose pictures are there.
there() { awk -F, 'NR == FNR { have[$0]; next } $1 in have' <(cd "$out" && find images -name '*.jpg') -; }
table() { { echo image,class,text; there; } >"$out/$1.csv"; }

# Photographs of each class; every fourth is a test.
photographs=(animals/birds=bird food/fruit=fruit plants/flowers=flower food/vegetables=vegetable animals/mammals/bovines=cow
	household/tools=tool clothes=clothes animals/fish=fish space/planets=planet animals/insects=insect
	animals/mammals/rodents=rodent plants/trees=tree)
for p in "${photographs[@]}"; do rows "${p%=*}" "${p#*=}"; done >"$out/all.tmp"
awk 'NR % 4' "$out/all.tmp" | table finetune
awk '!(NR % 4)' "$out/all.tmp" | table id
for p in "${photographs[@]}"; do
	[[ ! -d $stamps/${p%=*}/cartoon ]] || rows "${p%=*}/cartoon" "${p#*=}"
done | table cartoon
# Classes that aren't finetuned.
for p in clothes/hats=hat animals/dinosaur=dinosaur animals/mammals/cats=cat animals/mammals/dogs=dog vehicles/ship=ship \
	vehicles/flight/planes=airplane hobbies/music/string="string instrument" seasonal/halloween="halloween decoration" town/roadsigns="road sign"; do
	[[ ! -d $stamps/${p%=*} ]] || rows "${p%=*}" "${p#*=}"
done | table zero-shot
rm "$out/all.tmp"
# exiftool escapes quotes as HTML in this package's titles.
{
	echo image,text,author
	exiftool -q -csv -Title -Author -r "${things[@]/#/$clipart/}" |
		sed "s|^$clipart|images/clipart|"'; s|\.png,|.jpg,|; s/&quot;/""/g; s/&amp;/\&/g' | there
} >"$out/pool.csv"
for f in "$out"/*.csv; do
	rows=$(($(wc -l <"$f") - 1))
	((rows > 0)) || die "$f has no rows"
	printf '%6d rows  %s\n' "$rows" "$f"
done
