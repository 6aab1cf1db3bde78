package text

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
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
	for name, least := range map[string]int{"siglip": 500, "siglip2": 500, "siglip-multilingual": 100} {
		var golden siglipGolden
		readJSON(t, name+".json", &golden)
		if len(golden.Cases) < least {
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

// message builds a proto for the tests.
type message []byte

func (m message) number(field protowire.Number, v uint64) message {
	return protowire.AppendVarint(protowire.AppendTag(m, field, protowire.VarintType), v)
}

func (m message) bytes(field protowire.Number, v []byte) message {
	return protowire.AppendBytes(protowire.AppendTag(m, field, protowire.BytesType), v)
}

func (m message) piece(text string, score float32, kind pieceKind) message {
	p := message(nil).bytes(1, []byte(text))
	p = protowire.AppendFixed32(protowire.AppendTag(p, 2, protowire.Fixed32Type), math.Float32bits(score))
	return m.bytes(1, p.number(3, uint64(kind)))
}

func tinyPieces() message {
	return message(nil).piece("<pad>", 0, controlPiece).piece("</s>", 0, controlPiece).piece("<unk>", 0, unknownPiece).
		piece("▁", -2, normalPiece).piece("a", -3, normalPiece).piece("▁ab", -4, normalPiece).piece("b", -3, normalPiece).piece("▁a", -2.5, normalPiece)
}

func TestUnigramTakesTheBestPieces(t *testing.T) {
	tok, err := fromFiles(map[string][]byte{spieceFile: tinyPieces()}, 64)
	if err != nil {
		t.Fatal(err)
	}
	for s, want := range map[string][]int32{
		"ab":      {5, 1},          // −4, not ▁a b with −5.5
		"aB a":    {5, 7, 1},       // ▁a with −2.5, not ▁ a with −5
		"日本 ab":   {3, 2, 5, 1},    // a run of unknown characters is one
		"a.b,a!":  {5, 4, 1},       // punctuation goes
		"</s> a":  {1, 4, 1},       // a special token, behind which no space mark stands
		"a</s>":   {7, 1},          // no second end
		"<UNK>ab": {2, 4, 6, 1},    // lower-cased before special tokens are looked for
		"":        {1}, " \t": {1}, // nothing but the end
	} {
		if ids := tok.Encode(s); !slices.Equal(ids, want) {
			t.Errorf("%q: %v, want %v", s, ids, want)
		}
	}
	if tok.BOS() != -1 || tok.EOS() != 1 || tok.Pad() != 1 || tok.VocabSize() != 8 {
		t.Errorf("bos %d, eos %d, pad %d, %d tokens", tok.BOS(), tok.EOS(), tok.Pad(), tok.VocabSize())
	}
	short, err := fromFiles(map[string][]byte{spieceFile: tinyPieces()}, 3)
	if err != nil {
		t.Fatal(err)
	}
	if ids := short.Encode("a a a a"); !slices.Equal(ids, []int32{7, 7, 1}) {
		t.Errorf("cut to 3: %v", ids)
	}
}

func TestSentencePieceErrors(t *testing.T) {
	charsmap := func(blob []byte) message { return tinyPieces().bytes(3, message(nil).bytes(2, blob)) }
	for _, c := range []struct {
		name    string
		content []byte
		config  string
		want    string
	}{
		{"not a proto", []byte("hello"), "", "not a SentencePiece model"},
		{"nothing", nil, "", "no unknown piece"},
		{"cut", tinyPieces()[:30], "", "not a SentencePiece model"},
		{"BPE", tinyPieces().bytes(2, message(nil).number(3, 2)), "", "unigram"},
		{"no bytes", tinyPieces().bytes(2, message(nil).number(35, 1)), "", "byte_fallback with 0"},
		{"a byte", tinyPieces().piece("<0x00>", 0, bytePiece), "", `("<0x00>") has the type of a byte`},
		{"not a byte", tinyPieces().bytes(2, message(nil).number(35, 1)).piece("<0x>", 0, bytePiece), "", `("<0x>") has the type of a byte`},
		{"user's pieces", tinyPieces().piece("x", 0, userPiece), "", `("x") is user-defined`},
		{"unknown type", tinyPieces().piece("x", 0, 7), "", `("x") has type 7`},
		{"twice", tinyPieces().piece("a", 0, normalPiece), "", `both "a"`},
		{"two unknown", tinyPieces().piece("?", 0, unknownPiece), "", "both the unknown one"},
		{"NaN", tinyPieces().piece("x", float32(math.NaN()), normalPiece), "", "score NaN"},
		{"empty piece", tinyPieces().piece("", 0, normalPiece), "", "is empty"},
		{"no end", message(nil).piece("<unk>", 0, unknownPiece), "", `"</s>"`},
		{"charsmap cut", charsmap([]byte{1, 2}), "", "precompiled_charsmap"},
		{"charsmap's size", charsmap([]byte{255, 255, 255, 255, 0, 0, 0, 0}), "", "precompiled_charsmap"},
		{"charsmap's end", charsmap([]byte{4, 0, 0, 0, 0, 0, 0, 0, 'x'}), "", "precompiled_charsmap"},
		{"pad not there", tinyPieces(), `{"pad_token": "[PAD]"}`, `"[PAD]"`},
		{"another id", tinyPieces(), `{"added_tokens_decoder": {"5": {"content": "</s>"}}}`, `"</s>" the id 5`},
		{"capitals", tinyPieces().piece("[A]", 0, controlPiece), `{"pad_token": "[A]"}`, "capitals"},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := map[string][]byte{spieceFile: c.content}
			if c.content == nil {
				files[spieceFile] = []byte{}
			}
			if c.config != "" {
				files[configFile] = []byte(c.config)
			}
			if _, err := fromFiles(files, 64); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), spieceFile) {
				t.Errorf("error %v, want %q and the file", err, c.want)
			}
		})
	}
}

func TestSiglip2Errors(t *testing.T) {
	good, err := os.ReadFile(filepath.Join("testdata", "siglip2", tokenizerFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, old, new, config, want string }{
		{"no byte", `"<0x41>"`, `"<0x4!>"`, `{"eos_token": "<eos>", "pad_token": "<pad>"}`, "<0x41>"},
		{"another split", `"MergedWithPrevious"`, `"Removed"`, `{"pad_token": "<pad>"}`, "pre_tokenizer"},
		{"no end", `"fuse_unk"`, `"fuse_unk"`, `{"add_eos_token": false, "pad_token": "<pad>"}`, "eos"},
		{"no start", `"fuse_unk"`, `"fuse_unk"`, `{"add_bos_token": true, "pad_token": "<pad>"}`, "bos_token"},
	} {
		content := bytes.Replace(good, []byte(c.old), []byte(c.new), 1)
		if !bytes.Contains(good, []byte(c.old)) {
			t.Fatalf("no %s", c.old)
		}
		_, err := fromFiles(map[string][]byte{tokenizerFile: content, configFile: []byte(c.config)}, 64)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
	// What the config says goes over the post-processor, as in transformers.
	tok, err := fromFiles(map[string][]byte{tokenizerFile: good, configFile: []byte(`{"add_bos_token": true, "bos_token": "<bos>", "pad_token": "<pad>", "do_lower_case": false}`)}, 64)
	if err != nil {
		t.Fatal(err)
	}
	if ids := tok.Encode("A"); len(ids) != 3 || ids[0] != 2 || ids[2] != 1 || tok.tokens[ids[1]] != "A" {
		t.Errorf("with bos and capitals: %v", ids)
	}
}

func FuzzSentencePiece(f *testing.F) {
	content, err := os.ReadFile(filepath.Join("testdata", "siglip", spieceFile))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(content, "A photo of 日本 ﬁ </s>")
	f.Add([]byte(tinyPieces()), "ab a")
	blob := []byte{4, 0, 0, 0, 0, 1, 0, 0, 'x', 0}
	f.Add([]byte(tinyPieces().bytes(3, message(nil).bytes(2, blob))), "ab a")
	f.Fuzz(func(t *testing.T, content []byte, s string) {
		tok, err := fromFiles(map[string][]byte{spieceFile: content}, 16)
		if err != nil {
			return
		}
		ids := tok.Encode(s)
		if len(ids) == 0 || len(ids) > 16 || ids[len(ids)-1] != tok.EOS() {
			t.Errorf("%q: %v", s, ids)
		}
		for _, id := range ids {
			if id < 0 || int(id) >= tok.VocabSize() {
				t.Errorf("%q: id %d of %d", s, id, tok.VocabSize())
			}
		}
		tok.Decode(ids)
	})
}
