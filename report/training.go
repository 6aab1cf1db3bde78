package report

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"gonum.org/v1/gonum/stat"
)

// step is one line of metrics.jsonl. A null number wasn't finite.
type step struct {
	Step         *int     `json:"step"`
	Epoch        *float64 `json:"epoch"`
	Loss         *float64 `json:"loss"`
	LearningRate *float64 `json:"lr"`
	LogitScale   *float64 `json:"logit_scale"`
	GradNorm     *float64 `json:"grad_norm"`
	Rate         *float64 `json:"samples_per_second"`
	PeakMemory   *int64   `json:"peak_memory_bytes"`
	Skipped      bool     `json:"skipped"` // gradient not finite, weights left alone

	Rest  map[string]jsontext.Value `json:",inline"`
	Terms map[string]*float64       `json:"-"` // the loss_<name> of Rest
}

// fillTerms takes the loss terms, whatever an objective is called, from the
// fields without a name here.
func (s *step) fillTerms(file string, line int) error {
	s.Terms = map[string]*float64{}
	for name, text := range s.Rest {
		if term, ok := strings.CutPrefix(name, "loss_"); ok {
			var x *float64
			if err := decode(file, line, text, &x); err != nil {
				return fmt.Errorf("%w (in field %s)", err, name)
			}
			s.Terms[term] = x
		}
	}
	s.Rest = nil
	return nil
}

// quantity is one panel of the training curves.
type quantity struct {
	Label string
	of    func(*step) *float64
}

// knownTerms is the order of the loss terms; others follow by name.
var knownTerms = []string{"class", "ce", "tca", "ita"}

// quantities that any finetuning logged: the loss, its terms, the rest.
func (r *Run) quantities() []quantity {
	var terms []string
	for _, bySeed := range r.training {
		for _, t := range bySeed {
			for i := range t.steps {
				for name := range t.steps[i].Terms {
					if !slices.Contains(terms, name) {
						terms = append(terms, name)
					}
				}
			}
		}
	}
	rank := func(name string) int {
		if i := slices.Index(knownTerms, name); i >= 0 {
			return i
		}
		return len(knownTerms)
	}
	slices.SortFunc(terms, func(a, b string) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b)) })
	out := []quantity{{"loss", func(s *step) *float64 { return s.Loss }}}
	for _, name := range terms {
		out = append(out, quantity{"loss term: " + name, func(s *step) *float64 { return s.Terms[name] }})
	}
	return append(out,
		quantity{"learning rate", func(s *step) *float64 { return s.LearningRate }},
		quantity{"logit_scale", func(s *step) *float64 { return s.LogitScale }},
		quantity{"gradient norm", func(s *step) *float64 { return s.GradNorm }})
}

// No run takes more steps; a larger number is a broken file.
const mostSteps = 1 << 40

// Beyond this size a loss has no meaning, and its mean may overflow.
const mostValue = 1e100

// training is metrics.jsonl of one finetuning, by ascending step.
type training struct {
	steps []step
}

func (r *Run) loadTraining() error {
	files, err := fs.Glob(os.DirFS(r.Dir), "train/*/seed-*/metrics.jsonl")
	if err != nil {
		return err
	}
	for _, file := range files {
		name := filepath.Join(r.Dir, filepath.FromSlash(file))
		parts := strings.Split(file, "/")
		seed, err := folderNumber(name, parts[2], "seed-", strconv.Atoi)
		if err != nil {
			return err
		}
		if !r.named.has(parts[1], seed) {
			continue
		}
		t, err := r.readTraining(name)
		if err != nil {
			return err
		}
		if len(t.steps) > 0 {
			put(r.training, parts[1], seed, t)
		}
	}
	return nil
}

func (r *Run) readTraining(name string) (*training, error) {
	t := &training{}
	notFinite := 0
	firstBad := 0
	err := readLines(name, func(line int, data []byte, last bool) error {
		var s step
		if err := decode(name, line, data, &s); err != nil {
			if last { // cut off while being written
				r.warnf("%s: line %d is cut off and was left out.", name, line)
				return nil
			}
			return err
		}
		if s.Step == nil || *s.Step < 0 || *s.Step > mostSteps {
			return fmt.Errorf("%s, line %d: field step is missing or no count of steps", name, line)
		}
		if err := s.fillTerms(name, line); err != nil {
			return err
		}
		if s.Skipped { // its zeros stand for what JSON can't say
			s.Loss, s.Terms, s.GradNorm = nil, nil, nil
		} else if s.Loss == nil || math.Abs(*s.Loss) > mostValue {
			if notFinite++; notFinite == 1 {
				firstBad = *s.Step
			}
		}
		t.steps = append(t.steps, s)
		return nil
	})
	if err != nil {
		return nil, err
	}
	// A resumed run writes the steps after its checkpoint again: the last wins.
	slices.SortStableFunc(t.steps, func(a, b step) int { return *a.Step - *b.Step })
	kept := t.steps[:0]
	for i, s := range t.steps {
		if i+1 == len(t.steps) || *t.steps[i+1].Step != *s.Step {
			kept = append(kept, s)
		}
	}
	t.steps = kept
	skipped := 0
	for _, s := range t.steps {
		if s.Skipped {
			skipped++
		}
	}
	if skipped > 0 {
		r.warnf("%s: %s skipped, since its gradient was not finite.", name, plural(skipped, "step was", "steps were"))
	}
	if notFinite > 0 {
		r.warnf("%s: the loss is not finite in %d steps, first in step %d. Training may have diverged; try a lower lr.", name, notFinite, firstBad)
	}
	return t, nil
}

// readLines calls f for each line that isn't blank; last is set for a final
// line without a line break.
func readLines(name string, f func(line int, data []byte, last bool) error) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	in := bufio.NewReader(file)
	for line := 1; ; line++ {
		data, err := in.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("%s: %w", name, err)
		}
		last := err != nil
		if data = bytes.TrimSpace(data); len(data) > 0 {
			if err := f(line, data, last); err != nil {
				return err
			}
		}
		if last {
			return nil
		}
	}
}

// trainingSummary is one row of the table of costs.
type trainingSummary struct {
	Method     string
	Seeds      int
	Steps      int
	Epochs     float64
	Loss       float64 // mean of the last tenth of the steps
	Rate       float64 // median samples/s
	PeakMemory int64   // bytes
	Seconds    float64 // of one seed; 0 when unknown
}

func (r *Run) trainingSummary(method string) trainingSummary {
	out := trainingSummary{Method: method, Seeds: len(r.training[method]), Seconds: r.Info.FinetuneSeconds[method]}
	var losses, rates []float64
	for _, t := range r.training[method] {
		for i, s := range t.steps {
			if s.Loss != nil && math.Abs(*s.Loss) <= mostValue && i >= len(t.steps)*9/10 {
				losses = append(losses, *s.Loss)
			}
			if s.Rate != nil {
				rates = append(rates, *s.Rate)
			}
			if s.PeakMemory != nil {
				out.PeakMemory = max(out.PeakMemory, *s.PeakMemory)
			}
			if s.Epoch != nil {
				out.Epochs = max(out.Epochs, *s.Epoch)
			}
		}
		out.Steps = max(out.Steps, *t.steps[len(t.steps)-1].Step)
	}
	out.Loss, out.Rate = math.NaN(), math.NaN()
	if len(losses) > 0 {
		out.Loss = stat.Mean(losses, nil)
	}
	if len(rates) > 0 {
		slices.Sort(rates)
		out.Rate = stat.Quantile(0.5, stat.Empirical, rates, nil)
	}
	return out
}

// band is one method's quantity in bins of steps: mean over the bin and the
// seeds, and the range of the seeds' means. NaN where a bin is empty.
type band struct {
	Method         string
	Mean, Low, Top []float64
}

// bins divides 0…lastStep of all methods into equal parts.
func (r *Run) bins() (width float64, count int) {
	const most = 120
	last := 0
	for _, bySeed := range r.training {
		for _, t := range bySeed {
			last = max(last, *t.steps[len(t.steps)-1].Step)
		}
	}
	count = min(most, last+1)
	return float64(last+1) / float64(count), count
}

// band bins one quantity; ok is false when the method never logged it. A loss
// term that is always 0 isn't part of the method.
func (r *Run) band(method string, q quantity) (b band, ok bool) {
	width, count := r.bins()
	b = band{Method: method}
	fill := func() []float64 {
		x := make([]float64, count)
		for i := range x {
			x[i] = math.NaN()
		}
		return x
	}
	b.Mean, b.Low, b.Top = fill(), fill(), fill()
	total, seeds := make([]float64, count), make([]int, count)
	for _, seed := range sortedKeys(r.training[method]) {
		sums, counts := make([]float64, count), make([]int, count)
		for i := range r.training[method][seed].steps {
			s := &r.training[method][seed].steps[i]
			v := q.of(s)
			if v == nil || math.Abs(*v) > mostValue {
				continue
			}
			bin := min(int(float64(*s.Step)/width), count-1)
			sums[bin] += *v
			counts[bin]++
			ok = ok || *v != 0
		}
		for i := range sums {
			if counts[i] == 0 {
				continue
			}
			mean := sums[i] / float64(counts[i])
			total[i] += mean
			seeds[i]++
			b.Mean[i] = total[i] / float64(seeds[i])
			if math.IsNaN(b.Low[i]) || mean < b.Low[i] {
				b.Low[i] = mean
			}
			if math.IsNaN(b.Top[i]) || mean > b.Top[i] {
				b.Top[i] = mean
			}
		}
	}
	return b, ok
}
