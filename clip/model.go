package clip

import (
	"math"

	"arf/checkpoint"
	"arf/imaging"
	"arf/nn"
	"arf/text"
	"arf/torch"
)

// Model is a CLIP or a SigLIP. Exactly one image tower is set.
type Model struct {
	ViT              *VisionTransformer `weight:"vision_model"`
	VisualProjection *nn.Linear         `weight:"visual_projection"` // with CLIP's ViT only
	ResNet           *ModifiedResNet    `weight:"visual"`            // projects by its attention pool
	Text             *TextTransformer   `weight:"text_model"`
	TextProjection   *nn.Linear         `weight:"text_projection"`     // CLIP's only
	LogitScale       *torch.Tensor      `weight:"logit_scale,nodecay"` // log of the factor on cosines
	LogitBias        *torch.Tensor      `weight:"logit_bias,nodecay"`  // SigLIP's only: what is added to them

	Config     Config
	Tokenizer  text.Tokenizer
	Preprocess imaging.Preprocess
	Source     Source // set by Load

	hubTokenizer string             // hf_tokenizer_name of open_clip's config, or ""
	counters     checkpoint.Tensors // num_batches_tracked of open_clip's batch norms, for Save
}

// MaxLogitScale bounds LogitScale: e to it is 100 (Radford et al. 2021, §2.5).
var MaxLogitScale = math.Log(100)

// New makes a model of zero weights; Init or a checkpoint fills them.
func New(c Config) (*Model, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	m := &Model{
		Text:       newTextTransformer(c.Text),
		Config:     c,
		Preprocess: c.preprocess(),
	}
	if c.SigLIP {
		m.ViT = newVisionTransformer(c.Vision)
		m.Text.Head = nn.NewLinear(c.Text.Width, c.EmbedDim, true)
		m.LogitScale = torch.Full(torch.CPU, math.Log(10), 1).Keep()
		m.LogitBias = torch.Full(torch.CPU, -10, 1).Keep()
		return m, nil
	}
	m.TextProjection = nn.NewLinear(c.Text.Width, c.EmbedDim, false)
	m.LogitScale = torch.Full(torch.CPU, math.Log(1/0.07)).Keep()
	if c.Vision.IsResNet() {
		m.ResNet = newModifiedResNet(c.Vision, c.EmbedDim)
	} else {
		m.ViT = newVisionTransformer(c.Vision)
		m.VisualProjection = nn.NewLinear(c.Vision.Width, c.EmbedDim, false)
	}
	return m, nil
}

// preprocess is that of the published models.
func (c Config) preprocess() imaging.Preprocess {
	if c.SigLIP {
		return imaging.SigLIP(c.Vision.ImageSize)
	}
	return imaging.CLIP(c.Vision.ImageSize)
}

// Device is where the weights are.
func (m *Model) Device() torch.Device { return m.LogitScale.Device() }

// To moves the weights to d.
func (m *Model) To(d torch.Device) { nn.Move(m, d) }

// Trainable lists the tensors that gradients reach.
func (m *Model) Trainable() []nn.Param {
	var params []nn.Param
	for _, p := range nn.Params(m) {
		if !p.Buffer {
			params = append(params, p)
		}
	}
	return params
}

// SetTraining switches batch normalisation to the batch's statistics (true, for
// pretraining) or to the running ones (false, for finetuning and evaluation).
func (m *Model) SetTraining(on bool) {
	if m.ResNet != nil {
		m.ResNet.SetTraining(on)
	}
}

// SetCheckpoints has the towers' blocks keep only their inputs for the gradient;
// nil ends that. The encoders' gradient then needs c.Backward after Backward.
func (m *Model) SetCheckpoints(c *nn.Checkpoints) {
	if m.ViT != nil {
		m.ViT.checkpoints = c
	}
	if m.ResNet != nil {
		m.ResNet.checkpoints = c
	}
	m.Text.checkpoints = c
}

// Pixels turns bytes [B, H, W, 3] in RGB, as imaging makes them, into the
// towers' input [B, 3, H, W].
func (m *Model) Pixels(rgb []uint8, batch int) *torch.Tensor {
	return Pixels(m.Device(), rgb, batch, m.Preprocess)
}

// Pixels turns bytes [B, H, W, 3] in RGB that were preprocessed by p into
// [B, 3, H, W] on device d: (x/255 − mean)/std.
func Pixels(d torch.Device, rgb []uint8, batch int, p imaging.Preprocess) *torch.Tensor {
	scale, shift := make([]float32, 3), make([]float32, 3)
	for c := range 3 {
		scale[c] = 1 / (255 * p.Std[c])
		shift[c] = -p.Mean[c] / p.Std[c]
	}
	return torch.Tidy(func() *torch.Tensor {
		x := torch.From(d, rgb, batch, p.ImageSize, p.ImageSize, 3).Cast(torch.Float32)
		return x.Mul(torch.From(d, scale, 3)).Add(torch.From(d, shift, 3)).Permute(0, 3, 1, 2)
	})
}

// EncodeImage maps pixels [B, 3, H, W] to features [B, embedDim] of length 1, float32.
func (m *Model) EncodeImage(pixels *torch.Tensor) *torch.Tensor {
	return m.ImageEmbedding(pixels).Normalize()
}

// ImageEmbedding is EncodeImage before the features are brought to length 1.
func (m *Model) ImageEmbedding(pixels *torch.Tensor) *torch.Tensor {
	if m.ResNet != nil {
		return m.ResNet.Forward(pixels).Cast(torch.Float32)
	}
	x := m.ViT.Forward(pixels)
	if m.VisualProjection != nil {
		x = m.VisualProjection.Forward(x)
	}
	return x.Cast(torch.Float32)
}

// EncodeText maps token ids to features [B, embedDim] of length 1, float32.
func (m *Model) EncodeText(ids [][]int32) *torch.Tensor {
	x := m.Text.Forward(ids)
	if m.TextProjection != nil {
		x = m.TextProjection.Forward(x)
	}
	return x.Cast(torch.Float32).Normalize()
}

// Tokenize encodes texts with the model's tokenizer.
func (m *Model) Tokenize(texts []string) [][]int32 {
	ids := make([][]int32, len(texts))
	for i, s := range texts {
		ids[i] = m.Tokenizer.Encode(s)
	}
	return ids
}

// Logits are the scaled cosines s·a·bᵀ of features a [N, D] and b [M, D], plus
// SigLIP's bias.
func (m *Model) Logits(a, b *torch.Tensor) *torch.Tensor {
	logits := a.MatMul(b.Transpose(0, 1)).Mul(m.LogitScale.Exp())
	if m.LogitBias != nil {
		logits = logits.Add(m.LogitBias)
	}
	return logits
}

// ContrastiveLoss is the loss that the model was pretrained with, of a batch of
// pairs of features [B, D]: CLIP's symmetric cross-entropy (Radford et al. 2021,
// fig. 3), or SigLIP's sigmoid loss. target [B, B] is the distribution over each
// row's matches for both directions, nil for the diagonal; excluded [B, B]
// (bool, or nil) marks pairs that count neither as match nor as negative.
func (m *Model) ContrastiveLoss(images, texts, target, excluded *torch.Tensor) *torch.Tensor {
	if m.Config.SigLIP {
		return m.sigmoidLoss(images, texts, 0, target, excluded)
	}
	logits := m.Logits(images, texts)
	if excluded != nil {
		logits = logits.MaskedFill(excluded, -1e4)
	}
	if target != nil {
		return torch.SoftCrossEntropy(logits, target).Add(torch.SoftCrossEntropy(logits.Transpose(0, 1), target)).Scale(0.5)
	}
	diagonal := torch.Arange(images.Device(), images.Dim(0))
	return torch.CrossEntropy(logits, diagonal).Add(torch.CrossEntropy(logits.Transpose(0, 1), diagonal)).Scale(0.5)
}

// ClampLogitScale brings logit_scale back into [0, ln 100] after an update.
// SigLIP's isn't bounded: those of the published models are above 100.
func (m *Model) ClampLogitScale() {
	if m.Config.SigLIP {
		return
	}
	torch.Scope(func() { torch.NoGrad(func() { m.LogitScale.Clamp_(0, MaxLogitScale) }) })
}
