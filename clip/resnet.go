package clip

import (
	"slices"

	"arf/nn"
	"arf/torch"
)

// ModifiedResNet is CLIP's ResNet (openai/CLIP, model.py; Radford et al. 2021,
// §2.4): a stem of three convolutions, anti-aliased strides (average pooling
// before a convolution of stride 1), and attention pooling at the end.
type ModifiedResNet struct {
	Conv1 *nn.Conv2D      `weight:"conv1"`
	BN1   *nn.BatchNorm2D `weight:"bn1"`
	Conv2 *nn.Conv2D      `weight:"conv2"`
	BN2   *nn.BatchNorm2D `weight:"bn2"`
	Conv3 *nn.Conv2D      `weight:"conv3"`
	BN3   *nn.BatchNorm2D `weight:"bn3"`

	Layer1 []*Bottleneck `weight:"layer1"`
	Layer2 []*Bottleneck `weight:"layer2"`
	Layer3 []*Bottleneck `weight:"layer3"`
	Layer4 []*Bottleneck `weight:"layer4"`

	Pool *AttentionPool `weight:"attnpool"`

	checkpoints *nn.Checkpoints
}

// Bottleneck is a residual block of 1×1, 3×3 and 1×1 convolutions; the last
// widens to four times planes.
type Bottleneck struct {
	Conv1      *nn.Conv2D      `weight:"conv1"`
	BN1        *nn.BatchNorm2D `weight:"bn1"`
	Conv2      *nn.Conv2D      `weight:"conv2"`
	BN2        *nn.BatchNorm2D `weight:"bn2"`
	Conv3      *nn.Conv2D      `weight:"conv3"`
	BN3        *nn.BatchNorm2D `weight:"bn3"`
	Downsample *Downsample     `weight:"downsample"` // nil where the shape stays
	Stride     int
}

// Downsample fits the skip connection to a new shape. Its average pooling, the
// module "-1" in the reference, has no weights.
type Downsample struct {
	Conv *nn.Conv2D      `weight:"0"`
	BN   *nn.BatchNorm2D `weight:"1"`
}

const (
	expansion       = 4
	checkpointEvery = 3 // blocks
)

func newModifiedResNet(c VisionConfig, embedDim int) *ModifiedResNet {
	w := c.Width
	r := &ModifiedResNet{
		Conv1: nn.NewConv2D(3, w/2, 3, 2, 1), BN1: nn.NewBatchNorm2D(w / 2),
		Conv2: nn.NewConv2D(w/2, w/2, 3, 1, 1), BN2: nn.NewBatchNorm2D(w / 2),
		Conv3: nn.NewConv2D(w/2, w, 3, 1, 1), BN3: nn.NewBatchNorm2D(w),
	}
	in := w
	for i, stage := range []*[]*Bottleneck{&r.Layer1, &r.Layer2, &r.Layer3, &r.Layer4} {
		planes, stride := w<<i, 2
		if i == 0 {
			stride = 1
		}
		for range c.ResNetLayers[i] {
			*stage = append(*stage, newBottleneck(in, planes, stride))
			in, stride = planes*expansion, 1
		}
	}
	grid := c.ImageSize / 32
	r.Pool = newAttentionPool(grid*grid, in, c.Heads, embedDim)
	return r
}

func newBottleneck(in, planes, stride int) *Bottleneck {
	b := &Bottleneck{
		Conv1: nn.NewConv2D(in, planes, 1, 1, 0), BN1: nn.NewBatchNorm2D(planes),
		Conv2: nn.NewConv2D(planes, planes, 3, 1, 1), BN2: nn.NewBatchNorm2D(planes),
		Conv3: nn.NewConv2D(planes, planes*expansion, 1, 1, 0), BN3: nn.NewBatchNorm2D(planes * expansion),
		Stride: stride,
	}
	if stride > 1 || in != planes*expansion {
		b.Downsample = &Downsample{Conv: nn.NewConv2D(in, planes*expansion, 1, 1, 0), BN: nn.NewBatchNorm2D(planes * expansion)}
	}
	return b
}

// Forward maps [B, in, H, W] to [B, 4·planes, H/stride, W/stride].
func (b *Bottleneck) Forward(x *torch.Tensor) *torch.Tensor {
	out := nn.NormConv2D(b.Conv1, b.BN1, x).ReLU_()
	out = nn.NormConv2D(b.Conv2, b.BN2, out).ReLU_()
	if b.Stride > 1 {
		out = torch.AvgPool2D(out, b.Stride)
	}
	out = nn.NormConv2D(b.Conv3, b.BN3, out)
	if b.Downsample != nil {
		if b.Stride > 1 {
			x = torch.AvgPool2D(x, b.Stride)
		}
		x = nn.NormConv2D(b.Downsample.Conv, b.Downsample.BN, x)
	}
	return out.Add_(x, 1).ReLU_()
}

// Features maps pixels [B, 3, H, W] to the last stage's map [B, 32·width, H/32, W/32].
func (r *ModifiedResNet) Features(pixels *torch.Tensor) *torch.Tensor {
	type step = func(x *torch.Tensor) *torch.Tensor
	steps := []step{
		func(x *torch.Tensor) *torch.Tensor { return nn.NormConv2D(r.Conv1, r.BN1, x.ChannelsLast()).ReLU_() },
		func(x *torch.Tensor) *torch.Tensor { return nn.NormConv2D(r.Conv2, r.BN2, x).ReLU_() },
		func(x *torch.Tensor) *torch.Tensor { return nn.NormConv2D(r.Conv3, r.BN3, x).ReLU_() },
		func(x *torch.Tensor) *torch.Tensor { return torch.AvgPool2D(x, 2) },
	}
	for _, block := range slices.Concat(r.Layer1, r.Layer2, r.Layer3, r.Layer4) {
		steps = append(steps, block.Forward)
	}
	run := func(f step, x *torch.Tensor) *torch.Tensor { return f(x) }
	if r.checkpoints != nil {
		// A block's input is half of what it holds: kept are those of every few.
		var segments []step
		for part := range slices.Chunk(steps, checkpointEvery) {
			segments = append(segments, func(x *torch.Tensor) *torch.Tensor { return nn.Chain(nil, x, part, run) })
		}
		steps = segments
	}
	return nn.Chain(r.checkpoints, pixels, steps, run)
}

// Forward maps pixels to features [B, embedDim].
func (r *ModifiedResNet) Forward(pixels *torch.Tensor) *torch.Tensor {
	return r.Pool.Forward(r.Features(pixels))
}

// SetTraining switches all batch normalisations; see nn.BatchNorm2D.
func (r *ModifiedResNet) SetTraining(on bool) {
	for _, bn := range []*nn.BatchNorm2D{r.BN1, r.BN2, r.BN3} {
		bn.Training = on
	}
	for _, stage := range [][]*Bottleneck{r.Layer1, r.Layer2, r.Layer3, r.Layer4} {
		for _, b := range stage {
			b.BN1.Training, b.BN2.Training, b.BN3.Training = on, on, on
			if b.Downsample != nil {
				b.Downsample.BN.Training = on
			}
		}
	}
}

// AttentionPool pools a feature map by one attention whose query is the map's mean.
type AttentionPool struct {
	Position *torch.Tensor `weight:"positional_embedding,nodecay"` // [1+H·W, width]
	Query    *nn.Linear    `weight:"q_proj"`
	Key      *nn.Linear    `weight:"k_proj"`
	Value    *nn.Linear    `weight:"v_proj"`
	Out      *nn.Linear    `weight:"c_proj"`
	Heads    int
}

func newAttentionPool(positions, width, heads, out int) *AttentionPool {
	return &AttentionPool{
		Position: nn.NewEmbedding(1+positions, width).Weight,
		Query:    nn.NewLinear(width, width, true), Key: nn.NewLinear(width, width, true),
		Value: nn.NewLinear(width, width, true), Out: nn.NewLinear(width, out, true), Heads: heads,
	}
}

// Forward maps [B, width, H, W] to [B, out].
func (p *AttentionPool) Forward(x *torch.Tensor) *torch.Tensor {
	x = x.Flatten(2, 3).Transpose(1, 2) // [B, HW, width]
	x = torch.Cat(1, x.MeanDim(1, true), x).Add(p.Position)
	attention := nn.Attention{Query: p.Query, Key: p.Key, Value: p.Value, Out: p.Out, Heads: p.Heads}
	return attention.Forward(x.Narrow(1, 0, 1), x, nil).Select(1, 0)
}
