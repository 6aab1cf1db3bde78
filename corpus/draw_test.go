package corpus

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A stand-in for the drawing script: answers grey pictures, dies of "die", hangs on "hang", fails on "bad".
const fakeScript = `
const size = Number(process.argv[3]);
require('readline').createInterface({input: process.stdin}).on('line', (line) => {
  const {id, svg} = JSON.parse(line);
  if (svg === 'die') process.abort();
  if (svg === 'hang') for (;;);
  const rgb = svg === 'bad' ? Buffer.alloc(0) : Buffer.alloc(size * size * 3, svg.length);
  const head = Buffer.alloc(8);
  head.writeUInt32LE(id, 0);
  head.writeUInt32LE(rgb.length, 4);
  require('fs').writeSync(1, Buffer.concat([head, rgb]));
});`

func needNode(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		t.Fatal("node is not installed; make setup installs it")
	}
}

func TestDrawerSurvivesItsIcons(t *testing.T) {
	needNode(t)
	svgs := []string{"die", "a", "bb", "die", "die", "ccc", "bad", "hang", "dddd", "die"}
	d := &drawer{modules: ".", size: 4, script: []byte(fakeScript), patience: 8 * time.Second}
	defer d.close()
	var got []string
	err := d.draw(t.Context(), len(svgs), func(i int) string { return svgs[i] }, func(i int, rgb []byte, failed string) error {
		switch {
		case i != len(got):
			t.Errorf("answer %d comes as number %d", i, len(got))
		case failed != "":
			got = append(got, "failed")
		default:
			got = append(got, strings.Repeat("x", int(rgb[0])))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"failed", "x", "xx", "failed", "failed", "xxx", "failed", "failed", "xxxx", "failed"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestDrawerGivesUpWhenNothingWorks(t *testing.T) {
	needNode(t)
	d := &drawer{modules: ".", size: 4, script: []byte("process.exit(1)")}
	defer d.close()
	err := d.draw(t.Context(), 1000, func(int) string { return "a" }, func(int, []byte, string) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "dies on every icon") {
		t.Errorf("error = %v", err)
	}
}

func TestDrawerNamesAMissingPackage(t *testing.T) {
	needNode(t)
	d := &drawer{modules: t.TempDir(), size: 4}
	defer d.close()
	err := d.draw(t.Context(), 1, func(int) string { return "<svg/>" }, func(int, []byte, string) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "npm ci") {
		t.Errorf("error = %v", err)
	}
}

func TestDrawerStopsWhenCancelled(t *testing.T) {
	needNode(t)
	ctx, cancel := context.WithCancel(t.Context())
	d := &drawer{modules: ".", size: 4, script: []byte(fakeScript)}
	defer d.close()
	start := time.Now()
	err := d.draw(ctx, 3, func(i int) string { return []string{"a", "hang", "b"}[i] }, func(int, []byte, string) error {
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v", err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("took %v", d)
	}
}

// Icons of the package that abort resvg, between ones that don't.
func TestRealIconsThatAbortTheRasterizer(t *testing.T) {
	dir := packageDir(t)
	needNode(t)
	r, err := loadRules()
	if err != nil {
		t.Fatal(err)
	}
	r.keepSets([]string{"noto-v1"})
	icons, err := (&iconifyPackage{dir: dir}).readSet("noto-v1", r, nil, Dropped{})
	if err != nil {
		t.Fatal(err)
	}
	some := slices.DeleteFunc(icons, func(ic *icon) bool {
		return !slices.Contains([]string{"alien", "ambulance", "ant", "bullet-train", "tiger"}, ic.Icon)
	})
	d := &drawer{modules: filepath.Join(dir, "..", ".."), size: Size}
	defer d.close()
	failed := map[string]bool{}
	err = d.draw(t.Context(), len(some), func(i int) string { return some[i].SVG }, func(i int, rgb []byte, why string) error {
		failed[some[i].Icon] = why != ""
		if why == "" && measure(rgb).blank() {
			t.Errorf("%s is blank", some[i].Icon)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"alien": false, "ambulance": true, "ant": false, "bullet-train": true, "tiger": false} {
		if got, ok := failed[name]; !ok || got != want {
			t.Errorf("%s: failed %t (answered %t), want %t", name, got, ok, want)
		}
	}
}
