#!/usr/bin/env bash
# Measures all-reduce and finetuning on processes in network namespaces of this machine, whose links have a bandwidth
# (tc's tbf), for docs/scaling.md. Needs root, the engine, bin/arf and data/icons.
#   scripts/scaling.sh [OUT]     adds to OUT/results.tsv and writes OUT/table.md (default runs/scaling)
#   ROUNDS=3 RATES="none 1gbit 100mbit" WORLDS="2 4" SIZES="4096 1048576 26214400" STEPS=4
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

out=${1:-runs/scaling}
rounds=${ROUNDS:-3} sizes=${SIZES-4096 1048576 26214400} steps=${STEPS:-4}
read -ra rates <<<"${RATES:-none 1gbit 100mbit}"
read -ra worlds <<<"${WORLDS:-2 4}"
[[ $EUID == 0 ]] || die "network namespaces need root"
apt_install iproute2 jq
[[ -x bin/arf && -f build/libarf_torch.so ]] || die "arf isn't built; make engine build"
[[ -f data/icons/manifest.json ]] || die "the icon benchmark is missing; bin/arf data icons --out data/icons"
mkdir -p "$out"
scripts/go test -c -o "$out/dist.test" ./dist

bridge=arfbr$$ name=arf$$
clean() {
	for ((i = 0; i < 8; i++)); do
		ip link del "a$i-$$" 2>/dev/null || true # a namespace's end takes its time
		ip netns del "$name-$i" 2>/dev/null || true
	done
	ip link del "$bridge" 2>/dev/null || true
}
trap clean EXIT
trap 'exit 130' INT TERM

# A namespace a process on one bridge; what each sends is limited to the rate.
network() {
	local world=$1 rate=$2
	clean
	ip link add "$bridge" type bridge
	ip link set "$bridge" up
	for ((i = 0; i < world; i++)); do
		ip netns add "$name-$i"
		ip link add "a$i-$$" type veth peer name eth0 netns "$name-$i"
		ip link set "a$i-$$" master "$bridge" up
		ip -n "$name-$i" addr add "10.77.0.$((i + 1))/24" dev eth0
		ip -n "$name-$i" link set eth0 up
		ip -n "$name-$i" link set lo up
		[[ $rate == none ]] || ip netns exec "$name-$i" tc qdisc add dev eth0 root tbf rate "$rate" burst 128kb latency 200ms
	done
}

# Runs a command as all ranks, and keeps rank 0's output.
ranks() {
	local world=$1 to=$2 failed=0 pids=()
	shift 2
	for ((i = world - 1; i >= 0; i--)); do
		RANK=$i WORLD_SIZE=$world LOCAL_RANK=$i LOCAL_WORLD_SIZE=$world MASTER_ADDR=10.77.0.1 MASTER_PORT=29500 GOMAXPROCS=1 \
			OMP_WAIT_POLICY=PASSIVE ip netns exec "$name-$i" "$@" >"$to.$i" 2>"$to.$i.err" &
		pids+=($!)
	done
	for p in "${pids[@]}"; do wait "$p" || failed=1; done
	((!failed)) || die "a process failed: $(cat "$to".*.err)"
}
sent() { ip netns exec "$name-0" cat /sys/class/net/eth0/statistics/tx_bytes; }

for ((round = 1; round <= rounds; round++)); do
	for world in "${worlds[@]}"; do
		for rate in "${rates[@]}"; do
			network "$world" "$rate"
			[[ -z $sizes ]] || ARF_TEST_WORKER=sums ARF_TEST_ARGS=${sizes// /$'\n'} ranks "$world" "$out/sums" "$out/dist.test"
			[[ -z $sizes ]] || sed -nE 's/^([0-9]+) bytes: median ([^ ]+) ms.*/sum\t'"$world\t$rate"'\t\1\t\2/p' "$out/sums.0" | tee -a "$out/results.tsv"
			before=$(sent)
			ranks "$world" "$out/step" bin/arf finetune configs/icons.yaml --method flyp --profile="$steps" --quiet --threads 1 \
				--set output="$out" --set name=profile --set precision=fp32
			# bytes of all steps, the three of the warm-up too, and of what comes before
			jq -r '[.step_seconds, (.phases[] | select(.name == "backward") | .seconds), (.phases[] | select(.name == "gradient sums") | .seconds),
				(.phases[] | select(.name == "loss") | .seconds), .gradient_sums.bytes, .gradient_sums.buckets, .gradient_sums.overlapped] | @tsv' \
				"$out/profile/profile.json" | sed "s/^/step\t$world\t$rate\t$((($(sent) - before) / (steps + 3)))\t/" | tee -a "$out/results.tsv"
		done
	done
done
awk -v rows=256 -f scripts/scaling.awk "$out/results.tsv" | tee "$out/table.md"
