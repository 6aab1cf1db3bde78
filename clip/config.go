// Package clip is the model (Radford et al. 2021): an image tower, ViT or
// ModifiedResNet, and a text transformer that share a feature space; and SigLIP
// (Zhai et al. 2023), which has the same parts.
//
// Weights are named as in Hugging Face's CLIPModel and SiglipModel; models with a
// ModifiedResNet, which Hugging Face lacks, are stored in open_clip's layout.
// Load and Save read and write whole folders: config, weights, tokenizer,
// preprocessing.
package clip

import (
	"fmt"
	"math"

	"arf/nn"
)

// Config gives the sizes of a model.
type Config struct {
	EmbedDim int // of the shared feature space
	Vision   VisionConfig
	Text     TextConfig
	// SigLIP (Zhai et al. 2023): image features by MAPPooling without class
	// token, text features of the last position of a tower without causal mask,
	// neither projected, and the sigmoid loss.
	SigLIP bool `json:",omitempty"`
}

// VisionConfig is a ViT's, or with ResNetLayers set a ModifiedResNet's.
type VisionConfig struct {
	ImageSize  int // pixels a side
	Width      int // of the ViT; of a ResNet's first stage, 64 in RN50
	Heads      int // of the ViT, or of a ResNet's attention pool
	Activation nn.Activation

	// ViT
	PatchSize int // pixels a side
	Layers    int
	MLPWidth  int
	Eps       float64 // of LayerNorm
	// What a few of open_clip's ViTs do otherwise than CLIP's. Left out of
	// Hash where it isn't used, so that other models' hashes stay.
	LayerScale    float64 `json:",omitempty"` // initial factor of each block's branches; 0: there is none
	NoPreNorm     bool    `json:",omitempty"` // no LayerNorm before the first block
	Pooling       Pooling `json:",omitempty"` // "" for the class token, MeanPooling, or SigLIP's MAPPooling
	NormAfterPool bool    `json:",omitempty"` // the last LayerNorm comes after MeanPooling, not before

	// ModifiedResNet: blocks of the four stages, such as 3, 4, 6, 3 in RN50.
	ResNetLayers []int
}

// TextConfig is the text transformer's.
type TextConfig struct {
	ContextLength int // tokens, bos and eos among them
	VocabSize     int
	Width         int
	Layers        int
	Heads         int
	MLPWidth      int
	Activation    nn.Activation
	Eps           float64
	EOS           int // id of the token whose feature stands for the text
	PadID         int
	// ArgmaxPooling takes the feature at the greatest id instead of at the
	// first EOS, as OpenAI's and open_clip's code and old Hugging Face configs
	// (eos_token_id 2) do.
	ArgmaxPooling bool
	// What a few of open_clip's text towers do otherwise than CLIP's.
	LayerScale  float64 `json:",omitempty"` // as VisionConfig's
	NonCausal   bool    `json:",omitempty"` // every token sees every other, padding too
	LastPooling bool    `json:",omitempty"` // the feature is the last position's, padding or not
	StripEOS    bool    `json:",omitempty"` // the tokenizer's end token becomes PadID
}

// Pooling says what of a ViT's tokens stands for the image.
type Pooling string

// MeanPooling averages the patches, without the class token.
const MeanPooling Pooling = "avg"

// IsResNet tells which of the two image towers it is.
func (c VisionConfig) IsResNet() bool { return len(c.ResNetLayers) > 0 }

// seesPadding tells whether the tokens behind a text change its feature.
func (c TextConfig) seesPadding() bool { return c.NonCausal || c.LastPooling || c.StripEOS }

// setActivation sets both towers'.
func (c *Config) setActivation(a nn.Activation) {
	c.Text.Activation = a
	c.Vision.Activation = a
}

// Check names the first field that can't make a model.
func (c Config) Check() error {
	for _, f := range []struct {
		name       string
		value, max int
	}{
		{"projection_dim", c.EmbedDim, 1 << 16}, {"vision image_size", c.Vision.ImageSize, 1 << 14}, {"vision width", c.Vision.Width, 1 << 14},
		{"vision heads", c.Vision.Heads, 1 << 14}, {"context_length", c.Text.ContextLength, 1 << 14}, {"vocab_size", c.Text.VocabSize, 1 << 22},
		{"text width", c.Text.Width, 1 << 14}, {"text layers", c.Text.Layers, 1 << 8}, {"text heads", c.Text.Heads, 1 << 14},
		{"text mlp width", c.Text.MLPWidth, 1 << 18},
	} {
		if f.value <= 0 || f.value > f.max {
			return fmt.Errorf("%s is %d, want 1 to %d", f.name, f.value, f.max)
		}
	}
	if !(c.Text.Eps > 0) {
		return fmt.Errorf("text layer_norm_eps is %g, want a positive number", c.Text.Eps)
	}
	if c.Text.Width%c.Text.Heads != 0 {
		return fmt.Errorf("text heads %d do not divide the width %d", c.Text.Heads, c.Text.Width)
	}
	if err := c.Text.Activation.Check(); err != nil {
		return fmt.Errorf("text: %w", err)
	}
	if pad := c.Text.PadID; c.Text.seesPadding() && (pad < 0 || pad >= c.Text.VocabSize) {
		return fmt.Errorf("text pad_id is %d, want 0 to %d", pad, c.Text.VocabSize-1)
	}
	for _, s := range []float64{c.Text.LayerScale, c.Vision.LayerScale} {
		if !(s >= 0) || math.IsInf(s, 0) {
			return fmt.Errorf("ls_init_value is %g, want a positive number, or none", s)
		}
	}
	if c.Vision.IsResNet() {
		if c.SigLIP {
			return fmt.Errorf("a SigLIP with a ModifiedResNet is not supported; its image tower is a ViT")
		}
		if len(c.Vision.ResNetLayers) != 4 {
			return fmt.Errorf("vision layers %v: a ModifiedResNet has four stages", c.Vision.ResNetLayers)
		}
		for _, n := range c.Vision.ResNetLayers {
			if n <= 0 || n > 1<<8 {
				return fmt.Errorf("vision layers %v: want 1 to %d blocks a stage", c.Vision.ResNetLayers, 1<<8)
			}
		}
		if c.Vision.ImageSize%32 != 0 {
			return fmt.Errorf("vision image_size %d: a ModifiedResNet needs a multiple of 32", c.Vision.ImageSize)
		}
		if c.Vision.Width*32%c.Vision.Heads != 0 {
			return fmt.Errorf("vision heads %d do not divide the pooled width %d", c.Vision.Heads, c.Vision.Width*32)
		}
		return nil
	}
	if err := c.Vision.Activation.Check(); err != nil {
		return fmt.Errorf("vision: %w", err)
	}
	if c.Vision.PatchSize <= 0 || c.Vision.ImageSize < c.Vision.PatchSize {
		return fmt.Errorf("vision patch_size %d does not fit the image_size %d", c.Vision.PatchSize, c.Vision.ImageSize)
	}
	if c.Vision.Layers <= 0 || c.Vision.Layers > 1<<8 || c.Vision.MLPWidth <= 0 || c.Vision.MLPWidth > 1<<18 {
		return fmt.Errorf("vision layers %d and mlp width %d: want 1 to %d and 1 to %d", c.Vision.Layers, c.Vision.MLPWidth, 1<<8, 1<<18)
	}
	if c.SigLIP {
		if c.Vision.Pooling != MAPPooling || !c.Vision.NoPreNorm || !c.Text.NonCausal || !c.Text.LastPooling {
			return fmt.Errorf("a SigLIP's image tower has no pre-norm and pooling %q, its text tower no causal mask and the last position's feature", MAPPooling)
		}
		if c.EmbedDim != c.Vision.Width {
			return fmt.Errorf("projection_dim %d is not the vision width %d; SigLIP's image features are not projected", c.EmbedDim, c.Vision.Width)
		}
	} else if p := c.Vision.Pooling; p != "" && p != MeanPooling {
		return fmt.Errorf("vision pool_type %q is not supported; supported are %q and %q", p, "tok", MeanPooling)
	}
	if !(c.Vision.Eps > 0) {
		return fmt.Errorf("vision layer_norm_eps is %g, want a positive number", c.Vision.Eps)
	}
	if c.Vision.Width%c.Vision.Heads != 0 {
		return fmt.Errorf("vision heads %d do not divide the width %d", c.Vision.Heads, c.Vision.Width)
	}
	return nil
}
