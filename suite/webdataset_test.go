package suite

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"arf/eval"
	"arf/internal/cliptest"
)

// clip_benchmark's ImageNet has the name "missile" twice; labels tell them apart.
func TestWebDatasets(t *testing.T) {
	root := t.TempDir()
	classes := []string{"ring", "missile", "disc", "missile"}
	labels := []int{3, 0, 1, 2, 3, 0, 0, 2}
	tree(t, root, below("wds_vtab-caltech101", wds(t, labels, classes, []string{"a photo of a {c}.", "{c}"})))
	tree(t, root, below("wds_vtab-dtd", wds(t, labels[:5], classes[:4], []string{"a {c} drawing"})))
	tests, missing := open(t, "vtab", root, Options{})
	if len(tests) != 2 || len(missing) != 17 {
		t.Fatalf("%d tests, %d missing", len(tests), len(missing))
	}
	m := cliptest.Model(t, 3)
	w := want{
		order: []string{"ring", "missile (1)", "disc", "missile (3)"}, templates: []string{"a photo of a {}.", "{}"}, of: map[string]string{},
		prompts: map[string][]string{"ring": {"ring"}, "missile (1)": {"missile"}, "disc": {"disc"}, "missile (3)": {"missile"}},
	}
	for i, label := range labels {
		name := string(rune('a'+i)) + ".png"
		tree(t, root, map[string][]byte{name: picture(t, i)}) // as in the tars
		w.of[name] = w.order[label]
	}
	r := w.check(t, m, root, tests["vtab-caltech101"])
	if r.MainMetric != eval.MeanPerClassRecall || tests["vtab-dtd"].Set.Metric != eval.Acc1 {
		t.Errorf("metrics %s and %s", r.MainMetric, tests["vtab-dtd"].Set.Metric)
	}
	if tests, _ = open(t, "vtab", root, Options{Templates: one}); !slices.Equal(tests["vtab-dtd"].Class.Templates, one) {
		t.Errorf("the folder's templates win over those given: %q", tests["vtab-dtd"].Class.Templates)
	}
	if tests, missing = open(t, "wds", root, Options{}); len(tests) != 2 || len(missing) != 0 || tests["vtab-caltech101"].Set.Metric != eval.MeanPerClassRecall {
		t.Errorf("%v, missing %v", tests, missing)
	}

	if err := os.Remove(filepath.Join(root, "wds_vtab-dtd", "zeroshot_classification_templates.txt")); err != nil {
		t.Fatal(err)
	}
	if tests, _ = open(t, "vtab", root, Options{}); len(tests["vtab-dtd"].Class.Templates) != 80 {
		t.Errorf("%d templates for a folder that has none", len(tests["vtab-dtd"].Class.Templates))
	}
	if err := os.Remove(filepath.Join(root, "wds_vtab-dtd", "classnames.txt")); err != nil {
		t.Fatal(err)
	}
	_, missing = open(t, "vtab", root, Options{})
	if i := slices.IndexFunc(missing, func(m Missing) bool { return strings.Contains(m.String(), "wds_vtab-dtd/classnames.txt is missing") }); i < 0 {
		t.Errorf("without class names: %v", missing)
	}
}

// Each line of a sample's text is a caption.
func TestWebDatasetOfCaptions(t *testing.T) {
	root := t.TempDir()
	var files [][2]string
	for i := range 5 {
		key := string(rune('a' + i))
		files = append(files, [2]string{key + ".png", string(picture(t, i))}, [2]string{key + ".txt", "a " + cliptest.Colors[i] + " drawing\nthe " + cliptest.Colors[i] + " picture"})
	}
	tree(t, root, map[string][]byte{
		"wds_flickr8k/dataset_type.txt": []byte("retrieval\n"), "wds_flickr8k/test/nshards.txt": []byte("1\n"), "wds_flickr8k/test/0.tar": shard(t, files...),
	})
	tests, missing := open(t, "wds", root, Options{})
	if len(missing) != 0 || tests["flickr8k"].Captions == nil {
		t.Fatalf("%v, missing %v", tests, missing)
	}
	r, err := eval.Retrieve(t.Context(), cliptest.Model(t, 3), *tests["flickr8k"].Captions, eval.Options{})
	if err != nil || r.Images != 5 || r.Texts != 10 || r.Metrics.Text[2] == 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, missing = open(t, "wds", t.TempDir(), Options{}); len(missing) != 1 || !strings.Contains(missing[0].String(), "wds_*") {
		t.Errorf("nothing there: %v", missing)
	}
}
