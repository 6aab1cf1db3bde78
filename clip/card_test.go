package clip

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"arf/torch"

	"gopkg.in/yaml.v3"
)

func TestCard(t *testing.T) {
	m := randomModel(t, "vit_gelu_eos")
	dir := t.TempDir()
	card := Card{
		Name: "birds: arf\nseed 0", BaseModel: "openai/clip-vit-base-patch16@main", Tags: []string{"arf: yes"}, Datasets: []string{"org/birds"},
		Data: []string{"10 images\nof 2 classes"}, Objectives: []string{"class"}, Anchors: []string{"captions"}, Command: "arf run ```x```",
	}
	if err := m.SaveWith(dir, SaveOptions{Card: &card}); err != nil {
		t.Fatal(err)
	}
	read := func() (map[string]any, string) {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(dir, cardFile))
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.SplitN(string(data), "---\n", 3)
		if len(parts) != 3 || parts[0] != "" {
			t.Fatalf("no front matter: %s", data)
		}
		var front map[string]any
		if err := yaml.Unmarshal([]byte(parts[1]), &front); err != nil {
			t.Fatal(err)
		}
		return front, parts[2]
	}
	front, body := read()
	for key, want := range map[string]any{
		"license": "unknown", "library_name": "transformers", "pipeline_tag": "zero-shot-image-classification", "base_model": "openai/clip-vit-base-patch16",
	} {
		if front[key] != want {
			t.Errorf("%s is %v, want %v", key, front[key], want)
		}
	}
	if _, ok := front["model-index"]; ok || strings.Contains(body, "## Results") {
		t.Error("results that nobody measured")
	}
	for _, want := range []string{"# birds: arf seed 0\n", "\n- 10 images of 2 classes\n", "\n````\narf run ```x```\n````\n", "float32", "PreTrainedTokenizerFast"} {
		if !strings.Contains(body, want) {
			t.Errorf("the card lacks %q:\n%s", want, body)
		}
	}
	loaded, err := Load(dir, torch.CPU)
	if err != nil {
		t.Fatal(err)
	}
	card.License, card.BaseModel = "mit", dir
	card.Results = []CardResult{{Dataset: "test|set", Role: "shift", Metric: "acc1", Value: 0.125, Images: 8}}
	card.Precision = torch.BFloat16
	if err := loaded.WriteCard(dir, card); err != nil {
		t.Fatal(err)
	}
	front, body = read()
	if front["license"] != "mit" || front["base_model"] != nil || License(dir) != "mit" {
		t.Errorf("front matter %v", front)
	}
	if !strings.Contains(body, `| test\|set | shift | acc1 | 0.1250 | 8 |`) {
		t.Errorf("no result in\n%s", body)
	}
	if !strings.Contains(body, "## Results\nTowers computed in bfloat16.\n\n| data") {
		t.Errorf("no precision in\n%s", body)
	}
	index := front["model-index"].([]any)[0].(map[string]any)["results"].([]any)[0].(map[string]any)
	if index["metrics"].([]any)[0].(map[string]any)["value"] != 0.125 {
		t.Errorf("model-index %v", index)
	}
	if err := m.WriteCard(t.TempDir(), card); err == nil {
		t.Error("a card for a folder without a model")
	}
}

func TestLicense(t *testing.T) {
	for content, want := range map[string]string{
		"---\nlicense: apache-2.0\ntags: [a]\n---\n# x": "apache-2.0", "# x": "", "---\nlicense: [a]\n---\n": "", "---\n: : :\n---\n": "", "---\nlicense: mit\n": "",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, cardFile), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := License(dir); got != want {
			t.Errorf("%q: %q, want %q", content, got, want)
		}
	}
}
