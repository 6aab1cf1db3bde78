package main

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"arf/captioner"
	"arf/clip"
	"arf/dataset"
	"arf/imaging"
	"arf/nn"
	"arf/text"
	"arf/torch"
)

// The small setting: a Hugging Face ViT and a captioner for it, both made here,
// so that a run takes seconds. The ViT's weights are random: what is tested is
// the path, not the accuracy.
var (
	smallOnce sync.Once
	smallMade bool
)

// small gives a copy of the small setting: vit, captioner/model, train, val,
// test, sketches, other, pool/0000{0,1}.tar, and runs/prepared, which has
// captions and pairs.
func small(t *testing.T) string {
	t.Helper()
	smallOnce.Do(func() {
		makeSmall(t)
		mustRun(t, scratch, smallArgs("retrieve", "prepared")...)
		smallMade = true
	})
	if !smallMade {
		t.Fatal("the small setting could not be made")
	}
	dir := filepath.Join(t.TempDir(), "small")
	if err := os.CopyFS(dir, os.DirFS(scratch)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// smallArgs is a command on configs/own-data.yaml with the values that it marks
// "(yours)" and what little data needs.
func smallArgs(verb, name string, sets ...string) []string {
	args := []string{verb, filepath.Join(repository, "configs/own-data.yaml"), "--quiet"}
	for _, set := range append([]string{
		"name=" + name, "model=vit", "data.finetune.path=train", "data.validation.path=val", "data.pool.path=pool/{00000..00001}.tar",
		"anchors.captions.captioner=captioner/model", "eval.suites[0].source.path=test", "eval.suites[1].source.path=sketches",
		"eval.suites[2].source.path=other",
		"train.batch_size=8", "train.epochs=1", "train.warmup_steps=1", "train.lr=1e-3", "train.workers=1",
		"anchors.captions.per_image=2", "anchors.pairs.k=3",
		// To random weights all images look nearly alike.
		"anchors.pairs.leak_guard.near_duplicate_cosine=0",
	}, sets...) {
		args = append(args, "--set", set)
	}
	return args
}

// runAs makes the run folder name a copy of the prepared one.
func runAs(t *testing.T, dir, name string) string {
	t.Helper()
	run := filepath.Join(dir, "runs", name)
	if err := os.CopyFS(run, os.DirFS(filepath.Join(dir, "runs/prepared"))); err != nil {
		t.Fatal(err)
	}
	return run
}

func mustRun(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := arf(dir, args...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	noTrace(t, out)
	return out
}

// mustFail wants an error in one line that has all of wants.
func mustFail(t *testing.T, out string, err error, wants ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error:\n%s", out)
	}
	noTrace(t, out)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	last := lines[len(lines)-1]
	if !strings.HasPrefix(last, "arf: ") {
		t.Errorf("the last line is no message of arf:\n%s", out)
	}
	for _, want := range wants {
		if !strings.Contains(last, want) {
			t.Errorf("message lacks %q:\n%s", want, out)
		}
	}
}

func noTrace(t *testing.T, out string) {
	t.Helper()
	for _, sign := range []string{"goroutine ", "panic:", "SIG", "C++ exception"} {
		if strings.Contains(out, sign) {
			t.Errorf("a stack trace or signal is shown:\n%s", out)
		}
	}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// lightPictures are pictures of few bytes, quick to decode.
func lightPictures(t *testing.T, folder string, n int) []string {
	t.Helper()
	light := slices.DeleteFunc(pictures(t, folder, 1000), func(path string) bool {
		info, err := os.Stat(path)
		return err != nil || info.Size() > 150<<10
	})
	if len(light) < n {
		t.Fatalf("%s has %d pictures of up to 150 KiB, want %d", folder, len(light), n)
	}
	return light[:n]
}

// pair is an entry of a webdataset.
type pair struct {
	key, text string
	png       []byte
}

func writeTar(t *testing.T, path string, pairs []pair) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := tar.NewWriter(f)
	for _, p := range pairs {
		meta, err := json.Marshal(map[string]any{"license": "public domain", "set": "stamps"})
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []struct {
			ext  string
			data []byte
		}{{".png", p.png}, {".txt", []byte(p.text)}, {".json", meta}} {
			if err := w.WriteHeader(&tar.Header{Name: p.key + part.ext, Mode: 0o644, Size: int64(len(part.data))}); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(part.data); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func poolPairs(t *testing.T) []pair {
	t.Helper()
	var pairs []pair
	for _, folder := range []string{"household", "seasonal", "town"} {
		for i, picture := range lightPictures(t, folder, 8) {
			pairs = append(pairs, pair{fmt.Sprintf("%s-%d", folder, i), caption(t, picture), read(t, picture)})
		}
	}
	return pairs
}

func makeSmall(t *testing.T) {
	t.Helper()
	var words []string
	for class, folder := range map[string]string{"animal": "animals", "food": "food", "plant": "plants", "vehicle": "vehicles"} {
		words = append(words, class)
		for i, picture := range lightPictures(t, folder, 14) {
			part := []string{"train", "train", "train", "train", "test", "val", "sketches"}[i%7]
			write(t, filepath.Join(scratch, part, class, filepath.Base(picture)), read(t, picture))
			words = append(words, caption(t, picture))
		}
	}
	for class, folder := range map[string]string{"planet": "space", "clothes": "clothes"} {
		for _, picture := range lightPictures(t, folder, 3) {
			write(t, filepath.Join(scratch, "other", class, filepath.Base(picture)), read(t, picture))
		}
		words = append(words, class)
	}
	pool := poolPairs(t)
	for _, p := range pool {
		words = append(words, p.text)
	}
	writeTar(t, filepath.Join(scratch, "pool/00000.tar"), pool[:12])
	writeTar(t, filepath.Join(scratch, "pool/00001.tar"), pool[12:])

	slices.Sort(words) // maps have no order
	tokenizer, err := text.TrainWordPiece(slices.Values(append(words, "a photo of a .")), 600, 1, 16)
	if err != nil {
		t.Fatal(err)
	}
	if err := torch.Load(); err != nil {
		t.Fatal(err)
	}
	m, err := clip.New(clip.Config{
		EmbedDim: 32,
		Vision:   clip.VisionConfig{ImageSize: 32, Width: 64, Heads: 2, Activation: nn.QuickGELU, PatchSize: 8, Layers: 2, MLPWidth: 128, Eps: 1e-5},
		Text: clip.TextConfig{
			ContextLength: 16, VocabSize: tokenizer.VocabSize(), Width: 64, Layers: 2, Heads: 2, MLPWidth: 128,
			Activation: nn.QuickGELU, Eps: 1e-5, EOS: int(tokenizer.EOS()), PadID: int(tokenizer.Pad()),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	m.Init(1)
	m.Tokenizer, m.Preprocess = tokenizer, imaging.CLIP(32)
	vit := filepath.Join(scratch, "vit")
	if err := m.Save(vit, torch.Float32, nil); err != nil {
		t.Fatal(err)
	}
	pairs, err := dataset.Open(dataset.Source{Path: filepath.Join(scratch, "pool")})
	if err != nil {
		t.Fatal(err)
	}
	if err := captioner.Train(t.Context(), m, pairs, captioner.Options{
		Dir: filepath.Join(scratch, "captioner"), CLIPDir: vit, Width: 32, Layers: 1, Heads: 2, BatchSize: 8, Epochs: 10, LR: 3e-3,
	}); err != nil {
		t.Fatal(err)
	}
}
