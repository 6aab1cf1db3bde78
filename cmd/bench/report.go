package main

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"arf/internal/atomicfile"
	"arf/torch"

	"github.com/dustin/go-humanize"
)

// entry is a line of bench.json: the median of both sides.
type entry struct {
	Name    string   `json:"name"`
	What    string   `json:"what"`
	Ours    float64  `json:"ours"`
	Peer    float64  `json:"peer"`
	Unit    string   `json:"unit"`
	Ratio   float64  `json:"ratio"` // median over rounds; above 1 = ours is better
	Lowest  float64  `json:"ratio_lowest"`
	Highest float64  `json:"ratio_highest"`
	Bar     *float64 `json:"bar"`             // least ratio; null = none
	Limit   float64  `json:"limit,omitempty"` // most that ours may take, in Unit
	Rounds  int      `json:"rounds"`
	Machine string   `json:"machine"`
}

// met tells whether the entry clears its bar and limit.
func (e entry) met() bool {
	return (e.Bar == nil || e.Ratio >= *e.Bar) && (e.Limit == 0 || e.Ours <= e.Limit)
}

// report is bench.json and bench.md.
type report struct {
	json, md string
	order    []string
	entries  []entry
}

func openReport(o options) (*report, error) {
	r := &report{json: "docs/bench.json", md: "docs/bench.md"}
	if o.quick {
		r.json, r.md = filepath.Join(dir, "quick.json"), filepath.Join(dir, "quick.md")
	}
	for _, openCLIP := range []bool{false, true} {
		for _, name := range names(rows(scale{precision: torch.BFloat16, openCLIP: openCLIP})) {
			r.order = append(r.order, name, name+memorySuffix)
		}
	}
	data, err := os.ReadFile(r.json)
	if errors.Is(err, os.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &r.entries)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w; mend it, or delete it to measure all rows again", r.json, err)
	}
	return r, nil
}

const memorySuffix = "-memory"

func bar(ratio float64) *float64 {
	if ratio == 0 {
		return nil
	}
	return &ratio
}

// add enters a row in place of what was there, and writes both files.
func (r *report) add(row row, rounds []round) error {
	machine := machineName(rounds[0])
	fresh := []entry{summarize(rounds, strings.HasSuffix(row.unit, "/s"), row.value)}
	fresh[0].Name, fresh[0].What, fresh[0].Unit, fresh[0].Bar, fresh[0].Limit = row.name, row.what, row.unit, bar(row.bar), row.limit
	if row.memory {
		e := summarize(rounds, false, func(m measured) float64 { return float64(m.PeakMemory >> 20) })
		e.Name, e.What, e.Unit, e.Bar = row.name+memorySuffix, "peak memory of that", "MiB", bar(row.memBar)
		fresh = append(fresh, e)
	}
	for _, e := range fresh {
		e.Machine = machine
		if i := slices.IndexFunc(r.entries, func(old entry) bool { return old.Name == e.Name }); i >= 0 {
			r.entries[i] = e
		} else {
			r.entries = append(r.entries, e)
		}
	}
	slices.SortStableFunc(r.entries, func(a, b entry) int { return slices.Index(r.order, a.Name) - slices.Index(r.order, b.Name) })
	text, err := json.MarshalIndent(r.entries, "", "  ")
	if err != nil {
		return err
	}
	if err := atomicfile.Write(r.json, append(text, '\n'), 0o644); err != nil {
		return err
	}
	return atomicfile.Write(r.md, []byte(r.page()), 0o644)
}

// summarize takes medians; more tells whether more is better.
func summarize(rounds []round, more bool, value func(measured) float64) entry {
	var ours, peer, ratios []float64
	for _, r := range rounds {
		a, b := value(r.Ours), value(r.Peer)
		ours, peer = append(ours, a), append(peer, b)
		if more {
			ratios = append(ratios, a/b)
		} else {
			ratios = append(ratios, b/a)
		}
	}
	return entry{
		Ours: digits(median(ours)), Peer: digits(median(peer)), Ratio: digits(median(ratios)),
		Lowest: digits(slices.Min(ratios)), Highest: digits(slices.Max(ratios)), Rounds: len(rounds),
	}
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// digits rounds to four significant ones.
func digits(x float64) float64 {
	if x == 0 || math.IsInf(x, 0) || math.IsNaN(x) {
		return x
	}
	unit := math.Pow(10, math.Floor(math.Log10(math.Abs(x)))-3)
	return math.Round(x/unit) * unit
}

// machineName says where a round was measured and with what.
func machineName(r round) string {
	cpu := runtime.GOARCH
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
				cpu = strings.TrimSpace(value)
				break
			}
		}
	}
	memory := ""
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		var kb uint64
		if _, err := fmt.Sscanf(string(text), "MemTotal: %d kB", &kb); err == nil {
			memory = ", " + humanize.IBytes(kb<<10)
		}
	}
	engines := ""
	if r.Ours.Engine != "" {
		engines = ", " + r.Ours.Engine + ", " + r.Peer.Engine
	}
	return fmt.Sprintf("%s, %d cores%s%s", cpu, runtime.NumCPU(), memory, engines)
}

//go:embed method.md
var method string

func (r *report) page() string {
	return "# ARF against PyTorch\n" + r.table() + "\n" + method
}

// table is one of each peer, with the machines below.
func (r *report) table() string {
	var b strings.Builder
	for _, peer := range []struct {
		name string
		of   bool
	}{{"PyTorch", false}, {"open_clip", true}} {
		of := slices.DeleteFunc(slices.Clone(r.entries), func(e entry) bool {
			return strings.HasSuffix(strings.TrimSuffix(e.Name, memorySuffix), openCLIPSuffix) != peer.of
		})
		if len(of) > 0 {
			writeTable(&b, peer.name, of)
		}
	}
	return strings.TrimPrefix(b.String(), "\n")
}

func writeTable(b *strings.Builder, peer string, entries []entry) {
	fmt.Fprintf(b, "\n| work | ours | %s | unit | ratio (lowest – highest) | bar | met |\n|---|---|---|---|---|---|---|\n", peer)
	for _, e := range entries {
		bar, met := "–", ""
		if e.Bar != nil {
			bar, met = fmt.Sprintf("≥ %.4g", *e.Bar), "no"
			if e.Limit > 0 {
				bar += fmt.Sprintf(", ≤ %.4g %s", e.Limit, e.Unit)
			}
			if e.met() {
				met = "yes"
			}
		}
		fmt.Fprintf(b, "| %s (`%s`) | %.4g | %.4g | %s | %.2f (%.2f – %.2f) | %s | %s |\n",
			e.What, e.Name, e.Ours, e.Peer, e.Unit, e.Ratio, e.Lowest, e.Highest, bar, met)
	}
	var machines []string
	for _, e := range entries {
		if !slices.ContainsFunc(machines, func(m string) bool { return strings.HasPrefix(m, e.Machine) }) {
			machines = append(machines, e.Machine)
			b.WriteString("\n" + e.Machine + "\n")
		}
	}
}
