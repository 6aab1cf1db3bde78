package checkpoint

import (
	"slices"
	"strings"
)

// Names of the weights in a model's folder, the preferred first (transformers:
// modeling_utils.py; open_clip: factory.py, _find_checkpoint_in_dir).
var (
	HuggingFaceNames = []string{
		"model.safetensors", "model.safetensors" + indexSuffix, "pytorch_model.bin", "pytorch_model.bin" + indexSuffix,
	}
	// OpenCLIPOwnNames can't be Hugging Face's.
	OpenCLIPOwnNames = []string{
		"open_clip_model.safetensors", "open_clip_model.safetensors" + indexSuffix, "open_clip_pytorch_model.safetensors",
		"open_clip_pytorch_model.bin", "open_clip_pytorch_model.bin" + indexSuffix, "open_clip_pytorch_model.pth",
	}
	// OpenCLIPNames are open_clip's where no config.json is beside them.
	OpenCLIPNames = slices.Concat(OpenCLIPOwnNames, HuggingFaceNames, []string{"pytorch_model.pth", "model.pth"})
)

// IsIndex tells by its name whether a file is a list of shards.
func IsIndex(name string) bool { return strings.HasSuffix(name, indexSuffix) }
