package clip

// Parameters counts a model's trainable weights without making it.
func (c Config) Parameters() int {
	v, t, e := c.Vision, c.Text, c.EmbedDim
	blocks := func(layers, width, hidden int, layerScale float64) int {
		n := 4*width*width + 2*width*hidden + hidden + 9*width
		if layerScale > 0 {
			n += 2 * width
		}
		return layers * n
	}
	n := t.VocabSize*t.Width + t.ContextLength*t.Width + blocks(t.Layers, t.Width, t.MLPWidth, t.LayerScale) + 2*t.Width + t.Width*e + 1
	if !v.IsResNet() {
		grid := v.ImageSize / v.PatchSize
		n += 3*v.PatchSize*v.PatchSize*v.Width + (2+grid*grid)*v.Width + blocks(v.Layers, v.Width, v.MLPWidth, v.LayerScale) + 2*v.Width + v.Width*e
		if !v.NoPreNorm {
			n += 2 * v.Width
		}
		if c.SigLIP { // a pooling head and biases; no class token, no projection
			n += blocks(1, v.Width, v.MLPWidth, 0) - 2*v.Width - v.Width*e + e + 1
		}
		return n
	}
	conv := func(in, out, k int) int { return in*out*k*k + 2*out } // with its norm
	w := v.Width
	n += conv(3, w/2, 3) + conv(w/2, w/2, 3) + conv(w/2, w, 3)
	in := w
	for i, blocks := range v.ResNetLayers {
		planes := w << i
		for j := range blocks {
			n += conv(in, planes, 1) + conv(planes, planes, 3) + conv(planes, planes*expansion, 1)
			if j == 0 {
				n += conv(in, planes*expansion, 1)
			}
			in = planes * expansion
		}
	}
	grid := v.ImageSize / 32
	return n + (1+grid*grid)*in + 3*(in*in+in) + in*e + e
}
