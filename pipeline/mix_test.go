package pipeline

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"arf/anchor"
)

// The config's weights decide which pairs are retrieved: those of one comparison
// alone are that policy's, other weights retrieve others, the same ones nothing.
func TestWeightsOfAMix(t *testing.T) {
	dir := prepare(t)
	folder := filepath.Join(dir, "runs", "run", "anchors")
	retrieve := func(sets ...string) (pairs []anchor.Pair, stamp string) {
		t.Helper()
		if err := Run(context.Background(), load(t, dir, append([]string{"methods=[flyp+ita]"}, sets...)...), Pairs, Options{}); err != nil {
			t.Fatal(err)
		}
		pairs, err := anchor.ReadPairs(filepath.Join(folder, "pairs.parquet"))
		if err != nil || len(pairs) == 0 {
			t.Fatalf("%d pairs: %v", len(pairs), err)
		}
		data, err := os.ReadFile(filepath.Join(folder, "pairs", stampFile))
		if err != nil {
			t.Fatal(err)
		}
		return pairs, string(data)
	}
	const mix = "anchors.pairs.query=mix"
	alone, _ := retrieve("methods=[flyp+ita, flyp+class-text]", mix, "anchors.pairs.mix.class_text=0.5")
	policy, err := anchor.ReadPairs(filepath.Join(folder, "pairs-class-text.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(alone, policy) {
		t.Error("class_text alone isn't the policy class-text")
	}
	image, _ := retrieve()
	if also, _ := retrieve(mix, "anchors.pairs.mix.image=2"); !reflect.DeepEqual(also, image) {
		t.Error("image alone isn't the policy image")
	}
	both := []string{mix, "anchors.pairs.mix.image=1", "anchors.pairs.mix.class_text=0.5"}
	weighted, before := retrieve(both...)
	if reflect.DeepEqual(weighted, alone) || reflect.DeepEqual(weighted, image) {
		t.Error("a mix retrieves what one of its comparisons does alone")
	}
	if _, after := retrieve(both...); after != before {
		t.Error("the same weights retrieved again")
	}
	if other, _ := retrieve(mix, "anchors.pairs.mix.image=1", "anchors.pairs.mix.class_text=5"); reflect.DeepEqual(other, weighted) {
		t.Error("other weights retrieve the same pairs and scores")
	}
	if summary, err := os.ReadFile(filepath.Join(folder, "pairs.json")); err != nil || !strings.Contains(string(summary), `"by": "mix of image 1 and class-text 5"`) {
		t.Errorf("pairs.json doesn't tell the weights: %s, %v", summary, err)
	}
	page, err := Anchors(context.Background(), filepath.Dir(folder), 0)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(page); err != nil || !strings.Contains(string(text), "mix of image 1 and class-text 5") {
		t.Errorf("the page of the anchors doesn't tell the weights: %v", err)
	}
	// A weight of the captions has them written, without a method that trains on them.
	if _, err := os.Stat(filepath.Join(folder, "captions.jsonl")); err == nil {
		t.Error("captions were written that nothing uses")
	}
	captions, _ := retrieve(mix, "anchors.pairs.mix.caption_text=1")
	named, _ := retrieve("anchors.pairs.query=caption-text")
	if !reflect.DeepEqual(captions, named) {
		t.Error("caption_text alone isn't the policy caption-text")
	}
}
