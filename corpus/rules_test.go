package corpus

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"arf/config"
)

// packageDir is the installed @iconify/json; tests that need it are skipped without it.
func packageDir(t *testing.T) string {
	t.Helper()
	dir, err := FindPackage()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var licence = regexp.MustCompile(`"spdx":\s*"([^"]+)"`)

// loadRules itself refuses a set in two families; here, that no set slips through the roles.
func TestEverySetHasOneRole(t *testing.T) {
	r, err := loadRules()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for set, f := range r.families {
		seen[set] = f.Name
	}
	for why, sets := range r.Excluded {
		for _, set := range sets {
			if seen[set] != "" {
				t.Errorf("%s is in %q and excluded for %q", set, seen[set], why)
			}
			seen[set] = why
		}
	}
	for _, list := range []map[string][]string{r.Suffixes, r.Prefixes, {"heldout": r.Heldout, "joined": r.Joined}} {
		for key, sets := range list {
			if key == "heldout" || key == "joined" {
				for _, set := range sets {
					if r.families[set] == nil {
						t.Errorf("%s lists %s, which has no role", key, set)
					}
				}
			} else if r.families[key] == nil {
				t.Errorf("affixes of %s, which has no role", key)
			}
		}
	}
	files, err := filepath.Glob(filepath.Join(packageDir(t), "json", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no sets: %v", err)
	}
	for _, name := range files {
		set := strings.TrimSuffix(filepath.Base(name), ".json")
		if seen[set] == "" {
			t.Errorf("%s is neither in a family nor excluded", set)
		}
		delete(seen, set)
		f := r.families[set]
		if f == nil {
			continue
		}
		file, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		// The licence stands within the first bytes, which no icon's body precedes.
		head := make([]byte, 4096)
		n, err := file.Read(head)
		file.Close()
		if err != nil {
			t.Fatal(err)
		}
		spdx := licence.FindSubmatch(head[:n])
		if spdx == nil {
			t.Fatalf("%s: no licence in %s", name, head[:n])
		}
		if !slices.Contains(r.Licences, string(spdx[1])) {
			t.Errorf("%s has the licence %s and the role %s", set, string(spdx[1]), f.Role)
		}
	}
	for set := range seen {
		t.Errorf("%s isn't in the package", set)
	}
}

// Every style must be in both corpora, and every family in one role only.
func TestFamiliesAreHeldOutWhole(t *testing.T) {
	r, err := loadRules()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]Role{}
	for _, f := range r.Families {
		if role, ok := names[f.Name]; ok {
			t.Errorf("family %s is listed as %s and as %s", f.Name, role, f.Role)
		}
		names[f.Name] = f.Role
	}
	for _, forks := range [][]string{
		{"fa", "fa-solid", "fa6-solid", "fa7-solid", "la"}, {"ion", "famicons"}, {"ic", "mdi", "material-symbols", "zmdi"},
		{"noto", "noto-v1"}, {"lucide", "feather", "keyline-icons"}, {"heroicons", "heroicons-solid", "sidekickicons"},
		{"icon-park", "icon-park-solid"}, {"fluent", "fluent-color"}, {"fluent-emoji", "fluent-emoji-flat"},
		{"solar", "reicon"}, {"glyphs", "glyphs-poly"}, {"boxicons", "bxs"},
	} {
		for _, set := range forks {
			if r.families[set] == nil || r.families[set] != r.families[forks[0]] {
				t.Errorf("%s and %s are one design but not one family", set, forks[0])
			}
		}
	}
}

func TestClasses(t *testing.T) {
	r, err := loadRules()
	if err != nil {
		t.Fatal(err)
	}
	if r.finetune < 100 || len(r.classes)-r.finetune < 200 {
		t.Errorf("%d finetune and %d zero-shot classes, want at least 100 and 200", r.finetune, len(r.classes)-r.finetune)
	}
	for _, d := range r.labels.Drop {
		if d.Why == "" {
			t.Errorf("drop rule %+v gives no reason", d)
		}
		if d.Name != "" {
			if _, ok := r.class[join(d.Name)]; !ok {
				t.Errorf("drop rule %+v: no class is called that", d)
			}
		}
		for _, set := range append(slices.Clone(d.Sets), d.Set) {
			if f := r.families[set]; set != "" && (f == nil || f.Role == Pretrain || f.Role == Pool) {
				t.Errorf("drop rule %+v: %s gives no class its images", d, set)
			}
		}
	}
}

func TestDropRules(t *testing.T) {
	r, err := loadRules()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		ic   icon
		want bool
	}{
		{icon{Set: "twemoji", Icon: "mouse", Name: "mouse", Style: StyleEmoji}, true},
		{icon{Set: "ph", Icon: "mouse-fill", Name: "mouse", Style: StyleSolid}, false},
		{icon{Set: "icon-park", Icon: "anchor", Name: "anchor", Style: StyleColor}, true},
		{icon{Set: "ph", Icon: "anchor", Name: "anchor", Style: StyleLine}, false},
		{icon{Set: "mingcute", Icon: "compass-2-fill", Name: "compass", Style: StyleSolid}, true},
		{icon{Set: "mingcute", Icon: "compass-fill", Name: "compass", Style: StyleSolid}, false},
	} {
		if got := r.ruledOut(&c.ic); got != c.want {
			t.Errorf("ruledOut(%s) = %t, want %t", c.ic.key(), got, c.want)
		}
	}
}

func TestUnknownRuleKeysAreErrors(t *testing.T) {
	var r rules
	if err := decodeYAML([]byte("licenses: [MIT]\n"), &r); err == nil {
		t.Error("a misspelt key was accepted")
	}
}

// While choices are made, nothing of the families of the validation shift may be a pair.
func TestValidationShiftIsLeftOutOfItsPool(t *testing.T) {
	r, err := loadRules()
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, f := range r.Families {
		if f.ValidationShift {
			if f.Role != Pool {
				t.Errorf("family %s of the validation shift is of role %s", f.Name, f.Role)
			}
			for _, set := range f.Sets {
				want = append(want, "set="+set)
			}
		}
	}
	cfg, err := config.Load("../configs/icons-validation.yaml")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	if got := slices.Sorted(slices.Values(cfg.Anchors.Pairs.Exclude)); !slices.Equal(got, want) {
		t.Errorf("configs/icons-validation.yaml leaves out %q, want %q", got, want)
	}
}
