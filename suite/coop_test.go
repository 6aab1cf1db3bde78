package suite

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"arf/internal/cliptest"
)

// split is a split_zhou_<Name>.json of [path, label, class name].
func split(t *testing.T, lists map[string][][3]any) []byte {
	t.Helper()
	for _, name := range []string{"train", "val", "test"} {
		if lists[name] == nil {
			lists[name] = [][3]any{}
		}
	}
	text, err := json.Marshal(lists)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Caltech101 as it is unpacked has BACKGROUND_Google and Faces_easy, which
// aren't in the split; a class without test images competes all the same.
func TestCaltech(t *testing.T) {
	root := t.TempDir()
	const dir = "caltech-101/101_ObjectCategories/"
	pictures(t, root, dir+"airplanes/image_0001.jpg", dir+"airplanes/image_0002.jpg", dir+"Faces/image_0001.jpg", dir+"Faces_easy/image_0001.jpg",
		dir+"BACKGROUND_Google/image_0001.jpg", dir+"accordion/image_0001.jpg", dir+"crocodile_head/image_0001.jpg", dir+"crocodile_head/image_0002.jpg")
	tree(t, root, map[string][]byte{"caltech-101/split_zhou_Caltech101.json": split(t, map[string][][3]any{
		"train": {{"airplanes/image_0001.jpg", 2, "airplane"}, {"Faces/image_0001.jpg", 0, "face"}, {"accordion/image_0001.jpg", 3, "accordion"}, {"crocodile_head/image_0001.jpg", 4, "crocodile_head"}, {"x.jpg", 1, "leopard"}},
		"test":  {{"airplanes/image_0002.jpg", 2, "airplane"}, {"Faces/image_0001.jpg", 0, "face"}, {"crocodile_head/image_0002.jpg", 4, "crocodile_head"}},
	})})
	w := want{
		templates: []string{"a photo of a {}."}, order: []string{"face", "leopard", "airplane", "accordion", "crocodile_head"},
		prompts: map[string][]string{"face": {"face"}, "leopard": {"leopard"}, "airplane": {"airplane"}, "accordion": {"accordion"}, "crocodile_head": {"crocodile head"}},
		of:      map[string]string{dir + "airplanes/image_0002.jpg": "airplane", dir + "Faces/image_0001.jpg": "face", dir + "crocodile_head/image_0002.jpg": "crocodile_head"},
	}
	m := cliptest.Model(t, 3)
	tests, missing := open(t, "coop11", root, Options{})
	if len(tests) != 1 || len(missing) != 10 {
		t.Fatalf("%d tests, %d missing", len(tests), len(missing))
	}
	r := w.check(t, m, root, tests["caltech101"])
	if !slices.Equal(r.Templates, w.templates) || r.MainMetric != "acc1" {
		t.Errorf("templates %q, metric %s", r.Templates, r.MainMetric)
	}

	// Of five labels in train three are base classes; only a half's own compete.
	halves, _ := open(t, "coop11-base-new", root, Options{})
	base, fresh := w, w
	base.order, fresh.order = w.order[:3], w.order[3:]
	base.of, fresh.of = maps.Clone(w.of), map[string]string{dir + "crocodile_head/image_0002.jpg": "crocodile_head"}
	delete(base.of, dir+"crocodile_head/image_0002.jpg")
	base.check(t, m, root, halves["caltech101-base"])
	fresh.check(t, m, root, halves["caltech101-new"])
	if halves["caltech101-base"].Class.Data != halves["caltech101-new"].Class.Data {
		t.Error("the halves are two datasets, whose images are read twice")
	}
}

// Each set's own template, and names that are said otherwise.
func TestCoOpSets(t *testing.T) {
	root := t.TempDir()
	type set struct {
		name, file, image, class, prompt, template string
	}
	sets := []set{
		{"oxford_pets", "oxford_pets/split_zhou_OxfordPets.json", "images/american_bulldog_1.jpg", "american_bulldog", "american bulldog", "a photo of a {}, a type of pet."},
		{"stanford_cars", "stanford_cars/split_zhou_StanfordCars.json", "cars_test/00001.jpg", "2012 Suzuki Aerio Sedan", "2012 Suzuki Aerio Sedan", "a photo of a {}."},
		{"oxford_flowers", "oxford_flowers/split_zhou_OxfordFlowers.json", "jpg/image_00001.jpg", "passion flower", "passion flower", "a photo of a {}, a type of flower."},
		{"food101", "food-101/split_zhou_Food101.json", "images/apple_pie/1005649.jpg", "apple_pie", "apple pie", "a photo of {}, a type of food."},
		{"sun397", "sun397/split_zhou_SUN397.json", "SUN397/b/bakery/shop/sun_1.jpg", "shop bakery", "shop bakery", "a photo of a {}."},
		{"dtd", "dtd/split_zhou_DescribableTextures.json", "images/banded/banded_0002.jpg", "banded", "banded", "{} texture."},
		{"eurosat", "eurosat/split_zhou_EuroSAT.json", "2750/AnnualCrop/AnnualCrop_1.jpg", "AnnualCrop", "Annual Crop Land", "a centered satellite photo of {}."},
		{"ucf101", "ucf101/split_zhou_UCF101.json", "UCF-101-midframes/Apply_Eye_Makeup/v_1.jpg", "Apply_Eye_Makeup", "Apply Eye Makeup", "a photo of a person doing {}."},
	}
	for _, s := range sets {
		folder, _, _ := strings.Cut(s.file, "/")
		pictures(t, root, folder+"/"+s.image)
		image := s.image
		if s.name != "stanford_cars" { // whose paths begin at the split file
			_, image, _ = strings.Cut(image, "/")
		}
		tree(t, root, map[string][]byte{s.file: split(t, map[string][][3]any{"train": {{"x.jpg", 1, "disc"}}, "test": {{image, 0, s.class}}})})
	}
	tree(t, root, map[string][]byte{
		"fgvc_aircraft/variants.txt": []byte("707-320\nA300B4\nDC-8\n"), "fgvc_aircraft/images_variant_test.txt": []byte("0034309 707-320\n1514522 DC-8\n"),
		"fgvc_aircraft/images/0034309.jpg": picture(t, 3), "fgvc_aircraft/images/1514522.jpg": picture(t, 4),
	})
	tests, missing := open(t, "coop11", root, Options{})
	if len(missing) != 2 {
		t.Errorf("missing %v", missing)
	}
	m := cliptest.Model(t, 3)
	for _, s := range sets {
		folder, _, _ := strings.Cut(s.file, "/")
		w := want{
			templates: []string{s.template}, order: []string{s.class, "disc"}, of: map[string]string{folder + "/" + s.image: s.class},
			prompts: map[string][]string{s.class: {s.prompt}, "disc": {"disc"}},
		}
		if r := w.check(t, m, root, tests[s.name]); !slices.Equal(r.Templates, w.templates) {
			t.Errorf("%s: templates %q", s.name, r.Templates)
		}
	}
	aircraft := want{
		templates: []string{"a photo of a {}, a type of aircraft."}, order: []string{"707-320", "A300B4", "DC-8"},
		of:      map[string]string{"fgvc_aircraft/images/0034309.jpg": "707-320", "fgvc_aircraft/images/1514522.jpg": "DC-8"},
		prompts: map[string][]string{"707-320": {"707-320"}, "A300B4": {"A300B4"}, "DC-8": {"DC-8"}},
	}
	aircraft.check(t, m, root, tests["fgvc_aircraft"])
}

func TestCoOpWithoutItsParts(t *testing.T) {
	root := t.TempDir()
	tree(t, root, map[string][]byte{"eurosat/split_zhou_EuroSAT.json": split(t, map[string][][3]any{"test": {{"a.jpg", 0, "River"}}})})
	pictures(t, root, "caltech-101/101_ObjectCategories/Faces/image_0001.jpg") // the images without the split file
	tree(t, root, map[string][]byte{"fgvc_aircraft/images_variant_test.txt": []byte("1 DC-8\n")})
	tests, missing := open(t, "coop11", root, Options{})
	if len(tests) != 0 || len(missing) != 11 {
		t.Fatalf("%d tests, %d missing", len(tests), len(missing))
	}
	for _, m := range missing {
		want, ok := map[string]string{"eurosat": "eurosat/2750 is missing", "caltech101": "caltech-101/split_zhou_Caltech101.json", "fgvc_aircraft": "fgvc_aircraft/variants.txt is missing"}[m.Set.Name]
		if ok && !strings.Contains(m.String(), want) {
			t.Errorf("%s: %s", m.Set.Name, m)
		}
	}
	s, err := Load("coop11")
	if err != nil {
		t.Fatal(err)
	}
	for name, files := range map[string]map[string][]byte{
		"a variant that isn't known": {"fgvc_aircraft/variants.txt": []byte("A300B4\n"), "fgvc_aircraft/images/1.jpg": picture(t, 1)},
		"a path out of the folder":   {"fgvc_aircraft/variants.txt": []byte("DC-8\n"), "fgvc_aircraft/images_variant_test.txt": []byte("../1 DC-8\n"), "fgvc_aircraft/images/1.jpg": picture(t, 1)},
		"no images":                  {"fgvc_aircraft/variants.txt": []byte("DC-8\n"), "fgvc_aircraft/images_variant_test.txt": []byte("\n"), "fgvc_aircraft/images/1.jpg": picture(t, 1)},
		"a broken split file":        {"eurosat/split_zhou_EuroSAT.json": []byte("{"), "eurosat/2750/a.jpg": picture(t, 1)},
	} {
		dir := t.TempDir()
		tree(t, dir, map[string][]byte{"fgvc_aircraft/images_variant_test.txt": []byte("1 DC-8\n")})
		tree(t, dir, files)
		if _, err := s.Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "suite coop11: ") {
			t.Errorf("%s: %v", name, err)
		}
		var failed []error
		if _, err := s.Open(dir, Options{Failed: func(err error) { failed = append(failed, err) }}); err != nil || len(failed) != 1 || !strings.Contains(failed[0].Error(), "suite coop11: ") {
			t.Errorf("%s: %v, %v", name, failed, err)
		}
	}
}
