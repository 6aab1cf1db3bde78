package captioner

import (
	"bytes"
	"encoding/json"
	"fmt"

	"arf/nn"
)

// modelType marks our config.json among those of other models.
const modelType = "arf-captioner"

// Config is config.json of a captioner folder. The names are Hugging Face's
// where it has one for the same thing.
type Config struct {
	ModelType  string        `json:"model_type"`
	Width      int           `json:"hidden_size"`
	Layers     int           `json:"num_hidden_layers"`
	Heads      int           `json:"num_attention_heads"`
	MLPWidth   int           `json:"intermediate_size"`
	Activation nn.Activation `json:"hidden_act"`
	Eps        float64       `json:"layer_norm_eps"`
	VocabSize  int           `json:"vocab_size"`
	// ContextLength counts tokens of a text, bos and eos among them.
	ContextLength int         `json:"max_position_embeddings"`
	Tower         TowerConfig `json:"image_tower"`
}

// TowerConfig says which image tower the captioner looks through. The tower
// isn't stored again: it's that of a CLIP model beside the captioner.
type TowerConfig struct {
	// Path of the CLIP model's folder, relative to the captioner's.
	Path string `json:"path"`
	// SHA256 is TowerHash of the tower that the captioner was trained on.
	SHA256 string `json:"sha256"`
	// Tokens and TokenWidth are the shape of the tower's map of one image:
	// the cells of a ModifiedResNet's last stage, or a ViT's tokens.
	Tokens     int `json:"num_tokens"`
	TokenWidth int `json:"token_size"`
	// FeatureWidth is that of the image's feature in CLIP's shared space.
	FeatureWidth int `json:"feature_size"`
}

// Check names the first field that can't make a model.
func (c Config) Check() error {
	if c.ModelType != modelType {
		return fmt.Errorf("model_type is %q, want %q", c.ModelType, modelType)
	}
	for _, f := range []struct {
		name            string
		value, min, max int
	}{
		{"hidden_size", c.Width, 1, 1 << 14}, {"num_hidden_layers", c.Layers, 1, 1 << 8}, {"num_attention_heads", c.Heads, 1, 1 << 10},
		{"intermediate_size", c.MLPWidth, 1, 1 << 16}, {"vocab_size", c.VocabSize, 1, 1 << 22}, {"max_position_embeddings", c.ContextLength, 3, 1 << 12},
		{"image_tower.num_tokens", c.Tower.Tokens, 1, 1 << 14}, {"image_tower.token_size", c.Tower.TokenWidth, 1, 1 << 16},
		{"image_tower.feature_size", c.Tower.FeatureWidth, 1, 1 << 16},
	} {
		if f.value < f.min || f.value > f.max {
			return fmt.Errorf("%s is %d, want %d to %d", f.name, f.value, f.min, f.max)
		}
	}
	if c.Width%c.Heads != 0 {
		return fmt.Errorf("num_attention_heads %d do not divide hidden_size %d", c.Heads, c.Width)
	}
	if !(c.Eps > 0) {
		return fmt.Errorf("layer_norm_eps is %g, want a positive number", c.Eps)
	}
	if err := c.Activation.Check(); err != nil {
		return fmt.Errorf("hidden_act: %w", err)
	}
	return nil
}

// parseConfig refuses keys that it doesn't know: they would be a different model.
func parseConfig(data []byte) (Config, error) {
	var kind struct {
		ModelType string `json:"model_type"`
	}
	if err := json.Unmarshal(data, &kind); err != nil {
		return Config{}, err
	}
	if kind.ModelType != modelType {
		return Config{}, fmt.Errorf("model_type is %q, want %q", kind.ModelType, modelType)
	}
	var c Config
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&c); err != nil {
		return Config{}, err
	}
	return c, c.Check()
}
