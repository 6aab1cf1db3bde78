package suite

import (
	"archive/tar"
	"bytes"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"arf/clip"
	"arf/eval"
	"arf/imaging"
	"arf/internal/cliptest"
	"arf/torch"
)

// Small tensors gain nothing from threads, and lose much on a busy machine.
func TestMain(m *testing.M) {
	if err := torch.Load(); err == nil {
		torch.SetThreads(1)
	}
	os.Exit(m.Run())
}

// picture is the nth of many different ones.
func picture(t *testing.T, n int) []byte {
	t.Helper()
	return cliptest.Picture(t, cliptest.Colors[n%5], cliptest.Shapes[(n/5+n)%5], uint64(n))
}

// tree writes files, whose paths are below root with slashes.
func tree(t *testing.T, root string, files map[string][]byte) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// pictures writes a different picture to each path.
func pictures(t *testing.T, root string, paths ...string) {
	t.Helper()
	files := map[string][]byte{}
	for i, p := range paths {
		files[p] = picture(t, i)
	}
	tree(t, root, files)
}

// open opens one suite, whose sets it gives by name.
func open(t *testing.T, name, root string, o Options) (map[string]Test, []Missing) {
	t.Helper()
	s, err := Load(name)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := s.Open(root, o)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]Test{}
	for _, test := range opened.Tests {
		tests[test.Name()] = test
	}
	return tests, opened.Missing
}

// one is a prompt that costs little.
var one = []string{"a {} drawing"}

// want is what a test expects of its images, by plain loops: prompts are the
// classes that compete, with all names that count for each; of is each image's
// class by its path.
type want struct {
	prompts   map[string][]string
	order     []string // of the classes: the first wins a tie
	templates []string
	of        map[string]string
	crop      int
}

// check compares a result's predictions, image by image, with plain loops.
func (w want) check(t *testing.T, m *clip.Model, root string, test Test) *eval.Result {
	t.Helper()
	r, err := eval.Evaluate(t.Context(), m, *test.Class, eval.Options{BatchSize: 3})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, class := range slices.Sorted(maps.Keys(w.prompts)) {
		names = append(names, w.prompts[class]...)
	}
	features := ensemble(t, m, names, w.templates)
	confusions, n := map[[2]string]int{}, map[string]int{}
	for path, class := range w.of {
		image, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(path)))
		if err != nil {
			t.Fatal(err)
		}
		f := imageFeatures(t, m, image, w.crop)
		best, at := -2.0, ""
		for _, class := range w.order {
			for _, p := range w.prompts[class] {
				dot := 0.0
				for d, v := range f {
					dot += float64(v) * float64(features[p][d])
				}
				if dot > best {
					best, at = dot, class
				}
			}
		}
		n[class]++
		if at != class {
			confusions[[2]string{class, at}]++
		}
	}
	got := map[[2]string]int{}
	for _, c := range r.Confusions {
		got[[2]string{c.Class, c.Predicted}] = c.N
	}
	if !maps.Equal(got, confusions) {
		t.Errorf("%s: mistakes %v, want %v", test.Name(), got, confusions)
	}
	for _, class := range w.order {
		own, ok := r.PerClass[class]
		if !ok || own.N != n[class] {
			t.Errorf("%s: %d images of %s, want %d", test.Name(), own.N, class, n[class])
		}
	}
	if r.Images != len(w.of) || r.Classes != len(w.order) || len(r.PerClass) != len(w.order) {
		t.Errorf("%s: %d images, %d classes; want %d and %d", test.Name(), r.Images, r.Classes, len(w.of), len(w.order))
	}
	return r
}

// ensemble is the normalised mean of normalised features, for each name.
func ensemble(t *testing.T, m *clip.Model, names, templates []string) map[string][]float32 {
	t.Helper()
	var prompts []string
	for _, name := range names {
		for _, p := range templates {
			prompts = append(prompts, strings.ReplaceAll(p, "{}", name))
		}
	}
	f, err := m.TextFeatures(t.Context(), prompts, 0)
	if err != nil {
		t.Fatal(err)
	}
	dim := m.Config.EmbedDim
	out := map[string][]float32{}
	for i, name := range names {
		mean, norm := make([]float64, dim), 0.0
		for d := range mean {
			for k := range templates {
				mean[d] += float64(f[(i*len(templates)+k)*dim+d])
			}
			norm += mean[d] * mean[d]
		}
		for _, v := range mean {
			out[name] = append(out[name], float32(v/math.Sqrt(norm)))
		}
	}
	return out
}

func imageFeatures(t *testing.T, m *clip.Model, encoded []byte, crop int) []float32 {
	t.Helper()
	if crop > 0 {
		pix, w, h, err := imaging.DecodeRGB(encoded)
		if err != nil {
			t.Fatal(err)
		}
		var inner []uint8
		for y := crop; y < h-crop; y++ {
			inner = append(inner, pix[(y*w+crop)*3:(y*w+w-crop)*3]...)
		}
		if encoded, err = imaging.EncodePNG(inner, w-2*crop, h-2*crop); err != nil {
			t.Fatal(err)
		}
	}
	pixels, err := m.Preprocess.Eval(encoded)
	if err != nil {
		t.Fatal(err)
	}
	f, err := m.ImageFeatures(t.Context(), pixels, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// imagenetWant has the classes of ImageNet, or those of a list of ids.
func imagenetWant(t *testing.T, mask string) want {
	t.Helper()
	w := want{prompts: map[string][]string{}, templates: one, of: map[string]string{}}
	ids := map[string]bool{}
	if mask != "" {
		list, err := lines(mask)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range list {
			ids[id] = true
		}
	}
	for _, f := range mustFields("imagenet_classes", 2) {
		if mask == "" || ids[f[0]] {
			w.prompts[f[0]], w.order = []string{f[1]}, append(w.order, f[0])
		}
	}
	return w
}

// shard is one tar of a webdataset.
func shard(t *testing.T, files ...[2]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Name: f[0], Mode: 0o644, Size: int64(len(f[1]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// wds is a folder in clip_benchmark's layout with images of these labels.
func wds(t *testing.T, labels []int, classes, templates []string) map[string][]byte {
	t.Helper()
	var files [][2]string
	for i, label := range labels {
		key := fmt.Sprintf("s%07d", i)
		files = append(files, [2]string{key + ".png", string(picture(t, i))}, [2]string{key + ".cls", fmt.Sprint(label)})
	}
	half := len(files) / 4 * 2
	return map[string][]byte{
		"test/nshards.txt": []byte("2\n"), "test/0.tar": shard(t, files[:half]...), "test/1.tar": shard(t, files[half:]...),
		"classnames.txt":                        []byte(strings.Join(classes, "\n") + "\n"),
		"zeroshot_classification_templates.txt": []byte(strings.Join(templates, "\n") + "\n"),
	}
}

func below(folder string, files map[string][]byte) map[string][]byte {
	out := map[string][]byte{}
	for name, content := range files {
		out[folder+"/"+name] = content
	}
	return out
}

// images is how many there are to measure.
func (t Test) images() int {
	if t.Captions != nil {
		return t.Captions.Data.Len()
	}
	return t.Class.Data.Len()
}
