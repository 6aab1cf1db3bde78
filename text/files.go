package text

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"arf/internal/atomicfile"
)

// The files of a tokenizer folder in Hugging Face's form.
const (
	tokenizerFile = "tokenizer.json"
	configFile    = "tokenizer_config.json"
	specialFile   = "special_tokens_map.json"
	vocabFile     = "vocab.json"
	mergesFile    = "merges.txt"
	spieceFile    = "spiece.model"
)

// Files names what Load reads, where it is there.
func Files() []string {
	return []string{tokenizerFile, configFile, specialFile, vocabFile, mergesFile, spieceFile}
}

// maxFile bounds what is read into memory; CLIP's tokenizer.json has 2.2 MB,
// SigLIP 2's 34 MB.
const maxFile = 256 << 20

// Load reads the tokenizer of a model folder: spiece.model (SigLIP's, also where
// a tokenizer.json made from it is there), tokenizer.json (WordPiece, CLIP's or
// SigLIP 2's BPE), or vocab.json with merges.txt (CLIP's BPE). contextLength 0
// takes model_max_length of tokenizer_config.json. The error is
// fs.ErrNotExist where there's no tokenizer.
func Load(dir string, contextLength int) (Tokenizer, error) {
	files := map[string][]byte{}
	for _, name := range Files() {
		path := filepath.Join(dir, name)
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil && info.Size() > maxFile {
			err = fmt.Errorf("%s: %d bytes is too large for a tokenizer", path, info.Size())
		}
		if err != nil {
			return nil, fmt.Errorf("load tokenizer: %w", err)
		}
		if files[name], err = os.ReadFile(path); err != nil {
			return nil, fmt.Errorf("load tokenizer: %w", err)
		}
	}
	if files[spieceFile] == nil && files[tokenizerFile] == nil && (files[vocabFile] == nil || files[mergesFile] == nil) {
		return nil, fmt.Errorf("load tokenizer: %s has neither %s nor %s with %s nor %s: %w", dir, tokenizerFile, vocabFile, mergesFile, spieceFile, fs.ErrNotExist)
	}
	t, err := fromFiles(files, contextLength)
	if err != nil {
		return nil, fmt.Errorf("load tokenizer %s: %w", dir, err)
	}
	return t, nil
}

// fromFiles builds a tokenizer from the contents of its files and completes
// those that Save will write.
func fromFiles(files map[string][]byte, contextLength int) (*tokenizer, error) {
	names, err := readNames(files)
	if err != nil {
		return nil, err
	}
	if contextLength == 0 {
		contextLength = names.maxLength
	}
	if contextLength < 3 || contextLength > 1<<20 {
		return nil, fmt.Errorf("context length %d: must be 3 to %d (0 takes model_max_length of %s)", contextLength, 1<<20, configFile)
	}
	var t *tokenizer
	if files[spieceFile] != nil {
		if t, err = newSiglip(files[spieceFile], names); err != nil {
			return nil, fmt.Errorf("%s: %w", spieceFile, err)
		}
	} else {
		if files[tokenizerFile] == nil {
			if files[tokenizerFile], err = clipFile(files[vocabFile], files[mergesFile]); err != nil {
				return nil, err
			}
		}
		if t, err = parse(files[tokenizerFile], names); err != nil {
			return nil, fmt.Errorf("%s: %w", tokenizerFile, err)
		}
	}
	t.context = contextLength
	t.files = files
	if _, ok := t.model.(*bpe); ok {
		if err := bpeFiles(files); err != nil {
			return nil, fmt.Errorf("%s: %w", tokenizerFile, err)
		}
	}
	if err := t.writeNames(); err != nil {
		return nil, err
	}
	return t, nil
}

// Save writes the files into dir, each at once or not at all. Those of another
// tokenizer are removed: Load might take them for this one's.
func (t *tokenizer) Save(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("save tokenizer: %w", err)
	}
	for _, name := range Files() {
		if t.files[name] != nil {
			continue
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("save tokenizer: %w", err)
		}
	}
	for name, content := range t.files {
		if err := atomicfile.Write(filepath.Join(dir, name), content, 0o644); err != nil {
			return fmt.Errorf("save tokenizer: %w", err)
		}
	}
	return nil
}

// names are the special tokens by role, and the few settings, from the two
// small files. Settings that aren't given are nil.
type names struct {
	bos, eos, pad, unk string
	maxLength          int
	added              map[string]int32 // added_tokens_decoder
	lowercase          *bool            // do_lower_case
	addBOS, addEOS     *bool            // add_bos_token, add_eos_token
}

func readNames(files map[string][]byte) (names, error) {
	var n names
	for _, file := range []string{configFile, specialFile} {
		if files[file] == nil {
			continue
		}
		var raw map[string]json.RawMessage
		if err := json.Unmarshal(files[file], &raw); err != nil {
			return n, fmt.Errorf("%s: %w", file, err)
		}
		for key, to := range map[string]*string{
			"bos_token": &n.bos, "eos_token": &n.eos, "pad_token": &n.pad, "unk_token": &n.unk,
		} {
			if value, ok := raw[key]; ok && *to == "" {
				token, err := tokenName(value)
				if err != nil {
					return n, fmt.Errorf("%s: %s: %w", file, key, err)
				}
				*to = token
			}
		}
		for key, to := range map[string]**bool{
			"do_lower_case": &n.lowercase, "add_bos_token": &n.addBOS, "add_eos_token": &n.addEOS,
		} {
			if value, ok := raw[key]; ok {
				if err := json.Unmarshal(value, to); err != nil {
					return n, fmt.Errorf("%s: %s: %w", file, key, err)
				}
			}
		}
		if value, ok := raw["added_tokens_decoder"]; ok {
			if err := n.readAdded(value); err != nil {
				return n, fmt.Errorf("%s: added_tokens_decoder: %w", file, err)
			}
		}
		if value, ok := raw["model_max_length"]; ok {
			var f float64 // 1e30 stands for "no limit"
			if json.Unmarshal(value, &f) == nil && f > 0 && f < 1<<20 {
				n.maxLength = int(f)
			}
		}
	}
	return n, nil
}

func (n *names) readAdded(raw json.RawMessage) error {
	var byID map[int32]json.RawMessage
	if err := json.Unmarshal(raw, &byID); err != nil {
		return err
	}
	n.added = make(map[string]int32, len(byID))
	for id, value := range byID {
		token, err := tokenName(value)
		if err != nil {
			return fmt.Errorf("token %d: %w", id, err)
		}
		n.added[token] = id
	}
	return nil
}

// tokenName reads a token that is written as text or as {"content": …}.
func tokenName(raw json.RawMessage) (string, error) {
	var s *string
	if json.Unmarshal(raw, &s) == nil {
		if s == nil {
			return "", nil
		}
		return *s, nil
	}
	var object struct {
		Content string `json:"content"`
	}
	if err := json.Unmarshal(raw, &object); err != nil {
		return "", errors.New("must be a text or an object with content")
	}
	return object.Content, nil
}

// writeNames writes the context length into tokenizer_config.json and adds the
// small files where they are missing.
func (t *tokenizer) writeNames() error {
	class, unk := t.model.class(t)
	special := map[string]any{"eos_token": t.tokens[t.eos], "pad_token": t.tokens[t.pad], "unk_token": unk}
	if t.bos >= 0 {
		special["bos_token"] = t.tokens[t.bos]
	}
	if t.files[specialFile] == nil {
		t.files[specialFile] = indented(special)
	}
	config := map[string]any{}
	if old := t.files[configFile]; old != nil {
		decoder := json.NewDecoder(strings.NewReader(string(old)))
		decoder.UseNumber()
		if err := decoder.Decode(&config); err != nil {
			return fmt.Errorf("%s: %w", configFile, err)
		}
	} else {
		config = special
		config["tokenizer_class"] = class
		config["clean_up_tokenization_spaces"] = false
	}
	config["model_max_length"] = t.context
	t.files[configFile] = indented(config)
	return nil
}

func indented(v any) []byte {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(v); err != nil {
		panic(err) // maps of texts and numbers always encode
	}
	return []byte(b.String())
}
