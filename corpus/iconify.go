package corpus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// icon is one drawing of one set, from its name to its fate.
type icon struct {
	Set, Icon string
	Family    *Family
	License   string // SPDX
	Author    string
	Words     []string // the name without style words
	Name      string   // Words, separated by spaces
	Texts     []string // other wordings
	Category  string
	Palette   bool // of a set drawn in colours
	Class     int  // index into rules.classes, -1 = none
	SVG       string

	drawn
	Style   Style
	Heldout string // in pretrain-heldout: "set" or "name"
}

func (ic *icon) key() string { return ic.Set + "--" + ic.Icon }

// iconSet is <prefix>.json of @iconify/json.
type iconSet struct {
	Prefix string `json:"prefix"`
	Info   struct {
		Name   string `json:"name"`
		Author struct {
			Name string `json:"name"`
		} `json:"author"`
		License struct {
			SPDX string `json:"spdx"`
		} `json:"license"`
		Palette bool `json:"palette"`
	} `json:"info"`
	Width, Height, Left, Top float64
	Icons                    map[string]struct {
		Body                     string   `json:"body"`
		Width, Height, Left, Top *float64 `json:",omitempty"`
		Hidden                   bool     `json:"hidden"`
	} `json:"icons"`
	Aliases    map[string]map[string]any `json:"aliases"`
	Categories map[string][]string       `json:"categories"`
	Suffixes   map[string]string         `json:"suffixes"`
	Prefixes   map[string]string         `json:"prefixes"`
	Chars      map[string]string         `json:"chars"`
}

// iconifyPackage is the unpacked npm package.
type iconifyPackage struct {
	dir   string
	files map[string]string // sha256 of every file used, by its name in the package
}

func openPackage(dir string, r *rules) (*iconifyPackage, error) {
	name := filepath.Join(dir, "package.json")
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoPackage, err)
	}
	var meta struct{ Name, Version string }
	if err := json.Unmarshal(data, &meta); err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if meta.Name != r.Package || meta.Version != r.Version {
		return nil, fmt.Errorf("%s is %s %s; the benchmark is made of %s %s: run `npm ci --prefix corpus/draw`", name, meta.Name, meta.Version, r.Package, r.Version)
	}
	p := &iconifyPackage{dir: dir, files: map[string]string{}}
	for _, set := range r.sets() {
		file := "json/" + set + ".json"
		data, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			return nil, fmt.Errorf("reading an icon set: %w; run `npm ci --prefix corpus/draw`", err)
		}
		sum := sha256.Sum256(data)
		p.files[file] = hex.EncodeToString(sum[:])
	}
	for _, file := range []string{"emojilib/dist/emoji-en-US.json"} {
		data, err := os.ReadFile(filepath.Join(dir, "..", "..", file))
		if err != nil {
			return nil, fmt.Errorf("reading the emoji keywords: %w; run `npm ci --prefix corpus/draw`", err)
		}
		sum := sha256.Sum256(data)
		p.files[file] = hex.EncodeToString(sum[:])
	}
	return p, nil
}

// hash covers the package and the rules: equal inputs build equal corpora.
func (p *iconifyPackage) hash(r *rules) string {
	h := sha256.New()
	rulesHash := r.hash()
	h.Write(rulesHash[:])
	fmt.Fprintln(h, formatVersion)
	for _, name := range sortedKeys(p.files) {
		fmt.Fprintln(h, name, p.files[name])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Skin tones and hair of people repeat one drawing up to 25 times.
var skinTone = regexp.MustCompile(`skin-tone|-(medium|medium-light|medium-dark|light|dark)$|-(red|white|curly|blond)-hair`)

func isSkinTone(name string) bool {
	return skinTone.MatchString(name) && !strings.HasSuffix(name, "traffic-light") && !strings.HasSuffix(name, "car-light")
}

// read lists the icons that have a role, in order, and counts the ones that are dropped by name.
func (p *iconifyPackage) read(ctx context.Context, r *rules, opts Options) ([]*icon, Dropped, error) {
	keywords, err := p.emojiKeywords()
	if err != nil {
		return nil, nil, err
	}
	counts := Dropped{}
	vocabulary := wordCounts{}
	var all, joined []*icon
	for i, set := range r.sets() {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		opts.Progress("read", i, len(r.families))
		icons, err := p.readSet(set, r, keywords, counts)
		if err != nil {
			return nil, nil, err
		}
		if slices.Contains(r.Joined, set) {
			joined = append(joined, icons...)
		} else {
			for _, ic := range icons {
				for _, w := range ic.Words {
					vocabulary[w]++
				}
			}
		}
		all = append(all, icons...)
	}
	for _, ic := range joined {
		if len(ic.Words) == 1 {
			ic.Words = vocabulary.split(ic.Words[0])
			ic.Name = strings.Join(ic.Words, " ")
		}
	}
	kept := all[:0]
	for _, ic := range all {
		ic.Class = -1
		if c, ok := r.class[join(ic.Name)]; ok {
			ic.Class = c
		}
		role := ic.Family.Role
		if role != Pretrain && role != Pool {
			// Evaluation sets give only what has a class.
			if ic.Class < 0 || r.isBrand(ic.Words) && ic.Class < 0 {
				continue
			}
		} else {
			switch {
			case r.isBrand(ic.Words):
				counts.add(role, "brand")
				continue
			case !plainEnough(ic.Words):
				counts.add(role, "name says nothing")
				continue
			}
		}
		kept = append(kept, ic)
	}
	opts.Progress("read", len(r.families), len(r.families))
	return kept, counts, nil
}

func (p *iconifyPackage) readSet(prefix string, r *rules, keywords map[string][]string, counts Dropped) ([]*icon, error) {
	name := filepath.Join(p.dir, "json", prefix+".json")
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("reading an icon set: %w", err)
	}
	var set iconSet
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if !slices.Contains(r.Licences, set.Info.License.SPDX) {
		return nil, fmt.Errorf("%s: its licence %q isn't in the list of corpus/data/sets.yaml; put the set under excluded", name, set.Info.License.SPDX)
	}
	suffixes, prefixes := r.affixes(prefix, &set)
	category := map[string]string{}
	for _, c := range sortedKeys(set.Categories) {
		for _, ic := range set.Categories[c] {
			if category[ic] == "" {
				category[ic] = c
			}
		}
	}
	aliases := map[string][]string{}
	for _, a := range sortedKeys(set.Aliases) {
		if v := set.Aliases[a]; len(v) == 1 { // only "parent": the same drawing by another name
			if parent, ok := v["parent"].(string); ok {
				aliases[parent] = append(aliases[parent], a)
			}
		}
	}
	emoji := map[string]string{} // icon → keywords' key
	for _, code := range sortedKeys(set.Chars) {
		emoji[set.Chars[code]] = code
	}
	family := r.families[prefix]
	var icons []*icon
	for _, iconName := range sortedKeys(set.Icons) {
		v := set.Icons[iconName]
		c := category[iconName]
		switch {
		case v.Hidden:
			counts.add(family.Role, "withdrawn by its set")
			continue
		case r.setStyle(prefix) == StyleEmoji && isSkinTone(iconName):
			counts.add(family.Role, "skin tone or hair of another emoji")
			continue
		case strings.Contains(strings.ToLower(c), "brand") || strings.Contains(strings.ToLower(c), "logo"):
			counts.add(family.Role, "brand")
			continue
		case c == "Flags" && family.Role != Test || strings.HasPrefix(iconName, "flag-for-"):
			counts.add(family.Role, "flag")
			continue
		}
		ic := &icon{
			Set: prefix, Icon: iconName, Family: family, License: set.Info.License.SPDX, Author: set.Info.Author.Name, Palette: set.Info.Palette,
			Words: splitName(iconName, suffixes, prefixes), Category: cleanCategory(c),
		}
		ic.Name = strings.Join(ic.Words, " ")
		for _, a := range aliases[iconName] {
			if words := splitName(a, suffixes, prefixes); plainEnough(words) && !r.isBrand(words) {
				ic.Texts = append(ic.Texts, strings.Join(words, " "))
			}
		}
		if r.setStyle(prefix) == StyleEmoji {
			ic.Texts = append(ic.Texts, keywords[join(ic.Name)]...)
		}
		num := func(own *float64, set, fallback float64) float64 {
			switch {
			case own != nil:
				return *own
			case set != 0:
				return set
			}
			return fallback
		}
		ic.SVG = fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="%d" height="%d" viewBox="%g %g %g %g" color="#000000">%s</svg>`,
			Size, Size, num(v.Left, set.Left, 0), num(v.Top, set.Top, 0), num(v.Width, set.Width, 16), num(v.Height, set.Height, 16), v.Body)
		icons = append(icons, ic)
	}
	return icons, nil
}

// affixes returns the style suffixes and the prefixes of a set, longest first.
func (r *rules) affixes(prefix string, set *iconSet) (suffixes, prefixes []string) {
	suffixes = append(sortedKeys(set.Suffixes), r.Suffixes[prefix]...)
	prefixes = append(sortedKeys(set.Prefixes), r.Prefixes[prefix]...)
	longest := func(a, b string) int {
		if d := len(b) - len(a); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	}
	slices.SortFunc(suffixes, longest)
	slices.SortFunc(prefixes, longest)
	return suffixes, prefixes
}

// emojiKeywords returns emojilib's keywords by the joined name of the emoji.
func (p *iconifyPackage) emojiKeywords() (map[string][]string, error) {
	name := filepath.Join(p.dir, "..", "..", "emojilib", "dist", "emoji-en-US.json")
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("reading the emoji keywords: %w", err)
	}
	var lists map[string][]string
	if err := json.Unmarshal(data, &lists); err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	keywords := map[string][]string{}
	for _, char := range sortedKeys(lists) {
		var words []string
		for _, k := range lists[char] {
			k = strings.ToLower(strings.ReplaceAll(k, "_", " "))
			if strings.ContainsFunc(k, func(r rune) bool { return r != ' ' && r != '-' && !unicode.IsLetter(r) }) || len(k) < 3 || !isASCII(k) {
				continue
			}
			words = append(words, strings.ReplaceAll(k, "-", " "))
		}
		if len(words) > 1 {
			keywords[join(words[0])] = words[1:min(len(words), 6)]
		}
	}
	return keywords, nil
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII })
}

var camel = regexp.MustCompile(`([a-z])([A-Z])`)

// cleanCategory turns "FoodDrink" and "Animals & Nature" into words.
func cleanCategory(c string) string {
	c = strings.ToLower(camel.ReplaceAllString(c, "$1 $2"))
	words := strings.FieldsFunc(c, func(r rune) bool { return r < 'a' || r > 'z' })
	if c = strings.Join(words, " "); slices.Contains(vagueCategories, c) {
		return ""
	}
	return c
}

// vagueCategories say nothing about what an icon shows.
var vagueCategories = []string{"newicons", "ui", "ui actions", "actions", "action", "common", "regular", "other", "others", "general", "basic", "misc", "miscellaneous", "interface", "interface essential", "interface essentials", "essentional ui", "android", "symbols", "objects"}

func log2(n int) float64 { return math.Log2(float64(n)) }
