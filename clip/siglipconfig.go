package clip

import (
	"cmp"
	"encoding/json"
	"fmt"

	"arf/nn"
)

func parseSigLIPConfig(data []byte) (Config, error) {
	var raw hfConfig
	if err := json.Unmarshal(data, &raw); err != nil {
		return Config{}, err
	}
	if use := raw.Vision.UseHead; use != nil && !*use {
		return Config{}, fmt.Errorf("vision_config.vision_use_head false is not supported: without its head the image tower gives no feature")
	}
	var c Config
	var err error
	c.Vision, err = raw.Vision.vision(VisionConfig{
		ImageSize: 224, PatchSize: 16, Width: 768, Layers: 12, Heads: 12, MLPWidth: 3072, Activation: nn.GELUTanh, Eps: 1e-6,
	})
	if err != nil {
		return Config{}, err
	}
	c.Text = raw.Text.text(TextConfig{
		ContextLength: 64, VocabSize: 32000, Width: 768, Layers: 12, Heads: 12, MLPWidth: 3072, Activation: nn.GELUTanh, Eps: 1e-6,
		EOS: 49407, PadID: 1,
	})
	c.EmbedDim = c.Vision.Width
	if size := cmp.Or(raw.Text.ProjectionSize, c.Text.Width); size != c.EmbedDim {
		return Config{}, fmt.Errorf("text features have %d dimensions (text_config.projection_size, else hidden_size), image features %d (vision_config.hidden_size); want as many", size, c.EmbedDim)
	}
	c.setSigLIP()
	return c, nil
}

func (c Config) hfSigLIP(dtype string) ([]byte, error) {
	file := hfConfig{
		Architectures: []string{"SiglipModel"}, ModelType: "siglip", DType: dtype,
		Text: hfText(c.Text, "siglip_text_model"), Vision: hfVision(c.Vision, "siglip_vision_model"),
	}
	if c.EmbedDim != c.Text.Width {
		file.Text.ProjectionSize = c.EmbedDim
	}
	return json.MarshalIndent(file, "", "  ")
}
