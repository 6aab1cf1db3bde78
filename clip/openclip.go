package clip

import (
	"fmt"
	"regexp"
	"strings"

	"arf/checkpoint"
	"arf/torch"
)

// renames maps open_clip's names, which are OpenAI's, to Hugging Face's
// (transformers: convert_clip_original_pytorch_to_hf.py). Prefixes; the first
// that fits counts. ModifiedResNet keeps its names under visual.
var renames = []struct{ openclip, hf string }{
	{"visual.conv1.", "vision_model.embeddings.patch_embedding."},
	{"visual.class_embedding", "vision_model.embeddings.class_embedding"},
	{"visual.positional_embedding", "vision_model.embeddings.position_embedding.weight"},
	{"visual.ln_pre.", "vision_model.pre_layrnorm."},
	{"visual.ln_post.", "vision_model.post_layernorm."},
	{"visual.transformer.resblocks.", "vision_model.encoder.layers."},
	{"visual.proj", "visual_projection.weight"},
	{"token_embedding.", "text_model.embeddings.token_embedding."},
	{"positional_embedding", "text_model.embeddings.position_embedding.weight"},
	{"transformer.resblocks.", "text_model.encoder.layers."},
	{"ln_final.", "text_model.final_layer_norm."},
	{"text_projection", "text_projection.weight"},
	{"logit_scale", "logit_scale"},
}

var blockRenames = []struct{ openclip, hf string }{
	{".attn.out_proj.", ".self_attn.out_proj."},
	{".ln_1.", ".layer_norm1."},
	{".ln_2.", ".layer_norm2."},
	{".mlp.c_fc.", ".mlp.fc1."},
	{".mlp.c_proj.", ".mlp.fc2."},
	{".ls_1.gamma", ".layer_scale1.lambda1"},
	{".ls_2.gamma", ".layer_scale2.lambda1"},
}

// transposed weights are stored [in, out] in open_clip.
func transposed(hf string) bool {
	return hf == "visual_projection.weight" || hf == "text_projection.weight"
}

// openclipName is what open_clip calls a tensor, or the tensor that it is packed in.
func openclipName(hf string) string {
	if match := projection.FindStringSubmatch(hf); match != nil && strings.Contains(hf, ".encoder.layers.") {
		hf = match[1] + ".attn.in_proj_" + match[3]
	}
	for _, r := range blockRenames {
		hf = strings.Replace(hf, r.hf, r.openclip, 1)
	}
	for _, r := range renames {
		if rest, ok := strings.CutPrefix(hf, r.hf); ok {
			return r.openclip + rest
		}
	}
	return hf
}

// cleanOpenCLIP drops what isn't a weight and gives models with a text tower of
// their own (custom_text) the usual names. OpenAI's archives are known by the
// three numbers that theirs have beside the weights.
func cleanOpenCLIP(tensors checkpoint.Tensors) (clean, counters checkpoint.Tensors, openAI bool) {
	clean, counters = checkpoint.Tensors{}, checkpoint.Tensors{}
	_, custom := tensors["text.token_embedding.weight"]
	for name, t := range tensors {
		if custom {
			name = strings.TrimPrefix(name, "text.")
		}
		switch {
		case name == "input_resolution", name == "context_length", name == "vocab_size":
			openAI = true
		case name == "attn_mask":
		case strings.HasSuffix(name, ".num_batches_tracked") && t.DType == torch.Int64 && len(t.Data) == 8:
			counters[name] = t
		default:
			clean[name] = t
		}
	}
	return clean, counters, openAI
}

func isResNet(tensors checkpoint.Tensors) bool {
	_, ok := tensors["visual.layer1.0.conv1.weight"]
	return ok
}

// fromOpenCLIP renames and reshapes what cleanOpenCLIP gives to Hugging Face's layout.
func fromOpenCLIP(tensors checkpoint.Tensors) (checkpoint.Tensors, error) {
	out := checkpoint.Tensors{}
	resnet := isResNet(tensors)
	for name, t := range tensors {
		if resnet && strings.HasPrefix(name, "visual.") {
			out[name] = t
			continue
		}
		hf := ""
		for _, r := range renames {
			if rest, ok := strings.CutPrefix(name, r.openclip); ok {
				hf = r.hf + rest
				break
			}
		}
		if hf == "" {
			return nil, fmt.Errorf("tensor %s is not part of an open_clip CLIP", name)
		}
		for _, r := range blockRenames {
			hf = strings.Replace(hf, r.openclip, r.hf, 1)
		}
		switch before, kind, packed := strings.Cut(hf, ".attn.in_proj_"); {
		case packed:
			if len(t.Shape) == 0 || t.Shape[0]%3 != 0 {
				return nil, fmt.Errorf("tensor %s has shape %v, want three projections stacked", name, t.Shape)
			}
			third := len(t.Data) / 3
			shape := append([]int{t.Shape[0] / 3}, t.Shape[1:]...)
			for i, part := range []string{"q", "k", "v"} {
				out[before+".self_attn."+part+"_proj."+kind] = checkpoint.Tensor{DType: t.DType, Shape: shape, Data: t.Data[i*third : (i+1)*third]}
			}
		case transposed(hf):
			t, err := transpose(t)
			if err != nil {
				return nil, fmt.Errorf("tensor %s: %w", name, err)
			}
			out[hf] = t
		case hf == "logit_scale":
			t.Shape = nil // some files have it as [1]
			out[hf] = t
		default:
			out[hf] = t
		}
	}
	return out, nil
}

var projection = regexp.MustCompile(`^(.*)\.self_attn\.([qkv])_proj\.(weight|bias)$`)

// toOpenCLIP is the inverse of fromOpenCLIP.
func toOpenCLIP(tensors checkpoint.Tensors) (checkpoint.Tensors, error) {
	out := checkpoint.Tensors{}
	for name, t := range tensors {
		if match := projection.FindStringSubmatch(name); match != nil && strings.Contains(name, ".encoder.layers.") {
			if match[2] != "q" {
				continue // packed with q
			}
			packed := checkpoint.Tensor{DType: t.DType, Shape: append([]int{3 * t.Shape[0]}, t.Shape[1:]...)}
			for _, part := range []string{"q", "k", "v"} {
				piece, ok := tensors[match[1]+".self_attn."+part+"_proj."+match[3]]
				if !ok {
					return nil, fmt.Errorf("tensor %s has no %s_proj beside it", name, part)
				}
				packed.Data = append(packed.Data, piece.Data...)
			}
			out[openclipName(name)] = packed
			continue
		}
		if transposed(name) {
			var err error
			if t, err = transpose(t); err != nil {
				return nil, fmt.Errorf("tensor %s: %w", name, err)
			}
		}
		out[openclipName(name)] = t
	}
	return out, nil
}

func transpose(t checkpoint.Tensor) (checkpoint.Tensor, error) {
	if len(t.Shape) != 2 {
		return t, fmt.Errorf("shape %v, want a matrix", t.Shape)
	}
	rows, columns, size := t.Shape[0], t.Shape[1], t.DType.Size()
	out := checkpoint.Tensor{DType: t.DType, Shape: []int{columns, rows}, Data: make([]byte, len(t.Data))}
	for r := range rows {
		for c := range columns {
			copy(out.Data[(c*rows+r)*size:(c*rows+r+1)*size], t.Data[(r*columns+c)*size:])
		}
	}
	return out, nil
}
