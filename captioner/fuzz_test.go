package captioner

import (
	"encoding/json"
	"os"
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
