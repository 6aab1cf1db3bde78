package text

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// pipeline is tokenizer.json. Steps stay raw where their form depends on type.
type pipeline struct {
	Version       string          `json:"version"`
	Truncation    any             `json:"truncation"`
	Padding       any             `json:"padding"`
	AddedTokens   []addedToken    `json:"added_tokens"`
	Normalizer    json.RawMessage `json:"normalizer"`
	PreTokenizer  json.RawMessage `json:"pre_tokenizer"`
	PostProcessor json.RawMessage `json:"post_processor"`
	Decoder       json.RawMessage `json:"decoder"`
	Model         json.RawMessage `json:"model"`
}

type addedToken struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

const (
	// maxID bounds the vocabulary that a file can make us allocate.
	maxID = 1 << 22
	// maxToken bounds the bytes of an added token, maxReplace those that a
	// normalizer puts in place of others. maxNested and maxSteps bound its
	// sequences; SigLIP 2's has one of two steps.
	maxToken   = 1 << 10
	maxReplace = 64
	maxNested  = 8
	maxSteps   = 64
)

// parse builds the pipeline of a tokenizer.json. What it doesn't know is an
// error: ids that are almost right make a model silently worse.
func parse(content []byte, n names) (*tokenizer, error) {
	var file pipeline
	if err := json.Unmarshal(content, &file); err != nil {
		return nil, err
	}
	t := &tokenizer{special: map[string]int32{}, hidden: map[int32]bool{}}
	var err error
	if t.normalize, err = parseNormalizer(file.Normalizer, 0); err != nil {
		return nil, fmt.Errorf("normalizer: %w", err)
	}
	vocab, err := parseModel(t, file.Model)
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	gemma, isGemma := t.model.(*fallbackBPE)
	if isGemma {
		err = checkGemmaPreTokenizer(file.PreTokenizer)
		t.words, t.normalize = gemma.words, gemmaNormalizer(t.normalize, n)
	} else {
		t.words, err = parsePreTokenizer(file.PreTokenizer)
	}
	if err != nil {
		return nil, fmt.Errorf("pre_tokenizer: %w", err)
	}
	for _, a := range file.AddedTokens {
		if a.Content == "" {
			return nil, errors.New("added_tokens: a token without content")
		}
		if id, ok := vocab[a.Content]; ok && id != a.ID {
			return nil, fmt.Errorf("added_tokens: %q has id %d, but %d in the vocabulary", a.Content, a.ID, id)
		}
		if a.SingleWord || a.LStrip || a.RStrip {
			return nil, fmt.Errorf("added_tokens: %q: single_word, lstrip and rstrip aren't supported", a.Content)
		}
		if err := t.place(a.Content, a.ID); err != nil {
			return nil, fmt.Errorf("added_tokens: %w", err)
		}
		t.special[a.Content] = a.ID
		if a.Special {
			t.hidden[a.ID] = true
		}
		if len(a.Content) > maxToken {
			return nil, fmt.Errorf("added_tokens: %.40q… has %d bytes; at most %d are supported", a.Content, len(a.Content), maxToken)
		}
		if a.Normalized {
			s := t.normalize(a.Content)
			if len(s) > maxToken {
				return nil, fmt.Errorf("added_tokens: %.40q has %d bytes after normalization; at most %d are supported", a.Content, len(s), maxToken)
			}
			if s != "" {
				t.normalized = append(t.normalized, specialToken{s, a.ID})
			}
		} else {
			t.raw = append(t.raw, specialToken{a.Content, a.ID})
		}
	}
	find := func(token string) (int32, bool) {
		id, ok := t.special[token]
		if !ok {
			id, ok = vocab[token]
		}
		return id, ok && token != ""
	}
	bos, eos, err := parsePostProcessor(file.PostProcessor)
	if err != nil {
		return nil, fmt.Errorf("post_processor: %w", err)
	}
	if isGemma {
		if bos, eos, err = gemmaEnds(bos, eos, n); err != nil {
			return nil, err
		}
	} else {
		bos, eos = cmp.Or(bos, n.bos), cmp.Or(eos, n.eos)
	}
	var ok bool
	if t.bos, ok = find(bos); bos == "" && isGemma {
		t.bos = -1
	} else if !ok {
		return nil, fmt.Errorf("no start token: neither the post_processor nor bos_token of %s names one of the vocabulary (%q)", configFile, bos)
	}
	if t.eos, ok = find(eos); !ok {
		return nil, fmt.Errorf("no end token: neither the post_processor nor eos_token of %s names one of the vocabulary (%q)", configFile, eos)
	}
	if t.pad, ok = find(n.pad); !ok {
		if n.pad != "" {
			return nil, fmt.Errorf("pad_token %q isn't in the vocabulary", n.pad)
		}
		t.pad = t.eos // as in CLIP
	}
	for token, id := range map[string]int32{bos: t.bos, eos: t.eos} {
		if id < 0 {
			continue // no bos
		}
		t.hidden[id] = true
		if _, listed := t.special[token]; !listed {
			t.special[token] = id
			t.raw = append(t.raw, specialToken{token, id})
		}
	}
	sortSpecial(t.raw)
	sortSpecial(t.normalized)
	return t, nil
}

// sortSpecial puts the longest first.
func sortSpecial(list []specialToken) {
	slices.SortFunc(list, func(a, b specialToken) int {
		return cmp.Or(cmp.Compare(len(b.text), len(a.text)), strings.Compare(a.text, b.text))
	})
}

// place records a token's text at its id.
func (t *tokenizer) place(token string, id int32) error {
	if id < 0 || id >= maxID {
		return fmt.Errorf("token %q has id %d: must be 0 to %d", token, id, maxID-1)
	}
	if missing := int(id) + 1 - len(t.tokens); missing > 0 {
		t.tokens = append(t.tokens, make([]string, missing)...)
	}
	if old := t.tokens[id]; old != "" && old != token {
		return fmt.Errorf("tokens %q and %q share id %d", old, token, id)
	}
	t.tokens[id] = token
	return nil
}

func parseModel(t *tokenizer, raw json.RawMessage) (map[string]int32, error) {
	var m struct {
		Type     string           `json:"type"`
		Vocab    map[string]int32 `json:"vocab"`
		Merges   json.RawMessage  `json:"merges"`
		Unk      *string          `json:"unk_token"`
		Prefix   *string          `json:"continuing_subword_prefix"`
		Suffix   *string          `json:"end_of_word_suffix"`
		MaxWord  *int             `json:"max_input_chars_per_word"`
		Dropout  *float64         `json:"dropout"`
		Fallback bool             `json:"byte_fallback"`
		NoMerges bool             `json:"ignore_merges"`
	}
	if len(raw) == 0 {
		return nil, errors.New("missing")
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, err
	}
	if len(m.Vocab) == 0 {
		return nil, errors.New("vocab: empty")
	}
	for token, id := range m.Vocab {
		if err := t.place(token, id); err != nil {
			return nil, fmt.Errorf("vocab: %w", err)
		}
	}
	text := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	unk, ok := m.Vocab[text(m.Unk)]
	if !ok {
		if m.Unk != nil || m.Type == "WordPiece" {
			return nil, fmt.Errorf("unk_token %q isn't in the vocabulary", text(m.Unk))
		}
		unk = -1
	}
	switch m.Type {
	case "WordPiece":
		prefix, longest := continuing, maxWord
		if m.Prefix != nil {
			prefix = *m.Prefix
		}
		if m.MaxWord != nil {
			longest = *m.MaxWord
		}
		t.model = newWordPiece(m.Vocab, prefix, unk, longest)
	case "BPE":
		if text(m.Prefix) != "" || m.Dropout != nil || m.NoMerges {
			return nil, errors.New("continuing_subword_prefix, dropout and ignore_merges aren't supported in BPE")
		}
		merges, err := parseMerges(m.Merges)
		if err != nil {
			return nil, fmt.Errorf("merges: %w", err)
		}
		if m.Fallback {
			if text(m.Suffix) != "" {
				return nil, errors.New("byte_fallback with end_of_word_suffix isn't supported")
			}
			b, err := newFallbackBPE(m.Vocab, merges, text(m.Unk))
			if err != nil {
				return nil, err
			}
			t.model = b
			break
		}
		b, err := newBPE(m.Vocab, merges, text(m.Suffix), unk)
		if err != nil {
			return nil, err
		}
		t.model = b
	default:
		return nil, fmt.Errorf("type %q: only WordPiece, CLIP's BPE and SigLIP 2's are supported in tokenizer.json, and SigLIP's Unigram in %s", m.Type, spieceFile)
	}
	return m.Vocab, nil
}

// parseMerges reads both forms: "a b" and ["a", "b"].
func parseMerges(raw json.RawMessage) ([][2]string, error) {
	var pairs [][2]string
	var arrays [][]string
	if err := json.Unmarshal(raw, &arrays); err == nil {
		for i, a := range arrays {
			if len(a) != 2 {
				return nil, fmt.Errorf("entry %d has %d parts: must be 2", i, len(a))
			}
			pairs = append(pairs, [2]string{a[0], a[1]})
		}
		return pairs, nil
	}
	var lines []string
	if err := json.Unmarshal(raw, &lines); err != nil {
		return nil, err
	}
	for i, line := range lines {
		a, b, ok := strings.Cut(line, " ")
		if !ok {
			return nil, fmt.Errorf("entry %d: %q isn't two pieces with a space between", i, line)
		}
		pairs = append(pairs, [2]string{a, b})
	}
	return pairs, nil
}

func absent(raw json.RawMessage) bool {
	return len(raw) == 0 || bytes.Equal(raw, []byte("null"))
}

// pattern is {"String": …} or {"Regex": …}.
type pattern struct {
	String *string `json:"String"`
	Regex  *string `json:"Regex"`
}

// parseNormalizer reads a step, or a sequence of them within depth others.
func parseNormalizer(raw json.RawMessage, depth int) (func(string) string, error) {
	if absent(raw) {
		return func(s string) string { return s }, nil
	}
	var n struct {
		Type         string            `json:"type"`
		CleanText    bool              `json:"clean_text"`
		ChineseChars bool              `json:"handle_chinese_chars"`
		StripAccents *bool             `json:"strip_accents"`
		Lowercase    bool              `json:"lowercase"`
		Normalizers  []json.RawMessage `json:"normalizers"`
		Pattern      pattern           `json:"pattern"`
		Content      string            `json:"content"`
	}
	if err := json.Unmarshal(raw, &n); err != nil {
		return nil, err
	}
	switch n.Type {
	case "BertNormalizer":
		b := bertNormalizer{n.CleanText, n.ChineseChars, n.Lowercase, n.Lowercase}
		if n.StripAccents != nil {
			b.stripAccents = *n.StripAccents
		}
		return b.apply, nil
	case "Lowercase":
		return lower, nil
	case "NFC":
		return norm.NFC.String, nil
	case "NFD":
		return norm.NFD.String, nil
	case "NFKC":
		return norm.NFKC.String, nil
	case "NFKD":
		return norm.NFKD.String, nil
	case "Replace":
		if len(n.Content) > maxReplace {
			return nil, fmt.Errorf("Replace by %d bytes; at most %d are supported", len(n.Content), maxReplace)
		}
		switch {
		case n.Pattern.String != nil && *n.Pattern.String != "":
			return func(s string) string { return strings.ReplaceAll(s, *n.Pattern.String, n.Content) }, nil
		case n.Pattern.Regex != nil && *n.Pattern.Regex == `\s+`:
			return func(s string) string { return replaceSpaces(s, n.Content) }, nil
		}
		return nil, errors.New("Replace with a pattern other than a text or `\\s+` isn't supported")
	case "Sequence":
		if depth == maxNested || len(n.Normalizers) > maxSteps {
			return nil, fmt.Errorf("Sequence of %d steps within %d others; at most %d within %d are supported", len(n.Normalizers), depth, maxSteps, maxNested-1)
		}
		var steps []func(string) string
		for _, raw := range n.Normalizers {
			step, err := parseNormalizer(raw, depth+1)
			if err != nil {
				return nil, err
			}
			steps = append(steps, step)
		}
		return func(s string) string {
			for _, step := range steps {
				s = cut(step(s))
			}
			return s
		}, nil
	}
	return nil, fmt.Errorf("type %q isn't supported", n.Type)
}

// replaceSpaces puts with in place of every run of white space.
func replaceSpaces(s, with string) string {
	var b strings.Builder
	inside := false
	for _, r := range s {
		if unicode.IsSpace(r) {
			if !inside {
				b.WriteString(with)
			}
			inside = true
			continue
		}
		inside = false
		b.WriteRune(r)
	}
	return b.String()
}

func parsePreTokenizer(raw json.RawMessage) (func(string, func(string)), error) {
	type step struct {
		Type          string  `json:"type"`
		PreTokenizers []step  `json:"pretokenizers"`
		Pattern       pattern `json:"pattern"`
		Behavior      string  `json:"behavior"`
		Invert        bool    `json:"invert"`
		PrefixSpace   bool    `json:"add_prefix_space"`
	}
	var p step
	if absent(raw) {
		return nil, errors.New("missing")
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, err
	}
	switch p.Type {
	case "BertPreTokenizer":
		return bertWords, nil
	case "WhitespaceSplit":
		return func(s string, yield func(string)) {
			for word := range strings.FieldsSeq(s) {
				yield(word)
			}
		}, nil
	case "Sequence":
		// CLIP: split by its pattern, then bytes as letters.
		if len(p.PreTokenizers) == 2 && p.PreTokenizers[0].Type == "Split" && p.PreTokenizers[1].Type == "ByteLevel" {
			split, bytes := p.PreTokenizers[0], p.PreTokenizers[1]
			if split.Pattern.Regex == nil || *split.Pattern.Regex != clipPattern {
				return nil, fmt.Errorf("the Split pattern isn't CLIP's (%s)", clipPattern)
			}
			if split.Behavior != "Removed" || !split.Invert || bytes.PrefixSpace {
				return nil, errors.New("not CLIP's Split (inverted, removed) and ByteLevel (without prefix space)")
			}
			return clipWords, nil
		}
	}
	return nil, fmt.Errorf("type %q isn't supported", p.Type)
}

// checkGemmaPreTokenizer wants none, or Gemma's Split at spaces, of which its
// normalizer leaves none.
func checkGemmaPreTokenizer(raw json.RawMessage) error {
	if absent(raw) {
		return nil
	}
	var p struct {
		Type     string  `json:"type"`
		Pattern  pattern `json:"pattern"`
		Behavior string  `json:"behavior"`
		Invert   bool    `json:"invert"`
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return err
	}
	if p.Type != "Split" || p.Pattern.String == nil || *p.Pattern.String != " " || p.Behavior != "MergedWithPrevious" || p.Invert {
		return fmt.Errorf("type %q isn't Gemma's Split at spaces", p.Type)
	}
	return nil
}

// parsePostProcessor finds the tokens that are put around a single text; "" for
// one that isn't.
func parsePostProcessor(raw json.RawMessage) (bos, eos string, err error) {
	if absent(raw) {
		return "", "", nil
	}
	var p struct {
		Type   string            `json:"type"`
		Cls    []json.RawMessage `json:"cls"`
		Sep    []json.RawMessage `json:"sep"`
		Single []struct {
			SpecialToken *struct {
				ID string `json:"id"`
			} `json:"SpecialToken"`
			Sequence *struct{} `json:"Sequence"`
		} `json:"single"`
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return "", "", err
	}
	switch p.Type {
	case "RobertaProcessing", "BertProcessing":
		if len(p.Cls) != 2 || len(p.Sep) != 2 {
			return "", "", errors.New("cls and sep must be [token, id]")
		}
		if err := errors.Join(json.Unmarshal(p.Cls[0], &bos), json.Unmarshal(p.Sep[0], &eos)); err != nil {
			return "", "", err
		}
		return bos, eos, nil
	case "TemplateProcessing":
		s := p.Single
		if len(s) == 3 && s[0].SpecialToken != nil && s[1].Sequence != nil && s[2].SpecialToken != nil {
			return s[0].SpecialToken.ID, s[2].SpecialToken.ID, nil
		}
		if len(s) == 2 && s[0].Sequence != nil && s[1].SpecialToken != nil {
			return "", s[1].SpecialToken.ID, nil
		}
		return "", "", errors.New("single must be one token, the text, one token, or without the first")
	}
	return "", "", fmt.Errorf("type %q isn't supported", p.Type)
}
