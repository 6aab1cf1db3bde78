package profile

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"arf/internal/atomicfile"
	"arf/torch"
)

// Report is a profile's result; times and counts are a step's.
type Report struct {
	Method           string  `json:"method,omitempty"`
	Model            string  `json:"model,omitempty"`
	Device           string  `json:"device"`
	Engine           string  `json:"engine"`
	Precision        string  `json:"precision"`
	Threads          int     `json:"threads"`
	Cores            int     `json:"cores"`
	Steps            int     `json:"steps"`   // measured
	Samples          int     `json:"samples"` // finetune images a step
	StepSeconds      float64 `json:"step_seconds"`
	SamplesPerSecond float64 `json:"samples_per_second"`
	PeakMemoryBytes  int64   `json:"peak_memory_bytes"` // of the process, loading included

	Machine Machine `json:"machine"`
	GFLOP   float64 `json:"gflop"` // of matrix products and convolutions
	// RooflineSeconds is the sum over classes of the longer of FLOPs at the
	// machine's best product and bytes at its best copy.
	RooflineSeconds float64 `json:"roofline_seconds"`
	// Utilisation is the share of the best product's FLOPs that the step reaches.
	Utilisation float64 `json:"utilisation"`

	// GradientSums is how the last step's gradients were summed over several
	// processes; nil for a process alone.
	GradientSums *torch.Overlap `json:"gradient_sums,omitempty"`

	Phases    []Phase `json:"phases"`
	Classes   []Class `json:"classes"`
	Operators []Class `json:"operators"` // those that take the most time
}

// Class is a kind of operators, or a single one.
type Class struct {
	Name            string  `json:"name"`
	Calls           float64 `json:"calls"`
	Seconds         float64 `json:"seconds"`
	GFLOP           float64 `json:"gflop"`
	GB              float64 `json:"gb"` // read and written
	RooflineSeconds float64 `json:"roofline_seconds"`
}

// kinds of operators by parts of their names; the first that fits counts.
var kinds = []struct {
	class string
	parts []string
}{
	{"autograd", []string{"autograd::", "AccumulateGrad"}},
	{"attention, fused", []string{"scaled_dot_product"}},
	{"convolution", []string{"conv"}},
	{"matrix product", []string{"::mm", "::bmm", "addmm", "baddbmm", "::matmul", "::linear", "mkldnn_linear"}},
	{"normalisation", []string{"layer_norm", "batch_norm", "group_norm"}},
	{"softmax and loss", []string{"softmax", "nll_loss", "cross_entropy"}},
	{"embedding and index", []string{"embedding", "::index", "gather", "scatter"}},
	{"pooling", []string{"pool"}},
	{"copy, cast, fill", []string{"::copy_", "::to", "_to_copy", "::clone", "contiguous", "::cat", "::zero", "::fill", "::ones", "::full", "::stack"}},
	{"activation", []string{"relu", "gelu", "silu", "threshold", "sigmoid", "tanh"}},
	{"elementwise and sums", []string{"::add", "::sub", "::mul", "::div", "::sum", "::mean", "::exp", "::clamp", "::norm", "::sqrt", "::neg", "::pow", "_foreach_"}},
}

func classOf(op string) string {
	for _, k := range kinds {
		if slices.ContainsFunc(k.parts, func(part string) bool { return strings.Contains(op, part) }) {
			return k.class
		}
	}
	return "views and others"
}

// sorted puts the longest first and adds each one's roofline.
func (r *Report) sorted(of map[string]*Class) []Class {
	var all []Class
	for _, c := range of {
		c.RooflineSeconds = max(c.GFLOP/r.Machine.GFLOPs, c.GB/r.Machine.GBPerSecond)
		all = append(all, *c)
	}
	slices.SortFunc(all, func(a, b Class) int {
		if a.Seconds != b.Seconds {
			if a.Seconds > b.Seconds {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	return all
}

// Save writes profile.json.
func (r *Report) Save(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(path, append(text, '\n'), 0o644)
}

// Table prints the report for people.
func (r *Report) Table(w io.Writer) error {
	fmt.Fprintf(w, "%s, %s, %s, %s, %d threads: %d steps of %d images, %.1f ms a step, %.1f images/s, peak memory %d MiB\n",
		r.Method, r.Device, r.Engine, r.Precision, r.Threads, r.Steps, r.Samples, 1e3*r.StepSeconds, r.SamplesPerSecond, r.PeakMemoryBytes>>20)
	fmt.Fprintf(w, "at best %.0f GFLOP/s (%d³ product in %s; %.0f in float32), %.1f GB/s (copy)\n",
		r.Machine.GFLOPs, r.Machine.GEMMSize, r.Precision, r.Machine.GFLOPsFloat32, r.Machine.GBPerSecond)
	fmt.Fprintf(w, "a step has %.1f GFLOP: %.0f%% of the best product; roofline %.1f ms\n\n", r.GFLOP, 100*r.Utilisation, 1e3*r.RooflineSeconds)
	if s := r.GradientSums; s != nil {
		fmt.Fprintf(w, "gradients: %.1f MB in %d buckets, %d of them sent during the backward pass\n\n", float64(s.Bytes)/1e6, s.Buckets, s.Overlapped)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "phase\tms\tshare\tin operators, ms\tGFLOP\tGFLOP/s\t")
	for _, p := range r.Phases {
		fmt.Fprintf(t, "%s\t%.1f\t%.1f%%\t%.1f\t%.2f\t%.0f\t\n", p.Name, 1e3*p.Seconds, 100*p.Share, 1e3*p.OperatorSeconds, p.GFLOP, p.GFLOP/max(p.Seconds, 1e-9))
	}
	fmt.Fprintln(t, "\t\t\t\t\t\t\noperators\tms\tshare\tcalls\tGFLOP\tGB\troofline, ms\t")
	for _, c := range r.Classes {
		fmt.Fprintf(t, "%s\t%.1f\t%.1f%%\t%.0f\t%.2f\t%.2f\t%.1f\t\n",
			c.Name, 1e3*c.Seconds, 100*c.Seconds/r.StepSeconds, c.Calls, c.GFLOP, c.GB, 1e3*c.RooflineSeconds)
	}
	return t.Flush()
}
