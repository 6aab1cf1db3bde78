package cli

import "testing"

func TestFileName(t *testing.T) {
	for ref, want := range map[string]string{
		"models/icon-clip":                        "models-icon-clip",
		"hf-hub:laion/CLIP-ViT-B-32":              "laion-CLIP-ViT-B-32",
		"/runs/a/checkpoints/epoch_10.pt":         "checkpoints-epoch_10.pt",
		"runs/birds/train/arf/seed-0/model/":      "birds-train-arf-seed-0-model",
		"runs/birds/train/arf/seed-0":             "birds-train-arf-seed-0",
		"..":                                      "model",
		"../x":                                    "x",
		"openai/clip-vit-base-patch32@0123456789": "openai-clip-vit-base-patch32@0123456789",
	} {
		if got := fileName(ref); got != want {
			t.Errorf("%s: %s, want %s", ref, got, want)
		}
	}
}
