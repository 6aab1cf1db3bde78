# results.tsv of scripts/scaling.sh → medians beside the model of docs/scaling.md, as Markdown.
# A sum of S bytes: 2(W−1)α + 2(W−1)/W·S/β. A step: its time without a limit, the features' and the exposed part of the
# gradients' time, max(T_g/n, T_g − (1−1/n)·T_b). β is the payload's: 1,448 of a frame's 1,514 bytes.
function median(list, v, n, i, j, x) {
	n = split(list, v, " ")
	for (i = 2; i <= n; i++) for (j = i; j > 1 && v[j-1] + 0 > v[j] + 0; j--) { x = v[j]; v[j] = v[j-1]; v[j-1] = x }
	return (v[int((n + 1) / 2)] + v[int(n / 2) + 1]) / 2
}
function beta(rate) { return (rate ~ /gbit/ ? 1e9 : 1e6) * rate / 8 * 1448 / 1514 }
function put(key, value) { if (!(key in all)) keys[++count] = key; all[key] = all[key] " " value }
$1 == "sum" { put("sum " $2 " " $3 " " $4, $5); if ($4 == 4096 && $3 == "none") put("alpha " $2, $5 / 1000 / (2 * ($2 - 1))) }
$1 == "step" { k = $2 " " $3; put("step " k, $5); put("back " k, $6); put("wait " k, $7); put("sent " k, $4); bytes = $9; n = $10; over = $11 }
END {
	print "| processes | link | sum of | measured, ms | predicted | predicted / measured |\n|---|---|---|---|---|---|"
	for (i = 1; i <= count; i++) {
		split(keys[i], f, " ")
		if (f[1] != "sum" || f[3] == "none") continue
		W = f[2]; m = median(all[keys[i]])
		p = 1000 * (2 * (W-1) * median(all["alpha " W]) + 2 * (W-1) / W * f[4] / beta(f[3]))
		printf "| %d | %s | %d B | %.3g | %.3g | %.2f |\n", W, f[3], f[4], m, p, p / m
	}
	printf "\n%d buckets of %d bytes together, %d sent during backward\n\n", n, bytes, over
	print "| processes | link | step, ms | of it waiting for sums | predicted step | predicted / measured | MB sent a step |\n|---|---|---|---|---|---|---|"
	for (i = 1; i <= count; i++) {
		split(keys[i], f, " ")
		if (f[1] != "step") continue
		k = f[2] " " f[3]; W = f[2]; m = median(all["step " k]); none = W " none"
		p = median(all["step " none])
		if (f[3] != "none") {
			tg = 2 * (W-1) / W * bytes / beta(f[3]); tb = median(all["back " none])
			tf = 3 * (W-1) * 4 * rows / W * 256 / beta(f[3])
			exposed = tg - (1 - 1/n) * tb; if (exposed < tg / n) exposed = tg / n
			p += tf + exposed - median(all["wait " none]); 
		}
		printf "| %d | %s | %.0f | %.0f | %.0f | %.2f | %.1f |\n", W, f[3], 1000 * m, 1000 * median(all["wait " k]), 1000 * p, p / m, median(all["sent " k]) / 1e6
	}
}
