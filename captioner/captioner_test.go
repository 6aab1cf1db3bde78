package captioner

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"arf/clip"
	"arf/dataset"
	"arf/imaging"
	"arf/nn"
	"arf/text"
	"arf/torch"
)

// Small tensors gain nothing from threads, and lose much on a busy machine.
func TestMain(m *testing.M) {
	if err := torch.Load(); err == nil {
		torch.SetThreads(1)
	}
	os.Exit(m.Run())
}

// pairs are pictures of shapes and their captions.
var pairs = []struct {
	shape  string
	colour color.RGBA
	text   string
}{
	{"square", color.RGBA{R: 255, A: 255}, "red square, sign, stop"},
	{"square", color.RGBA{B: 255, A: 255}, "blue square"},
	{"disc", color.RGBA{R: 255, G: 220, A: 255}, "sun, weather"},
	{"disc", color.RGBA{G: 160, A: 255}, "green apple, food, fruit"},
	{"bar", color.RGBA{A: 255}, "minus, math"},
	{"cross", color.RGBA{R: 230, A: 255}, "first aid, hospital, medicine"},
	{"cross", color.RGBA{A: 255}, "plus, math"},
	{"ring", color.RGBA{B: 200, A: 255}, "outline circle, shape"},
}

func picture(shape string, c color.RGBA) []byte {
	const size = 64
	m := image.NewRGBA(image.Rect(0, 0, size, size))
	for y := range size {
		for x := range size {
			dx, dy := float64(x)-31.5, float64(y)-31.5
			r := math.Hypot(dx, dy)
			in := map[string]bool{
				"square": math.Abs(dx) < 20 && math.Abs(dy) < 20, "disc": r < 22, "ring": r < 26 && r > 18,
				"bar": math.Abs(dx) < 24 && math.Abs(dy) < 5, "cross": math.Min(math.Abs(dx), math.Abs(dy)) < 6 && r < 26,
			}[shape]
			if in {
				m.SetRGBA(x, y, c)
			} else {
				m.SetRGBA(x, y, color.RGBA{R: 255, G: 255, B: 255, A: 255})
			}
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// memory is a dataset of given samples.
type memory []dataset.Sample

func (m memory) Len() int { return len(m) }
func (m memory) Sample(i int) (dataset.Sample, error) {
	if m[i].Image == nil {
		return m[i], fmt.Errorf("%s: no image", m[i].Key)
	}
	return m[i], nil
}

func shapes() memory {
	var data memory
	for i, p := range pairs {
		data = append(data, dataset.Sample{
			Key: fmt.Sprintf("set--%d", i), Image: picture(p.shape, p.colour), Text: p.text, Texts: []string{p.text}, Label: -1,
		})
	}
	return data
}

// newCLIP is a small CLIP with random weights; its tokenizer knows the pairs' words.
func newCLIP(t testing.TB, vit bool) *clip.Model {
	t.Helper()
	if err := torch.Load(); err != nil {
		t.Fatal(err)
	}
	texts := func(yield func(string) bool) {
		for _, p := range pairs {
			if !yield(p.text) {
				return
			}
		}
	}
	tokenizer, err := text.TrainWordPiece(texts, 200, 1, 12)
	if err != nil {
		t.Fatal(err)
	}
	config := clip.Config{
		EmbedDim: 16,
		Vision:   clip.VisionConfig{ImageSize: 64, Width: 4, Heads: 4, ResNetLayers: []int{1, 1, 1, 1}},
		Text: clip.TextConfig{
			ContextLength: 12, VocabSize: tokenizer.VocabSize(), Width: 16, Layers: 1, Heads: 2, MLPWidth: 32,
			Activation: nn.GELU, Eps: 1e-5, EOS: int(tokenizer.EOS()), PadID: int(tokenizer.Pad()),
		},
	}
	if vit {
		config.Vision = clip.VisionConfig{ImageSize: 32, Width: 16, Heads: 2, PatchSize: 16, Layers: 1, MLPWidth: 32, Eps: 1e-5, Activation: nn.QuickGELU}
	}
	m, err := clip.New(config)
	if err != nil {
		t.Fatal(err)
	}
	m.Tokenizer = tokenizer
	m.Init(1)
	return m
}

func newModel(t testing.TB, vit bool) *Model {
	t.Helper()
	m, err := New(newCLIP(t, vit), Config{Width: 32, Layers: 2, Heads: 4, MLPWidth: 64, Activation: nn.GELU, Eps: 1e-5}, "../tower")
	if err != nil {
		t.Fatal(err)
	}
	m.Decoder.Init(2)
	// Spread the scores, so that tokens and places make a difference.
	torch.NoGrad(func() {
		for _, p := range nn.Params(m.Decoder) {
			if p.Decay || strings.HasSuffix(p.Name, "embedding.weight") {
				p.Tensor.Scale_(8)
			}
		}
	})
	return m
}

func pixels(t testing.TB, p imaging.Preprocess, data dataset.Dataset) (rgb []uint8, keys []string) {
	t.Helper()
	for i := range data.Len() {
		s, err := data.Sample(i)
		if err != nil {
			t.Fatal(err)
		}
		one, err := p.Eval(s.Image)
		if err != nil {
			t.Fatal(err)
		}
		rgb, keys = append(rgb, one...), append(keys, s.Key)
	}
	return rgb, keys
}

// logits of the next token at each place of ids, without a cache.
func fullLogits(m *Model, v Vision, ids [][]int64) [][][]float32 {
	d := m.Decoder
	flat := slices.Concat(ids...)
	texts := d.Embed(torch.From(d.device(), flat, len(ids), len(ids[0])), 0)
	all := torch.To[float32](d.Logits(d.Forward(d.EncodePrefix(v), texts)))
	out := make([][][]float32, len(ids))
	for b := range ids {
		for range ids[b] {
			out[b] = append(out[b], all[:d.Config.VocabSize])
			all = all[d.Config.VocabSize:]
		}
	}
	return out
}

func largestDifference(a, b []float32) float64 {
	worst := 0.0
	for i := range a {
		worst = max(worst, math.Abs(float64(a[i])-float64(b[i])))
	}
	return worst
}

func TestCacheGivesTheLogitsOfTheWholePass(t *testing.T) {
	for _, vit := range []bool{false, true} {
		m := newModel(t, vit)
		rgb, keys := pixels(t, m.Preprocess(), shapes()[:3])
		torch.Scope(func() {
			torch.NoGrad(func() {
				v := look(m.CLIP, m.CLIP.Pixels(rgb, len(keys)))
				ids := [][]int64{{5, 9, 30, 7, 12}, {5, 40, 2, 2, 8}, {5, 11, 12, 13, 14}}
				want := fullLogits(m, v, ids)
				c := newCache(len(m.Decoder.Blocks))
				defer c.free()
				d := m.Decoder
				prefix := d.EncodePrefix(v)
				first := torch.From(torch.CPU, []int64{5, 5, 5}, 3, 1)
				hidden := d.extend(c, torch.Cat(1, prefix, d.Embed(first, 0)), prefixMask(torch.CPU, (1+d.Config.Tower.Tokens), 1)).Select(1, (1 + d.Config.Tower.Tokens))
				for place := range ids[0] {
					got := torch.To[float32](d.Logits(hidden))
					for b := range ids {
						row := got[b*d.Config.VocabSize : (b+1)*d.Config.VocabSize]
						if e := largestDifference(row, want[b][place]); e > 1e-5 {
							t.Fatalf("vit %v, text %d, place %d: logits differ by %g", vit, b, place, e)
						}
					}
					if place+1 < len(ids[0]) {
						next := torch.From(torch.CPU, []int64{ids[0][place+1], ids[1][place+1], ids[2][place+1]}, 3, 1)
						hidden = d.extend(c, d.Embed(next, place+1), nil).Select(1, 0)
					}
				}
			})
		})
	}
}

// What the decoder sees as the image's feature is the CLIP's, however it pools.
func TestFeatureIsTheModels(t *testing.T) {
	first := newCLIP(t, true)
	models := []*clip.Model{first, newCLIP(t, false)}
	hashes := map[string]bool{}
	for _, after := range []bool{false, true} {
		c := first.Config
		c.Vision.Pooling, c.Vision.NormAfterPool = clip.MeanPooling, after
		m, err := clip.New(c)
		if err != nil {
			t.Fatal(err)
		}
		m.Tokenizer = first.Tokenizer
		m.Init(1)
		models = append(models, m)
	}
	for i, m := range models {
		hash, err := TowerHash(m)
		if err != nil {
			t.Fatal(err)
		}
		hashes[hash] = true
		torch.Scope(func() {
			size := m.Config.Vision.ImageSize
			pixels := torch.Randn(torch.CPU, 2, 3, size, size)
			got, want := torch.To[float32](look(m, pixels).Feature), torch.To[float32](m.EncodeImage(pixels))
			for j := range want {
				if !(math.Abs(float64(got[j]-want[j])) <= 1e-6) {
					t.Fatalf("model %d: feature %v, want %v", i, got, want)
				}
			}
		})
	}
	if len(hashes) != len(models) {
		t.Errorf("%d hashes for %d towers", len(hashes), len(models))
	}
}

func TestPastLogitsDoNotSeeTheFuture(t *testing.T) {
	m := newModel(t, false)
	rgb, _ := pixels(t, m.Preprocess(), shapes()[:2])
	torch.Scope(func() {
		torch.NoGrad(func() {
			v := look(m.CLIP, m.CLIP.Pixels(rgb, 2))
			same := fullLogits(m, v, [][]int64{{5, 9, 30, 7}, {5, 9, 30, 7}})
			other := fullLogits(m, v, [][]int64{{5, 9, 31, 8}, {5, 9, 30, 8}})
			for b, changed := range []int{2, 3} {
				for place := range 4 {
					e := largestDifference(same[b][place], other[b][place])
					if place < changed && e != 0 {
						t.Errorf("text %d: token %d changes the logits at place %d by %g", b, changed, place, e)
					}
					if place >= changed && e < 1e-3 {
						t.Errorf("text %d: token %d does not change the logits at place %d", b, changed, place)
					}
				}
			}
			if largestDifference(same[0][0], same[1][0]) < 1e-3 {
				t.Error("the image makes no difference")
			}
			// The prefix sees all of itself: its last cell changes its first.
			tokens := torch.To[float32](v.Tokens.Contiguous())
			width := v.Tokens.Dim(2)
			for i := range width {
				tokens[3*width+i] += float32(i%7) * 0.5
			}
			moved := Vision{Tokens: torch.From(torch.CPU, tokens, v.Tokens.Shape()...), Feature: v.Feature}
			if e := largestDifference(fullLogits(m, moved, [][]int64{{5}, {5}})[0][0], same[0][0]); e < 1e-4 {
				t.Error("the last cell of the map makes no difference at the first place")
			}
		})
	})
}

// Greedy decoding against taking the argmax of whole passes.
func TestGreedyTakesTheLikeliestToken(t *testing.T) {
	m := newModel(t, false)
	rgb, keys := pixels(t, m.Preprocess(), shapes())
	for _, prompt := range []string{"", "outline circle,"} {
		greedy(t, m, rgb, keys, prompt)
	}
}

func greedy(t *testing.T, m *Model, rgb []uint8, keys []string, prompt string) {
	t.Helper()
	got, err := m.Caption(t.Context(), Images{Pixels: rgb, Keys: keys}, GenerateOptions{N: 2, Prompt: prompt})
	if err != nil {
		t.Fatal(err)
	}
	start := m.Tokenizer.Encode(prompt)
	start = start[:len(start)-1]
	_, first := bans(m.Tokenizer)
	anywhere, _ := bans(m.Tokenizer)
	size := m.Preprocess().Bytes()
	for i := range keys {
		var ids []int64
		for _, id := range start {
			ids = append(ids, int64(id))
		}
		var words []int32
		logProb := 0.0
		torch.Scope(func() {
			torch.NoGrad(func() {
				v := look(m.CLIP, m.CLIP.Pixels(rgb[i*size:(i+1)*size], 1))
				for len(words) < m.Decoder.Config.ContextLength-1-len(start) {
					all := fullLogits(m, v, [][]int64{ids})[0]
					last := all[len(all)-1]
					ban := anywhere
					if len(words) == 0 {
						ban = first
					}
					best, sum := 0, 0.0
					for id := range last {
						sum += math.Exp(float64(last[id]))
						if last[id]+ban[id] > last[best]+ban[best] {
							best = id
						}
					}
					logProb += float64(last[best]) - math.Log(sum)
					if int32(best) == m.Tokenizer.EOS() {
						return
					}
					words, ids = append(words, int32(best)), append(ids, int64(best))
				}
			})
		})
		want := tidy(m.Tokenizer.Decode(append(slices.Clone(start), words...)))
		if got[i][0].Text != want || got[i][1] != got[i][0] {
			t.Errorf("image %d: %v, want %q twice", i, got[i], want)
		}
		if math.Abs(got[i][0].LogProb-logProb) > 1e-4 {
			t.Errorf("image %d: log-probability %g, want %g", i, got[i][0].LogProb, logProb)
		}
	}
}

func TestSamplesDependOnSeedAndKeyNotOnTheBatch(t *testing.T) {
	m := newModel(t, false)
	rgb, keys := pixels(t, m.Preprocess(), shapes())
	o := GenerateOptions{N: 4, Temperature: 1, TopP: 0.9, Seed: 3}
	caption := func(rgb []uint8, keys []string, o GenerateOptions) [][]Caption {
		t.Helper()
		c, err := m.Caption(t.Context(), Images{Pixels: rgb, Keys: keys}, o)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	texts := func(list []Caption) (out []string) {
		for _, c := range list {
			out = append(out, c.Text)
		}
		return out
	}
	all := caption(rgb, keys, o)
	size := m.Preprocess().Bytes()
	different := map[string]bool{}
	for i := range keys {
		alone := caption(rgb[i*size:(i+1)*size], keys[i:i+1], o)[0]
		if !slices.Equal(texts(alone), texts(all[i])) {
			t.Errorf("image %d alone gives %q, among others %q", i, texts(alone), texts(all[i]))
		}
		for s := range alone {
			if math.Abs(alone[s].LogProb-all[i][s].LogProb) > 1e-4 {
				t.Errorf("image %d sample %d: log-probability %g alone, %g among others", i, s, alone[s].LogProb, all[i][s].LogProb)
			}
			different[all[i][s].Text] = true
		}
		// More captions of an image leave the first ones as they are.
		more := o
		more.N = 6
		if got := texts(caption(rgb[i*size:(i+1)*size], keys[i:i+1], more)[0])[:4]; !slices.Equal(got, texts(all[i])) {
			t.Errorf("image %d: six captions begin with %q, four are %q", i, got, texts(all[i]))
		}
	}
	if len(different) < 20 {
		t.Errorf("only %d different captions of 32 from a random model", len(different))
	}
	o.Seed = 4
	if slices.Equal(texts(caption(rgb, keys, o)[0]), texts(all[0])) {
		t.Error("another seed gives the same captions")
	}
	for i := range all {
		for _, c := range all[i] {
			if c.Text == "" || strings.ContainsAny(c.Text, "<|>") || !(c.LogProb < 0) {
				t.Errorf("image %d: %+v", i, c)
			}
		}
	}
}

func TestMaxLengthBoundsTokens(t *testing.T) {
	m := newModel(t, false)
	rgb, keys := pixels(t, m.Preprocess(), shapes())
	for _, length := range []int{1, 3, 99} {
		all, err := m.Caption(t.Context(), Images{Pixels: rgb, Keys: keys}, GenerateOptions{N: 3, Temperature: 2, MaxLength: length})
		if err != nil {
			t.Fatal(err)
		}
		for _, list := range all {
			for _, c := range list {
				if n := len(m.Tokenizer.Encode(c.Text)) - 2; n > length || c.Text == "" {
					t.Errorf("max_length %d: %q has %d tokens", length, c.Text, n)
				}
			}
		}
	}
}

// A model that only ever wants to end still says something.
func TestEndMarkCannotComeFirst(t *testing.T) {
	m := newModel(t, false)
	torch.NoGrad(func() {
		torch.Scope(func() {
			// The last hidden state is a constant that only the end mark's row matches.
			m.Decoder.FinalNorm.Weight.Fill_(0)
			m.Decoder.FinalNorm.Bias.Fill_(1)
			m.Decoder.Token.Weight.Narrow(0, int(m.Tokenizer.EOS()), 1).Fill_(2)
		})
	})
	rgb, keys := pixels(t, m.Preprocess(), shapes())
	for _, o := range []GenerateOptions{{}, {N: 8, Temperature: 1}} {
		all, err := m.Caption(t.Context(), Images{Pixels: rgb, Keys: keys}, o)
		if err != nil {
			t.Fatal(err)
		}
		for _, list := range all {
			for _, c := range list {
				if c.Text == "" {
					t.Fatal("an empty caption")
				}
				if n := len(m.Tokenizer.Encode(c.Text)) - 2; n > 1 {
					t.Errorf("%q goes on after the end was likeliest", c.Text)
				}
			}
		}
	}
}

func TestLogProbAgreesWithCaption(t *testing.T) {
	m := newModel(t, false)
	rgb, keys := pixels(t, m.Preprocess(), shapes())
	texts := make([]string, len(keys))
	for i, p := range pairs {
		texts[i] = p.text
	}
	got, err := m.LogProb(rgb, texts)
	if err != nil {
		t.Fatal(err)
	}
	size := m.Preprocess().Bytes()
	for i := range texts {
		torch.Scope(func() {
			torch.NoGrad(func() {
				ids := m.Tokenizer.Encode(texts[i])
				in := make([]int64, len(ids)-1)
				for j := range in {
					in[j] = int64(ids[j])
				}
				want := 0.0
				v := look(m.CLIP, m.CLIP.Pixels(rgb[i*size:(i+1)*size], 1))
				for place, logits := range fullLogits(m, v, [][]int64{in})[0] {
					sum := 0.0
					for _, l := range logits {
						sum += math.Exp(float64(l))
					}
					want += float64(logits[ids[place+1]]) - math.Log(sum)
				}
				if math.Abs(got[i]-want) > 1e-4*math.Abs(want) {
					t.Errorf("%q: %g, want %g", texts[i], got[i], want)
				}
			})
		})
	}
	if _, err := m.LogProb(rgb[:size], []string{" "}); err == nil {
		t.Error("a text without words is scored")
	}
}

func TestBadOptionsAreNamed(t *testing.T) {
	m := newModel(t, false)
	rgb, keys := pixels(t, m.Preprocess(), shapes()[:1])
	for _, c := range []struct {
		o    GenerateOptions
		want string
	}{
		{GenerateOptions{N: -1}, "captions an image"},
		{GenerateOptions{Temperature: -1}, "temperature"},
		{GenerateOptions{Temperature: math.NaN()}, "temperature"},
		{GenerateOptions{TopP: 1.5}, "top_p"},
		{GenerateOptions{MaxLength: -2}, "max_length"},
		{GenerateOptions{Beams: 65}, "beams"},
		{GenerateOptions{Beams: 3, Temperature: 1}, "beam search draws nothing"},
		{GenerateOptions{Beams: 3, N: 4}, "at most as many"},
		{GenerateOptions{Prompt: strings.Repeat("red ", 12)}, "prompt"},
	} {
		if _, err := m.Caption(t.Context(), Images{Pixels: rgb, Keys: keys}, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.o, err)
		}
	}
	if _, err := m.Caption(t.Context(), Images{Pixels: rgb[1:], Keys: keys}, GenerateOptions{}); err == nil {
		t.Error("too few pixels are accepted")
	}
	torch.NoGrad(func() { m.Decoder.FinalNorm.Bias.Fill_(math.NaN()) })
	if _, err := m.Caption(t.Context(), Images{Pixels: rgb, Keys: keys}, GenerateOptions{Beams: 3}); err == nil || !strings.Contains(err.Error(), "NaN") {
		t.Errorf("damaged weights: %v", err)
	}
}

func TestFolderRoundTrip(t *testing.T) {
	for _, vit := range []bool{false, true} {
		m := newModel(t, vit)
		root := t.TempDir()
		if err := m.CLIP.Save(filepath.Join(root, "tower"), torch.Float32, nil); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(root, "captioner")
		if err := m.Save(dir, torch.Float16, map[string]string{"trained_by": "test"}); err != nil {
			t.Fatal(err)
		}
		loaded, err := LoadModel(dir, torch.CPU)
		if err != nil {
			t.Fatal(err)
		}
		if loaded.Decoder.Config != m.Decoder.Config {
			t.Errorf("config %+v, saved %+v", loaded.Decoder.Config, m.Decoder.Config)
		}
		after := nn.Export(loaded.Decoder)
		for name, before := range nn.Export(m.Decoder) {
			want := before.Cast(torch.Float16).Cast(torch.Float32)
			if !bytes.Equal(after[name].Data, want.Data) {
				t.Errorf("%s is not what was saved, rounded to float16", name)
			}
		}
		// Rounded weights again: the same captions from memory and from the folder.
		if err := nn.Import(m.Decoder, after); err != nil {
			t.Fatal(err)
		}
		rgb, keys := pixels(t, m.Preprocess(), shapes())
		o := GenerateOptions{N: 2, Temperature: 1, Seed: 1}
		a, err1 := m.Caption(t.Context(), Images{Pixels: rgb, Keys: keys}, o)
		b, err2 := loaded.Caption(t.Context(), Images{Pixels: rgb, Keys: keys}, o)
		if err1 != nil || err2 != nil || fmt.Sprint(a) != fmt.Sprint(b) {
			t.Errorf("captions %v (%v), from the folder %v (%v)", a, err1, b, err2)
		}
	}
}
