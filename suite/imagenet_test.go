package suite

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"arf/eval"
	"arf/imaging"
	"arf/internal/cliptest"
)

func TestImageNetFolders(t *testing.T) {
	root := t.TempDir()
	w := imagenetWant(t, "")
	w.of = map[string]string{
		"ILSVRC2012/val/n01440764/a.JPEG": "n01440764", "ILSVRC2012/val/n01440764/b.JPEG": "n01440764", // most classes have no images here
		"ILSVRC2012/val/n04357314/a.JPEG": "n04357314", "ILSVRC2012/val/n15075141/a.JPEG": "n15075141",
	}
	pictures(t, root, slices.Sorted(maps.Keys(w.of))...)
	tests, missing := open(t, "imagenet-robustness", root, Options{Templates: one})
	if len(tests) != 1 || len(missing) != 5 {
		t.Fatalf("%d tests, %d missing", len(tests), len(missing))
	}
	r := w.check(t, cliptest.Model(t, 3), root, tests["imagenet1k"])
	if r.Role != "id" || r.ClassMask != nil || r.PerClass["n01440764"].Prompt != "tench" {
		t.Errorf("%+v", r)
	}
	for _, m := range missing {
		if text := m.Details(); m.Set.Name == "imagenet-a" && (!strings.Contains(text, root+"/imagenet-a, nor "+root+"/imagenet-adversarial/imagenet-a") || !strings.Contains(text, "200 class folders") || !strings.Contains(text, "imagenet-a.tar")) {
			t.Errorf("what is missing: %s", text)
		}
	}
	// CoOp's place comes first.
	pictures(t, root, "imagenet/images/val/n01440764/a.JPEG")
	if tests, _ = open(t, "imagenet-robustness", root, Options{Templates: one}); tests["imagenet1k"].images() != 1 {
		t.Errorf("%s was taken", tests["imagenet1k"].Path)
	}
}

// Sorted as text, folder 10 would come before folder 2.
func TestImageNetV2FoldersAreNumbers(t *testing.T) {
	root := t.TempDir()
	w := imagenetWant(t, "")
	const dir = "imagenetv2/imagenetv2-matched-frequency-format-val/"
	for folder, class := range map[string]string{"0": "n01440764", "2": "n01484850", "10": "n01530575", "100": "n01860187", "999": "n15075141"} {
		w.of[dir+folder+"/a.jpeg"], w.of[dir+folder+"/b.jpeg"] = class, class
	}
	pictures(t, root, slices.Sorted(maps.Keys(w.of))...)
	tests, _ := open(t, "imagenet-robustness", root, Options{Templates: one})
	w.check(t, cliptest.Model(t, 3), root, tests["imagenetv2"])
}

// The folders of ImageNet-A and -R are 200 of the 1,000 classes, so that a
// folder's place isn't its label; only those 200 compete.
func TestImageNetAAndR(t *testing.T) {
	root := t.TempDir()
	m := cliptest.Model(t, 3)
	a, r := imagenetWant(t, "imagenet_a"), imagenetWant(t, "imagenet_r")
	a.of = map[string]string{
		"imagenet-a/n01498041/x.jpg": "n01498041", "imagenet-a/n01498041/y.jpg": "n01498041", // stingray: folder 0, label 6
		"imagenet-a/n12267677/x.jpg": "n12267677", "imagenet-a/n07749582/x.jpg": "n07749582",
	}
	r.of = map[string]string{
		"imagenet-rendition/imagenet-r/n01443537/x.jpg": "n01443537", "imagenet-rendition/imagenet-r/n01443537/y.jpg": "n01443537", // goldfish
		"imagenet-rendition/imagenet-r/n12267677/x.jpg": "n12267677", "imagenet-rendition/imagenet-r/n02007558/x.jpg": "n02007558",
	}
	pictures(t, root, slices.Concat(slices.Sorted(maps.Keys(a.of)), slices.Sorted(maps.Keys(r.of)))...)
	tree(t, root, map[string][]byte{"imagenet-a/README.txt": []byte("…"), "imagenet-rendition/imagenet-r/README.txt": []byte("…")})
	pictures(t, root, "imagenet-a/n01440764/x.jpg") // a tench isn't of ImageNet-A
	tests, _ := open(t, "imagenet-robustness", root, Options{Templates: one})
	if got := a.check(t, m, root, tests["imagenet-a"]); got.Classes != 200 || got.LeftOut != 1 || !slices.IsSorted(got.ClassMask) || got.Role != "shift" {
		t.Errorf("%d classes, %d left out", got.Classes, got.LeftOut)
	}
	if got := r.check(t, m, root, tests["imagenet-r"]); got.Classes != 200 || got.LeftOut != 0 {
		t.Errorf("%d classes, %d left out", got.Classes, got.LeftOut)
	}
	if _, ok := r.prompts["n01440764"]; ok {
		t.Error("a tench is of ImageNet-R")
	}
}

func TestSketch(t *testing.T) {
	root := t.TempDir()
	w := imagenetWant(t, "")
	w.of = map[string]string{"sketch/n01440764/sketch_1.JPEG": "n01440764", "sketch/n02007558/sketch_1.JPEG": "n02007558"}
	pictures(t, root, slices.Sorted(maps.Keys(w.of))...)
	tests, _ := open(t, "imagenet-robustness", root, Options{Templates: one})
	w.check(t, cliptest.Model(t, 3), root, tests["imagenet_sketch"])
}

// Of ObjectNet's 313 classes 113 count, a class has the greatest logit of all
// ImageNet classes that it covers, and the red border is cut off.
func TestObjectNet(t *testing.T) {
	root := t.TempDir()
	w := want{prompts: map[string][]string{}, templates: one, of: map[string]string{}, crop: 2}
	name := map[string]string{}
	for _, f := range mustFields("imagenet_classes", 2) {
		name[f[0]] = f[1]
	}
	for _, f := range mustFields("objectnet", 3) {
		w.order = append(w.order, f[0])
		for id := range strings.SplitSeq(f[2], ",") {
			w.prompts[f[0]] = append(w.prompts[f[0]], name[id])
		}
	}
	if got := w.prompts["chair"]; !slices.Equal(got, []string{"barber chair", "folding chair", "rocking chair"}) {
		t.Errorf("a chair is %q", got)
	}
	if got := w.prompts["alarm_clock"]; !slices.Equal(got, []string{"analog clock", "digital clock"}) {
		t.Errorf("an alarm clock is %q", got)
	}
	files := map[string][]byte{}
	for i, folder := range []string{"chair", "chair", "alarm_clock", "alarm_clock", "umbrella", "tv", "squeegee", "air_freshener"} {
		path := "objectnet-1.0/images/" + folder + "/" + string(rune('a'+i)) + ".png"
		files[path] = framed(t, picture(t, i))
		if folder != "squeegee" && folder != "air_freshener" { // ImageNet has neither
			w.of[path] = folder
		}
	}
	tree(t, root, files)
	tests, _ := open(t, "imagenet-robustness", root, Options{Templates: one})
	m := cliptest.Model(t, 3)
	r := w.check(t, m, root, tests["objectnet"])
	if r.Classes != 113 || r.LeftOut != 2 || r.Border != 2 {
		t.Errorf("%d classes, %d left out, border %d", r.Classes, r.LeftOut, r.Border)
	}
	// With the border the picture is another.
	seen := *tests["objectnet"].Class
	seen.Border = 0
	other, err := eval.Evaluate(t.Context(), m, seen, eval.Options{})
	if err != nil || other.Metrics.ECE == r.Metrics.ECE {
		t.Errorf("the border makes no difference (ECE %v, %v): this tests nothing", r.Metrics.ECE, err)
	}
}

// framed draws a red border of 2 pixels over a picture.
func framed(t *testing.T, png []byte) []byte {
	t.Helper()
	_, width, height, err := imaging.DecodeRGB(png)
	if err != nil {
		t.Fatal(err)
	}
	return cliptest.Change(t, png, func(i int, v uint8) uint8 {
		x, y, c := i/3%width, i/3/width, i%3
		if x >= 2 && x < width-2 && y >= 2 && y < height-2 {
			return v
		}
		if c == 0 {
			return 255
		}
		return 0
	})
}
