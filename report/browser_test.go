package report

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// chromium is started once, by the first test that opens a page; each test has
// a tab of its own.
var chromium struct {
	once sync.Once
	ctx  context.Context
	stop func()
	err  error
}

func startChromium() {
	path, err := exec.LookPath("chromium")
	if err != nil {
		chromium.err = fmt.Errorf("%w: install it (apt-get install chromium), or set ARF_NO_BROWSER=1 to go without", err)
		return
	}
	profile, err := os.MkdirTemp("", "arf-chromium-")
	if err != nil {
		chromium.err = err
		return
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.UserDataDir(profile))
	ctx, cancelAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(ctx)
	chromium.stop = func() {
		chromedp.Cancel(ctx) // waits for the process, before its folder goes
		cancel()
		cancelAllocator()
		os.RemoveAll(profile)
	}
	chromium.ctx, chromium.err = ctx, chromedp.Do(ctx) // no action: starts it
}

func TestMain(m *testing.M) {
	code := m.Run()
	if chromium.stop != nil {
		chromium.stop()
	}
	os.Exit(code)
}

// browser is one tab. It collects every message that a user would find in the
// console.
type browser struct {
	ctx context.Context

	mu       sync.Mutex
	messages []string
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	if os.Getenv("ARF_NO_BROWSER") == "1" {
		t.Skip("ARF_NO_BROWSER=1")
	}
	chromium.once.Do(startChromium)
	if chromium.err != nil {
		t.Fatal(chromium.err)
	}
	ctx, cancel := chromedp.NewContext(chromium.ctx)
	stop := time.AfterFunc(2*time.Minute, cancel)
	t.Cleanup(func() {
		stop.Stop()
		cancel()
	})
	b := &browser{ctx: ctx}
	if err := chromedp.Listen(ctx, b.hear); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, log.Enable, cdp.Empty{}); err != nil {
		t.Fatal(err)
	}
	return b
}

// demo is a page with every part, made by the first test that wants it.
var demo struct {
	once sync.Once
	page string
}

func demoFile(t *testing.T) string {
	t.Helper()
	demo.once.Do(func() {
		f := smallFixture(3)
		f.images = 202
		r := load(t, f.write(t))
		r.Images = drawnImages{}
		var page strings.Builder
		if err := r.writeHTML(&page); err != nil {
			t.Fatal(err)
		}
		demo.page = page.String()
	})
	path := filepath.Join(t.TempDir(), "report.html")
	writeText(t, path, demo.page)
	return path
}

func (b *browser) hear(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		b.messages = append(b.messages, fmt.Sprintf("console.%s: %v", e.Type, e.Args))
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += " " + e.ExceptionDetails.Exception.Description
		}
		b.messages = append(b.messages, text)
	case *log.EventEntryAdded:
		b.messages = append(b.messages, e.Entry.Text)
	}
}

func (b *browser) do(t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

func (b *browser) open(t *testing.T, file string, width int64, scheme string) {
	t.Helper()
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, media); err != nil {
		t.Fatal(err)
	}
	b.do(t, chromedp.EmulateViewport(width, 900), chromedp.Navigate("file://"+file))
}

// eval runs an expression in the page.
func eval[T any](t *testing.T, b *browser, expression string, options ...chromedp.EvaluateOption) T {
	t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression, options...))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return v
}

func (b *browser) checkConsole(t *testing.T) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.messages) > 0 {
		t.Errorf("console:\n%s", strings.Join(b.messages, "\n"))
	}
}

func htmlFile(t *testing.T, r *Run) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.html")
	if err := r.WriteHTML(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestPage opens the page as a reader does: nothing in the console, every
// section visible, every control works, on a wide and a narrow screen.
func TestPage(t *testing.T) {
	b := newBrowser(t)
	file := demoFile(t)
	for _, view := range []struct {
		width  int64
		scheme string
	}{{1400, "light"}, {420, "dark"}} {
		b.open(t, file, view.width, view.scheme)
		for _, id := range []string{"verdict", "results", "robustness", "drift", "classes", "training", "anchors", "run"} {
			size := eval[[]float64](t, b, fmt.Sprintf(`(() => { const e = document.getElementById(%q); const r = e.getBoundingClientRect();
				return [r.width, r.height, e.checkVisibility({opacityProperty: true, visibilityProperty: true}) ? 1 : 0] })()`, id))
			if size[0] < 300 || size[1] < 100 || size[2] != 1 {
				t.Errorf("%d px: section %s is %v", view.width, id, size)
			}
		}
		if extra := eval[int](t, b, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); extra > 0 {
			t.Errorf("%d px: the page is %d px too wide", view.width, extra)
		}
		if dark := eval[string](t, b, `getComputedStyle(document.body).backgroundColor`) == "rgb(19, 21, 24)"; dark != (view.scheme == "dark") {
			t.Errorf("%s: dark is %v", view.scheme, dark)
		}
		if text := eval[[]string](t, b, `[...document.querySelectorAll('svg text')].filter(e => e.getBoundingClientRect().height < 9).map(e => e.textContent)`); len(text) > 0 {
			t.Errorf("%d px: text in plots is too small to read: %q", view.width, text)
		}
	}
	b.checkConsole(t)
}

func TestGalleryPages(t *testing.T) {
	b := newBrowser(t)
	b.open(t, demoFile(t), 1400, "light")
	status := func() string { return eval[string](t, b, `document.getElementById('page-status').textContent`) }
	first := func() string { return eval[string](t, b, `document.querySelector('.card h3')?.textContent ?? ''`) }
	if s := status(); s != "1–8 of 60" {
		t.Fatalf("status %q", s)
	}
	pictures := eval[[]int](t, b, `Promise.all([...document.querySelectorAll('.card img')].map(i => i.decode().then(() => i.naturalWidth, () => 0)))`, chromedp.EvalAwaitPromise)
	if want := 8 * 11; len(pictures) != want {
		t.Errorf("%d pictures, want %d", len(pictures), want)
	}
	for _, w := range pictures {
		if w != 64 {
			t.Fatalf("a picture is %d px wide, want 64", w)
		}
	}
	seen := map[string]bool{first(): true}
	for range 7 {
		b.do(t, chromedp.Click(chromedp.CSS("#next")))
		if c := first(); seen[c] {
			t.Errorf("%s is on two pages", c)
		} else {
			seen[c] = true
		}
	}
	if s := status(); s != "57–60 of 60" {
		t.Errorf("last page: %q", s)
	}
	if !eval[bool](t, b, `document.getElementById('next').disabled`) {
		t.Error("there is a page after the last one")
	}
	b.do(t, chromedp.Click(chromedp.CSS("#prev")))
	if s := status(); s != "49–56 of 60" {
		t.Errorf("one page back: %q", s)
	}
	b.do(t, chromedp.SendKeys(chromedp.CSS("#gallery-filter"), "CAM"))
	if s, c := status(), first(); s != "1–1 of 1" || c != "camera" {
		t.Errorf("filter: %q, %q", s, c)
	}
	b.do(t, chromedp.SendKeys(chromedp.CSS("#gallery-filter"), "xyz"))
	if s := status(); s != "no such class" {
		t.Errorf("filter without hits: %q", s)
	}
	b.checkConsole(t)
}

// TestLargeGallery: thousands of images and pairs leave a page as quick as few.
func TestLargeGallery(t *testing.T) {
	b := newBrowser(t)
	f := smallFixture(1)
	f.images = 3000
	r := load(t, f.write(t))
	r.GalleryImages = f.images
	b.open(t, htmlFile(t, r), 1400, "light")
	eval[int](t, b, `(() => { for (let i = 0; i < 100; i++) document.getElementById('next').click(); return 0 })()`)
	if nodes := eval[int](t, b, `document.querySelectorAll('.card').length`); nodes != 8 {
		t.Errorf("%d cards exist, want the 8 of one page", nodes)
	}
	if s := eval[string](t, b, `document.getElementById('page-status').textContent`); s != "801–808 of 3000" {
		t.Errorf("status %q", s)
	}
	b.checkConsole(t)
}

func TestControls(t *testing.T) {
	b := newBrowser(t)
	b.open(t, demoFile(t), 1400, "light")
	visible := func(selector string) int {
		return eval[int](t, b, fmt.Sprintf(`[...document.querySelectorAll(%q)].filter(e => e.checkVisibility()).length`, selector))
	}
	// metrics: one table at a time
	if n := visible(".metric"); n != 1 {
		t.Errorf("%d results tables", n)
	}
	b.do(t, chromedp.Click(chromedp.CSS("[data-metric=ece]")))
	if visible("#metric-ece") != 1 || visible("#metric-acc1") != 0 {
		t.Error("the metric doesn't change")
	}
	// classes: one block at a time
	choose := `(() => { for (const [id, v] of [['class-method', 'flyp'], ['class-suite', 'zero-shot']]) { const s = document.getElementById(id); s.value = v; s.dispatchEvent(new Event('change', {bubbles: true})) }
		return [...document.querySelectorAll('div.classes')].filter(e => e.checkVisibility()).map(e => e.dataset.method + ' on ' + e.dataset.suite).join() })()`
	if got := eval[string](t, b, choose); got != "flyp on zero-shot" {
		t.Errorf("classes of %q", got)
	}
	// tooltips: by pointer on a mark, by keyboard, and on the training curves
	tipAt := func(selector string, x float64) string {
		return eval[string](t, b, fmt.Sprintf(`(() => { const e = document.querySelector(%q); e.scrollIntoView({block: 'center', behavior: 'instant'}); const r = e.getBoundingClientRect();
			e.dispatchEvent(new PointerEvent('pointermove', {bubbles: true, clientX: r.left + r.width * %v, clientY: r.top + r.height / 2}));
			const tip = document.getElementById('tip'); return tip.hidden ? '' : tip.innerText })()`, selector, x))
	}
	if text := tipAt("#scatter-shift .mark.end.m5", .5); !strings.Contains(text, "arf (finetuned, α = 1)") || !strings.Contains(text, "Average shift") {
		t.Errorf("tooltip of a mark: %q", text)
	}
	if text := tipAt("#scatter-shift .mark.m5:not(.end)", .5); !strings.Contains(text, "WiSE-FT α = 0.") {
		t.Errorf("tooltip on the curve: %q", text)
	}
	if text := tipAt("#training-0 svg", .5); !strings.Contains(text, "step") || !strings.Contains(text, "flyp: ") || !strings.Contains(text, "arf: ") {
		t.Errorf("tooltip of the training curves: %q", text)
	}
	// colours by hand
	b.do(t, chromedp.Click(chromedp.CSS("#theme")), chromedp.Click(chromedp.CSS("#theme")))
	if c := eval[string](t, b, `getComputedStyle(document.body).backgroundColor`); c != "rgb(19, 21, 24)" {
		t.Errorf("dark is %s", c)
	}
	b.checkConsole(t)
}

// TestAccessible checks what a screen reader needs.
func TestAccessible(t *testing.T) {
	b := newBrowser(t)
	file := demoFile(t)
	b.open(t, file, 1400, "light")
	for what, expression := range map[string]string{
		"pictures without alt text":       `[...document.images].filter(i => !i.alt)`,
		"plots without a description":     `[...document.querySelectorAll('figure svg')].filter(s => (s.getAttribute('aria-label') ?? '').length < 20)`,
		"header cells without scope":      `[...document.querySelectorAll('th')].filter(h => !h.scope)`,
		"rows without a header":           `[...document.querySelectorAll('tbody tr')].filter(r => !r.querySelector('th') && !r.querySelector('.empty'))`,
		"buttons without a name":          `[...document.querySelectorAll('button')].filter(x => !x.textContent.trim() && !x.ariaLabel)`,
		"fields without a label":          `[...document.querySelectorAll('input, select')].filter(x => !x.labels.length)`,
		"ids used twice":                  `[...document.querySelectorAll('[id]')].filter(e => document.querySelectorAll('#' + CSS.escape(e.id)).length > 1)`,
		"links to nowhere":                `[...document.querySelectorAll('a')].filter(a => !document.querySelector(a.getAttribute('href')))`,
		"sections whose title is no id":   `[...document.querySelectorAll('[aria-labelledby]')].filter(e => !document.getElementById(e.getAttribute('aria-labelledby')))`,
		"headings that skip a level":      `[...document.querySelectorAll('h1, h2, h3, h4')].filter((h, i, all) => i > 0 && +h.tagName[1] > +all[i - 1].tagName[1] + 1)`,
		"scrolling areas beyond the keys": `[...document.querySelectorAll('.scroll')].filter(e => e.tabIndex !== 0)`,
	} {
		if bad := eval[[]string](t, b, expression+`.map(e => e.outerHTML.slice(0, 200))`); len(bad) > 0 {
			t.Errorf("%s: %q", what, bad)
		}
	}
	// text against its ground: at least 4.5 to 1 (WCAG 2.1 AA), in both schemes
	for _, scheme := range []string{"light", "dark"} {
		b.open(t, file, 1400, scheme)
		if bad := eval[[]string](t, b, lowContrast); len(bad) > 0 {
			t.Errorf("%s: low contrast: %q", scheme, bad)
		}
	}
	b.checkConsole(t)
}

// lowContrast lists texts whose contrast with the ground behind is below 4.5.
const lowContrast = `(() => {
	const parse = (c) => { const m = c.match(/[\d.]+/g).map(Number); return m.length < 4 ? [...m, 1] : m };
	const luminance = ([r, g, b]) => { const f = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b) };
	const ground = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] > 0.5) return c } return [255, 255, 255] };
	const bad = new Set();
	for (const e of document.querySelectorAll('body *')) {
		if (!e.checkVisibility() || e.closest('button:disabled, .skip, .score') || ![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
		const style = getComputedStyle(e);
		const a = luminance(parse(e instanceof SVGElement ? style.fill : style.color)), b = luminance(ground(e));
		const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		if (ratio < 4.5) bad.add(e.tagName + '.' + (e.getAttribute('class') ?? '') + ' ' + ratio.toFixed(2) + ' ' + e.textContent.slice(0, 30));
	}
	return [...bad];
})()`

// hostile texts try to become markup or code.
var hostile = []string{
	`</script><script>window.pwned = 1</script>`,
	`"><img src=x onerror="window.pwned = 1">`,
	`' onmouseover='window.pwned = 1' x='`,
	`<!--<script>`, `{{.Run}}`, "line\u2028separator", "\x00\x1b[31mred", "<svg/onload=pwned=1>", "🦄 \u202egnirts",
}

func TestHostileTexts(t *testing.T) {
	f := smallFixture(1)
	f.images = 60
	f.classes = func(i int) string { return fmt.Sprintf("%s %d", hostile[i%len(hostile)], i) }
	dir := f.write(t)
	writeText(t, filepath.Join(dir, "config.yaml"), strings.Join(hostile, "\n"))
	if err := WriteInfo(dir, Info{Command: hostile[0], Device: hostile[1], Model: ModelInfo{Name: hostile[2], SHA256: hostile[3]}, Data: []DataInfo{{Role: hostile[0], Path: hostile[1]}}}); err != nil {
		t.Fatal(err)
	}
	evaluationFile(t, dir, "<img src=x onerror=pwned=1>", 0, "<b onclick=pwned=1>", "shift", 10, 0.5)
	r := load(t, dir)
	r.Images = drawnImages{}
	file := htmlFile(t, r)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"<script>window", "<img src=x", "<b onclick", "<svg/onload"} {
		if strings.Contains(string(data), text) {
			t.Errorf("the page holds %s", text)
		}
	}
	var table strings.Builder
	if err := r.Table(&table); err != nil || strings.Contains(table.String(), "\x1b") {
		t.Errorf("a control character in the table, or %v", err)
	}

	b := newBrowser(t)
	b.open(t, file, 1400, "light")
	for range 7 {
		b.do(t, chromedp.Click(chromedp.CSS("#next")))
	}
	if eval[bool](t, b, `'pwned' in window`) {
		t.Error("hostile code ran")
	}
	if n := eval[int](t, b, `[...document.querySelectorAll('*')].filter(e => [...e.attributes].some(a => a.name.startsWith('on'))).length`); n > 0 {
		t.Errorf("%d elements have event handlers", n)
	}
	if n := eval[int](t, b, `document.querySelectorAll('script:not([type="application/json"])').length`); n != 1 {
		t.Errorf("%d scripts, want 1", n)
	}
	b.checkConsole(t)
}

// TestNothingOutside: the page names no address, and a script that isn't its
// own doesn't run.
func TestNothingOutside(t *testing.T) {
	file := demoFile(t)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"http:", "https:", "src=\"//", "@import", "url("} {
		if strings.Contains(string(pictures.ReplaceAll(data, nil)), text) {
			t.Errorf("the page holds %s", text)
		}
	}
	b := newBrowser(t)
	b.open(t, file, 1400, "light")
	eval[any](t, b, `document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.pwned = 1'}))`)
	if eval[bool](t, b, `'pwned' in window`) {
		t.Error("the page runs scripts that aren't its own")
	}
}

func TestPrint(t *testing.T) {
	b := newBrowser(t)
	b.open(t, demoFile(t), 1400, "dark")
	pdf, err := chromedp.Run(b.ctx, chromedp.PrintToPDF())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(pdf[:5]), "%PDF-") || len(pdf) < 50_000 {
		t.Errorf("the print is %d bytes", len(pdf))
	}
	if dir := os.Getenv("ARF_SCREENSHOTS"); dir != "" {
		writeText(t, filepath.Join(dir, "print.pdf"), string(pdf))
	}
	b.checkConsole(t)
}

// TestScreenshots writes pictures to look at into $ARF_SCREENSHOTS.
func TestScreenshots(t *testing.T) {
	dir := os.Getenv("ARF_SCREENSHOTS")
	if dir == "" {
		t.Skip("ARF_SCREENSHOTS is not set")
	}
	r := load(t, fullFixture(3).write(t))
	r.Images = drawnImages{}
	file := htmlFile(t, r)
	b := newBrowser(t)
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{1400, 420} {
			b.open(t, file, width, scheme)
			shot, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%d.png", scheme, width)), shot, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.checkConsole(t)
}
