package dataset

import (
	"slices"
	"testing"
)

func TestTextsAsClasses(t *testing.T) {
	root := tree(t, map[string]string{
		"list.csv": "image,text\na.png,zebra\nb.png,apple\nc.png,zebra\nd.png,\n", "a.png": "a", "b.png": "b", "c.png": "c", "d.png": "d",
	})
	d := TextsAsClasses(open(t, Source{Path: root + "/list.csv"}))
	if got := Classes(d); !slices.Equal(got, []string{"apple", "zebra"}) {
		t.Fatalf("classes %q", got)
	}
	for i, want := range []struct {
		class string
		label int
	}{{"zebra", 1}, {"apple", 0}, {"zebra", 1}, {"", -1}} {
		s, err := d.Sample(i)
		if err != nil || s.Class != want.class || s.Label != want.label {
			t.Errorf("sample %d: class %q, label %d (%v), want %v", i, s.Class, s.Label, err, want)
		}
		described, err := Describe(d, i)
		if err != nil || described.Class != want.class || len(described.Image) > 0 {
			t.Errorf("description %d: %+v (%v)", i, described, err)
		}
	}
}
