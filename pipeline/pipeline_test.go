package pipeline

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"arf/anchor"
	"arf/captioner"
	"arf/clip"
	"arf/config"
	"arf/dataset"
	"arf/internal/cliptest"
	"arf/report"
	"arf/torch"
)

// prepare lays out a small run: a Hugging Face ViT with random weights, a
// captioner trained on the pool for a moment, image folders, tars. Chance
// results, but every step is the real one.
func prepare(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	folder := func(name string, colors []string, first uint64, n int) {
		for _, color := range colors {
			for i := range n {
				write(t, filepath.Join(dir, name, color, fmt.Sprintf("%d.png", i)), cliptest.Picture(t, color, cliptest.Shapes[i%5], first+uint64(i)))
			}
		}
	}
	folder("train", cliptest.Colors[:3], 0, 6)
	folder("validation", cliptest.Colors[:3], 50, 2)
	folder("test", cliptest.Colors[:3], 100, 3)
	folder("other", cliptest.Colors[3:], 200, 3)
	pairs(t, filepath.Join(dir, "pool.tar"), 300, 40)
	pairs(t, filepath.Join(dir, "drift.tar"), 400, 12)
	write(t, filepath.Join(dir, "templates.txt"), []byte("a photo of a {}.\n"))

	model := cliptest.Model(t, 1)
	if err := model.Save(filepath.Join(dir, "clip"), torch.Float32, nil); err != nil {
		t.Fatal(err)
	}
	loaded, err := clip.Load(filepath.Join(dir, "clip"), torch.CPU)
	if err != nil {
		t.Fatal(err)
	}
	pool, err := dataset.Open(dataset.Source{Path: filepath.Join(dir, "pool.tar")})
	if err != nil {
		t.Fatal(err)
	}
	if err := captioner.Train(context.Background(), loaded, pool, captioner.Options{
		Dir: filepath.Join(dir, "captioner"), CLIPDir: filepath.Join(dir, "clip"),
		Width: 32, Layers: 1, Heads: 2, BatchSize: 10, Epochs: 1,
	}); err != nil {
		t.Fatal(err)
	}
	return dir
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

// pairs writes a webdataset tar of pictures and their texts.
func pairs(t *testing.T, path string, first uint64, n int) {
	t.Helper()
	var content bytes.Buffer
	w := tar.NewWriter(&content)
	add := func(name string, data []byte) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		color, shape := cliptest.Colors[i%5], cliptest.Shapes[i/5%5]
		key := fmt.Sprintf("%03d", i)
		add(key+".png", cliptest.Picture(t, color, shape, first+uint64(i)))
		add(key+".txt", []byte("the "+color+" "+shape))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, path, content.Bytes())
}

func load(t testing.TB, dir string, sets ...string) *config.Config {
	t.Helper()
	cfg, err := config.Parse("run.yaml", []byte(strings.ReplaceAll(`
name: run
output: DIR/runs
model: DIR/clip
methods: [zeroshot, flyp, arf]
precision: fp32
data:
  finetune: {path: DIR/train}
  validation: {path: DIR/validation}
  pool: {path: DIR/pool.tar}
anchors:
  captions: {captioner: DIR/captioner/model, per_image: 2, max_length: 6}
  pairs: {k: 2, leak_guard: {near_duplicate_cosine: 0.9999}}
train: {batch_size: 8, epochs: 1, lr: 1e-4, warmup_steps: 1, templates: DIR/templates.txt}
eval:
  suites:
    - {name: test, role: id, source: {path: DIR/test}}
    - {name: other, role: zero-shot, source: {path: DIR/other}}
  drift: {source: {path: DIR/drift.tar}}
  wise_alphas: [0, 0.5, 1]
`, "DIR", dir)), sets...)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// outputs are files that each step leaves, by step.
var outputs = map[string]string{
	"captions":      "anchors/captions.json",
	"pairs":         "anchors/pairs/.done",
	"flyp":          "train/flyp/seed-0/.done",
	"arf":           "train/arf/seed-0/.done",
	"zeroshot eval": "eval/zeroshot/seed-0/.done",
	"flyp eval":     "eval/flyp/seed-0/.done",
	"arf eval":      "eval/arf/seed-0/.done",
}

// contents reads outputs; stamps carry the time, so a step done again differs.
func contents(t *testing.T, run string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for step, file := range outputs {
		info, err := os.Stat(filepath.Join(run, file))
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(run, file))
		if err != nil {
			t.Fatal(err)
		}
		found[step] = info.ModTime().String() + string(data)
	}
	return found
}

// Every change of an input does again what depends on it, and nothing else.
func TestOnlyWhatAChangeTouchesIsDoneAgain(t *testing.T) {
	dir := prepare(t)
	run := filepath.Join(dir, "runs", "run")
	do := func(t *testing.T, sets ...string) {
		t.Helper()
		if err := Run(context.Background(), load(t, dir, sets...), "", Options{}); err != nil {
			t.Fatal(err)
		}
	}
	do(t)
	for _, file := range []string{"report.html", "results.json", "eval/arf/seed-0/validation.json", "eval/arf/seed-0/wise-0.5/test.json", "train/arf/seed-0/model/model.safetensors"} {
		if _, err := os.Stat(filepath.Join(run, file)); err != nil {
			t.Error(err)
		}
	}
	hashes := map[string]string{} // of the weights, by file
	for _, file := range []string{"zeroshot/seed-0", "flyp/seed-0", "arf/seed-0", "arf/seed-0/wise-0.5", "arf/seed-0/wise-0", "arf/seed-0/wise-1"} {
		data, err := os.ReadFile(filepath.Join(run, "eval", file, "test.json"))
		if err != nil {
			t.Fatal(err)
		}
		var result struct{ Pretrained string }
		if err := json.Unmarshal(data, &result); err != nil {
			t.Fatal(err)
		}
		hashes[file] = result.Pretrained
	}
	if hashes["arf/seed-0/wise-0"] != hashes["zeroshot/seed-0"] || hashes["arf/seed-0/wise-1"] != hashes["arf/seed-0"] {
		t.Errorf("the ends of the interpolation have other hashes: %v", hashes)
	}
	if different := slices.Compact(slices.Sorted(maps.Values(hashes))); len(different) != 4 || different[0] == "" {
		t.Errorf("hashes of the weights: %v", hashes)
	}
	card, err := os.ReadFile(filepath.Join(run, "train/arf/seed-0/model/README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"18 labelled images of 3 classes", "- tca: ", "- captions: 2 an image", "- pairs: retrieved by image, 2 an image", "Towers computed in float32.", "| test | id | acc1 | 0."} {
		if !strings.Contains(string(card), want) {
			t.Errorf("the model card lacks %q:\n%s", want, card)
		}
	}
	evals := []string{"zeroshot eval", "flyp eval", "arf eval"}
	trained := []string{"flyp", "arf", "flyp eval", "arf eval"}
	// Each case stands on its own: the next one sets the keys back.
	for _, c := range []struct {
		name   string
		change func()
		sets   []string
		redone []string
	}{
		{name: "nothing"},
		{name: "workers", sets: []string{"train.workers=1", "train.checkpoint_every=2"}},
		{name: "gallery", sets: []string{"report.gallery=3"}},
		{name: "alphas", sets: []string{"eval.wise_alphas=[1]"}, redone: []string{"flyp eval", "arf eval"}},
		{name: "whose curve", sets: []string{"eval.wise_methods=[flyp]"}, redone: []string{"arf eval"}},
		{name: "another method's prompts", sets: []string{"train.second_prompts=['the {}']"}},
		{name: "weight of the captions", sets: []string{"train.lambda_tca=0.5"}, redone: []string{"arf", "arf eval"}},
		{name: "learning rate", sets: []string{"train.lr=2e-4"}, redone: trained},
		{name: "fewer pairs", sets: []string{"anchors.pairs.k=1"}, redone: []string{"pairs", "arf", "arf eval"}},
		{name: "hubness", sets: []string{"anchors.pairs.csls=true", "anchors.pairs.clip_score_weight=1"}, redone: []string{"pairs", "arf", "arf eval"}},
		{name: "caption gate", sets: []string{"anchors.captions.min_clip_score=-0.9"}, redone: []string{"arf", "arf eval"}},
		{name: "caption temperature", sets: []string{"anchors.captions.temperature=0.5"}, redone: []string{"captions", "arf", "arf eval"}},
		{name: "drift data", change: func() { pairs(t, filepath.Join(dir, "drift.tar"), 700, 10) }, redone: []string{"flyp eval", "arf eval"}},
		{name: "template file", change: func() { write(t, filepath.Join(dir, "templates.txt"), []byte("the {}.\n")) }, redone: slices.Concat(evals, []string{"flyp", "arf"})},
		{name: "test image", change: func() {
			write(t, filepath.Join(dir, "test", "red", "9.png"), cliptest.Picture(t, "red", "disc", 900))
		}, redone: slices.Concat(evals, []string{"pairs"})}, // the guard sees it too, and finds the same pairs
		{name: "captions edited by hand", change: func() {
			path := filepath.Join(run, "anchors", "captions.jsonl")
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			write(t, path, bytes.Replace(data, []byte(`"text":"`), []byte(`"text":"the `), 1))
		}, redone: []string{"arf", "arf eval"}},
		{name: "pool", change: func() { pairs(t, filepath.Join(dir, "pool.tar"), 800, 35) }, redone: []string{"pairs", "arf", "arf eval"}},
		{name: "finetune image", change: func() {
			write(t, filepath.Join(dir, "train", "red", "9.png"), cliptest.Picture(t, "red", "disc", 901))
		}, redone: slices.Concat(trained, []string{"captions", "pairs"})},
	} {
		t.Run(c.name, func(t *testing.T) {
			do(t)
			before := contents(t, run)
			if c.change != nil {
				c.change()
			}
			do(t, c.sets...)
			var redone []string
			for step, after := range contents(t, run) {
				if after != before[step] {
					redone = append(redone, step)
				}
			}
			slices.Sort(redone)
			slices.Sort(c.redone)
			if !slices.Equal(redone, c.redone) {
				t.Errorf("done again: %q, want %q", redone, c.redone)
			}
		})
	}
}

// A report of a config that names fewer methods doesn't show the others' old
// results; these stay, and are there when the config names them again.
func TestResultsOfOtherSettingsAreNotShown(t *testing.T) {
	dir := prepare(t)
	ctx := context.Background()
	all := "methods=[zeroshot, flyp, flyp+ita]"
	if err := Run(ctx, load(t, dir, all), "", Options{}); err != nil {
		t.Fatal(err)
	}
	run := filepath.Join(dir, "runs", "run")
	stamp := filepath.Join(run, "eval", "flyp+ita", "seed-0", ".done")
	before, err := os.ReadFile(stamp)
	if err != nil {
		t.Fatal(err)
	}
	shown := func(want ...string) {
		t.Helper()
		r, err := report.Load(run)
		if err != nil || !slices.Equal(r.Methods, want) {
			t.Errorf("the report shows %q, want %q: %v", r.Methods, want, err)
		}
	}
	if err := Run(ctx, load(t, dir, "methods=[zeroshot, flyp]"), "", Options{}); err != nil {
		t.Fatal(err)
	}
	shown("zeroshot", "flyp")
	if err := Run(ctx, load(t, dir, all), "", Options{}); err != nil {
		t.Fatal(err)
	}
	shown("zeroshot", "flyp", "flyp+ita")
	if after, err := os.ReadFile(stamp); err != nil || !bytes.Equal(before, after) {
		t.Errorf("it was evaluated again: %v", err)
	}
}

// The controls train on what they say: random pairs from the pool, pairs of
// the retrieved ones' classes, prompts for captions, twice the epochs.
func TestControls(t *testing.T) {
	dir := prepare(t)
	methods := "methods=[zeroshot, flyp+random, flyp+random-matched, pairs-only, flyp-2x, caption=class-prompt]"
	if err := Run(context.Background(), load(t, dir, methods), "", Options{}); err != nil {
		t.Fatal(err)
	}
	run := filepath.Join(dir, "runs", "run")
	if _, err := os.Stat(filepath.Join(run, "anchors", "captions.jsonl")); err == nil {
		t.Error("captions were written for methods that don't use them")
	}
	named := func(file string) map[string]int {
		pairs, err := anchor.ReadPairs(filepath.Join(run, "anchors", file))
		if err != nil {
			t.Fatal(err)
		}
		counts := map[string]int{}
		for _, p := range pairs {
			counts[strings.Fields(p.Text)[1]]++ // "the red disc"
		}
		return counts
	}
	retrieved, matched, random := named("pairs.parquet"), named("pairs-random-matched.parquet"), named("pairs-random.parquet")
	for _, class := range cliptest.Colors[:3] { // the finetune classes
		if retrieved[class] != matched[class] {
			t.Errorf("class %s: %d retrieved pairs, %d random ones to match", class, retrieved[class], matched[class])
		}
	}
	if maps.Equal(random, retrieved) {
		t.Errorf("random pairs %v are of the retrieved ones' classes", random)
	}
	steps := func(method string) int {
		data, err := os.ReadFile(filepath.Join(run, "train", method, "seed-0", "metrics.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Count(data, []byte("\n"))
	}
	if one, two := steps("pairs-only"), steps("flyp-2x"); two != 2*one {
		t.Errorf("flyp-2x takes %d steps, others %d", two, one)
	}
	for _, method := range []string{"pairs-only", "caption=class-prompt"} {
		data, err := os.ReadFile(filepath.Join(run, "train", method, "seed-0", "metrics.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		if has := bytes.Contains(data, []byte("loss_class")); has != (method != "pairs-only") {
			t.Errorf("%s: a class term: %v", method, has)
		}
	}
}

// Mistakes in the evaluation are found before anything is trained.
func TestAnUnknownClassIsFoundBeforeTraining(t *testing.T) {
	dir := prepare(t)
	write(t, filepath.Join(dir, "test", "pink", "a.png"), cliptest.Picture(t, "red", "disc", 1))
	err := Run(context.Background(), load(t, dir), "", Options{})
	if err == nil || !strings.Contains(err.Error(), "pink") {
		t.Fatalf("error %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "runs", "run", "train")); err == nil {
		t.Error("something was trained")
	}
}

func TestTwoRunsDoNotShareAFolder(t *testing.T) {
	dir := prepare(t)
	cfg := load(t, dir, "methods=[zeroshot]")
	inside := make(chan error, 1)
	if err := Run(context.Background(), cfg, "", Options{Stage: func(string, int, int) {
		select {
		case inside <- Run(context.Background(), cfg, "", Options{}):
		default:
		}
	}}); err != nil {
		t.Fatal(err)
	}
	if err := <-inside; err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("second run: %v", err)
	}
}

func TestAForeignFolderIsRefused(t *testing.T) {
	dir := prepare(t)
	write(t, filepath.Join(dir, "runs", "run", "thesis.tex"), nil)
	err := Run(context.Background(), load(t, dir), "", Options{})
	if err == nil || !strings.Contains(err.Error(), "thesis.tex") {
		t.Errorf("error %v", err)
	}
}

// A pool without texts is found before it is encoded, and its columns are named.
func TestAPoolWithoutTextsIsRefused(t *testing.T) {
	dir := prepare(t)
	write(t, filepath.Join(dir, "pool.csv"), []byte("file,text_en\ntrain/red/0.png,a red thing\n"))
	_, err := openData(context.Background(), load(t, dir, "data.pool.path="+filepath.Join(dir, "pool.csv")))
	for _, want := range []string{"data.pool", "text_column", `"file", "text_en"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a table: %v, want %s", err, want)
		}
	}
	if _, err := openData(context.Background(), load(t, dir, "data.pool.path="+filepath.Join(dir, "test"))); err == nil || !strings.Contains(err.Error(), "no texts") {
		t.Errorf("a folder: %v", err)
	}
	captioned := filepath.Join(dir, "captioned")
	write(t, filepath.Join(captioned, "0", "a.png"), cliptest.Picture(t, "red", cliptest.Shapes[0], 500))
	write(t, filepath.Join(captioned, "0", "a.txt"), []byte("a red thing"))
	if _, err := openData(context.Background(), load(t, dir, "data.pool.path="+captioned, "data.pool.type=image-folder")); err == nil || !strings.Contains(err.Error(), "type: images") {
		t.Errorf("a folder of images with texts, said to be one of classes: %v", err)
	}
	if d, err := openData(context.Background(), load(t, dir, "data.pool.path="+captioned)); err != nil || !dataset.HasTexts(d.pool) || dataset.Classes(d.pool) != nil {
		t.Errorf("a folder of images with texts: %v", err)
	}
	if _, err := openData(context.Background(), load(t, dir, "data.pool.path="+filepath.Join(dir, "test"), "methods=[zeroshot, flyp]")); err != nil {
		t.Errorf("no method needs pairs: %v", err)
	}
}

// What makes a measurement less than its name says is told.
func TestSharedClassesAndPairsAreWarnedOf(t *testing.T) {
	dir := prepare(t)
	write(t, filepath.Join(dir, "other", strings.ToUpper(cliptest.Colors[0]), "a.png"), cliptest.Picture(t, "red", "disc", 1))
	var log bytes.Buffer
	defer slog.SetDefault(slog.Default())
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	if _, err := openData(context.Background(), load(t, dir, "eval.drift.source.path="+filepath.Join(dir, "pool.tar"))); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"suite other has the role zero-shot, but 1 of its ", "same pairs"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no warning of %q in\n%s", want, log.String())
		}
	}
	log.Reset()
	clean := prepare(t)
	if _, err := openData(context.Background(), load(t, clean)); err != nil || log.Len() > 0 {
		t.Errorf("a warning without cause: %v %s", err, log.String())
	}
}
