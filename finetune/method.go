package finetune

import (
	"fmt"
	"slices"
	"strings"
)

// Method is a preset of objectives, as ARF's tables compare them.
type Method string

const (
	ZeroShot Method = "zeroshot" // the pretrained model as it is
	FT       Method = "ft"       // cross-entropy; image tower and a head that starts as the zero-shot one
	FLYP     Method = "flyp"     // contrastive with class prompts
	FLYPTCA  Method = "flyp+tca" // and captions
	FLYPITA  Method = "flyp+ita" // and retrieved pairs
	ARF      Method = "arf"      // and both
)

// presets has the objectives of each method, by their names in objectives.
var presets = map[Method][]string{
	ZeroShot: nil,
	FT:       {"ce"},
	FLYP:     {"class"},
	FLYPTCA:  {"class", "tca"},
	FLYPITA:  {"class", "ita"},
	ARF:      {"class", "tca", "ita"},
}

// Methods lists all methods, each adding to the ones before.
func Methods() []Method { return []Method{ZeroShot, FT, FLYP, FLYPTCA, FLYPITA, ARF} }

// Objectives names the terms of a method's loss; none for zeroshot.
func (m Method) Objectives() []string { return slices.Clone(presets[m]) }

// UsesCaptions tells whether the method has the term tca.
func (m Method) UsesCaptions() bool { return slices.Contains(presets[m], "tca") }

// UsesPairs tells whether the method has the term ita.
func (m Method) UsesPairs() bool { return slices.Contains(presets[m], "ita") }

func (m Method) check() error {
	if _, ok := presets[m]; !ok {
		var names []string
		for _, known := range Methods() {
			names = append(names, string(known))
		}
		return fmt.Errorf("method %q is not known; known are %s", m, strings.Join(names, ", "))
	}
	return nil
}
