package captioner

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"arf/checkpoint"
	"arf/clip"
	"arf/nn"
	"arf/text"
	"arf/torch"
)

// LoadBLIP reads a folder of BlipForConditionalGeneration, such as that of
// Salesforce/blip-image-captioning-base: config.json, preprocessor_config.json,
// tokenizer.json, and weights in safetensors or as PyTorch's pickle, whole or in
// shards. precision is torch.BFloat16 or torch.Float32 (the zero value too).
// Errors name file and field or tensor.
func LoadBLIP(dir string, d torch.Device, precision torch.DType) (_ *BLIP, err error) {
	defer torch.Catch(&err)
	if err := torch.Load(); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, configFile)
	data, err := readConfigFile(dir)
	if err != nil {
		return nil, err
	}
	c, err := parseBLIPConfig(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	m := newBLIP(c)
	if m.preprocess, err = clip.ReadPreprocessor(dir, m.preprocess); err != nil {
		return nil, err
	}
	if m.Tokenizer, err = text.Load(dir, c.Text.Context); err != nil {
		return nil, fmt.Errorf("captioner %s: %w", dir, err)
	}
	if n := m.Tokenizer.VocabSize(); n > c.Text.VocabSize {
		return nil, fmt.Errorf("captioner %s: its tokenizer has %d tokens, text_config.vocab_size in %s is %d; the files belong to different models", dir, n, configFile, c.Text.VocabSize)
	}
	if int64(m.Tokenizer.EOS()) != c.Text.SEP {
		return nil, fmt.Errorf("captioner %s: its tokenizer ends texts with token %d, text_config.sep_token_id in %s is %d; the files belong to different models", dir, m.Tokenizer.EOS(), configFile, c.Text.SEP)
	}
	weights, err := blipWeights(dir)
	if err != nil {
		return nil, err
	}
	tensors, _, err := checkpoint.Read(weights)
	if err != nil {
		return nil, fmt.Errorf("captioner: %w", err)
	}
	if err := nn.Import(m, tidyBLIP(tensors)); err != nil {
		return nil, fmt.Errorf("%s: %w", weights, err)
	}
	nn.Move(m, d)
	if precision == torch.BFloat16 {
		m.Precision = precision
	}
	m.language = language{
		begin: m.begin, device: d, bytes: m.preprocess.Bytes(), tokenizer: m.Tokenizer,
		bos: c.Text.BOS, eos: c.Text.SEP, context: c.Text.Context,
		// A picture of the published models has 43 MB of keys and values.
		rowsAtOnce: 256, imagesAtOnce: 16,
	}
	return m, nil
}

func blipWeights(dir string) (string, error) {
	for _, name := range checkpoint.HuggingFaceNames {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			return path, nil
		}
	}
	return "", fmt.Errorf("captioner %s: %s is there, but no weights; looked for %s", dir, configFile, strings.Join(checkpoint.HuggingFaceNames, ", "))
}

// tidyBLIP brings the names of all versions of transformers to one: some save
// the position numbers, the output's bias twice, or not its matrix where it's
// the token table.
func tidyBLIP(tensors checkpoint.Tensors) checkpoint.Tensors {
	const head = "text_decoder.cls.predictions."
	delete(tensors, "text_decoder.bert.embeddings.position_ids")
	if bias, ok := tensors[head+"decoder.bias"]; ok {
		if _, ok := tensors[head+"bias"]; !ok {
			tensors[head+"bias"] = bias
		}
		delete(tensors, head+"decoder.bias")
	}
	if table, ok := tensors["text_decoder.bert.embeddings.word_embeddings.weight"]; ok {
		if _, ok := tensors[head+"decoder.weight"]; !ok {
			tensors[head+"decoder.weight"] = table
		}
	}
	return tensors
}
