package text

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// object is a JSON object with its keys sorted.
type object = map[string]any

// orderedVocab is written in the order of the ids.
type orderedVocab map[string]int32

func (v orderedVocab) MarshalJSON() ([]byte, error) {
	tokens := make([]string, 0, len(v))
	for t := range v {
		tokens = append(tokens, t)
	}
	slices.SortFunc(tokens, func(a, b string) int { return cmp.Or(cmp.Compare(v[a], v[b]), cmp.Compare(a, b)) })
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	b.WriteByte('{')
	for i, t := range tokens {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := encoder.Encode(t); err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, ":%d", v[t])
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// specialTokens are the added_tokens; normalized ones are looked for in the text
// after its normalization (for CLIP, in any case of letters).
func specialTokens(vocab orderedVocab, normalized bool, tokens ...string) []object {
	var out []object
	for _, t := range tokens {
		out = append(out, object{
			"id": vocab[t], "content": t, "special": true,
			"single_word": false, "lstrip": false, "rstrip": false, "normalized": normalized,
		})
	}
	slices.SortFunc(out, func(a, b object) int { return cmp.Compare(a["id"].(int32), b["id"].(int32)) })
	return out
}

// around is the post-processor that puts bos and eos around each text.
func around(vocab orderedVocab, bos, eos string) object {
	token := func(t string) object { return object{"SpecialToken": object{"id": t, "type_id": 0}} }
	text := func(name string) object { return object{"Sequence": object{"id": name, "type_id": 0}} }
	entry := func(t string) object {
		return object{"id": t, "ids": []int32{vocab[t]}, "tokens": []string{t}}
	}
	return object{
		"type":           "TemplateProcessing",
		"single":         []object{token(bos), text("A"), token(eos)},
		"pair":           []object{token(bos), text("A"), token(eos), text("B"), token(eos)},
		"special_tokens": object{bos: entry(bos), eos: entry(eos)},
	}
}

// wordPieceFiles makes the files of a new WordPiece tokenizer.
func wordPieceFiles(tokens []string, contextLength int) map[string][]byte {
	vocab := make(orderedVocab, len(tokens))
	for i, t := range tokens {
		vocab[t] = int32(i)
	}
	file := object{
		"version": "1.0", "truncation": nil, "padding": nil,
		"added_tokens": specialTokens(vocab, false, padToken, unkToken, bosToken, eosToken),
		"normalizer": object{
			"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
			"strip_accents": nil, "lowercase": true,
		},
		"pre_tokenizer":  object{"type": "BertPreTokenizer"},
		"post_processor": around(vocab, bosToken, eosToken),
		"decoder":        object{"type": "WordPiece", "prefix": continuing, "cleanup": false},
		"model": object{
			"type": "WordPiece", "unk_token": unkToken, "continuing_subword_prefix": continuing,
			"max_input_chars_per_word": maxWord, "vocab": vocab,
		},
	}
	special := object{"bos_token": bosToken, "eos_token": eosToken, "pad_token": padToken, "unk_token": unkToken}
	config := object{
		"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": false,
		"model_max_length": contextLength,
	}
	maps.Copy(config, special)
	return map[string][]byte{
		tokenizerFile: indented(file),
		configFile:    indented(config),
		specialFile:   indented(special),
	}
}

// clipFile makes CLIP's tokenizer.json from vocab.json and merges.txt.
func clipFile(vocabJSON, mergesTXT []byte) ([]byte, error) {
	var vocab orderedVocab
	if err := json.Unmarshal(vocabJSON, &vocab); err != nil {
		return nil, fmt.Errorf("%s: %w", vocabFile, err)
	}
	pairs, err := readMerges(mergesTXT)
	if err != nil {
		return nil, err
	}
	for _, t := range []string{bosToken, eosToken} {
		if _, ok := vocab[t]; !ok {
			return nil, fmt.Errorf("%s: no %s: not CLIP's vocabulary", vocabFile, t)
		}
	}
	merges := make([]string, len(pairs))
	for i, p := range pairs {
		merges[i] = p[0] + " " + p[1]
	}
	return indented(object{
		"version": "1.0", "truncation": nil, "padding": nil,
		"added_tokens": specialTokens(vocab, true, bosToken, eosToken),
		"normalizer": object{"type": "Sequence", "normalizers": []object{
			{"type": "NFC"},
			{"type": "Replace", "pattern": object{"Regex": `\s+`}, "content": " "},
			{"type": "Lowercase"},
		}},
		"pre_tokenizer": object{"type": "Sequence", "pretokenizers": []object{
			{"type": "Split", "pattern": object{"Regex": clipPattern}, "behavior": "Removed", "invert": true},
			{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
		}},
		"post_processor": object{
			"type": "RobertaProcessing", "trim_offsets": false, "add_prefix_space": false,
			"cls": []any{bosToken, vocab[bosToken]}, "sep": []any{eosToken, vocab[eosToken]},
		},
		"decoder": object{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
		"model": object{
			"type": "BPE", "dropout": nil, "unk_token": eosToken, "continuing_subword_prefix": "",
			"end_of_word_suffix": "</w>", "fuse_unk": false, "byte_fallback": false,
			"vocab": vocab, "merges": merges,
		},
	}), nil
}
