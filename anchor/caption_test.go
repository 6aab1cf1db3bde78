package anchor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"arf/captioner"
	"arf/clip"
	"arf/dataset"
	"arf/imaging"
	"arf/internal/cliptest"
	"arf/nn"
	"arf/torch"
)

var testFolder string // of all tests, removed at the end

func TestMain(m *testing.M) {
	// Small tensors gain nothing from threads, and lose much on a busy machine.
	if err := torch.Load(); err == nil {
		torch.SetThreads(1)
	}
	var err error
	if testFolder, err = os.MkdirTemp("", "anchor"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(testFolder)
	os.Exit(code)
}

func newCaptioner(t testing.TB, model *clip.Model) *captioner.Model {
	t.Helper()
	c, err := captioner.New(model, captioner.Config{Width: 32, Layers: 1, Heads: 2, MLPWidth: 64, Activation: nn.GELU, Eps: 1e-5}, "clip")
	if err != nil {
		t.Fatal(err)
	}
	c.Decoder.Init(5)
	return c
}

func openData(t testing.TB, path string) dataset.Dataset {
	t.Helper()
	d, err := dataset.Open(dataset.Source{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func folder(t testing.TB, shapes []string, n int, first uint64) string {
	t.Helper()
	dir := t.TempDir()
	cliptest.Folder(t, dir, shapes, n, first)
	return dir
}

func captionOptions() CaptionOptions {
	return CaptionOptions{Name: "test", BatchSize: 4, Generate: captioner.GenerateOptions{N: 3, Temperature: 1, TopP: 0.9, MaxLength: 6, Seed: 7}}
}

// counting wraps a real captioner.
type counting struct {
	captioner.Captioner
	images int
	change func([][]captioner.Caption)
}

func (c *counting) Caption(ctx context.Context, images captioner.Images, o captioner.GenerateOptions) ([][]captioner.Caption, error) {
	c.images += len(images.Keys)
	captions, err := c.Captioner.Caption(ctx, images, o)
	if c.change != nil {
		c.change(captions)
	}
	return captions, err
}

func TestCaptions(t *testing.T) {
	model := cliptest.Model(t, 1)
	data := openData(t, folder(t, []string{"disc", "bar"}, 5, 0))
	path := filepath.Join(t.TempDir(), "anchors", "captions.jsonl")
	c := &counting{Captioner: newCaptioner(t, model)}
	last := 0
	o := captionOptions()
	o.Progress = func(done, total int) { last = done*100 + total }
	s, err := Caption(t.Context(), path, data, c, model, o)
	if err != nil {
		t.Fatal(err)
	}
	if s.Images != 10 || s.Captions+s.Empty != 30 || !s.Complete || s.Captioner != "test" || s.Seed != 7 || last != 1010 {
		t.Errorf("%+v, progress %d", s, last)
	}
	records, err := ReadCaptions(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range records {
		sample, err := data.Sample(i)
		if err != nil {
			t.Fatal(err)
		}
		if r.Key != sample.Key || r.Class != sample.Class || r.Row != i || len(r.Captions) != 3 || r.Seed != 7 || r.Captioner != "test" {
			t.Fatalf("line %d: %+v", i, r)
		}
		pixels, err := model.Preprocess.Eval(sample.Image)
		if err != nil {
			t.Fatal(err)
		}
		image, _ := model.ImageFeatures(t.Context(), pixels, 1, 0)
		for _, one := range r.Captions {
			text, _ := model.TextFeatures(t.Context(), []string{one.Text}, 0)
			if want := dot(image, text); math.Abs(one.CLIPScore-want) > 1e-5 || one.LogProb == nil || *one.LogProb >= 0 {
				t.Errorf("%+v, want the score %v", one, want)
			}
		}
	}
	mean := records[0].Captions[0].CLIPScore
	texts, err := CaptionTexts(path, CaptionFilter{MinScore: mean})
	if err != nil || len(texts[records[0].Key]) == 0 {
		t.Errorf("captions above %v: %v, %v", mean, texts, err)
	}
	all, err := CaptionTexts(path, CaptionFilter{MinScore: -1})
	if err != nil || len(all) != 10 {
		t.Errorf("all captions: %d, %v", len(all), err)
	}
	if none, err := CaptionTexts(path, CaptionFilter{MinScore: 1.1}); err != nil || len(none) != 0 {
		t.Errorf("captions above 1.1: %v, %v", none, err)
	}

	// What is done isn't done again, unless an input changes.
	before := c.images
	if _, err := Caption(t.Context(), path, data, c, model, o); err != nil || c.images != before {
		t.Errorf("captioned again: %d images, %v", c.images-before, err)
	}
	o.Generate.Seed = 8
	if s, err = Caption(t.Context(), path, data, c, model, o); err != nil || c.images != before+10 || s.Seed != 8 {
		t.Errorf("another seed: %d images, %v", c.images-before, err)
	}
	other := cliptest.Model(t, 2)
	if _, err = Caption(t.Context(), path, data, c, other, o); err != nil || c.images != before+20 {
		t.Errorf("another model: %d images, %v", c.images-before, err)
	}
}

// The child of the next test: captions slowly until it's killed.
func TestCaptionChild(t *testing.T) {
	dir := os.Getenv("ARF_TEST_CAPTION_CHILD")
	if dir == "" {
		t.Skip("only as a child of TestCaptionsSurviveKill")
	}
	model := cliptest.Model(t, 1)
	o := captionOptions()
	o.Progress = func(done, total int) { time.Sleep(200 * time.Millisecond) }
	_, err := Caption(t.Context(), filepath.Join(dir, "part.jsonl"), openData(t, filepath.Join(dir, "data")), newCaptioner(t, model), model, o)
	t.Fatal("not killed:", err)
}

func TestCaptionsSurviveKill(t *testing.T) {
	dir := t.TempDir()
	cliptest.Folder(t, filepath.Join(dir, "data"), []string{"disc", "bar", "ring"}, 10, 0)
	// A picture that is none, so that numbers and lines differ.
	if err := os.WriteFile(filepath.Join(dir, "data", "disc", "003.png"), []byte("no picture"), 0o644); err != nil {
		t.Fatal(err)
	}
	data := openData(t, filepath.Join(dir, "data"))
	model := cliptest.Model(t, 1)
	c := &counting{Captioner: newCaptioner(t, model)}
	whole, part := filepath.Join(dir, "whole.jsonl"), filepath.Join(dir, "part.jsonl")
	s, err := Caption(t.Context(), whole, data, c, model, captionOptions())
	if err != nil {
		t.Fatal(err)
	}
	if s.Images != 29 || s.Broken != 1 {
		t.Errorf("%+v", s)
	}

	child := exec.Command(os.Args[0], "-test.run=^TestCaptionChild$")
	child.Env = append(os.Environ(), "ARF_TEST_CAPTION_CHILD="+dir)
	var output bytes.Buffer
	child.Stdout, child.Stderr = &output, &output
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := func() int {
		data, _ := os.ReadFile(part)
		return bytes.Count(data, []byte("\n"))
	}
	for deadline := time.Now().Add(time.Minute); lines() < 11 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	if err := child.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	child.Wait()
	survived := lines()
	if survived < 11 || survived >= 29 {
		t.Fatalf("%d lines after the kill; the child said: %s", survived, output.String())
	}
	// The kill may also fall in the middle of a write.
	f, err := os.OpenFile(part, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"key":"ring/00`); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if records, err := ReadCaptions(part); err != nil || len(records) != survived {
		t.Errorf("a torn file reads as %d records, %v", len(records), err)
	}

	c.images = 0
	if _, err := Caption(t.Context(), part, data, c, model, captionOptions()); err != nil {
		t.Fatal(err)
	}
	if c.images != 29-survived {
		t.Errorf("%d lines survived, and %d of 29 images were captioned after", survived, c.images)
	}
	want, _ := os.ReadFile(whole)
	got, _ := os.ReadFile(part)
	if !bytes.Equal(got, want) {
		t.Error("the resumed file differs from the uninterrupted one")
	}
}

func TestCaptionsStopWithContext(t *testing.T) {
	model := cliptest.Model(t, 1)
	data := openData(t, folder(t, []string{"disc"}, 20, 0))
	path := filepath.Join(t.TempDir(), "captions.jsonl")
	ctx, cancel := context.WithCancel(t.Context())
	o := captionOptions()
	o.Progress = func(done, total int) { cancel() }
	if _, err := Caption(ctx, path, data, newCaptioner(t, model), model, o); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if records, err := ReadCaptions(path); err != nil || len(records) != 4 {
		t.Errorf("%d records after one batch, %v", len(records), err)
	}
}

func TestEmptyAndUntidyCaptions(t *testing.T) {
	model := cliptest.Model(t, 1)
	data := openData(t, folder(t, []string{"disc"}, 2, 0))
	path := filepath.Join(t.TempDir(), "captions.jsonl")
	c := &counting{Captioner: newCaptioner(t, model)}
	c.change = func(all [][]captioner.Caption) {
		for i := range all {
			all[i][0].Text = " \n\t"
			all[i][1].Text = "two\n red  \xffDISCS "
			all[i][2].Text = all[i][1].Text
		}
		all[1] = all[1][:1]
	}
	s, err := Caption(t.Context(), path, data, c, model, captionOptions())
	if err != nil {
		t.Fatal(err)
	}
	if s.Empty != 2 || s.Captions != 2 || s.Without != 1 || s.Duplicate != 1 || s.Distinct != 1 || s.Vocabulary != 3 || s.NamesClass != 1 || s.Words != 3 {
		t.Errorf("%+v", s)
	}
	records, err := ReadCaptions(path)
	if err != nil || records[0].Captions[0].Text != "two red DISCS" || len(records[1].Captions) != 0 {
		t.Errorf("%+v, %v", records, err)
	}
	c.change = func(all [][]captioner.Caption) { all[0][0].LogProb = math.Inf(-1) }
	o := captionOptions()
	o.Hash = "again"
	if _, err := Caption(t.Context(), path, data, c, model, o); err == nil || !strings.Contains(err.Error(), "-Inf") {
		t.Errorf("an infinite log-probability: %v", err)
	}
}

// otherSize reads larger pictures than CLIP.
type otherSize struct{ captioner.Captioner }

func (o otherSize) Preprocess() imaging.Preprocess {
	p := o.Captioner.Preprocess()
	p.ImageSize *= 2
	return p
}

func (o otherSize) Caption(ctx context.Context, images captioner.Images, g captioner.GenerateOptions) ([][]captioner.Caption, error) {
	own := o.Captioner.Preprocess().ImageSize
	half := make([]uint8, 0, len(images.Pixels)/4)
	for i := range len(images.Keys) * own {
		for x := range own {
			at := (i*2*2*own + x*2) * 3
			half = append(half, images.Pixels[at:at+3]...)
		}
	}
	images.Pixels = half
	return o.Captioner.Caption(ctx, images, g)
}

func TestCaptionerMayReadOtherPixels(t *testing.T) {
	model := cliptest.Model(t, 1)
	data := openData(t, folder(t, []string{"disc", "bar"}, 3, 0))
	path := filepath.Join(t.TempDir(), "captions.jsonl")
	if _, err := Caption(t.Context(), path, data, otherSize{newCaptioner(t, model)}, model, captionOptions()); err != nil {
		t.Fatal(err)
	}
	records, err := ReadCaptions(path)
	if err != nil || len(records) != 6 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	sample, _ := data.Sample(4)
	pixels, _ := model.Preprocess.Eval(sample.Image)
	image, _ := model.ImageFeatures(t.Context(), pixels, 1, 0)
	text, _ := model.TextFeatures(t.Context(), []string{records[4].Captions[0].Text}, 0)
	if want := dot(image, text); math.Abs(records[4].Captions[0].CLIPScore-want) > 1e-5 {
		t.Errorf("score %v, want %v of CLIP's own pixels", records[4].Captions[0].CLIPScore, want)
	}
}

func TestCaptionFilesThatCannotBe(t *testing.T) {
	good := `{"key":"a.png","image":"a.png","class":"x","row":0,"captions":[{"text":"t","log_prob":-1,"clip_score":0.1}],"captioner":"c","seed":0}`
	second := strings.Replace(good, `"row":0`, `"row":1`, 1)
	for _, c := range []struct {
		name, content string
		records       int
		want          string // of the error
	}{
		{"good", good + "\n" + second + "\n", 2, ""},
		{"empty", "", 0, ""},
		{"no end of line", good + "\n" + second, 1, ""},
		{"torn", good + "\n" + second[:40], 1, ""},
		{"torn with an end", good + "\n{\"key\":\n", 1, ""},
		{"damaged inside", good + "\n{\"key\":\n" + second + "\n", 0, "line 2"},
		{"order", second + "\n" + good + "\n", 0, "line 2"},
		{"no key", "{}\n" + good + "\n", 0, "field key"},
		{"empty caption", strings.Replace(good, `"t"`, `" "`, 1) + "\n" + second + "\n", 0, "caption 0 is empty"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "captions.jsonl")
			if err := os.WriteFile(path, []byte(c.content), 0o644); err != nil {
				t.Fatal(err)
			}
			records, err := ReadCaptions(path)
			if c.want == "" && (err != nil || len(records) != c.records) {
				t.Errorf("%d records, %v", len(records), err)
			}
			if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	model := cliptest.Model(t, 1)
	path := filepath.Join(t.TempDir(), "captions.jsonl")
	if err := os.WriteFile(path, []byte(good+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	data := openData(t, folder(t, []string{"disc"}, 2, 0))
	if _, err := Caption(t.Context(), path, data, newCaptioner(t, model), model, captionOptions()); err == nil || !strings.Contains(err.Error(), "made elsewhere") {
		t.Errorf("a file made elsewhere: %v", err)
	}
}

func FuzzCaptionLines(f *testing.F) {
	f.Add([]byte(`{"key":"a","row":0,"captions":[{"text":"t"}]}` + "\n" + `{"key":"b","row":3,"captions":[]}` + "\n"))
	f.Add([]byte("{}\n\n{"))
	f.Fuzz(func(t *testing.T, data []byte) {
		parse := func(data []byte) (records []CaptionRecord, size int64, err error) {
			err = parseCaptions(bytes.NewReader(data), func(r CaptionRecord, end int64) error {
				records, size = append(records, r), end
				return nil
			})
			return records, size, err
		}
		records, size, err := parse(data)
		if err != nil {
			return
		}
		if again, _, err := parse(data[:size]); err != nil || len(again) != len(records) {
			t.Errorf("cut at its end the file reads as %d records, %v; before as %d", len(again), err, len(records))
		}
		Summarize(slices.Values(records))
	})
}

func TestMentions(t *testing.T) {
	for _, c := range []struct {
		text, name string
		want       bool
	}{
		{"A Shopping-Cart, full", "shopping cart", true},
		{"shopping carts", "shopping cart", true},
		{"cart for shopping", "shopping cart", false},
		{"carton", "cart", false},
		{"two boxes", "box", true},
		{"cherries!", "cherry", true},
		{"the bus", "bus", true},
		{"a glass", "glass", true},
		{"anything", "", false},
		{"", "cat", false},
	} {
		if got := mentions(words(c.text), words(c.name)); got != c.want {
			t.Errorf("%q names %q: %v", c.text, c.name, got)
		}
	}
}

func TestSummaryJSON(t *testing.T) {
	data, err := json.Marshal(Summarize(slices.Values([]CaptionRecord(nil)))) // NaN would fail
	if err != nil || !strings.Contains(string(data), `"mean_clip_score":0`) {
		t.Errorf("%s, %v", data, err)
	}
}
