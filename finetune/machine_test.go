package finetune

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"

	"arf/dist"
	"arf/internal/disttest"
	"arf/torch"
)

const mib = 1 << 20

func TestMachineWarnsOfWhatDoesNotFit(t *testing.T) {
	var log bytes.Buffer
	defer slog.SetDefault(slog.Default())
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	whole := plan{Fixed: 100 * mib, PerImage: 10 * mib, PerText: mib, Images: 128, Texts: 128}
	// Half of the batch each, all weights and gradients; 50 of them on their way in
	// parts, and 20 for the loss over all.
	half := plan{Fixed: 100 * mib, PerImage: 10 * mib, PerText: mib, Images: 64, Texts: 64, Sums: 30 * mib, SumsInParts: 50 * mib, Global: 20 * mib}
	empty := plan{Fixed: 100 * mib}
	for name, c := range map[string]struct {
		plans     []plan
		available int64
		micro     int
		want      string
	}{
		"fits":         {[]plan{whole}, 2000 * mib, 0, ""},
		"unknown":      {[]plan{whole}, 0, 0, ""},
		"in parts":     {[]plan{whole}, 900 * mib, 0, "train.micro_batch=64 a step needs about 804 MiB"}, // 100 + 64·11 of 810
		"small parts":  {[]plan{whole}, 130 * mib, 0, "train.micro_batch=1 "},
		"already":      {[]plan{whole}, 900 * mib, 64, ""},
		"parts too":    {[]plan{whole}, 400 * mib, 64, "train.micro_batch=16 "},
		"not even one": {[]plan{whole}, 110 * mib, 0, "not even one image at a time fits; take a smaller model"},
		// 2·(100 + 64·11 + 30 + 20) = 1708; one of them alone would fit.
		"two fit":      {[]plan{half, half}, 1720 * mib, 0, ""},
		"two do not":   {[]plan{half, half}, 1700 * mib, 0, "the 2 processes of this machine need for a step about 1.7 GiB of memory, and 1.7 GiB are free; the system may end them: with train.micro_batch=32 they need about 1.0 GiB"}, // 2·(170 + 32·11)
		"two in parts": {[]plan{half, half}, 1000 * mib, 32, "train.micro_batch=16 they need about 692 MiB"},                                                                                                                             // 2·(170 + 16·11) of 900
		"one is empty": {[]plan{half, empty}, 960 * mib, 0, ""},
		"two cannot":   {[]plan{half, half}, 350 * mib, 0, "not even one image at a time fits; start fewer processes on it, or take a smaller model"},
	} {
		log.Reset()
		machine{c.plans, c.available}.warn(c.micro)
		if (c.want == "") != (log.Len() == 0) || !strings.Contains(log.String(), c.want) {
			t.Errorf("%s: said %q, want %q", name, &log, c.want)
		}
	}
}

// planned is what planStep prints.
type planned struct {
	Plans     []plan
	Available int64
	Speaks    bool
	Held      int64 // at the loss
	Global    int64 // of it, for the features of all
	Rank      int
}

// planStep plans a step and computes its loss.
func planStep(ctx context.Context, g *dist.Group, args []string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	o := quick(ARF)
	o.BatchSize, o.Group, o.ActivationCheckpointing = 50, g, args[0] == "checkpointing"
	t, err := newTask(wide(disttest.TB{}), pictures(50, 3), o.filled())
	if err != nil {
		return err
	}
	if err := t.Begin(ctx, 0); err != nil {
		return err
	}
	defer t.feed.wait()
	defer cancel()
	b, err := t.feed.next()
	if err != nil {
		return err
	}
	p := planned{Rank: g.Rank()}
	torch.Scope(func() {
		for _, w := range t.model.Trainable() {
			w.Tensor.SetRequiresGrad(true)
		}
		var m machine
		if m, p.Speaks, err = t.machine(b); err != nil {
			return
		}
		p.Plans, p.Available = m.plans, m.available
		f, backward := t.encode(b)
		before := torch.HeldBytes(torch.CPU)
		if f.global, err = newGlobal(g, b); err != nil {
			return
		}
		if err = f.global.gather(f); err != nil {
			return
		}
		loss := backward(t.lossOf(f))
		p.Held = torch.HeldBytes(torch.CPU)
		p.Global = p.Held - before
		loss.Total.Backward() // a collective: none leaves before the others are through
	})
	if err != nil {
		return err
	}
	data, err := json.Marshal(p)
	fmt.Println(string(data))
	return err
}

// Each process of a machine knows what all need: its own part of the batch, all of
// the weights, and the features of all.
func TestPlanOfSeveralProcesses(t *testing.T) {
	const n = 3
	var all [n]planned
	for i, out := range disttest.Run(t, n, "plan") {
		if err := json.Unmarshal([]byte(out), &all[i]); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	images := 0
	for i, p := range all {
		if len(p.Plans) != n || fmt.Sprint(p.Plans) != fmt.Sprint(all[0].Plans) || p.Speaks != (i == 0) {
			t.Fatalf("rank %d plans %+v", i, p)
		}
		own := p.Plans[i]
		images += own.Images
		trained := (own.Fixed - own.Held) / 3
		if own.SumsInParts != trained || own.Sums <= 0 || own.Sums > trained {
			t.Errorf("rank %d: gradients of %d bytes, on their way %d and %d", i, trained, own.Sums, own.SumsInParts)
		}
		activations := p.Held - own.Held - p.Global
		estimated := int64(own.Images)*own.PerImage + int64(own.Texts)*own.PerText
		t.Logf("rank %d: %d images and %d texts, estimated %.1f MiB, measured %.1f; of all %.2f, measured before the backward pass %.2f",
			i, own.Images, own.Texts, float64(estimated)/mib, float64(activations)/mib, float64(own.Global)/mib, float64(p.Global)/mib)
		if math.Abs(float64(estimated-activations)) > 0.15*float64(activations) {
			t.Errorf("rank %d: estimated %d bytes of activations, measured %d", i, estimated, activations)
		}
		// The rest of it comes with the backward pass.
		if own.Global < p.Global || own.Global > 2*p.Global {
			t.Errorf("rank %d: estimated %d bytes for the features of all, measured %d before the backward pass", i, own.Global, p.Global)
		}
	}
	var checkpointed planned
	if err := json.Unmarshal([]byte(disttest.Run(t, n, "plan", "checkpointing")[0]), &checkpointed); err != nil {
		t.Fatal(err)
	}
	if own := checkpointed.Plans[0]; own.Sums != own.SumsInParts || own.PerImage*2 > all[0].Plans[0].PerImage {
		t.Errorf("with activation checkpointing, whose gradients travel after the backward pass: %+v", own)
	}
	if images < 100 || images > 50*2 {
		t.Errorf("the processes encode %d images and pairs of a batch of 50", images)
	}
}
