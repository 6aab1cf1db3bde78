package suite

import (
	"fmt"
	"strings"
	"sync"

	"arf/eval"
)

// templateFiles are the lists of prompts by name.
var templateFiles = map[string]string{"imagenet-80": "imagenet_80", "imagenet-7": "imagenet_7"}

// Templates gives prompts by name: "imagenet-80", OpenAI's ensemble for ImageNet,
// or "imagenet-7", the best seven of it.
func Templates(name string) ([]string, error) {
	file, ok := templateFiles[name]
	if !ok {
		return nil, fmt.Errorf("templates %q are not known; known are imagenet-80 and imagenet-7", name)
	}
	return lines(file)
}

// ImageNet is the 1,000 classes by label: named by WordNet id, with OpenAI's
// names in prompts.
func ImageNet() []eval.Class { return imagenet() }

var imagenet = sync.OnceValue(func() []eval.Class {
	var classes []eval.Class
	for _, f := range mustFields("imagenet_classes", 2) {
		classes = append(classes, eval.Class{Name: f[0], Prompt: f[1]})
	}
	return classes
})

// objectnet is the 113 classes that overlap with ImageNet's, named by folder.
// Each is scored by the ImageNet classes that it covers (WiSE-FT and FLYP,
// src/datasets/objectnet.py, project_logits).
var objectnet = sync.OnceValue(func() []eval.Class {
	byID := map[string]eval.Class{}
	for _, c := range imagenet() {
		byID[c.Name] = c
	}
	var classes []eval.Class
	for _, f := range mustFields("objectnet", 3) {
		c := eval.Class{Name: f[0], Prompt: strings.ToLower(f[1])}
		for id := range strings.SplitSeq(f[2], ",") {
			member, ok := byID[id]
			if !ok {
				panic("objectnet.txt: no ImageNet class " + id)
			}
			c.Members = append(c.Members, member)
		}
		classes = append(classes, c)
	}
	return classes
})

// classes gives a set's classes and the mask of those that compete; nil without
// one.
func (s *Set) classes() (classes []eval.Class, mask []string, err error) {
	switch s.Classes {
	case "imagenet":
		classes = ImageNet()
	case "objectnet":
		classes = objectnet()
		for _, c := range classes { // the other 200 folders are left out
			mask = append(mask, c.Name)
		}
	case "domainnet":
		names, err := lines("domainnet_classes")
		if err != nil {
			return nil, nil, err
		}
		classes = Spoken(names)
	default:
		return nil, nil, fmt.Errorf("classes %q are not known", s.Classes)
	}
	if s.Mask != "" {
		mask, err = lines(s.Mask)
	}
	return classes, mask, err
}

// Spoken makes classes of data's names: in prompts ImageNet's WordNet ids have
// OpenAI's names, others spaces for underscores (CoOp, trainers/zsclip.py).
func Spoken(names []string) []eval.Class { return spoken(names, nil) }

// ParseClasses makes classes of the lines of a list: a name as Spoken takes it, or
// the data's name, a tab, and the one in prompts.
func ParseClasses(lines []string) []eval.Class {
	classes := make([]eval.Class, len(lines))
	for i, line := range lines {
		name, prompt, ok := strings.Cut(line, "\t")
		classes[i] = Spoken([]string{strings.TrimSpace(name)})[0]
		if ok {
			classes[i].Prompt = strings.TrimSpace(prompt)
		}
	}
	return classes
}

var imagenetNames = sync.OnceValue(func() map[string]string {
	names := map[string]string{}
	for _, c := range imagenet() {
		names[c.Name] = c.Prompt
	}
	return names
})

// spoken is Spoken with other names for some.
func spoken(names []string, rename map[string]string) []eval.Class {
	classes := make([]eval.Class, len(names))
	for i, name := range names {
		classes[i].Name = name
		prompt := name
		if other, ok := rename[name]; ok {
			prompt = other
		} else if other, ok := imagenetNames()[name]; ok {
			prompt = other
		}
		if prompt = strings.TrimSpace(strings.ReplaceAll(prompt, "_", " ")); prompt != name {
			classes[i].Prompt = prompt
		}
	}
	return classes
}

// lines reads an embedded list.
func lines(name string) ([]string, error) {
	text, err := data.ReadFile("data/" + name + ".txt")
	if err != nil {
		return nil, err
	}
	return textLines(string(text)), nil
}

// textLines are the lines of a list; empty ones and those that begin with #
// don't count.
func textLines(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, " \r\n"); line != "" && !strings.HasPrefix(line, "#") {
			out = append(out, line)
		}
	}
	return out
}

// mustFields reads an embedded table of n columns between tabs.
func mustFields(name string, n int) [][]string {
	all, err := lines(name)
	if err != nil {
		panic(err)
	}
	var out [][]string
	for _, line := range all {
		f := strings.Split(line, "\t")
		if len(f) != n {
			panic(fmt.Sprintf("%s.txt: %q has %d columns, want %d", name, line, len(f), n))
		}
		out = append(out, f)
	}
	return out
}
