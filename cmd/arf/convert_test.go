package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
)

// A folder goes to open_clip's layout and back without a bit's change, and what
// can't be done says what can.
func TestConvert(t *testing.T) {
	dir := small(t)
	out := mustRun(t, dir, "convert", "vit", "there", "--layout", "openclip")
	for _, want := range []string{"vit/model.safetensors", "hf layout", "float32", "wrote there: openclip layout"} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
	mustRun(t, dir, "convert", "there", "back", "--layout", "hf")
	for _, name := range []string{"model.safetensors", "preprocessor_config.json", "tokenizer.json"} {
		if !bytes.Equal(read(t, filepath.Join(dir, "vit", name)), read(t, filepath.Join(dir, "back", name))) {
			t.Errorf("%s differs after the way there and back", name)
		}
	}
	if card := string(read(t, filepath.Join(dir, "there/README.md"))); !strings.Contains(card, "library_name: open_clip") || !strings.Contains(card, "convert vit there") {
		t.Errorf("the card is\n%s", card)
	}
	mustRun(t, dir, "convert", "vit", "half", "--dtype", "bf16", "--image-size", "48")
	if a, b := len(read(t, filepath.Join(dir, "vit/model.safetensors"))), len(read(t, filepath.Join(dir, "half/model.safetensors"))); b > a*6/10 {
		t.Errorf("bf16 takes %d bytes of %d", b, a)
	}
	for _, c := range []struct {
		args  []string
		wants []string
	}{
		{[]string{"vit", "train"}, []string{"train is not empty", "--force"}},
		{[]string{"vit", "vit"}, []string{"another folder"}},
		{[]string{"vit", "x", "--layout", "onnx"}, []string{"--layout", "onnx", "openclip"}},
		{[]string{"vit", "x", "--dtype", "int8"}, []string{"--dtype", "int8", "bf16"}},
		{[]string{"vit", "x", "--architecture", "ViT-B-32"}, []string{"config.json"}},
		{[]string{"train", "x"}, []string{"config.json", "open_clip_config.json"}},
		{[]string{"half/README.md", "x"}, []string{"README.md"}},
	} {
		out, err := arf(dir, append([]string{"convert"}, c.args...)...)
		mustFail(t, out, err, c.wants...)
	}
}
