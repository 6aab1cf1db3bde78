package text

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestLoadErrors(t *testing.T) {
	good := func(t *testing.T, name string) map[string][]byte {
		files := map[string][]byte{}
		for _, file := range []string{tokenizerFile, configFile, specialFile, vocabFile, mergesFile} {
			if b, err := os.ReadFile(filepath.Join("testdata", name, file)); err == nil {
				files[file] = b
			}
		}
		return files
	}
	replace := func(file, old, new string) func(map[string][]byte) {
		return func(f map[string][]byte) {
			b := bytes.Replace(f[file], []byte(old), []byte(new), 1)
			if bytes.Equal(b, f[file]) {
				panic("no " + old)
			}
			f[file] = b
		}
	}
	put := func(file, content string) func(map[string][]byte) {
		return func(f map[string][]byte) { f[file] = []byte(content) }
	}
	without := func(names ...string) func(map[string][]byte) {
		return func(f map[string][]byte) {
			for _, n := range names {
				delete(f, n)
			}
		}
	}
	both := func(a, b func(map[string][]byte)) func(map[string][]byte) {
		return func(f map[string][]byte) { a(f); b(f) }
	}
	for _, c := range []struct {
		name, from string
		change     func(map[string][]byte)
		want       string
	}{
		{"nothing there", "wordpiece", without(tokenizerFile), "neither tokenizer.json nor"},
		{"merges missing", "clip", without(tokenizerFile, mergesFile), "neither tokenizer.json nor"},
		{"not JSON", "wordpiece", put(tokenizerFile, "{"), "tokenizer.json: unexpected end"},
		{"empty JSON", "wordpiece", put(tokenizerFile, "{}"), "model: missing"},
		{"unigram", "wordpiece", replace(tokenizerFile, `"type": "WordPiece",
    "unk_token"`, `"type": "Unigram", "unk_token"`), `type "Unigram"`},
		{"other normalizer", "wordpiece", replace(tokenizerFile, "BertNormalizer", "Nmt"), `normalizer: type "Nmt"`},
		{"other words", "wordpiece", replace(tokenizerFile, "BertPreTokenizer", "Metaspace"), `pre_tokenizer: type "Metaspace"`},
		{"negative id", "wordpiece", replace(tokenizerFile, `"<|pad|>": 0`, `"<|pad|>": -1`), "must be 0 to"},
		{"huge id", "wordpiece", replace(tokenizerFile, `"cart": `, `"cart": 9999999`), "must be 0 to"},
		{"double id", "wordpiece", replace(tokenizerFile, `"!": 2`, `"!": 3`), "share id 3"},
		{"id as text", "wordpiece", replace(tokenizerFile, `"!": 2`, `"!": "2"`), "vocab"},
		{"no unknown", "wordpiece", replace(tokenizerFile, `"unk_token": "<|unk|>"`, `"unk_token": "[UNK]"`), `unk_token "[UNK]"`},
		{"another pattern", "clip", replace(tokenizerFile, `[\\p{N}]`, `[\\p{N}]+`), "Split pattern isn't CLIP's"},
		{"merge of nothing", "clip", replace(tokenizerFile, `"merges":[[`, `"merges":[["qq","zz"],[`), `"qq" and "zz"`},
		{"merge of three", "clip", replace(tokenizerFile, `"merges":[[`, `"merges":[["a","b","c"],[`), "3 parts"},
		{"bad merges.txt", "clip", both(without(tokenizerFile), put(mergesFile, "#version: 0.2\na b\nabc\n")), "merges.txt line 3"},
		{"empty merges.txt", "clip", both(without(tokenizerFile), put(mergesFile, "#version: 0.2\n")), "merges.txt: empty"},
		{"not CLIP's vocabulary", "clip", both(without(tokenizerFile), put(vocabFile, `{"a":0}`)), "no <|startoftext|>"},
		{"bad config", "wordpiece", put(configFile, "[]"), "tokenizer_config.json"},
		{"bad token", "wordpiece", replace(configFile, `"bos_token": "<|startoftext|>"`, `"bos_token": 5`), "bos_token: must be a text"},
		{"pad not there", "wordpiece", replace(configFile, `"pad_token": "<|pad|>"`, `"pad_token": "[PAD]"`), `pad_token "[PAD]"`},
		{"no length", "wordpiece", replace(configFile, `"model_max_length": 77`, `"model_max_length": 1e30`), "context length 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := good(t, c.from)
			c.change(files)
			dir := t.TempDir()
			for name, content := range files {
				if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			_, err := Load(dir, 0)
			if err == nil {
				t.Fatal("no error")
			}
			if s := err.Error(); !strings.Contains(s, c.want) || !strings.Contains(s, dir) {
				t.Errorf("%q; want %q and the folder", s, c.want)
			}
		})
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none"), 77); err == nil {
		t.Error("a missing folder was accepted")
	}
	if _, err := Load(filepath.Join("testdata", "clip"), 2); err == nil {
		t.Error("context length 2 was accepted")
	}
}

func TestSave(t *testing.T) {
	for _, name := range []string{"clip", "wordpiece"} {
		dir := filepath.Join(t.TempDir(), "a", "b")
		if err := load(t, filepath.Join("testdata", name), 32).Save(dir); err != nil {
			t.Fatal(err)
		}
		again := load(t, dir, 0)
		if again.ContextLength() != 32 {
			t.Errorf("%s: context length %d after saving, want 32", name, again.ContextLength())
		}
		old := load(t, filepath.Join("testdata", name), 32)
		if again.VocabSize() != old.VocabSize() || again.BOS() != old.BOS() || again.EOS() != old.EOS() || again.Pad() != old.Pad() {
			t.Errorf("%s: %v %v", name, again, old)
		}
		// Saving what was loaded changes nothing.
		twice := filepath.Join(t.TempDir(), "c")
		if err := again.Save(twice); err != nil {
			t.Fatal(err)
		}
		if !maps.EqualFunc(again.files, load(t, twice, 0).files, bytes.Equal) {
			t.Errorf("%s: files change when saved again", name)
		}
		var config map[string]any
		if err := json.Unmarshal(again.files[configFile], &config); err != nil || config["tokenizer_class"] == nil || config["bos_token"] == nil {
			t.Errorf("%s: %s: %v, %v", name, configFile, config, err)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := load(t, "testdata/clip", 0).Save(file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("saving into a file: %v", err)
	}
}

func TestEmpty(t *testing.T) {
	for _, name := range []string{"clip", "wordpiece"} {
		tok := load(t, filepath.Join("testdata", name), 16)
		for _, s := range []string{"", " ", "\n\t  "} {
			if ids := tok.Encode(s); !slices.Equal(ids, []int32{tok.BOS(), tok.EOS()}) {
				t.Errorf("%s: %q: %v", name, s, ids)
			}
		}
		if s := tok.Decode([]int32{-1, 1 << 30, tok.BOS(), tok.Pad()}); s != "" {
			t.Errorf("%s: ids that aren't there and marks decode to %q", name, s)
		}
	}
}

// TestLong: a word of any length is split in reasonable time, and as the plain
// search would.
func TestLong(t *testing.T) {
	tok := load(t, "testdata/clip", 1<<20)
	m := tok.model.(*bpe)
	word := strings.Repeat("shoppingcartéabcabd", 20)
	got := m.pieces(nil, word)
	var want []int32
	for i := range len(word) - 1 {
		want = append(want, m.first[word[i]])
	}
	want = append(want, m.last[word[len(word)-1]])
	for {
		best, at := merge{rank: 1 << 30}, -1
		for i := range len(want) - 1 {
			if c, ok := m.merges[[2]int32{want[i], want[i+1]}]; ok && c.rank < best.rank {
				best, at = c, i
			}
		}
		if at < 0 {
			break
		}
		want = slices.Replace(want, at, at+2, best.id)
	}
	if !slices.Equal(got, want) {
		t.Errorf("long word: %v, want %v", got, want)
	}
	start := time.Now()
	tok.Encode(strings.Repeat("shoppingcart", 1<<16))
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("a word of 800 kB took %v", d)
	}
}

func TestConcurrent(t *testing.T) {
	tok := load(t, "testdata/wordpiece", 77)
	texts := lines(t, "corpus.txt")
	var want [][]int32
	for _, s := range texts {
		want = append(want, load(t, "testdata/wordpiece", 77).Encode(s))
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				for i, s := range texts {
					ids := tok.Encode(s)
					if !slices.Equal(ids, want[i]) {
						t.Errorf("%q: %v, want %v", s, ids, want[i])
						return
					}
					ids[0] = -1 // the result is the caller's
				}
			}
		})
	}
	wg.Wait()
}

// TestCacheIsBounded: endless new words don't fill the memory.
func TestCacheIsBounded(t *testing.T) {
	var c cache
	for i := range cacheWords + 1000 {
		c.put(fmt.Sprint(i), nil)
	}
	c.put(strings.Repeat("x", cacheWordSize+1), nil)
	if n := c.size.Load(); n != cacheWords {
		t.Errorf("%d words, want %d", n, cacheWords)
	}
	if _, ok := c.get(strings.Repeat("x", cacheWordSize+1)); ok {
		t.Error("a long word was kept")
	}
}

// checkIDs is what holds for any text.
func checkIDs(t *testing.T, tok *tokenizer, s string, ids []int32) {
	t.Helper()
	if len(ids) < 1 || len(ids) > tok.context || tok.bos >= 0 && (len(ids) < 2 || ids[0] != tok.bos) || ids[len(ids)-1] != tok.eos {
		t.Errorf("%q: %v: not bos … eos of at most %d", s, ids, tok.context)
	}
	for _, id := range ids {
		if id < 0 || int(id) >= tok.VocabSize() {
			t.Errorf("%q: id %d of %d", s, id, tok.VocabSize())
		}
	}
}

func FuzzEncode(f *testing.F) {
	for _, s := range []string{"Shopping cart", "<|endoftext|>x", "\xff\xfe", "e\u0301İ日\u200b", strings.Repeat("ab", 200)} {
		f.Add(s)
	}
	a, b := load(f, "testdata/clip", 16), load(f, "testdata/wordpiece", 16)
	f.Fuzz(func(t *testing.T, s string) {
		for _, tok := range []*tokenizer{a, b} {
			ids := tok.Encode(s)
			checkIDs(t, tok, s, ids)
			if again := tok.Encode(s); !slices.Equal(ids, again) {
				t.Errorf("%q: %v, then %v", s, ids, again)
			}
			tok.Decode(ids)
		}
	})
}

func FuzzTokenizerJSON(f *testing.F) {
	for _, name := range []string{"clip", "wordpiece", "siglip2"} {
		b, err := os.ReadFile(filepath.Join("testdata", name, tokenizerFile))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"added_tokens":[{"id":3,"content":"<e>"}],"normalizer":{"type":"Sequence","normalizers":[{"type":"Replace","pattern":{"String":"a"},"content":"b"},{"type":"NFKC"}]},
"pre_tokenizer":{"type":"WhitespaceSplit"},"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<e>"}},{"Sequence":{}},{"SpecialToken":{"id":"<e>"}}]},
"model":{"type":"WordPiece","unk_token":"u","vocab":{"u":0,"b":1,"##c":2}}}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		tok, err := fromFiles(map[string][]byte{tokenizerFile: content}, 16)
		if err != nil {
			return
		}
		for _, s := range []string{"Shopping cart's 12 <e> é", "\xff"} {
			ids := tok.Encode(s)
			checkIDs(t, tok, s, ids)
			tok.Decode(ids)
		}
	})
}

func FuzzVocabAndMerges(f *testing.F) {
	vocab, err := os.ReadFile("testdata/clip/vocab.json")
	if err != nil {
		f.Fatal(err)
	}
	merges, err := os.ReadFile("testdata/clip/merges.txt")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(vocab, merges)
	f.Add([]byte(`{"<|startoftext|>":0,"<|endoftext|>":1,"a":2,"b":3,"ab":4}`), []byte("a b\n"))
	f.Fuzz(func(t *testing.T, vocab, merges []byte) {
		tok, err := fromFiles(map[string][]byte{vocabFile: vocab, mergesFile: merges}, 16)
		if err != nil {
			return
		}
		checkIDs(t, tok, "ab a", tok.Encode("ab a"))
	})
}

func BenchmarkEncode(b *testing.B) {
	for _, name := range []string{"wordpiece", "clip"} {
		b.Run(name, func(b *testing.B) {
			tok := load(b, filepath.Join("testdata", name), 77)
			texts := lines(b, "corpus.txt")
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				tok.Encode(texts[i%len(texts)])
				i++
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "texts/s")
		})
	}
}
