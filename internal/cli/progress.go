package cli

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"arf/train"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress shows training: a bar on a terminal, else a line every few seconds.
type progress struct {
	name  string
	out   io.Writer
	bar   *progressbar.ProgressBar
	total int
	last  time.Time
	rate  float64 // samples a second, smoothed
	begun time.Time
	first int
}

const lineEvery = 10 * time.Second

func newProgress(name string, steps int) *progress {
	p := &progress{name: name, out: os.Stderr, total: steps, begun: time.Now()}
	if term.IsTerminal(int(os.Stderr.Fd())) {
		p.bar = progressbar.NewOptions(steps, progressbar.OptionSetWriter(os.Stderr), progressbar.OptionSetDescription(name),
			progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(true), progressbar.OptionThrottle(200*time.Millisecond),
			progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(24))
	}
	return p
}

func (p *progress) step(m train.Metrics) {
	if p.first == 0 {
		p.first = m.Step
	}
	if p.rate == 0 {
		p.rate = m.SamplesPerSecond
	}
	p.rate = 0.95*p.rate + 0.05*m.SamplesPerSecond
	if p.bar != nil {
		p.bar.Describe(p.name + ": " + summary(m, p.rate))
		_ = p.bar.Set(m.Step)
		return
	}
	if now := time.Now(); now.Sub(p.last) >= lineEvery || m.Step == p.total {
		p.last = now
		eta := ""
		if done := m.Step - p.first; done > 0 {
			left := now.Sub(p.begun) / time.Duration(done) * time.Duration(p.total-m.Step)
			eta = "  ETA " + left.Round(time.Second).String()
		}
		fmt.Fprintf(p.out, "%s: step %d/%d  %s%s\n", p.name, m.Step, p.total, summary(m, p.rate), eta)
	}
}

func summary(m train.Metrics, rate float64) string {
	var b strings.Builder
	if m.Skipped { // its loss isn't a number
		b.WriteString("skipped, gradient not finite")
	} else {
		fmt.Fprintf(&b, "loss %.3f", m.Loss)
	}
	names := make([]string, 0, len(m.Terms))
	for name := range m.Terms {
		names = append(names, name)
	}
	slices.Sort(names)
	if len(names) > 1 {
		for i, name := range names {
			sep := " "
			if i == 0 {
				sep = " ("
			}
			fmt.Fprintf(&b, "%s%s %.3f", sep, name, m.Terms[name])
		}
		b.WriteByte(')')
	}
	fmt.Fprintf(&b, "  %.0f pairs/s", rate)
	return b.String()
}
