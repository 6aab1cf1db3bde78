package captioner

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"arf/checkpoint"
	"arf/torch"
)

// golden is what transformers gave; see scripts/golden/blip.py.
type golden struct {
	Runs map[string][]struct {
		IDs     []int32 `json:"ids"`
		Text    string  `json:"text"`
		LogProb float64 `json:"log_prob"`
	} `json:"runs"`
	Prompt       string `json:"prompt"`
	MaxNewTokens int    `json:"max_new_tokens"`

	tensors checkpoint.Tensors
	images  [][]byte
}

func readGolden(t *testing.T, dir string) golden {
	t.Helper()
	var g golden
	tensors, metadata, err := checkpoint.ReadSafetensors(filepath.Join(dir, "golden.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(metadata["golden"]), &g); err != nil {
		t.Fatal(err)
	}
	g.tensors = tensors
	for i := 0; tensors[fmt.Sprintf("image.%d", i)].Data != nil; i++ {
		g.images = append(g.images, tensors[fmt.Sprintf("image.%d", i)].Data)
	}
	return g
}

func loadBLIP(t *testing.T, dir string) *BLIP {
	t.Helper()
	m, err := LoadBLIP(dir, torch.CPU, torch.Float32)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (g golden) input(t *testing.T, m *BLIP) Images {
	t.Helper()
	var in Images
	for i, encoded := range g.images {
		rgb, err := m.Preprocess().Eval(encoded)
		if err != nil {
			t.Fatal(err)
		}
		in.Pixels, in.Keys = append(in.Pixels, rgb...), append(in.Keys, fmt.Sprint(i))
	}
	return in
}

var blipCases = []string{"testdata/blip/base", "testdata/blip/large"}

func TestBLIPPreprocessingIsTransformers(t *testing.T) {
	for _, dir := range blipCases {
		m, g := loadBLIP(t, dir), readGolden(t, dir)
		in := g.input(t, m)
		checked := 0
		for i := range in.Keys {
			want, ok := g.tensors[fmt.Sprintf("pixels.%d", i)]
			if !ok {
				break
			}
			checked++
			torch.Scope(func() {
				size := m.Preprocess().Bytes()
				got := torch.To[float32](m.pixels(in.Pixels[i*size:(i+1)*size], 1).Contiguous())
				// Less than a grey level, which is 1/255/0.26 = 0.015.
				if e := largestDifference(got, torch.To[float32](want.ToTorch(torch.CPU))); !(e <= 1e-5) {
					t.Errorf("%s: picture %d: pixels differ by %g", dir, i, e)
				}
			})
		}
		if checked < 4 {
			t.Errorf("%s: %d pictures were compared", dir, checked)
		}
	}
}

func TestBLIPLogitsAreTransformers(t *testing.T) {
	for _, dir := range blipCases {
		m, g := loadBLIP(t, dir), readGolden(t, dir)
		in := g.input(t, m)
		torch.Scope(func() {
			torch.NoGrad(func() {
				ids := g.tensors["ids"]
				rows, length := ids.Shape[0], ids.Shape[1]
				all := torch.To[int64](ids.ToTorch(torch.CPU))
				want := torch.To[float32](g.tensors["logits"].ToTorch(torch.CPU))
				vocabulary := m.Config.Text.VocabSize
				worst := 0.0
				// All begin with one token; the rest goes through the cache.
				s := m.begin(in.Pixels[:rows*m.Preprocess().Bytes()], rows, all[:1])
				defer s.free()
				for at := range length {
					got := torch.To[float32](s.logits())
					next := make([]int64, rows)
					for r := range rows {
						from := (r*length + at) * vocabulary
						worst = max(worst, largestDifference(got[r*vocabulary:(r+1)*vocabulary], want[from:from+vocabulary]))
						if at+1 < length {
							next[r] = all[r*length+at+1]
						}
					}
					if at+1 < length {
						s.extend(next)
					}
				}
				t.Logf("%s: logits differ by %.2g at most", dir, worst)
				if !(worst <= 1e-4) {
					t.Errorf("%s: logits differ by %g", dir, worst)
				}
			})
		})
	}
}

func TestBLIPCaptionsAreTransformers(t *testing.T) {
	for _, dir := range blipCases {
		m, g := loadBLIP(t, dir), readGolden(t, dir)
		in := g.input(t, m)
		if len(in.Keys) < 50 {
			t.Fatalf("%d pictures", len(in.Keys))
		}
		for name, o := range map[string]GenerateOptions{
			"greedy": {}, "beam": {Beams: 3}, "greedy_prompt": {Prompt: g.Prompt}, "beam_prompt": {Beams: 3, Prompt: g.Prompt}, "beam_all": {Beams: 4, N: 4},
		} {
			o.MaxLength, o.N = g.MaxNewTokens, max(o.N, 1)
			want := g.Runs[name]
			some := Images{Keys: in.Keys[:len(want)/o.N]}
			some.Pixels = in.Pixels[:len(some.Keys)*m.Preprocess().Bytes()]
			got, _, err := m.language.generate(t.Context(), some, o)
			if err != nil {
				t.Fatal(err)
			}
			texts, err := m.Caption(t.Context(), some, o)
			if err != nil {
				t.Fatal(err)
			}
			worst := 0.0
			for i, w := range want {
				f, text := got[i/o.N][i%o.N], texts[i/o.N][i%o.N].Text
				// A text can't begin inside a word, whatever a random model says.
				if !slices.Equal(f.tokens, w.IDs) || text != tidy(strings.TrimPrefix(w.Text, "##")) {
					t.Errorf("%s, %s, caption %d: %v %q, want %v %q", dir, name, i, f.tokens, text, w.IDs, w.Text)
				}
				worst = max(worst, math.Abs(f.logProb-w.LogProb))
			}
			t.Logf("%s, %s: %d captions, log-probabilities differ by %.2g at most", dir, name, len(want), worst)
			if !(worst <= 1e-3) {
				t.Errorf("%s, %s: log-probabilities differ by %g", dir, name, worst)
			}
		}
	}
}

// Captions of one image end at different times, so that pictures are looked at
// by ragged groups of rows; alone or among others, they are the same.
func TestBLIPSamplesDependOnSeedAndKeyNotOnTheBatch(t *testing.T) {
	dir := blipCases[1]
	m, g := loadBLIP(t, dir), readGolden(t, dir)
	in := g.input(t, m)
	size := m.Preprocess().Bytes()
	o := GenerateOptions{N: 4, Temperature: 1, TopP: 0.9, MaxLength: 12, Seed: 3}
	handles := torch.Live()
	all, err := m.Caption(t.Context(), Images{Keys: in.Keys[:24], Pixels: in.Pixels[:24*size]}, o)
	if err != nil {
		t.Fatal(err)
	}
	if n := torch.Live(); n != handles {
		t.Errorf("%d tensors are left", n-handles)
	}
	different := map[string]bool{}
	for i := range 24 {
		alone, err := m.Caption(t.Context(), Images{Keys: in.Keys[i : i+1], Pixels: in.Pixels[i*size : (i+1)*size]}, o)
		if err != nil {
			t.Fatal(err)
		}
		for s, c := range alone[0] {
			different[c.Text] = true
			if all[i][s].Text != c.Text || math.Abs(all[i][s].LogProb-c.LogProb) > 1e-3 {
				t.Errorf("image %d, sample %d: %+v alone, %+v among others", i, s, c, all[i][s])
			}
		}
	}
	if len(different) < 48 {
		t.Errorf("only %d different captions of 96", len(different))
	}
}

// bf16 rounds to 8 bits, so that random models, which hardly prefer a word, say
// other things; but what they say is as likely.
func TestBLIPInBF16(t *testing.T) {
	dir := blipCases[0]
	m, g := loadBLIP(t, dir), readGolden(t, dir)
	in := g.input(t, m)
	mean := func(precision torch.DType) (sum float64) {
		m, err := LoadBLIP(dir, torch.CPU, precision)
		if err != nil {
			t.Fatal(err)
		}
		all, err := m.Caption(t.Context(), in, GenerateOptions{Beams: 2, MaxLength: 6})
		if err != nil {
			t.Fatal(err)
		}
		for _, list := range all {
			sum += list[0].LogProb / float64(len(all))
		}
		return sum
	}
	full, half := mean(torch.Float32), mean(torch.BFloat16)
	if full == half || math.Abs(full-half) > 0.03*math.Abs(full) {
		t.Errorf("mean log-probability %g in float32, %g in bfloat16", full, half)
	}
}

func TestBLIPFoldersThatCannotBe(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(dir string) error
		want   string
	}{
		{"no weights", func(dir string) error { return os.Remove(filepath.Join(dir, "model.safetensors")) }, "no weights; looked for model.safetensors"},
		{"no tokenizer", func(dir string) error { return os.Remove(filepath.Join(dir, "tokenizer.json")) }, "tokenizer.json"},
		{"another tokenizer", edit("config.json", `"sep_token_id": 3`, `"sep_token_id": 4`), "text_config.sep_token_id in config.json is 4"},
		{"few words", edit("config.json", `"vocab_size": 137`, `"vocab_size": 136`), "weight has shape [137 32]"},
		{"fewer words than the tokenizer", edit("config.json", `"vocab_size": 137`, `"vocab_size": 130`), "text_config.bos_token_id is 135, want 0 to 129"},
		{"heads", edit("config.json", `"num_attention_heads": 4,
    "num_hidden_layers": 2,
    "sep`, `"num_attention_heads": 5,
    "num_hidden_layers": 2,
    "sep`), "text_config.num_attention_heads 5 do not divide hidden_size 32"},
		{"positions", edit("config.json", `"sep_token_id": 3`, `"sep_token_id": 3, "position_embedding_type": "relative_key"`), "text_config.position_embedding_type"},
		{"more layers", edit("config.json", `"num_hidden_layers": 2,
    "sep`, `"num_hidden_layers": 3,
    "sep`), "text_decoder.bert.encoder.layer.2"},
		{"other pixels", edit("preprocessor_config.json", `"height": 64`, `"height": 32`), "preprocessor_config.json: size"},
		{"no JSON", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"model_type`), 0o644)
		}, "config.json"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(blipCases[0])); err != nil {
				t.Fatal(err)
			}
			if err := c.change(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := LoadBLIP(dir, torch.CPU, torch.Float32); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func edit(file, old, with string) func(string) error {
	return func(dir string) error {
		path := filepath.Join(dir, file)
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !strings.Contains(string(data), old) {
			return fmt.Errorf("%s has no %q", file, old)
		}
		return os.WriteFile(path, []byte(strings.Replace(string(data), old, with, 1)), 0o644)
	}
}

// Weights as other versions of transformers save them.
func TestBLIPWeightsOfOtherVersions(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(blipCases[0])); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "model.safetensors")
	tensors, _, err := checkpoint.ReadSafetensors(path)
	if err != nil {
		t.Fatal(err)
	}
	const head = "text_decoder.cls.predictions."
	tensors[head+"decoder.bias"] = tensors[head+"bias"]
	delete(tensors, head+"bias")
	tensors["text_decoder.bert.embeddings.position_ids"] = checkpoint.Tensor{DType: torch.Int64, Shape: []int{1, 1}, Data: make([]byte, 8)}
	if err := checkpoint.WriteSafetensors(path, tensors, nil); err != nil {
		t.Fatal(err)
	}
	if m := loadBLIP(t, dir); !slices.Equal(m.Text.OutputBias.Bytes(), tensors[head+"decoder.bias"].Data) {
		t.Error("the output's bias is another")
	}
	delete(tensors, head+"decoder.weight")
	if err := checkpoint.WriteSafetensors(path, tensors, nil); err != nil {
		t.Fatal(err)
	}
	if m := loadBLIP(t, dir); !slices.Equal(m.Text.Output.Bytes(), m.Text.Token.Weight.Bytes()) {
		t.Error("the output isn't the token table")
	}
}
