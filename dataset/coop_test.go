package dataset

import (
	"path/filepath"
	"slices"
	"testing"
)

// caltech is CoOp's Caltech101 folder in small: class names with underscores,
// names that begin alike, and a class that the validation split lacks.
const caltech = `{"train": [
	["airplanes/image_0001.jpg", 2, "airplane"], ["Faces/image_0001.jpg", 0, "face"], ["Faces_easy/image_0001.jpg", 1, "Faces_easy"],
	["sea_horse/image_0001.jpg", 4, "sea_horse"], ["Leopards/image_0001.jpg", 3, "leopard"]],
 "val": [["Faces/image_0002.jpg", 0, "face"]],
 "test": [["sea_horse/image_0002.jpg", 4, "sea_horse"], ["Faces_easy/image_0003.jpg", 1, "Faces_easy"], ["airplanes/image_0002.jpg", "2", "airplane"]]}`

func TestCoOp(t *testing.T) {
	root := tree(t, map[string]string{
		"split_zhou_Caltech101.json":                         caltech,
		"101_ObjectCategories/airplanes/image_0001.jpg":      "A1",
		"101_ObjectCategories/sea_horse/image_0002.jpg":      "S2",
		"101_ObjectCategories/Faces/image_0002.jpg":          "F2",
		"elsewhere/of/the/images/Faces_easy/image_0003.jpg":  "E3",
		"elsewhere/of/the/images/airplanes/image_0001.jpg":   "other",
		"101_ObjectCategories/BACKGROUND_Google/image_1.jpg": "not listed",
	})
	path := filepath.Join(root, "split_zhou_Caltech101.json")
	classes := []string{"face", "Faces_easy", "airplane", "leopard", "sea_horse"}
	for _, c := range []struct {
		source  Source
		keys    []string
		classes []string
	}{
		{Source{Split: "test"}, []string{"sea_horse/image_0002.jpg:4:sea_horse", "Faces_easy/image_0003.jpg:1:Faces_easy", "airplanes/image_0002.jpg:2:airplane"}, classes},
		{Source{Split: "val"}, []string{"Faces/image_0002.jpg:0:face"}, classes},
		{Source{Split: "test", Half: HalfBase}, []string{"Faces_easy/image_0003.jpg:1:Faces_easy", "airplanes/image_0002.jpg:2:airplane"}, classes[:3]},
		{Source{Split: "test", Half: HalfNew}, []string{"sea_horse/image_0002.jpg:1:sea_horse"}, classes[3:]},
		// A given order of the classes is kept.
		{Source{Split: "val", Classes: []string{"sea_horse", "leopard", "face", "airplane", "Faces_easy"}}, []string{"Faces/image_0002.jpg:2:face"},
			[]string{"sea_horse", "leopard", "face", "airplane", "Faces_easy"}},
	} {
		c.source.Path = path
		d := open(t, c.source)
		if got := keys(t, d); !slices.Equal(got, c.keys) || !slices.Equal(Classes(d), c.classes) {
			t.Errorf("%+v: %q, classes %q; want %q, %q", c.source, got, Classes(d), c.keys, c.classes)
		}
	}
	// The folder stands for its only split file, whatever class folders it has.
	if got := keys(t, open(t, Source{Path: root, Split: "val"})); !slices.Equal(got, []string{"Faces/image_0002.jpg:0:face"}) {
		t.Errorf("%q", got)
	}
	_, err := Open(Source{Path: root})
	wantError(t, "no split", err, `"test"`, "--split")
	_, err = Open(Source{Path: filepath.Join(root, "101_ObjectCategories"), Type: CoOp})
	wantError(t, "no split file", err, "split_zhou_*.json")
	if s, err := open(t, Source{Path: path, Split: "test"}).Sample(0); err != nil || string(s.Image) != "S2" {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err := open(t, Source{Path: path, Split: "test", Root: filepath.Join(root, "elsewhere/of/the/images")}).Sample(1); err != nil || string(s.Image) != "E3" {
		t.Errorf("%+v, %v", s, err)
	}
	_, err = open(t, Source{Path: path, Split: "test"}).Sample(1)
	wantError(t, "missing image", err, "Faces_easy/image_0003.jpg", "no such file")
}

func TestCoOpErrors(t *testing.T) {
	for name, c := range map[string]struct {
		content string
		source  Source
		want    []string
	}{
		"no split":       {caltech, Source{}, []string{`"test", "train", "val"`, "split"}},
		"unknown split":  {caltech, Source{Split: "dev"}, []string{`"dev"`, `"test", "train", "val"`}},
		"empty split":    {`{"train":[["a.jpg",0,"x"]],"test":[]}`, Source{Split: "test"}, []string{`"test"`, "empty"}},
		"no images":      {caltech, Source{Split: "test"}, []string{"sea_horse/image_0002.jpg", "root"}},
		"not JSON":       {"path,label", Source{}, []string{"train"}},
		"list":           {"[]", Source{}, []string{"train"}},
		"no list":        {`{"train": 5}`, Source{}, []string{"train", "list"}},
		"two fields":     {`{"train": [["a.jpg",0,"x"],["a.jpg",0]]}`, Source{}, []string{"train[1]", "[image path, label, class name]"}},
		"label":          {`{"train": [["a.jpg","cat","x"]]}`, Source{}, []string{"train[0]", `"cat"`, "label"}},
		"negative label": {`{"train": [["a.jpg",-1,"x"]]}`, Source{}, []string{"train[0]", "-1"}},
		"broken label":   {`{"train": [["a.jpg",1.5,"x"]]}`, Source{}, []string{"train[0]", "1.5"}},
		"huge label":     {`{"train": [["a.jpg",99999999,"x"]]}`, Source{}, []string{"99999999"}},
		"up":             {`{"train": [["../a.jpg",0,"x"]]}`, Source{}, []string{"train[0]", "../a.jpg"}},
		"absolute":       {`{"train": [["/etc/a.jpg",0,"x"]]}`, Source{}, []string{"train[0]", "/etc/a.jpg"}},
		"no class":       {`{"train": [["a.jpg",0," "]]}`, Source{}, []string{"train[0]", "class name"}},
		"contradiction":  {`{"train": [["a.jpg",0,"x"]], "val": [["b.jpg",0,"y"]]}`, Source{Split: "train"}, []string{"val[0]", `"y"`, `"x"`, "label 0"}},
		"two labels":     {`{"train": [["a.jpg",0,"x"],["b.jpg",1,"x"]]}`, Source{}, []string{`"x"`, "0 and 1"}},
		"gap":            {`{"train": [["a.jpg",0,"x"],["b.jpg",2,"y"]]}`, Source{}, []string{"label 1"}},
		"other classes":  {caltech, Source{Split: "test", Classes: []string{"face"}}, []string{"Faces_easy"}},
		"half":           {caltech, Source{Split: "val", Half: HalfNew, Root: "."}, []string{`"val"`, "new"}},
	} {
		c.source.Path = filepath.Join(tree(t, map[string]string{"split_zhou_X.json": c.content}), "split_zhou_X.json")
		_, err := Open(c.source)
		wantError(t, name, err, append(c.want, "split_zhou_X.json")...)
	}
}

func FuzzCoOp(f *testing.F) {
	f.Add([]byte(caltech))
	f.Add([]byte(`{"train":[["a",0,"x"]],"val":null,"test":[["b","1","y"]]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		splits, err := parseCoOp(data)
		if err != nil {
			return
		}
		classes, err := splits.classes()
		if err != nil {
			return
		}
		for name, items := range splits {
			for _, item := range items {
				if !filepath.IsLocal(item.path) || classes[item.label] != item.class {
					t.Errorf("%s: %+v among %q", name, item, classes)
				}
			}
		}
		base, rest := splits.half(classes, HalfBase), splits.half(classes, HalfNew)
		if len(classes) > 0 && (len(base) == 0 || len(base)-len(rest) > 1 || len(rest) > len(base)) {
			t.Errorf("halves %q and %q", base, rest)
		}
	})
}
