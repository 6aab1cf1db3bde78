package suite

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"arf/internal/cliptest"
)

func TestDomainNet(t *testing.T) {
	root := t.TempDir()
	w := want{templates: one, prompts: map[string][]string{}, of: map[string]string{
		"clipart/aircraft_carrier/clipart_001_000018.jpg": "aircraft_carrier", "clipart/teddy-bear/clipart_304_000001.jpg": "teddy-bear",
		"clipart/The_Eiffel_Tower/clipart_309_000001.jpg": "The_Eiffel_Tower", "clipart/zigzag/clipart_345_000001.jpg": "zigzag",
	}}
	names, err := lines("domainnet_classes")
	if err != nil {
		t.Fatal(err)
	}
	label := map[string]int{}
	for i, name := range names {
		w.order, label[name] = append(w.order, name), i
		w.prompts[name] = []string{strings.ReplaceAll(name, "_", " ")}
	}
	// The lists ignore case: The_Eiffel_Tower comes after tent.
	if label["aircraft_carrier"] != 0 || label["tent"]+1 != label["The_Eiffel_Tower"] || label["zigzag"] != 344 {
		t.Errorf("labels %d %d %d", label["aircraft_carrier"], label["The_Eiffel_Tower"], label["zigzag"])
	}
	pictures(t, root, slices.Sorted(maps.Keys(w.of))...)
	pictures(t, root, "clipart/airplane/of_train.jpg", "real/airplane/real_002_000001.jpg")
	list := "clipart/aircraft_carrier/clipart_001_000018.jpg 0\nclipart/zigzag/clipart_345_000001.jpg 344\n" +
		fmt.Sprintf("clipart/teddy-bear/clipart_304_000001.jpg %d\n", label["teddy-bear"]) +
		fmt.Sprintf("clipart/The_Eiffel_Tower/clipart_309_000001.jpg %d\n", label["The_Eiffel_Tower"])
	tree(t, root, map[string][]byte{"clipart_test.txt": []byte(list), "infograph/airplane/x.jpg": picture(t, 2)})
	tests, missing := open(t, "domainnet", root, Options{Templates: one})
	if len(tests) != 1 || len(missing) != 5 {
		t.Fatalf("%d tests, %d missing", len(tests), len(missing))
	}
	for _, m := range missing {
		if m.Set.Name == "domainnet-infograph" && !strings.Contains(m.String(), root+"/infograph_test.txt or "+root+"/splits/infograph_test.txt") {
			t.Errorf("without its list: %s", m)
		}
	}
	m := cliptest.Model(t, 3)
	if r := w.check(t, m, root, tests["domainnet-clipart"]); r.Role != "shift" {
		t.Errorf("role %s", r.Role)
	}
	tests, _ = open(t, "domainnet", root, Options{Templates: one, ID: "domainnet-clipart"})
	if got := tests["domainnet-clipart"].Class.Role; got != "id" {
		t.Errorf("role %s", got)
	}

	s, err := Load("domainnet")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(root, Options{ID: "clipart"}); err == nil || !strings.Contains(err.Error(), "domainnet-clipart") {
		t.Errorf("a set that isn't there: %v", err)
	}
	for line, wanted := range map[string]string{
		"clipart/aircraft_carrier/a.jpg 3":      "label 3, but is number 0 of the 345 classes", // sorted with capitals first
		"clipart/aeroplane/a.jpg 1":             `"aeroplane"`,
		"clipart/airplane/a.jpg":                "line 1",
		"../clipart/airplane/a.jpg 1":           "isn't a path",
		"clipart/airplane/a.jpg one":            "line 1",
		" ":                                     "no images",
		"clipart/airplane/a.jpg 1\n\nx":         "line 3",
		"/etc/airplane/a.jpg 1":                 "isn't a path",
		"clipart/airplane/../../../airplane/ 1": "isn't a path",
	} {
		tree(t, root, map[string][]byte{"clipart_test.txt": []byte(line)})
		if _, err := s.Open(root, Options{}); err == nil || !strings.Contains(err.Error(), wanted) || !strings.Contains(err.Error(), "clipart_test.txt") {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func FuzzLists(f *testing.F) {
	f.Add("clipart/airplane/a.jpg 1\n")
	f.Add("0034309 707-320\n")
	label := map[string]int{"airplane": 1, "707-320": 0}
	f.Fuzz(func(t *testing.T, text string) {
		if items, err := parseList(text, label); err == nil && len(items) == 0 {
			t.Error("no items and no error")
		}
		if items, err := parseAircraft(text, []string{"707-320"}); err == nil && len(items) == 0 {
			t.Error("no items and no error")
		}
	})
}
