// Bench measures arf against PyTorch programs that do the same work
// (scripts/bench), in alternating processes, and writes docs/bench.json and
// docs/bench.md. `make bench` runs it; docs/bench.md has the method.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"arf/torch"
	"arf/train"
)

// dir is where the bench keeps its data and the rounds that are done.
const dir = "build/bench"

type options struct {
	rounds  int
	only    []string
	quick   bool
	fresh   bool
	threads int
	python  string
	// The peer's model is open_clip's instead of the plain one of scripts/bench.
	openCLIP bool
}

func main() {
	// Both sides are processes of their own; this is how ours is started.
	if len(os.Args) == 3 && os.Args[1] == "ours" {
		exit(ours(os.Args[2]))
	}
	if len(os.Args) == 4 && os.Args[1] == "random" {
		exit(writeRandom(os.Args[2], os.Args[3]))
	}
	var o options
	only := ""
	flag.IntVar(&o.rounds, "rounds", 5, "`rounds` of each row: ours and the peer, one after the other")
	flag.StringVar(&only, "only", "", "`rows` to measure, comma-separated: "+strings.Join(names(rows(scale{precision: torch.BFloat16})), ", "))
	flag.BoolVar(&o.quick, "quick", false, "the least work, to see that everything runs; writes build/bench/quick.json and .md")
	flag.BoolVar(&o.fresh, "fresh", false, "measure anew what earlier calls have measured")
	flag.IntVar(&o.threads, "threads", 0, "CPU threads of an operator on both sides (0 = all cores)")
	flag.StringVar(&o.python, "python", "/usr/bin/python3", "`interpreter` of the peer, with torch, torchvision and Pillow")
	flag.BoolVar(&o.openCLIP, "open-clip", false, "the peer's model is open_clip's, which --python must have; rows of their own, named …"+openCLIPSuffix)
	flag.Parse()
	if only != "" {
		o.only = strings.Split(only, ",")
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	exit(bench(ctx, o))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func bench(ctx context.Context, o options) error {
	if flag.NArg() > 0 || o.rounds < 1 || o.threads < 0 {
		return errors.New("give no arguments, 1 or more rounds, and 0 or more threads; --help has the flags")
	}
	if err := torch.Load(); err != nil {
		return err
	}
	if o.threads == 0 {
		o.threads = torch.Threads()
	}
	s := scale{full: !o.quick, threads: o.threads, precision: train.AutoPrecision(torch.CPU), openCLIP: o.openCLIP}
	all := rows(s)
	for _, name := range o.only {
		if !slices.ContainsFunc(all, func(r row) bool { return r.name == name }) {
			return fmt.Errorf("--only: no row is called %q; rows are %s", name, strings.Join(names(all), ", "))
		}
	}
	b := &runner{o: o, s: s}
	var err error
	if b.journal, err = openJournal(o.quick, o.fresh); err != nil {
		return err
	}
	out, err := openReport(o)
	if err != nil {
		return err
	}
	for _, r := range all {
		if len(o.only) > 0 && !slices.Contains(o.only, r.name) {
			continue
		}
		done, err := b.row(ctx, r)
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		// After each row, so that a call that is cut short leaves the others.
		if err := out.add(r, done); err != nil {
			return err
		}
	}
	fmt.Println(out.table())
	return nil
}

// work is what a side is asked to do; both get it as a JSON object.
type work struct {
	Kind        string  `json:"kind"`      // forward, flyp, arf, eval, startup
	Model       string  `json:"model"`     // folder; "" = ViT-B/32 of random weights
	OpenCLIP    bool    `json:"open_clip"` // the peer's model is open_clip's
	Data        string  `json:"data"`      // manifest, see manifest; "" = none
	Batch       int     `json:"batch"`
	Warmup      int     `json:"warmup"` // steps that aren't measured
	Steps       int     `json:"steps"`
	Images      int     `json:"images"` // of an evaluation
	Threads     int     `json:"threads"`
	Workers     int     `json:"workers"` // that decode images
	Precision   string  `json:"precision"`
	LR          float64 `json:"lr"`
	WeightDecay float64 `json:"weight_decay"`
}

func (w work) String() string {
	text, _ := json.Marshal(w) // of plain fields
	return string(text)
}

// measured is what a side found out.
type measured struct {
	Rate       float64 `json:"rate,omitempty"`     // images a second
	Seconds    float64 `json:"seconds,omitempty"`  // of startup
	Loss       float64 `json:"loss,omitempty"`     // mean over all steps
	Accuracy   float64 `json:"accuracy,omitempty"` // of an evaluation
	PeakMemory int64   `json:"peak_memory,omitempty"`
	Engine     string  `json:"engine,omitempty"`
}
