package text

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func lines(t testing.TB, name string) []string {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []string
	for s := bufio.NewScanner(f); s.Scan(); {
		out = append(out, s.Text())
	}
	return out
}

func trainFixture(t testing.TB) *tokenizer {
	t.Helper()
	tok, err := TrainWordPiece(slices.Values(lines(t, "corpus.txt")), 400, 2, 77)
	if err != nil {
		t.Fatal(err)
	}
	return tok.(*tokenizer)
}

// TestTrainWordPieceFixture: training is deterministic, down to the files that
// the golden ids were made with.
func TestTrainWordPieceFixture(t *testing.T) {
	tok := trainFixture(t)
	dir := filepath.Join("testdata", "wordpiece")
	if os.Getenv("ARF_UPDATE") != "" {
		if err := tok.Save(dir); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range tok.files {
		want, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(content, want) {
			t.Errorf("%s differs from %s", name, dir)
		}
	}
}

func TestTrainWordPiece(t *testing.T) {
	corpus := lines(t, "corpus.txt")
	for _, size := range []int{200, 260, 400, 5000} {
		tok, err := TrainWordPiece(slices.Values(corpus), size, 2, 100)
		if err != nil {
			t.Fatal(err)
		}
		if n := tok.VocabSize(); n > size {
			t.Errorf("size %d: %d tokens", size, n)
		}
		unk := tok.(*tokenizer).special[unkToken]
		for _, s := range corpus {
			if ids := tok.Encode(s); slices.Contains(ids, unk) {
				t.Errorf("size %d: %q has an unknown piece: %v", size, s, ids)
			}
		}
		// New words of known letters can be spelled.
		for _, s := range []string{"yxwvut", "cartwheel", "a-b-c", "7421"} {
			if ids := tok.Encode(s); slices.Contains(ids, unk) {
				t.Errorf("size %d: %q has an unknown piece: %v", size, s, ids)
			}
		}
		if tok.Pad() != 0 || int(tok.EOS()) != tok.VocabSize()-1 || int(tok.BOS()) != tok.VocabSize()-2 {
			t.Errorf("size %d: pad %d, bos %d, eos %d", size, tok.Pad(), tok.BOS(), tok.EOS())
		}
	}
	// Words that occur often enough are one piece, others aren't.
	tok := trainFixture(t)
	for word, pieces := range map[string]int{"cart": 1, "shopping": 1, "Airplane": 1, "extinguisher": 2} {
		if n := len(tok.Encode(word)) - 2; (n == 1) != (pieces == 1) {
			t.Errorf("%q has %d pieces", word, n)
		}
	}
	// Counts decide, not the order of the texts.
	reversed := slices.Clone(corpus)
	slices.Reverse(reversed)
	other, err := TrainWordPiece(slices.Values(reversed), 400, 2, 77)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(other.(*tokenizer).files[tokenizerFile], tok.files[tokenizerFile]) {
		t.Error("the order of the texts changes the vocabulary")
	}
}

func TestTrainWordPieceErrors(t *testing.T) {
	for _, c := range []struct {
		texts         []string
		size, context int
		want          string
	}{
		{nil, 100, 16, "no words"},
		{[]string{"", " \t"}, 100, 16, "no words"},
		{[]string{"abcdefghij"}, 10, 16, "too small"},
		{[]string{"a"}, 100, 2, "context length 2"},
	} {
		_, err := TrainWordPiece(slices.Values(c.texts), c.size, 1, c.context)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q, size %d: %v; want %q", c.texts, c.size, err, c.want)
		}
	}
}

func ExampleTrainWordPiece() {
	texts := []string{"shopping cart", "shopping bag", "cart with wheels"}
	tok, err := TrainWordPiece(slices.Values(texts), 100, 2, 16)
	if err != nil {
		fmt.Println(err)
		return
	}
	ids := tok.Encode("Shopping cart")
	fmt.Println(len(ids), tok.Decode(ids))
	// Output: 4 shopping cart
}
