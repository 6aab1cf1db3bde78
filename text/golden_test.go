package text

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
)

func load(t testing.TB, dir string, context int) *tokenizer {
	t.Helper()
	tok, err := Load(dir, context)
	if err != nil {
		t.Fatal(err)
	}
	return tok.(*tokenizer)
}

func readJSON(t testing.TB, name string, to any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, to); err != nil {
		t.Fatal(err)
	}
}

type goldenText struct {
	Text    string
	IDs     []int32
	Cut16   []int32
	Decoded string
}

// TestGolden compares ids with those of Hugging Face's tokenizers, for both
// kinds, read from each form of files and saved and read again.
func TestGolden(t *testing.T) {
	var golden map[string][]goldenText
	readJSON(t, "golden.json", &golden)
	if len(golden) != 2 {
		t.Fatal("golden.json lacks a tokenizer")
	}
	for name, texts := range golden {
		dirs := map[string]string{"files": filepath.Join("testdata", name), "saved": t.TempDir()}
		if err := load(t, dirs["files"], 0).Save(dirs["saved"]); err != nil {
			t.Fatal(err)
		}
		if name == "clip" {
			dirs["vocab and merges"] = t.TempDir()
			for _, file := range []string{vocabFile, mergesFile} {
				b, err := os.ReadFile(filepath.Join("testdata", name, file))
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dirs["vocab and merges"], file), b, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
		for form, dir := range dirs {
			t.Run(name+" from "+form, func(t *testing.T) {
				long, short := load(t, dir, 1000), load(t, dir, 16)
				for _, g := range texts {
					for range 2 { // the second time from the cache
						if ids := long.Encode(g.Text); !slices.Equal(ids, g.IDs) {
							t.Errorf("%q: %v, want %v", g.Text, ids, g.IDs)
						}
					}
					if ids := short.Encode(g.Text); !slices.Equal(ids, g.Cut16) {
						t.Errorf("%q cut to 16: %v, want %v", g.Text, ids, g.Cut16)
					}
					if s := long.Decode(g.IDs); s != g.Decoded {
						t.Errorf("%q decodes to %q, want %q", g.Text, s, g.Decoded)
					}
				}
			})
		}
	}
}

// TestWords compares normalization and splitting of single characters.
func TestWords(t *testing.T) {
	var all map[string]map[string][]string
	readJSON(t, "words.json", &all)
	for name, chars := range all {
		tok := load(t, filepath.Join("testdata", name), 77)
		if len(chars) < 1000 {
			t.Fatalf("words.json has only %d characters for %s", len(chars), name)
		}
		for hex, want := range chars {
			c, err := strconv.ParseInt(hex, 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			tok.words(tok.normalize(fmt.Sprintf("A%cb", rune(c))), func(w string) { got = append(got, w) })
			if !slices.Equal(got, want) {
				t.Errorf("%s: U+%s: %q, want %q", name, hex, got, want)
			}
		}
	}
}
