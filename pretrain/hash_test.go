package pretrain

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

func TestHashIsOfTheConfigAndThePairs(t *testing.T) {
	dir := t.TempDir()
	c := smallConfig(true)
	c.Data.Path = filepath.Join(dir, "pretrain")
	pairs := makeShapes(t)
	hash := func() string {
		t.Helper()
		h, err := c.Hash(context.Background(), pairs)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	manifest := func(content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "manifest.json"), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	other := hash()
	pairs[3].Text = "changed"
	if hash() == other {
		t.Error("other texts have the same hash")
	}
	pairs[3].Text = pairs[3].Texts[0]
	if hash() != other {
		t.Error("the same pairs have another hash")
	}
	pairs[3].Image = pairs[4].Image
	if hash() == other {
		t.Error("other images have the same hash")
	}
	manifest(`{"parts": {"pretrain": {"sha256": "a"}, "pool": {"sha256": "x"}}}`)
	first := hash()
	if first == other {
		t.Error("the manifest doesn't count")
	}
	manifest(`{"parts": {"pretrain": {"sha256": "a"}, "pool": {"sha256": "y"}}}`)
	if hash() != first {
		t.Error("another part of the corpus counts")
	}
	c.Train.Steps = 7
	if hash() != first {
		t.Error("the number of steps counts, so that no run can be made longer")
	}
	manifest(`{"parts": {"pretrain": {"sha256": "b"}}}`)
	if hash() == first {
		t.Error("other pairs have the same hash")
	}
	manifest(`{"parts": {"pretrain": {"sha256": "a"}}}`)
	c.Train.LR = 1
	if hash() == first {
		t.Error("another config has the same hash")
	}
	manifest(`{`)
	if _, err := c.Hash(context.Background(), pairs); err == nil {
		t.Error("a damaged manifest is taken")
	}
}
