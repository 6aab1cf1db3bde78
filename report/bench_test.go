package report

import (
	"path/filepath"
	"testing"
)

// BenchmarkReport reads a run of six methods, three seeds and two WiSE-FT
// curves, and writes its page.
func BenchmarkReport(b *testing.B) {
	dir := fullFixture(3).write(b)
	out := filepath.Join(b.TempDir(), "report.html")
	b.Run("Load", func(b *testing.B) {
		for b.Loop() {
			load(b, dir)
		}
	})
	r := load(b, dir)
	r.Images = drawnImages{}
	b.Run("WriteHTML", func(b *testing.B) {
		for b.Loop() {
			if err := r.WriteHTML(out); err != nil {
				b.Fatal(err)
			}
		}
	})
}
