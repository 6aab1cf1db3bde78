package text

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"slices"
	"testing"
)

// parityRow is a string with its ids, as scripts/golden/tokenizer.py writes it.
type parityRow struct {
	kind, text     string
	fast, openclip []int32 // by transformers' fast tokenizer, by open_clip's without the repair of encodings
	repaired       bool    // that repair would change the ids
}

func (r *parityRow) UnmarshalJSON(data []byte) error {
	if err := json.Unmarshal(data, &[]any{&r.kind, &r.text, &r.fast, &r.openclip, &r.repaired}); err != nil {
		return err
	}
	if r.openclip == nil {
		r.openclip = r.fast
	}
	return nil
}

func parityRows(t testing.TB) []parityRow {
	t.Helper()
	f, err := os.Open("testdata/parity.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Context int
		Rows    []parityRow
	}
	if err := json.NewDecoder(r).Decode(&golden); err != nil {
		t.Fatal(err)
	}
	if golden.Context != 77 || len(golden.Rows) < 5000 {
		t.Fatalf("parity.json.gz has %d strings, cut to %d", len(golden.Rows), golden.Context)
	}
	return golden.Rows
}

// TestParityFast: with CLIP's vocabulary, the ids that transformers'
// CLIPTokenizerFast gives.
func TestParityFast(t *testing.T) {
	tok, err := CLIP(77)
	if err != nil {
		t.Fatal(err)
	}
	wrong := 0
	for _, row := range parityRows(t) {
		if got := tok.Encode(row.text); !slices.Equal(got, row.fast) {
			if wrong++; wrong <= 30 {
				t.Errorf("%s %+q:\n%v, want\n%v\n%q, want\n%q", row.kind, row.text, got, row.fast, tok.Decode(got), tok.Decode(row.fast))
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%d strings differ", wrong)
	}
}

// TestParityOpenCLIP: the ids of open_clip's SimpleTokenizer, except where
// ftfy repairs a wrong encoding.
func TestParityOpenCLIP(t *testing.T) {
	tok, err := CLIP(77)
	if err != nil {
		t.Fatal(err)
	}
	if tok, err = OpenCLIP(tok); err != nil {
		t.Fatal(err)
	}
	repaired := 0
	for _, row := range parityRows(t) {
		if got := tok.Encode(row.text); !slices.Equal(got, row.openclip) {
			t.Errorf("%s %+q:\n%v, want\n%v\n%+q, want\n%+q", row.kind, row.text, got, row.openclip, tok.Decode(got), tok.Decode(row.openclip))
		}
		if row.repaired {
			repaired++
		}
	}
	t.Logf("ftfy would repair the encoding of %d strings", repaired)
}

// FuzzOpenCLIP: whatever the text, ids of the vocabulary between the marks.
func FuzzOpenCLIP(f *testing.F) {
	for _, s := range []string{"a&amp;amp;lt;b", "&#x110000;&#9&EACUTE;&notit;", "\x1b[31mﬁ\u0345ΑΣ'ſ\r\n<b>&lt;", "<end_of_text>\xff\u3000", "&#99999999999999999999;"} {
		f.Add(s)
	}
	bpe, err := CLIP(77)
	if err != nil {
		f.Fatal(err)
	}
	tok, err := OpenCLIP(bpe)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) { checkIDs(t, tok.(*tokenizer), s, tok.Encode(s)) })
}
