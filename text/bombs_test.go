package text

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// allocated is how much memory fn took altogether, in bytes.
func allocated(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// A text of any length costs no more than one of maxText, and has the ids of
// its beginning.
func TestTextsWithoutEnd(t *testing.T) {
	siglip, siglip2, clip := load(t, "testdata/siglip", 64), load(t, "testdata/siglip2", 64), load(t, "testdata/clip", 77)
	cleaning, err := OpenCLIP(clip)
	if err != nil {
		t.Fatal(err)
	}
	for name, unit := range map[string]string{
		"letters": "a", "words": "a ", "spaces": " ", "entities": "&amp;", "marks": "e\u0301", "long": "\uFDFA", "not text": "\xff", "special": "<|endoftext|>",
	} {
		huge := strings.Repeat(unit, 32<<20/len(unit))
		for kind, tok := range map[string]Tokenizer{
			"wordpiece": load(t, "testdata/wordpiece", 64), "clip": clip, "open_clip": cleaning, "siglip": siglip, "siglip2": siglip2,
		} {
			var ids []int32
			if took := allocated(func() { ids = tok.Encode(huge) }); took > 256<<20 {
				t.Errorf("%s of %s: took %d MiB", kind, name, took>>20)
			}
			if len(ids) > tok.ContextLength() {
				t.Errorf("%s of %s: %d ids", kind, name, len(ids))
			}
			// Half a character more or less at the cut changes no id of the context.
			if want := tok.Encode(huge[:maxText-maxText%len(unit)]); !slices.Equal(ids, want) {
				t.Errorf("%s of %s: %v, want %v", kind, name, ids, want)
			}
		}
	}
	// The cut falls between characters.
	for extra := range 4 {
		s := strings.Repeat("x", extra) + strings.Repeat("\U0001F600", maxText/4)
		if got := cut(s); !strings.HasPrefix(s, got) || len(got) > maxText || len(got) <= maxText-4 || strings.ToValidUTF8(got, "") != got {
			t.Errorf("%d bytes before: cut to %d", extra, len(got))
		}
	}
}

// Tokenizer files that make much of little are refused, or stay within bounds.
func TestTokenizerBombs(t *testing.T) {
	file := func(normalizer, added string) string {
		return fmt.Sprintf(`{"added_tokens":[%s{"id":3,"content":"<e>"}],"normalizer":%s,
"pre_tokenizer":{"type":"WhitespaceSplit"},"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<e>"}},{"Sequence":{}},{"SpecialToken":{"id":"<e>"}}]},
"model":{"type":"WordPiece","unk_token":"u","vocab":{"u":0,"b":1,"##c":2}}}`, added, normalizer)
	}
	replace := func(content string) string {
		return `{"type":"Replace","pattern":{"String":"a"},"content":"` + content + `"}`
	}
	doubling := `{"type":"Sequence","normalizers":[` + strings.Repeat(replace("aa")+",", 40) + replace("aa") + `]}`
	nested := strings.Repeat(`{"type":"Sequence","normalizers":[`, 1000) + replace("b") + strings.Repeat(`]}`, 1000)
	for name, c := range map[string]struct{ content, want string }{
		"doubles 41 times":     {file(doubling, ""), ""},
		"doubled added token":  {file(doubling, `{"id":4,"content":"a","normalized":true},`), "after normalization"},
		"long replacement":     {file(replace(strings.Repeat("a", 1<<20)), ""), "at most 64"},
		"deep":                 {file(nested, ""), "at most 64 within 7"},
		"many steps":           {file(`{"type":"Sequence","normalizers":[`+strings.Repeat(replace("b")+",", 1<<16)+replace("b")+`]}`, ""), "at most 64 within 7"},
		"long added token":     {file("null", `{"id":4,"content":"`+strings.Repeat("a", 1<<20)+`"},`), "at most 1024"},
		"id of a large table":  {file("null", `{"id":2000000000,"content":"x"},`), "must be 0 to"},
		"id beyond any number": {file("null", `{"id":99999999999999999999,"content":"x"},`), "cannot unmarshal"},
	} {
		t.Run(name, func(t *testing.T) {
			took := allocated(func() {
				tok, err := fromFiles(map[string][]byte{tokenizerFile: []byte(c.content)}, 16)
				if c.want != "" {
					if err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 500 {
						t.Errorf("got %v, want %q", err, c.want)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				checkIDs(t, tok, "a", tok.Encode("a"))
			})
			if took > 512<<20 {
				t.Errorf("took %d MiB", took>>20)
			}
		})
	}
}

// A precompiled_charsmap in which one letter becomes a kilobyte.
func TestCharsmapBomb(t *testing.T) {
	long := strings.Repeat("x", maxReplacement)
	units := make([]uint32, 512)
	// darts.h: the root's offset leads to a unit of the letter, whose leaf has the place.
	const root, leaf = 256, 300
	units[0] = root << 10
	at := root ^ uint32('a')
	units[at] = uint32('a') | 1<<8 | (at^leaf)<<10
	units[leaf] = 1 << 31
	blob := binary.LittleEndian.AppendUint32(nil, uint32(4*len(units)))
	for _, u := range units {
		blob = binary.LittleEndian.AppendUint32(blob, u)
	}
	m := &sentencePiece{}
	var err error
	if m.charsmap, err = newCharsmap(append(blob, long+"\x00"...)); err != nil {
		t.Fatal(err)
	}
	if got := m.normalize("a"); got != long {
		t.Fatalf("a becomes %d bytes; the map isn't what this test means", len(got))
	}
	if took := allocated(func() { m.normalize(strings.Repeat("a", maxText)) }); took > 64<<20 {
		t.Errorf("took %d MiB", took>>20)
	}
}

// A file that can't be a tokenizer's isn't read.
func TestAHugeTokenizerFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, tokenizerFile)
	sparse(t, path, maxFile+1)
	if _, err := Load(dir, 16); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "too large") {
		t.Errorf("got %v", err)
	}
}

// sparse makes a file of n bytes that takes no room.
func sparse(t *testing.T, path string, n int64) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, n); err != nil {
		t.Fatal(err)
	}
}
