package anchor

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestExclude(t *testing.T) {
	w := newWorld(t)
	all, before := w.retrieve(t, open())
	text, rows := all[0].Text, 0
	pool, err := w.pool.Rows()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range pool {
		if r.Caption == text {
			rows++
		}
	}
	o := open()
	o.Exclude = []string{"caption=" + text, "image_path=no-such"}
	left, s := w.retrieve(t, o)
	for _, p := range left {
		if p.Text == text {
			t.Errorf("%s is still there", p.PairKey)
		}
	}
	if got := s.Dropped[Excluded]; got != rows || s.Eligible != before.Eligible-rows {
		t.Errorf("%d pairs are excluded, %d eligible; want %d and %d", got, s.Eligible, rows, before.Eligible-rows)
	}
	for exclude, want := range map[string]string{"licence=MIT": "there are caption, class, image_path, license", "license": "column=value"} {
		o.Exclude = []string{exclude}
		if _, err := Retrieve(t.Context(), filepath.Join(t.TempDir(), "p.parquet"), w.input(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", exclude, err)
		}
	}
}
