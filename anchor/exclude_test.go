package anchor

import (
	"bytes"
	"log/slog"
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
	if s.Excluded["caption="+text] != rows || s.Excluded["image_path=no-such"] != 0 {
		t.Errorf("the exclusions name %v, want %d of the caption", s.Excluded, rows)
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

func TestAFilterThatFindsNothingIsSaid(t *testing.T) {
	w := newWorld(t)
	var log bytes.Buffer
	defer slog.SetDefault(slog.Default())
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	o := open()
	o.Exclude = []string{"caption=no-such"}
	_, s := w.retrieve(t, o)
	if n, there := s.Excluded["caption=no-such"]; !there || n != 0 || !strings.Contains(log.String(), "caption=no-such") {
		t.Errorf("%v, %s", s.Excluded, &log)
	}
	o.Exclude = []string{"license=MIT"} // of the drawn images nobody says
	_, err := Retrieve(t.Context(), filepath.Join(t.TempDir(), "p.parquet"), w.input(), o)
	if err == nil || !strings.Contains(err.Error(), "license is empty in all") || !strings.Contains(err.Error(), "caption") {
		t.Error(err)
	}
}
