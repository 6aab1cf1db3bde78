package main

import (
	"path/filepath"

	"arf/torch"
)

// scale is what the rows' sizes depend on.
type scale struct {
	full      bool // not --quick
	threads   int
	precision torch.DType
	openCLIP  bool // the peer's model is open_clip's
}

func (s scale) pick(full, quick int) int {
	if s.full {
		return full
	}
	return quick
}

// row is one comparison.
type row struct {
	name   string // of --only and of the entries in bench.json
	what   string // for the table
	unit   string
	bar    float64 // least ratio; 0 = none
	memory bool    // also an entry for peak memory …
	memBar float64 // … and its bar
	limit  float64 // of startup: the most seconds for ours
	needs  string
	work   work
}

// What rows need; see prepare.
const (
	needIcons = "icons" // anchors and manifest of the icon benchmark
	needJPEG  = "jpeg"  // JPEG files and their manifests
)

const iconModel = "models/icon-clip"

// file is a path in the folder of the bench's data.
func (s scale) file(name string) string {
	if s.full {
		return filepath.Join(dir, "data", name)
	}
	return filepath.Join(dir, "data-quick", name)
}

// rows are the comparisons that need no GPU, with the bars that this project set
// itself, and a few without a bar that show what those alone would hide.
func rows(s scale) []row {
	base := work{Threads: s.threads, Workers: 2, OpenCLIP: s.openCLIP, Precision: s.precision.String(), LR: 1e-5, WeightDecay: 0.1}
	with := func(change func(*work)) work {
		w := base
		change(&w)
		return w
	}
	forward := func(p torch.DType) work {
		return with(func(w *work) {
			w.Kind, w.Precision, w.Batch, w.Warmup, w.Steps = "forward", p.String(), s.pick(64, 4), s.pick(2, 1), s.pick(9, 1)
		})
	}
	all := []row{{
		name: "vit-b-32-forward-float32", what: "ViT-B/32 image tower, forward, fp32", unit: "images/s", bar: 1,
		work: forward(torch.Float32),
	}}
	if s.precision == torch.BFloat16 {
		all = append(all, row{
			name: "vit-b-32-forward-bfloat16", what: "ViT-B/32 image tower, forward, bf16", unit: "images/s", bar: 1,
			work: forward(torch.BFloat16),
		})
	}
	all = append(all, row{
		name: "arf-step-icon", what: "ARF step (class + tca + ita), icon-clip, 64 px PNG", unit: "pairs/s", bar: 1.5,
		memory: true, memBar: 1.25, needs: needIcons,
		work: with(func(w *work) {
			w.Kind, w.Model, w.Data, w.Batch, w.Warmup, w.Steps = "arf", iconModel, s.file("arf.json"), s.pick(128, 16), s.pick(3, 1), s.pick(24, 2)
		}),
	}, row{
		name: "flyp-step-vit-b-32", what: "FLYP step, ViT-B/32, 224 px from JPEG files", unit: "pairs/s", bar: 1.3,
		memory: true, needs: needJPEG,
		work: with(func(w *work) {
			w.Kind, w.Data, w.Batch, w.Warmup, w.Steps = "flyp", s.file("flyp.json"), s.pick(64, 4), 1, s.pick(5, 1)
		}),
	}, row{
		name: "eval-jpeg-icon", what: "evaluation from JPEG files, icon-clip", unit: "images/s", bar: 1.5,
		memory: true, needs: needJPEG,
		work: with(func(w *work) {
			w.Kind, w.Model, w.Data, w.Batch, w.Images = "eval", iconModel, s.file("eval.json"), 256, s.pick(10000, 500)
		}),
	}, row{
		name: "eval-jpeg-vit-b-32", what: "evaluation from JPEG files, ViT-B/32", unit: "images/s",
		memory: true, needs: needJPEG,
		work: with(func(w *work) {
			w.Kind, w.Data, w.Batch, w.Images = "eval", s.file("eval-vit.json"), s.pick(64, 8), s.pick(1500, 16)
		}),
	}, row{
		name: "startup", what: "start-up to the first ARF step, icon-clip, warm cache", unit: "s", bar: 1, limit: 3,
		needs: needIcons,
		work: with(func(w *work) {
			w.Kind, w.Model, w.Data, w.Batch, w.Steps = "startup", iconModel, s.file("arf.json"), s.pick(128, 16), 1
		}),
	})
	if s.openCLIP {
		for i := range all {
			all[i].name += openCLIPSuffix
		}
	}
	return all
}

// openCLIPSuffix marks rows whose peer is open_clip.
const openCLIPSuffix = "-open-clip"

func names(rows []row) []string {
	var names []string
	for _, r := range rows {
		names = append(names, r.name)
	}
	return names
}
