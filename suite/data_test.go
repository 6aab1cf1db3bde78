package suite

import (
	"slices"
	"strings"
	"testing"

	"arf/dataset"
	"arf/eval"
)

func TestSuitesAreWhole(t *testing.T) {
	sizes := map[string]int{"imagenet-robustness": 6, "domainnet": 6, "coop11": 11, "coop11-base-new": 11, "vtab": 19, "wds": 0}
	names := Names()
	if len(names) != len(sizes) {
		t.Errorf("suites %v", names)
	}
	kinds := []string{Folder, List, CoOp, Aircraft, WebDataset}
	for _, name := range names {
		s, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Sets) != sizes[name] || s.Title == "" || s.Source == "" {
			t.Errorf("%s has %d sets, want %d", name, len(s.Sets), sizes[name])
		}
		seen := map[string]bool{}
		for _, set := range s.Sets {
			if seen[set.Name] || set.Title == "" || len(set.Paths) == 0 || !slices.Contains(kinds, set.Kind) {
				t.Errorf("%s: %+v", name, set)
			}
			seen[set.Name] = true
			if set.Kind != WebDataset && (len(set.Templates) == 0 || set.Layout == "" || set.Archive == "") {
				t.Errorf("%s: %s has no templates, layout or archive", name, set.Name)
			}
			if set.Classes == "" {
				continue
			}
			classes, mask, err := set.classes()
			if err != nil {
				t.Fatal(err)
			}
			// The evaluation accepts them.
			class := classes[0].Name
			if mask != nil {
				class = mask[0]
			}
			d := dataset.List(".", []dataset.Item{{Path: "a.png", Class: class}}, nil)
			if _, err := eval.New([]eval.Suite{{Name: set.Name, Data: d, Classes: classes, ClassMask: mask, Templates: set.Templates, Metric: set.Metric}}, eval.Options{}); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := Load("imagenet"); err == nil || !strings.Contains(err.Error(), "imagenet-robustness") {
		t.Errorf("an unknown suite: %v", err)
	}
}

func TestFacts(t *testing.T) {
	classes := ImageNet()
	if len(classes) != 1000 || !slices.IsSortedFunc(classes, func(a, b eval.Class) int { return strings.Compare(a.Name, b.Name) }) {
		t.Fatalf("%d classes, or not sorted", len(classes))
	}
	for label, want := range map[int][2]string{0: {"n01440764", "tench"}, 134: {"n02012849", "crane bird"}, 517: {"n03126707", "construction crane"}, 657: {"n03773504", "missile"}, 744: {"n04008634", "missile"}, 999: {"n15075141", "toilet paper"}} {
		if got := classes[label]; got.Name != want[0] || got.Prompt != want[1] {
			t.Errorf("label %d is %s %q, want %q", label, got.Name, got.Prompt, want)
		}
	}
	members := map[string]string{}
	for _, c := range objectnet() {
		for _, m := range c.Members {
			if old, ok := members[m.Name]; ok {
				t.Errorf("%s is of %s and %s", m.Name, old, c.Name)
			}
			members[m.Name] = c.Name
		}
	}
	if len(objectnet()) != 113 || len(members) != 125 {
		t.Errorf("ObjectNet has %d classes of %d", len(objectnet()), len(members))
	}
	for name, n := range map[string]int{"imagenet_a": 200, "imagenet_r": 200, "domainnet_classes": 345, "imagenet_80": 80, "imagenet_7": 7} {
		list, err := lines(name)
		if err != nil || len(list) != n || len(slices.Compact(slices.Sorted(slices.Values(list)))) != n {
			t.Errorf("%s: %d, %v", name, len(list), err)
		}
	}
	all, err := Templates("imagenet-80")
	if err != nil {
		t.Fatal(err)
	}
	best, err := Templates("imagenet-7")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range best {
		if !slices.Contains(all, p) {
			t.Errorf("%q isn't among the 80", p)
		}
	}
	for _, p := range all {
		if strings.Count(p, "{}") != 1 {
			t.Errorf("template %q", p)
		}
	}
	if _, err := Templates("imagenet"); err == nil {
		t.Error("unknown templates")
	}
}
