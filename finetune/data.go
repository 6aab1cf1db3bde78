package finetune

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"arf/dataset"
	"arf/eval"
)

// Data is what a run trains on. Keys are those of Finetune's samples.
type Data struct {
	Finetune dataset.Dataset // images with labels
	// Classes are the class names by label, as prompts word them; nil takes
	// Finetune's own.
	Classes   []string
	Templates []string // of class prompts, "{}" standing for the name; nil = "a photo of a {}."
	// Captions of each image, for tca; one is drawn a step.
	Captions map[string][]string
	// Pairs that each image retrieved from Pool, for ita; one is drawn a step.
	Pairs        map[string][]PairRef
	Pool         dataset.Dataset // images with texts
	ZeroShotHead *eval.Head      // where method ft starts, with a row for each of Classes
}

// PairRef names a pair of the pool.
type PairRef struct {
	Row int // its number in the pool
}

// prepared is Data checked, by the numbers of Finetune's samples.
type prepared struct {
	Data
	classes   []string
	templates []string
	labels    []int       // −1 for a sample that can't be described; the loader will skip it
	captions  [][]string  // nil without tca
	pairs     [][]PairRef // nil without ita

	missingCaptions, missingPairs int
	digest                        string // of all this and of the samples' keys
}

// prepare checks what the needed objectives use, before anything is computed.
func prepare(data Data, needs Needs, o Options) (*prepared, error) {
	if data.Finetune == nil || data.Finetune.Len() == 0 {
		return nil, errors.New("the finetune set is empty; set data.finetune")
	}
	d := &prepared{Data: data, classes: data.Classes, templates: data.Templates}
	own := dataset.Classes(data.Finetune)
	if d.classes == nil {
		d.classes = own
	}
	if len(d.classes) == 0 {
		return nil, errors.New("the finetune set names no classes; set data.classes")
	}
	if own != nil && len(own) != len(d.classes) {
		return nil, fmt.Errorf("%d class names for a finetune set of %d classes; data.classes must name each, in the order of the labels", len(d.classes), len(own))
	}
	if len(d.templates) == 0 {
		d.templates = []string{"a photo of a {}."}
	}
	for _, t := range d.templates {
		if needs.Prompts && !strings.Contains(t, "{}") {
			return nil, fmt.Errorf("template %q has no {} for the class name", t)
		}
	}
	if needs.Pairs && (data.Pool == nil || data.Pool.Len() == 0) {
		return nil, errors.New("the pool of candidate pairs is empty; set data.pool")
	}
	if err := d.describe(needs, o); err != nil {
		return nil, err
	}
	return d, nil
}

// gap counts finetune images that lack something.
type gap struct {
	count int
	first string
}

func (g *gap) add(key string) {
	if g.count++; g.count == 1 {
		g.first = key
	}
}

// describe goes through the samples without reading their images.
func (d *prepared) describe(needs Needs, o Options) error {
	n := d.Finetune.Len()
	d.labels = make([]int, n)
	if needs.Captions {
		d.captions = make([][]string, n)
	}
	if needs.Pairs {
		d.pairs = make([][]PairRef, n)
	}
	h := sha256.New()
	sum := json.NewEncoder(h)
	record := func(v any) error { return sum.Encode(v) }
	poolSize := 0
	if needs.Pairs {
		poolSize = d.Pool.Len()
	}
	if err := record([]any{d.classes, d.templates, poolSize, n}); err != nil {
		return err
	}
	var noCaption, noPair gap
	for i := range n {
		s, err := dataset.Describe(d.Finetune, i)
		if err != nil {
			d.labels[i] = -1
			continue
		}
		if s.Label < 0 || s.Label >= len(d.classes) {
			return fmt.Errorf("finetune image %s has the label %d; there are %d classes, labelled from 0", s.Key, s.Label, len(d.classes))
		}
		d.labels[i] = s.Label
		if needs.Captions {
			if d.captions[i] = written(d.Captions[s.Key]); len(d.captions[i]) == 0 {
				noCaption.add(s.Key)
			}
		}
		if needs.Pairs {
			d.pairs[i] = d.Pairs[s.Key]
			for _, p := range d.pairs[i] {
				if p.Row < 0 || p.Row >= poolSize {
					return fmt.Errorf("finetune image %s retrieved row %d of a pool of %d pairs; the pairs belong to another pool: run `arf retrieve` again", s.Key, p.Row, poolSize)
				}
			}
			if len(d.pairs[i]) == 0 {
				noPair.add(s.Key)
			}
		}
		line := []any{s.Key, s.Label}
		if needs.Captions {
			line = append(line, d.captions[i])
		}
		if needs.Pairs {
			line = append(line, d.pairs[i])
		}
		if err := record(line); err != nil {
			return err
		}
	}
	d.digest = hex.EncodeToString(h.Sum(nil))
	d.missingCaptions, d.missingPairs = noCaption.count, noPair.count
	return errors.Join(
		noCaption.judge("captions", "arf caption", "take their class prompt", n, anyKey(d.Captions), o.AllowMissingCaptions),
		noPair.judge("retrieved pairs", "arf retrieve", "bring none", n, anyKey(d.Pairs), o.AllowMissingPairs))
}

// judge makes an error of a gap, or where it's allowed a warning. sample is a
// key that does have what is missing.
func (g gap) judge(what, command, otherwise string, n int, sample string, allowed bool) error {
	if g.count == 0 {
		return nil
	}
	message := fmt.Sprintf("%d of %d finetune images have no %s, the first is %s", g.count, n, what, g.first)
	if g.count == n && sample != "" {
		// Most often the two were made from different folders.
		return fmt.Errorf("%s; those that are there belong to other images, such as %s: run `%s` again", message, sample, command)
	}
	if allowed && g.count < n {
		slog.Warn(message + "; these images " + otherwise)
		return nil
	}
	return fmt.Errorf("%s; run `%s`", message, command)
}

// anyKey is the least key of m, so that messages don't vary.
func anyKey[V any](m map[string]V) string {
	least, found := "", false
	for k := range m {
		if !found || k < least {
			least, found = k, true
		}
	}
	return least
}

// written leaves out blank texts.
func written(texts []string) []string {
	kept := make([]string, 0, len(texts))
	for _, s := range texts {
		if strings.TrimSpace(s) != "" {
			kept = append(kept, s)
		}
	}
	return kept
}
