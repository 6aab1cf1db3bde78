package finetune

import (
	"math/rand/v2"
	"strings"
)

// purpose separates the draws of one sample, so that a method that draws more
// draws the rest alike.
type purpose uint64

const (
	drawTemplate purpose = iota + 1
	drawCaption
	drawPair
	drawWording
	drawCrop
)

// drawer draws by a generator that is a function of seed, step, sample and
// purpose only: a resumed run draws what the interrupted one would have.
type drawer struct {
	seed   uint64
	source rand.PCG
	rng    *rand.Rand
}

func newDrawer(seed uint64) *drawer {
	d := &drawer{seed: seed}
	d.rng = rand.New(&d.source)
	return d
}

// at gives the generator of a draw, valid until the next call.
func (d *drawer) at(p purpose, step, sample int) *rand.Rand {
	d.source.Seed(mix(mix(d.seed)+uint64(step))+uint64(p), mix(uint64(sample)))
	return d.rng
}

// mix spreads neighbouring numbers (the finaliser of SplitMix64, Steele et al. 2014).
func mix(x uint64) uint64 {
	x += 0x9E3779B97F4A7C15
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}

// prompt is the class name of a sample in the template of the step.
func (d *drawer) prompt(data *prepared, step, sample int) string {
	template := data.templates[d.at(drawTemplate, step, sample).IntN(len(data.templates))]
	return strings.ReplaceAll(template, "{}", data.classes[data.labels[sample]])
}

// caption is one of the sample's; one without any takes its prompt.
func (d *drawer) caption(data *prepared, step, sample int) string {
	all := data.captions[sample]
	if len(all) == 0 {
		return d.prompt(data, step, sample)
	}
	return all[d.at(drawCaption, step, sample).IntN(len(all))]
}

// pair is the place of one of the sample's k pairs.
func (d *drawer) pair(k, step, sample int) int { return d.at(drawPair, step, sample).IntN(k) }

// wording is one of a pair's texts.
func (d *drawer) wording(texts []string, step, sample int) string {
	return texts[d.at(drawWording, step, sample).IntN(len(texts))]
}
