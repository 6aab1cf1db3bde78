package report

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// pairsSummary is a pairs.json as arf retrieve writes it.
const pairsSummary = `{
  "hash": "x", "options": {"k": 10, "min_similarity": 0.2, "min_clip_score": 0.1, "duplicate_cosine": 0.97, "guard": {"cosine": 0.98, "print": 0}},
  "by": "mix of image 1 and class-text 0.5",
  "pool": 4000, "eligible": 3950, "queries": 202, "queries_silent": 1, "queries_without": 2, "queries_short": 3, "pairs": 2020, "distinct_pairs": 1500,
  "dropped": {"leak_cosine": 30, "no_text": 12, "duplicate_pixels": 8},
  "leaks": {"suite/test": {"leak_cosine": 20}, "finetune": {"leak_cosine": 10}},
  "leak_examples": [{"pair_key": "mdi--1", "guard": "suite/test", "guard_key": "cat/7.png", "reason": "leak_cosine", "similarity": 0.991}],
  "dropped_examples": [
    {"pair_key": "mdi--2", "text": "", "reason": "no_text", "similarity": 0},
    {"pair_key": "mdi--3", "text": "a <b>bold</b> cat", "reason": "duplicate_pixels", "kept": "mdi--4", "similarity": 1}],
  "mean_score": 0.8, "hubness_skewness": 1.5
}`

// anchorsRun is a run folder that was captioned and retrieved, and no more.
func anchorsRun(t *testing.T, images int) string {
	t.Helper()
	f := smallFixture(1)
	f.images = images
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "anchors"), 0o755); err != nil {
		t.Fatal(err)
	}
	f.writeAnchors(t, filepath.Join(dir, "anchors"))
	writeText(t, filepath.Join(dir, "anchors", "pairs.json"), pairsSummary)
	return dir
}

func TestAnchorsPage(t *testing.T) {
	dir := anchorsRun(t, 202)
	path := filepath.Join(dir, "anchors.html")
	if err := WriteAnchors(dir, path, AnchorsOptions{Images: drawnImages{}, Pictured: 8, Template: "a photo of a {}.", LeastCaption: 0.28}); err != nil {
		t.Fatal(err)
	}
	b := newBrowser(t)
	for _, view := range []struct {
		width  int64
		scheme string
	}{{1400, "light"}, {420, "dark"}} {
		b.open(t, path, view.width, view.scheme)
		if extra := eval[int](t, b, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); extra > 0 {
			t.Errorf("%d px: the page is %d px too wide", view.width, extra)
		}
		if bad := eval[[]string](t, b, lowContrast); len(bad) > 0 {
			t.Errorf("%s: low contrast: %q", view.scheme, bad)
		}
	}
	b.open(t, path, 1400, "light")
	text := func(selector string) string {
		return eval[string](t, b, fmt.Sprintf(`[...document.querySelectorAll(%q)].map(e => e.textContent).join(' | ')`, selector))
	}
	for selector, want := range map[string]string{
		"#page-status":                    "1–8 of 202",
		"#anchors .stats":                 "retrieved bymix of image 1 and class-text 0.5",
		".card:first-child .prompt":       "“a photo of a ",
		".card:first-child .captions":     "with a handle",
		".card:first-child .pairs .score": "0.93 | 0.91",
		".cards .captions small":          "left out",
		"#dropped .lead":                  "3,950 of 4,000 pairs could be retrieved. 2 finetune images found no pair. 1 had nothing to ask with, such as no caption. 3 have fewer than 10, as others have a cosine below 0.2.",
		"#dropped table:not(.examples)":   "cosine of 0.98 or more",
		"#dropped tbody td":               "suite/test 20, finetune 10",
		".examples":                       "a <b>bold</b> cat",
		".examples tbody td":              "repeats mdi--4",
		".examples tbody":                 "cat/7.png of suite/test",
	} {
		if got := text(selector); !strings.Contains(got, want) {
			t.Errorf("%s is %q, want %q", selector, got, want)
		}
	}
	images := func() int {
		return eval[int](t, b, `Promise.all([...document.querySelectorAll('.card img')].map(i => i.decode().then(() => i.naturalWidth === 64, () => false))).then(all => all.filter(x => x).length)`, chromedp.EvalAwaitPromise)
	}
	if n := images(); n != 88 {
		t.Errorf("%d pictures on the first page, want 8 images' with 10 pairs each", n)
	}
	b.do(t, chromedp.Click(chromedp.CSS("#next")))
	if n := images(); n != 0 || !strings.Contains(text(".card .pic"), "no picture") {
		t.Errorf("%d pictures on the second page, where there are none", n)
	}
	b.checkConsole(t)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, outside := range []string{"http:", "https:", "src=\"//", "url("} {
		if strings.Contains(string(pictures.ReplaceAll(data, nil)), outside) {
			t.Errorf("the page holds %s", outside)
		}
	}
}

// 100,000 pairs leave a page that opens and turns its pages as a short one does.
func TestAnchorsPageOf100000Pairs(t *testing.T) {
	dir := anchorsRun(t, 10_000)
	path := filepath.Join(dir, "anchors.html")
	if err := WriteAnchors(dir, path, AnchorsOptions{Images: drawnImages{}, Pictured: 50, LeastCaption: -1}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	b := newBrowser(t)
	b.open(t, path, 1400, "light")
	opened := eval[float64](t, b, `performance.timing.domContentLoadedEventEnd - performance.timing.navigationStart`)
	turned := eval[float64](t, b, `(() => { const t = performance.now(); for (let i = 0; i < 100; i++) document.getElementById('next').click(); return (performance.now() - t) / 100 })()`)
	t.Logf("%d MB, opened in %.0f ms, a page is turned in %.1f ms", info.Size()>>20, opened, turned)
	if cards := eval[int](t, b, `document.querySelectorAll('.card').length`); cards != 8 {
		t.Errorf("%d cards exist, want the 8 of one page", cards)
	}
	if s := eval[string](t, b, `document.getElementById('page-status').textContent`); s != "801–808 of 10000" {
		t.Errorf("status %q", s)
	}
	if turned > 100 || opened > 20_000 {
		t.Errorf("opened in %.0f ms, a page is turned in %.0f ms", opened, turned)
	}
	b.checkConsole(t)
}

func TestAnchorsPageErrors(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "anchors.html")
	if err := WriteAnchors(dir, path, AnchorsOptions{}); err == nil || !strings.Contains(err.Error(), "arf retrieve") {
		t.Errorf("an empty folder: %v", err)
	}
	dir = anchorsRun(t, 4)
	if err := WriteAnchors(dir, path, AnchorsOptions{Pictured: -1}); err != nil {
		t.Error(err)
	}
	writeText(t, filepath.Join(dir, "anchors", "pairs.json"), `{"pool": "many"}`)
	if err := WriteAnchors(dir, path, AnchorsOptions{}); err == nil || !strings.Contains(err.Error(), "pairs.json, line 1: field pool") {
		t.Errorf("a broken summary: %v", err)
	}
}
