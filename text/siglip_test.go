package text

import (
	"path/filepath"
	"slices"
	"testing"
)

type siglipGolden struct {
	Cases []struct {
		Text    string
		IDs     []int32
		Decoded string
	}
}

// Ids of transformers' SiglipTokenizer and Siglip2Tokenizer, read from the
// published form of files and saved and read again.
func TestSiglipGolden(t *testing.T) {
	for _, name := range []string{"siglip", "siglip2"} {
		var golden siglipGolden
		readJSON(t, name+".json", &golden)
		if len(golden.Cases) < 500 {
			t.Fatalf("%s.json has only %d texts", name, len(golden.Cases))
		}
		dirs := map[string]string{"files": filepath.Join("testdata", name), "saved": t.TempDir()}
		if err := load(t, dirs["files"], 64).Save(dirs["saved"]); err != nil {
			t.Fatal(err)
		}
		for form, dir := range dirs {
			t.Run(name+" from "+form, func(t *testing.T) {
				tok := load(t, dir, 64)
				for _, g := range golden.Cases {
					for range 2 { // the second time from the cache
						if ids := tok.Encode(g.Text); !slices.Equal(ids, g.IDs) {
							t.Errorf("%q: %v, want %v", g.Text, ids, g.IDs)
						}
					}
					if s := tok.Decode(g.IDs); s != g.Decoded {
						t.Errorf("%q decodes to %q, want %q", g.Text, s, g.Decoded)
					}
				}
			})
		}
	}
}
