package finetune

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"arf/config"
	"arf/eval"
)

func TestPresets(t *testing.T) {
	for method, want := range map[Method]string{
		ZeroShot: "", FT: "ce", FLYP: "class", FLYPTCA: "class tca", FLYPITA: "class ita", ARF: "class tca ita",
		FLYPClassText: "class ita", ARFClassText: "class tca ita", FLYPRandom: "class ita", FLYPRandomMatched: "class ita", ARFRandom: "class tca ita", PairsOnly: "ita", FLYP2x: "class", SecondPrompt: "class tca ita",
	} {
		if got := strings.Join(Objectives(method), " "); got != want {
			t.Errorf("%s has the terms %q, want %q", method, got, want)
		}
		if method.TCA() != strings.Contains(want, "tca") || (method.Pairs() != config.PairsNone) != strings.Contains(want, "ita") {
			t.Errorf("%s: captions %v, pairs %q", method, method.TCA(), method.Pairs())
		}
		if !slices.Contains(config.Methods, method) {
			t.Errorf("%s is not listed", method)
		}
		for _, name := range Objectives(method) {
			if objectives[name] == nil {
				t.Errorf("%s names %q, which is no objective", method, name)
			}
		}
	}
	if len(config.Methods) != len(presets) {
		t.Errorf("%d methods listed, %d known", len(config.Methods), len(presets))
	}
}

func TestBadInputIsNamed(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Data, *Options)
		want   []string
	}{
		"no captions for two": {
			func(d *Data, _ *Options) {
				delete(d.Captions, "circle/4.png")
				d.Captions["cross/7.png"] = []string{"  "}
			},
			[]string{"2 of 16", "captions", "circle/4.png", "arf caption"},
		},
		"no captions at all": {
			func(d *Data, _ *Options) { d.Captions = nil },
			[]string{"16 of 16", "captions", "circle/0.png", "arf caption"},
		},
		"captions of other images": {
			func(d *Data, _ *Options) { d.Captions = map[string][]string{"dog/1.jpg": {"a dog"}} },
			[]string{"16 of 16", "circle/0.png", "dog/1.jpg", "arf caption"},
		},
		"none allowed still needs some": {
			func(d *Data, o *Options) { d.Captions, o.AllowMissingCaptions = nil, true },
			[]string{"16 of 16", "arf caption"},
		},
		"no pairs for one": {
			func(d *Data, _ *Options) { d.Pairs["square/5.png"] = nil },
			[]string{"1 of 16", "retrieved pairs", "square/5.png", "arf retrieve"},
		},
		"pairs of another pool": {
			func(d *Data, _ *Options) { d.Pairs["square/5.png"] = []PairRef{{Row: 48}} },
			[]string{"square/5.png", "row 48", "48 pairs", "arf retrieve"},
		},
		"no pool":     {func(d *Data, _ *Options) { d.Pool = nil }, []string{"data.pool"}},
		"no images":   {func(d *Data, _ *Options) { d.Finetune = &memory{} }, []string{"data.finetune"}},
		"no classes":  {func(d *Data, _ *Options) { d.Finetune.(*memory).classes = nil }, []string{"data.classes"}},
		"fewer names": {func(d *Data, _ *Options) { d.Classes = []string{"a", "b"} }, []string{"2 class names", "4 classes"}},
		"label out of range": {
			func(d *Data, _ *Options) { d.Finetune.(*memory).samples[3].Label = 4 },
			[]string{"cross/3.png", "label 4", "4 classes"},
		},
		"template without name": {func(d *Data, _ *Options) { d.Templates = []string{"{}", "a thing"} }, []string{"a thing", "{}"}},
		"method":                {func(_ *Data, o *Options) { o.Method = "clip" }, []string{"clip", "flyp+tca"}},
		"negatives":             {func(_ *Data, o *Options) { o.Negatives = "off" }, []string{"off", "mask"}},
		"learning rate":         {func(_ *Data, o *Options) { o.LR = 0 }, []string{"lr", "positive"}},
		"not a number":          {func(_ *Data, o *Options) { o.LambdaTCA = math.NaN() }, []string{"lambda_tca"}},
		"batch size":            {func(_ *Data, o *Options) { o.BatchSize = -1 }, []string{"batch_size"}},
		"augment":               {func(_ *Data, o *Options) { o.Augment.ScaleMin = 2 }, []string{"augment"}},
		"head of others": {
			func(d *Data, o *Options) {
				o.Method = FT
				d.ZeroShotHead = &eval.Head{Classes: []string{"circle", "cross", "square"}, Dim: 16, Weight: make([]float32, 48)}
			},
			[]string{"zero-shot head", "3 classes"},
		},
		"no head": {func(_ *Data, o *Options) { o.Method = FT }, []string{"zero-shot head", "4 classes"}},
	} {
		t.Run(name, func(t *testing.T) {
			data, o := pictures(16, 3), quick(ARF)
			test.change(&data, &o)
			_, err := Run(context.Background(), tiny(t), data, o)
			if err == nil {
				t.Fatal("no error")
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
		})
	}
}

func TestMissingAnchorsCanBeAllowed(t *testing.T) {
	data, o := pictures(16, 3), quick(ARF)
	delete(data.Captions, "circle/4.png")
	for i, s := range data.Finetune.(*memory).samples {
		if i%4 != 0 {
			delete(data.Pairs, s.Key)
		}
	}
	o.AllowMissingCaptions, o.AllowMissingPairs = true, true
	result := mustRun(t, tiny(t), data, o)
	if result.MissingCaptions != 1 || result.MissingPairs != 12 {
		t.Errorf("result %+v", result)
	}
	task := startTask(t, tiny(t), data, o, 0)
	seen := 0
	for range 4 {
		b, err := task.feed.next()
		if err != nil {
			t.Fatal(err)
		}
		want := 0
		for i, sample := range b.Samples {
			if sample%4 == 0 {
				want++
			}
			if sample == 4 {
				seen++
				if b.Captions[i] != b.Prompts[i] {
					t.Error("the image without captions does not get its prompt")
				}
			}
		}
		if len(b.Rows) != want || len(b.Pixels) != (len(b.Samples)+want)*task.model.Preprocess.Bytes() {
			t.Errorf("%d pairs in a step of samples %v", len(b.Rows), b.Samples)
		}
	}
	if seen != 1 {
		t.Errorf("the image without captions came %d times", seen)
	}
}
