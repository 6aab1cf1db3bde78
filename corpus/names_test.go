package corpus

import (
	"slices"
	"strings"
	"testing"
)

func TestSplitName(t *testing.T) {
	iconmind := []string{"duotone-regular", "outline-regular", "duotone-thin"}
	for _, c := range []struct {
		name               string
		suffixes, prefixes []string
		want               string
	}{
		{name: "shopping-cart", want: "shopping cart"},
		{name: "shopping-cart-outline", want: "shopping cart"},
		{name: "camera-2-filled", want: "camera"},
		{name: "camera2", want: "camera"},
		{name: "arrow-sort-20-filled", suffixes: []string{"20-filled"}, want: "arrow sort"},
		{name: "table-rows-split-duotone-regular", suffixes: iconmind, want: "table rows split"},
		{name: "baseline-snowmobile", prefixes: []string{"baseline", "twotone"}, want: "snowmobile"},
		{name: "traffic-light", want: "traffic light"},
		{name: "sun-light", suffixes: []string{"light"}, want: "sun"},
		{name: "bold", suffixes: []string{"bold"}, want: "bold"},
		{name: "outline", want: "outline"},
		{name: "food-drink-desert-cupcake", prefixes: []string{"food-drink"}, want: "desert cupcake"},
		{name: "user_circle", want: "user circle"},
		{name: "24-hours", want: "24 hours"},
		{name: "mp3", want: "mp3"},
	} {
		if got := strings.Join(splitName(c.name, c.suffixes, c.prefixes), " "); got != c.want {
			t.Errorf("splitName(%q) = %q, want %q", c.name, got, c.want)
		}
	}
}

func FuzzSplitName(f *testing.F) {
	f.Add("camera-2-filled", "filled", "baseline")
	f.Add("--", "", "")
	f.Fuzz(func(t *testing.T, name, suffix, prefix string) {
		words := splitName(name, []string{suffix}, []string{prefix})
		if slices.Contains(words, "") {
			t.Errorf("splitName(%q) has an empty word: %q", name, words)
		}
		if hasLetters(name) && !hasLetters(strings.Join(words, "")) {
			t.Errorf("splitName(%q) lost the name: %q", name, words)
		}
	})
}

func TestPlainEnough(t *testing.T) {
	for name, want := range map[string]bool{
		"camera": true, "tv": true, "usb": true, "arrow up": true, "4k": false, "x": false, "h 264": false,
		"bpm": false, "123": false, "a b c d e f g h camera": false,
	} {
		if got := plainEnough(strings.Fields(name)); got != want {
			t.Errorf("plainEnough(%q) = %t, want %t", name, got, want)
		}
	}
}

func TestBrands(t *testing.T) {
	r, err := loadRules()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"facebook": true, "logo github": true, "brand foo": true, "new twitter": true, "facebook circle": true, "apple logo": true,
		"camera": false, "apple": false, "swift": false, "circle": false, "messages": false, "face": false,
	} {
		if got := r.isBrand(strings.Fields(name)); got != want {
			t.Errorf("isBrand(%q) = %t, want %t", name, got, want)
		}
	}
	for _, c := range r.classes {
		for _, name := range append([]string{c.Name}, c.Synonyms...) {
			if r.isBrand(strings.Fields(name)) {
				t.Errorf("class %q: %q is in the list of brands", c.Name, name)
			}
		}
	}
}

func TestSkinTone(t *testing.T) {
	for name, want := range map[string]bool{
		"woman-light-skin-tone": true, "man-red-hair": true, "ninja-medium-dark": true, "person-light": true,
		"vertical-traffic-light": false, "police-car-light": false, "light-bulb": false, "dark-sunglasses": false,
	} {
		if got := isSkinTone(name); got != want {
			t.Errorf("isSkinTone(%q) = %t, want %t", name, got, want)
		}
	}
}

func TestSplitJoinedNames(t *testing.T) {
	counts := wordCounts{"file": 50, "cabinet": 5, "red": 20, "heart": 40, "he": 2, "art": 9, "speaker": 9, "of": 30, "moon": 9}
	for name, want := range map[string]string{
		"filecabinet": "file cabinet", "redheart": "red heart", "heart": "heart", "qwertz": "qwertz", "": "",
	} {
		if got := strings.Join(counts.split(name), " "); got != want {
			t.Errorf("split(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestCleanCategory(t *testing.T) {
	for name, want := range map[string]string{
		"FoodDrink": "food drink", "Animals & Nature": "animals nature", "AV": "av", "Interface": "", "": "",
	} {
		if got := cleanCategory(name); got != want {
			t.Errorf("cleanCategory(%q) = %q, want %q", name, got, want)
		}
	}
}
