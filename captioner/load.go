package captioner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"arf/checkpoint"
	"arf/clip"
	"arf/imaging"
	"arf/text"
	"arf/torch"
)

// Captioner writes captions for images: a [Model], a [BLIP], an [Endpoint].
type Captioner interface {
	// Preprocess is how images become the pixels of Images. Zero: it reads the
	// files itself.
	Preprocess() imaging.Preprocess
	// Caption writes o.N captions for each image. An image's captions depend on
	// its pixels, its key and the options, not on the images beside it.
	Caption(ctx context.Context, images Images, o GenerateOptions) ([][]Caption, error)
}

// Load reads a captioner's folder onto device d; model_type of its config.json
// tells its kind: LoadModel has more about the small one, LoadBLIP about BLIP.
// precision is BLIP's; the small one computes in float32.
func Load(dir string, d torch.Device, precision torch.DType) (Captioner, error) {
	kind, err := kindOf(dir)
	if err != nil {
		return nil, err
	}
	if kind == blipModelType {
		return LoadBLIP(dir, d, precision)
	}
	return LoadModel(dir, d)
}

// Hash identifies a captioner's folder: the SHA-256 over its config (that of the
// small one has the image tower's own hash), its weights, its preprocessing and
// the tokenizer's files.
func Hash(dir string) (string, error) {
	kind, err := kindOf(dir)
	if err != nil {
		return "", err
	}
	if kind == blipModelType {
		return clip.Hash(dir) // the files have CLIP's names
	}
	return checkpoint.HashFiles(dir, append([]string{configFile, weightsFile}, text.Files()...)...)
}

// kindOf gives the model_type of a folder that Load can read.
func kindOf(dir string) (string, error) {
	data, err := readConfigFile(dir)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, configFile)
	var c struct {
		ModelType string `json:"model_type"`
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	if c.ModelType != modelType && c.ModelType != blipModelType {
		return "", fmt.Errorf("%s: model_type %q is no captioner that is supported; supported are %q (Salesforce/blip-image-captioning-base and the like) and %q (arf pretrain captioner)", path, c.ModelType, blipModelType, modelType)
	}
	return c.ModelType, nil
}

func readConfigFile(dir string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(dir, configFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("captioner %s: there is no %s in it; give the folder of a captioner", dir, configFile)
	}
	if err != nil {
		return nil, fmt.Errorf("captioner: %w", err)
	}
	return data, nil
}
