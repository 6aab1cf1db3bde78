package clip

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"arf/imaging"
	"arf/torch"
)

func TestPreprocessingComesBack(t *testing.T) {
	for _, name := range []string{"vit_gelu_eos", "resnet"} {
		for _, mode := range []string{imaging.Shortest, imaging.Squash} {
			t.Run(name+" "+mode, func(t *testing.T) {
				m := randomModel(t, name)
				m.Preprocess.ResizeMode, m.Preprocess.Interpolation = mode, imaging.Bilinear
				m.Preprocess.Mean, m.Preprocess.Std = [3]float32{0.1, 0.2, 0.3}, [3]float32{0.4, 0.5, 0.6}
				dir := t.TempDir()
				if err := m.Save(dir, torch.Float32, nil); err != nil {
					t.Fatal(err)
				}
				again, err := Load(dir, torch.CPU)
				if err != nil {
					t.Fatal(err)
				}
				if again.Preprocess != m.Preprocess {
					t.Errorf("got %+v, want %+v", again.Preprocess, m.Preprocess)
				}
			})
		}
	}
}

// The forms of sizes that Hugging Face's files have.
func TestPreprocessorSizes(t *testing.T) {
	for file, want := range map[string]string{
		`{}`:                              imaging.Shortest,
		`{"size": 224, "crop_size": 224}`: imaging.Shortest,
		`{"size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224}}`: imaging.Shortest,
		`{"size": {"height": 224, "width": 224}}`:                                      imaging.Squash,
		`{"size": null, "crop_size": null}`:                                            imaging.Shortest,
		`{"size": {"shortest_edge": 256}, "crop_size": 224}`:                           "error: size",
		`{"size": 224, "crop_size": {"height": 224, "width": 200}}`:                    "error: crop_size",
		`{"size": {"height": 224}}`:                                                    "error: size",
		`{"size": {}}`:                                                                 "error: size",
		`{"size": "224"}`:                                                              "error: ",
		`{"resample": 0}`:                                                              "error: resample 0",
		`{"size": {"height": 224, "width": 224}, "do_center_crop": false}`:             imaging.Squash,
		`{"do_center_crop": false}`:                                                    "error: do_center_crop",
		`{"do_resize": false}`:                                                         "error: do_resize",
		`{"do_rescale": false}`:                                                        "error: do_rescale",
		`{"do_normalize": false}`:                                                      "error: do_normalize",
		`{"do_convert_rgb": null, "rescale_factor": 0.00392156862745098}`:              imaging.Shortest,
		`{"rescale_factor": 1}`:                                                        "error: rescale_factor 1",
		`{"image_mean": [0.5]}`:                                                        "error: image_mean has 1",
		`{"image_std": [0.5, 0.5, 0.5, 0.5]}`:                                          "error: image_std has 4",
	} {
		p, err := parsePreprocessor([]byte(file), imaging.CLIP(224))
		got := p.ResizeMode
		if err != nil {
			got = fmt.Sprintf("error: %v", err)
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %q, want %q", file, got, want)
		}
	}
}

// transformers 5 writes preprocessing into processor_config.json, and reads it
// from there first.
func TestNestedPreprocessor(t *testing.T) {
	m := randomModel(t, "vit_gelu_eos")
	dir := t.TempDir()
	if err := m.Save(dir, torch.Float32, nil); err != nil {
		t.Fatal(err)
	}
	plain, err := Hash(dir)
	if err != nil {
		t.Fatal(err)
	}
	nested := m.Preprocess
	nested.Mean, nested.Interpolation = [3]float32{0.5, 0.25, 0.125}, imaging.Bilinear
	for content, want := range map[string]imaging.Preprocess{
		`{"processor_class": "CLIPProcessor"}`: m.Preprocess,
		`{"image_processor": {"do_convert_rgb": null, "image_mean": [0.5, 0.25, 0.125], "resample": 2}, "processor_class": "CLIPProcessor"}`: nested,
	} {
		if err := os.WriteFile(filepath.Join(dir, processorFile), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if again, err := Load(dir, torch.CPU); err != nil || again.Preprocess != want {
			t.Errorf("%s: %+v, %v", content, again, err)
		}
		if hash, err := Hash(dir); err != nil || hash == plain {
			t.Errorf("%s: hash %s, %v", content, hash, err)
		}
	}
	// What is saved there again is read, not what is left.
	if err := m.Save(dir, torch.Float32, nil); err != nil {
		t.Fatal(err)
	}
	if again, err := Load(dir, torch.CPU); err != nil || again.Preprocess != m.Preprocess {
		t.Errorf("%+v, %v", again, err)
	}
}

// A mean without a deviation, and the other way, is taken with the model's other.
func TestNormalizationInPart(t *testing.T) {
	want := imaging.CLIP(224)
	want.Mean = [3]float32{0.5, 0.25, 0.125}
	got, err := parsePreprocessor([]byte(`{"image_mean": [0.5, 0.25, 0.125]}`), imaging.CLIP(224))
	if err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	_, got, _, err = parseOpenCLIPConfig([]byte(`{"model_cfg": {"embed_dim": 512, "vision_cfg": {}, "text_cfg": {}}, "preprocess_cfg": {"mean": [0.5, 0.25, 0.125]}}`))
	if want.Interpolation, want.ResizeMode = "", ""; err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if _, _, _, err := parseOpenCLIPConfig([]byte(`{"model_cfg": {"embed_dim": 512}, "preprocess_cfg": {"std": [0.5]}}`)); err == nil || !strings.Contains(err.Error(), "preprocess_cfg.std has 1") {
		t.Errorf("error %v", err)
	}
}
