package captioner

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// FuzzConfig: any bytes give an error, or a config that comes back as it is
// when it's written.
func FuzzConfig(f *testing.F) {
	small, err := json.Marshal(newModel(f, false).Decoder.Config)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(small)
	shipped, err := os.ReadFile("../models/icon-captioner/config.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(shipped)
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseConfig(data)
		if err != nil {
			return
		}
		written, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := parseConfig(written); err != nil || again != c {
			t.Errorf("%+v comes back as %+v, %v", c, again, err)
		}
	})
}

func FuzzBLIPConfig(f *testing.F) {
	for _, dir := range blipCases {
		data, err := os.ReadFile(filepath.Join(dir, "config.json"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"model_type":"blip","vision_config":null,"text_config":{"num_attention_heads":0}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseBLIPConfig(data)
		if err != nil {
			return
		}
		if c.Vision.tokens() < 2 || c.Text.Width%c.Text.Heads != 0 || c.Text.SEP >= int64(c.Text.VocabSize) || c.preprocess().Validate() != nil {
			t.Errorf("%+v is taken", c)
		}
	})
}
