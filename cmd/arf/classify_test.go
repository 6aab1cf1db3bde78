package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"arf/imaging"
	"arf/index"
)

// icons draws black icons on white, 64 pixels wide, that the shipped model
// knows.
func icons(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	inside := func(x, y float64, corners ...[2]float64) bool {
		in := false
		for i, a := range corners {
			b := corners[(i+1)%len(corners)]
			if (a[1] > y) != (b[1] > y) && x < a[0]+(y-a[1])/(b[1]-a[1])*(b[0]-a[0]) {
				in = !in
			}
		}
		return in
	}
	box := func(x, y, x0, y0, x1, y1 float64) bool { return x >= x0 && x <= x1 && y >= y0 && y <= y1 }
	var star [][2]float64
	for k := range 10 {
		r := []float64{26, 11}[k%2]
		star = append(star, [2]float64{32 + r*math.Sin(float64(k)*math.Pi/5), 33 - r*math.Cos(float64(k)*math.Pi/5)})
	}
	for name, black := range map[string]func(x, y float64) bool{
		"home": func(x, y float64) bool {
			return (inside(x, y, [2]float64{32, 8}, [2]float64{6, 32}, [2]float64{58, 32}) || box(x, y, 14, 32, 50, 56)) && !box(x, y, 27, 40, 37, 57)
		},
		"star": func(x, y float64) bool { return inside(x, y, star...) },
		"heart": func(x, y float64) bool {
			return math.Hypot(x-21, y-25) < 13 || math.Hypot(x-43, y-25) < 13 || inside(x, y, [2]float64{10, 31}, [2]float64{54, 31}, [2]float64{32, 56})
		},
		"flag": func(x, y float64) bool {
			return box(x, y, 12, 6, 17, 58) || inside(x, y, [2]float64{17, 8}, [2]float64{54, 20}, [2]float64{17, 32})
		},
	} {
		pix := make([]uint8, 64*64*3)
		for i := range pix {
			x, y := float64(i/3%64)+0.5, float64(i/3/64)+0.5
			if !black(x, y) {
				pix[i] = 255
			}
		}
		png, err := imaging.EncodePNG(pix, 64, 64)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name+".png"), png)
		write(t, filepath.Join(dir, name+".txt"), []byte("a "+name))
	}
	return dir
}

func iconCLIP() string { return filepath.Join(repository, "models/icon-clip") }

func TestClassify(t *testing.T) {
	dir := icons(t)
	classes := []string{"arrow", "bicycle", "camera", "cloud", "flag", "heart", "home", "key", "star"}
	out, err := command(dir, "classify", iconCLIP(), ".", "--classes", strings.Join(classes, ","), "--template", "a {} icon").Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != 4 {
		t.Fatalf("%q", lines)
	}
	for _, line := range lines {
		fields := strings.Split(line, "\t")
		if len(fields) != 3 || fields[0] != fields[1]+".png" {
			t.Errorf("%q", line)
		}
	}
	// All classes of one image, from a file, in two prompts; a file that's no
	// picture beside it.
	write(t, filepath.Join(dir, "classes.txt"), []byte(strings.Join(classes, "\n")))
	write(t, filepath.Join(dir, "broken.png"), []byte("no picture"))
	c := command(dir, "classify", iconCLIP(), "star.png", "broken.png", "--classes-file", "classes.txt",
		"--template", "a {} icon", "--template", "{}", "--top", "0", "--json")
	var messages strings.Builder
	c.Stderr = &messages
	out, err = c.Output()
	if err == nil || !strings.Contains(messages.String(), "broken.png") || !strings.Contains(messages.String(), "1 of 2 images could not be read") {
		t.Errorf("%v: %s", err, messages.String())
	}
	var p struct {
		Image   string
		Classes []struct {
			Class       string
			Probability float64
		}
	}
	if err := json.Unmarshal(out, &p); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	sum := 0.0
	for _, g := range p.Classes {
		sum += g.Probability
	}
	if p.Image != "star.png" || len(p.Classes) != len(classes) || p.Classes[0].Class != "star" || math.Abs(sum-1) > 1e-5 {
		t.Errorf("%+v", p)
	}
	for _, wrong := range []struct {
		args []string
		want string
	}{
		{[]string{iconCLIP()}, "IMAGE"},
		{[]string{iconCLIP(), "star.png"}, "--classes"},
		{[]string{iconCLIP(), "star.png", "--classes", "a,b", "--classes-file", "classes.txt"}, "either --classes"},
		{[]string{iconCLIP(), "none.png", "--classes", "a,b"}, "none.png"},
		{[]string{iconCLIP(), "star.png", "--classes", "a,b", "--template", "photo"}, "photo"},
		{[]string{"no-model", "star.png", "--classes", "a,b"}, "no-model"},
	} {
		out, err := arf(dir, append([]string{"classify"}, wrong.args...)...)
		mustFail(t, out, err, wrong.want)
	}
}

func TestEmbed(t *testing.T) {
	dir, features := icons(t), filepath.Join(t.TempDir(), "features")
	embed := func(args ...string) (string, error) {
		return arf(dir, append([]string{"embed", iconCLIP(), ".", "--out", features, "--quiet", "--shard-size", "3"}, args...)...)
	}
	out, err := embed()
	if err != nil || !strings.Contains(out, "4 images and texts, 256 numbers each") {
		t.Fatalf("%v\n%s", err, out)
	}
	s, err := index.Open(features)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := s.Rows()
	if err != nil || len(rows) != 4 || rows[0].Key != "flag.png" || rows[3].Caption != "a star" {
		t.Fatalf("%+v, %v", rows, err)
	}
	images, _ := index.Load(s.Images())
	texts, _ := index.Load(s.Texts())
	for i := range rows {
		nearest, best := -1, -1.0
		for k := range rows {
			dot := 0.0
			for d := range images.Row(i) {
				dot += float64(images.Row(i)[d] * texts.Row(k)[d])
			}
			if dot > best {
				nearest, best = k, dot
			}
		}
		if nearest != i {
			t.Errorf("%s is nearest to %q", rows[i].Key, rows[nearest].Caption)
		}
	}
	// A shard that got lost is made again, the other one kept.
	lost, kept := filepath.Join(features, "img_emb/img_emb_1.npy"), filepath.Join(features, "img_emb/img_emb_0.npy")
	before, err := os.Stat(kept)
	if err != nil {
		t.Fatal(err)
	}
	whole := read(t, lost)
	if err := os.Remove(lost); err != nil {
		t.Fatal(err)
	}
	if out, err := embed(); err != nil || string(read(t, lost)) != string(whole) {
		t.Errorf("%v\n%s", err, out)
	}
	if after, err := os.Stat(kept); err != nil || after.ModTime() != before.ModTime() || !os.SameFile(after, before) {
		t.Errorf("the shard that was there was written again: %v", err)
	}
	if out, err := embed("--no-texts"); err != nil || !strings.Contains(out, "4 images, 256") {
		t.Errorf("%v\n%s", err, out)
	}
	if found, _ := filepath.Glob(filepath.Join(features, "text_emb/*")); len(found) > 0 {
		t.Errorf("%q is of other inputs", found)
	}
	out, err = arf(dir, "embed", iconCLIP(), "none", "--out", features)
	mustFail(t, out, err, "none")
	out, err = arf(dir, "embed", iconCLIP(), ".")
	mustFail(t, out, err, "out")
}
