package clip

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"arf/checkpoint"
	"arf/nn"
	"arf/text"
	"arf/torch"
)

// randomModel is a small model with a tokenizer of its own.
func randomModel(t *testing.T, name string) *Model {
	t.Helper()
	golden, _ := readGolden(t, name)
	tokenizer, err := text.TrainWordPiece(slices.Values([]string{"a red cat", "the blue dog"}), 50, 1, golden.Config.Text.ContextLength)
	if err != nil {
		t.Fatal(err)
	}
	c := golden.Config
	c.Text.VocabSize, c.Text.EOS, c.Text.PadID = tokenizer.VocabSize(), int(tokenizer.EOS()), int(tokenizer.Pad())
	m, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	m.Tokenizer = tokenizer
	m.Init(5)
	return m
}

func TestSaveAndLoad(t *testing.T) {
	for _, name := range []string{"vit_gelu_eos", "vit_quickgelu_argmax", "resnet"} {
		t.Run(name, func(t *testing.T) {
			m := randomModel(t, name)
			dir := t.TempDir()
			if err := m.Save(dir, torch.Float32, map[string]string{"base": "x"}); err != nil {
				t.Fatal(err)
			}
			again, err := Load(dir, torch.CPU)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := again.Config.Vision, m.Config.Vision; got.Activation != want.Activation && m.ResNet == nil || got.ImageSize != want.ImageSize || got.Heads != want.Heads || got.Width != want.Width {
				t.Errorf("vision config %+v, want %+v", got, want)
			}
			if again.Config.Text.ArgmaxPooling != m.Config.Text.ArgmaxPooling {
				t.Error("another text pooling after loading")
			}
			want := nn.Export(m)
			for name, got := range nn.Export(again) {
				if !bytes.Equal(got.Data, want[name].Data) {
					t.Errorf("%s differs after loading", name)
				}
			}
			// Half precision rounds each weight, no more.
			if err := m.Save(dir, torch.Float16, nil); err != nil {
				t.Fatal(err)
			}
			if again, err = Load(dir, torch.CPU); err != nil {
				t.Fatal(err)
			}
			for name, got := range nn.Export(again) {
				if rounded := want[name].Cast(torch.Float16).Cast(torch.Float32); !bytes.Equal(got.Data, rounded.Data) {
					t.Errorf("%s is not the float16 rounding of what was saved", name)
				}
			}
		})
	}
}

// Each mistake in a folder is refused with its file and its name.
func TestLoadNamesWhatIsWrong(t *testing.T) {
	good := func(t *testing.T) string {
		dir := t.TempDir()
		if err := randomModel(t, "vit_gelu_eos").Save(dir, torch.Float32, nil); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	edit := func(change func(checkpoint.Tensors)) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			path := filepath.Join(dir, hfWeightsFile)
			tensors, _, err := checkpoint.ReadSafetensors(path)
			if err != nil {
				t.Fatal(err)
			}
			change(tensors)
			if err := checkpoint.WriteSafetensors(path, tensors, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	replace := func(old, new string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			path := filepath.Join(dir, hfConfigFile)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(data, []byte(old)) {
				t.Fatalf("%s has no %s", path, old)
			}
			if err := os.WriteFile(path, bytes.ReplaceAll(data, []byte(old), []byte(new)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	const weight = "text_model.final_layer_norm.weight"
	for name, c := range map[string]struct {
		spoil func(*testing.T, string)
		want  []string
	}{
		"missing tensor": {edit(func(w checkpoint.Tensors) { delete(w, weight) }), []string{hfWeightsFile, weight, "missing"}},
		"extra tensor":   {edit(func(w checkpoint.Tensors) { w["more"] = w[weight] }), []string{hfWeightsFile, "more"}},
		"wrong shape": {edit(func(w checkpoint.Tensors) {
			w[weight] = checkpoint.Tensor{DType: torch.Float32, Shape: []int{2}, Data: make([]byte, 8)}
		}), []string{weight, "[2]", "[18]"}},
		"NaN": {edit(func(w checkpoint.Tensors) {
			data := bytes.Clone(w[weight].Data)
			binary.LittleEndian.PutUint32(data, math.Float32bits(float32(math.NaN())))
			w[weight] = checkpoint.Tensor{DType: torch.Float32, Shape: w[weight].Shape, Data: data}
		}), []string{weight, "NaN"}},
		"truncated weights": {func(t *testing.T, dir string) {
			if err := os.Truncate(filepath.Join(dir, hfWeightsFile), 1000); err != nil {
				t.Fatal(err)
			}
		}, []string{hfWeightsFile, "damaged"}},
		"no config":          {func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, hfConfigFile)) }, []string{"neither", hfConfigFile}},
		"unknown model":      {replace(`"model_type": "clip"`, `"model_type": "blip"`), []string{`"blip"`, "not supported"}},
		"unknown activation": {replace(`"gelu"`, `"swish"`), []string{"swish", "quick_gelu"}},
		"no heads":           {replace(`"num_attention_heads": 4`, `"num_attention_heads": 5`), []string{"heads 5", "width 24"}},
		"malformed JSON":     {replace(`{`, `{{`), []string{hfConfigFile}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := good(t)
			c.spoil(t, dir)
			_, err := Load(dir, torch.CPU)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
}

// The message on a missing tokenizer names whose files are wanted; of a folder's
// name, as open_clip's config may have it, nobody could tell.
func TestMissingTokenizerIsNamed(t *testing.T) {
	for tokenizer, want := range map[string]string{
		"bert-base-uncased": "put tokenizer.json and tokenizer_config.json there: that of bert-base-uncased",
		".":                 "there: those that the model came with",
		"/models/mine":      "there: those that the model came with",
	} {
		dir := t.TempDir()
		_, err := loadTokenizer(dir, parts{tokenizer: tokenizer, config: Config{Text: TextConfig{ContextLength: 77, VocabSize: text.CLIPVocabSize}}})
		if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "of . ") {
			t.Errorf("%s: %v, want %q", tokenizer, err, want)
		}
	}
}

// Padding that nothing sees may have any id.
func TestPaddingOutsideTheVocabulary(t *testing.T) {
	m := randomModel(t, "vit_gelu_eos")
	texts := m.Tokenize([]string{"a red cat", "dog"})
	torch.Scope(func() {
		want := checkpoint.FromTorch(m.EncodeText(texts))
		m.Text.config.PadID = -1
		if e := relativeError(m.EncodeText(texts), want); e != 0 {
			t.Errorf("relative error %.2g", e)
		}
	})
}

func TestEncodeTextRefusesTooManyTokens(t *testing.T) {
	m := randomModel(t, "vit_gelu_eos")
	var err error
	func() {
		defer torch.Catch(&err)
		torch.Scope(func() { m.EncodeText([][]int32{make([]int32, 13)}) })
	}()
	if err == nil || !strings.Contains(err.Error(), "13 tokens") {
		t.Errorf("error %v", err)
	}
}

func TestHashChangesWithTheWeights(t *testing.T) {
	dir := t.TempDir()
	m := randomModel(t, "resnet")
	sum := func() string {
		if err := m.Save(dir, torch.Float32, nil); err != nil {
			t.Fatal(err)
		}
		h, err := Hash(dir)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	first := sum()
	if sum() != first {
		t.Error("the same model has another hash")
	}
	m.Init(6)
	if sum() == first {
		t.Error("other weights have the same hash")
	}
	if _, err := Hash(t.TempDir()); err == nil {
		t.Error("an empty folder has a hash")
	}
}
