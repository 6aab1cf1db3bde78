package suite

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"arf/dataset"
	"arf/eval"
	"arf/internal/cliptest"
)

func TestOwnFolder(t *testing.T) {
	root := t.TempDir()
	m := cliptest.Model(t, 3)
	w := want{
		templates: []string{"a photo of a {}."}, order: []string{"blue_disc", "red_ring"}, prompts: map[string][]string{"blue_disc": {"blue disc"}, "red_ring": {"red ring"}},
		of: map[string]string{"blue_disc/a.png": "blue_disc", "blue_disc/b.png": "blue_disc", "red_ring/a.png": "red_ring"},
	}
	pictures(t, root, "blue_disc/a.png", "blue_disc/b.png", "red_ring/a.png")
	test, err := Own{Source: dataset.Source{Path: root}}.Open()
	if err != nil {
		t.Fatal(err)
	}
	w.check(t, m, root, test)
	if test.Name() != filepath.Base(root) {
		t.Errorf("name %s", test.Name())
	}
	for path, want := range map[string]string{"e/wb/{0..1}.tar": "wb", "e/*/*.parquet": "e", "a/b.csv::c/d.csv": "b", root: filepath.Base(root)} {
		if got := nameOf(path); got != want {
			t.Errorf("name of %s: %s, want %s", path, got, want)
		}
	}

	// Further classes compete; a tab gives the name in prompts.
	list := filepath.Join(t.TempDir(), "classes.txt")
	if err := os.WriteFile(list, []byte("# mine\nred_ring\tpurple cross\n\nbar\nblue_disc\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	classes, err := ReadClasses(list)
	if err != nil {
		t.Fatal(err)
	}
	w.order = []string{"red_ring", "bar", "blue_disc"}
	w.prompts, w.templates = map[string][]string{"red_ring": {"purple cross"}, "bar": {"bar"}, "blue_disc": {"blue disc"}}, []string{"{}", "the {}"}
	if test, err = (Own{Name: "mine", Source: dataset.Source{Path: root}, Classes: classes, Templates: w.templates, Metric: eval.MeanPerClassRecall}).Open(); err != nil {
		t.Fatal(err)
	}
	if r := w.check(t, m, root, test); r.Dataset != "mine" || r.MainMetric != eval.MeanPerClassRecall {
		t.Errorf("%s, %s", r.Dataset, r.MainMetric)
	}
	if test, err = (Own{Source: dataset.Source{Path: root}, Limit: 2}).Open(); err != nil || test.images() != 2 {
		t.Errorf("%d images, %v", test.images(), err)
	}

	// ImageNet's ids have names without being told, unless told otherwise.
	for i, want := range []eval.Class{{Name: "n01440764", Prompt: "tench"}, {Name: "n01443537", Prompt: "gold"}, {Name: "a_b", Prompt: "a b"}, {Name: "c"}} {
		if got := ParseClasses([]string{"n01440764", "n01443537\tgold", "a_b", "c"})[i]; got.Name != want.Name || got.Prompt != want.Prompt {
			t.Errorf("class %+v, want %+v", got, want)
		}
	}

	for want, o := range map[string]Own{
		"f1":      {Task: "f1"},
		"missing": {Source: dataset.Source{Path: filepath.Join(root, "missing")}},
		"leave":   {Task: "retrieval", Templates: one},
	} {
		if o.Source.Path == "" {
			o.Source.Path = root
		}
		if _, err := o.Open(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestOwnTables(t *testing.T) {
	root := t.TempDir()
	files := map[string][]byte{"captions.csv": []byte("filepath,title\n"), "labels.csv": []byte("image,label\n"), "nothing.csv": []byte("image\n")}
	for i := range 6 {
		name := fmt.Sprintf("%d.png", i)
		files[name] = picture(t, i)
		files["captions.csv"] = fmt.Appendf(files["captions.csv"], "%s,a %s drawing\n%s,a picture\n", name, cliptest.Colors[i%5], name)
		files["labels.csv"] = fmt.Appendf(files["labels.csv"], "%s,%d\n", name, i%3)
		files["nothing.csv"] = fmt.Appendf(files["nothing.csv"], "%s\n", name)
	}
	tree(t, root, files)
	source := func(name string) dataset.Source { return dataset.Source{Path: filepath.Join(root, name)} }
	test, err := Own{Source: source("captions.csv")}.Open()
	if err != nil || test.Captions == nil {
		t.Fatalf("%+v, %v", test, err)
	}
	r, err := eval.Retrieve(t.Context(), cliptest.Model(t, 3), *test.Captions, eval.Options{})
	if err != nil || r.Images != 6 || r.Texts != 12 {
		t.Errorf("%+v, %v", r, err)
	}

	classes, err := ReadClasses("disc, red_ring ,bar")
	if err != nil {
		t.Fatal(err)
	}
	if test, err = (Own{Source: source("labels.csv"), Classes: classes}).Open(); err != nil {
		t.Fatal(err)
	}
	w := want{
		templates: []string{"a photo of a {}."}, order: []string{"disc", "red_ring", "bar"}, of: map[string]string{},
		prompts: map[string][]string{"disc": {"disc"}, "red_ring": {"red ring"}, "bar": {"bar"}},
	}
	for i := range 6 {
		w.of[fmt.Sprintf("%d.png", i)] = w.order[i%3]
	}
	w.check(t, cliptest.Model(t, 3), root, test)

	for name, want := range map[string]string{"labels.csv": "in the labels' order with --classes", "nothing.csv": "neither classes nor captions; its columns are [\""} {
		if _, err := (Own{Source: source(name)}).Open(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReadTemplatesAndClasses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "prompts.txt")
	if err := os.WriteFile(file, []byte("# mine\na {c}.\n\nthe {}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(t.TempDir(), "empty.txt")
	if err := os.WriteFile(empty, []byte("# nothing\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for spec, want := range map[string][]string{file: {"a {}.", "the {}"}, "an icon of {}": {"an icon of {}"}} {
		if got, err := ReadTemplates(spec); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v", spec, got, err)
		}
	}
	for name, n := range map[string]int{"imagenet-80": 80, "imagenet-7": 7} {
		if got, err := ReadTemplates(name); err != nil || len(got) != n {
			t.Errorf("%s: %d, %v", name, len(got), err)
		}
	}
	for _, bad := range []string{"a photo", empty, filepath.Dir(file)} {
		if got, err := ReadTemplates(bad); err == nil {
			t.Errorf("%s: %q", bad, got)
		}
	}
	got, err := ReadClasses("cat,hot_dog")
	if want := []eval.Class{{Name: "cat"}, {Name: "hot_dog", Prompt: "hot dog"}}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"cat", empty, ",", "/missing/file.txt"} {
		if got, err := ReadClasses(bad); err == nil {
			t.Errorf("%s: %v", bad, got)
		}
	}
}
