package captioner

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestShippedRecipeIsValid(t *testing.T) {
	r, err := ReadRecipe("../configs/pretrain-icon-captioner.yaml")
	if err != nil {
		t.Fatal(err)
	}
	o := r.Options()
	if o.Wording.Styles["line"] != "outline" || !o.Wording.Join || o.LR != 1.5e-3 || r.HeldOut.Path == "" || o.Augment.ScaleMin == 0 {
		t.Errorf("%+v", o)
	}
}

func TestBadRecipesAreNamed(t *testing.T) {
	for content, want := range map[string]string{
		"data: {path: x}\ntrain: {epoch: 3}":                          "epochs",
		"seed: 1":                                                     "data.path",
		"data: {path: x}\ntrain: {dropout: 1.5}":                      "dropout",
		"data: {path: x}\ntrain: {views: 2, scale_min: 3}":            "scale",
		"data: {path: x}\ntrain: {lr: fast}":                          "train.lr",
		"data: {path: x}\nwording: {styles: [{value: a, name: b}]}\n": "wording.styles[0].name",
	} {
		path := filepath.Join(t.TempDir(), "recipe.yaml")
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadRecipe(path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v, want %q", content, err, want)
		}
	}
}
