package eval

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"arf/dataset"
	"arf/dist"
	"arf/internal/cliptest"
	"arf/internal/disttest"
)

// counted counts how often a sample is read: once to describe it, once more to
// encode it.
type counted struct {
	dataset.Dataset
	reads *atomic.Int64
}

func (c counted) Sample(i int) (dataset.Sample, error) {
	c.reads.Add(1)
	return c.Dataset.Sample(i)
}

// shareMeasures prints all numbers of retrieval and drift on the tables args[1:], in
// batches of args[0], and how many images this process has encoded for them.
func shareMeasures(ctx context.Context, g *dist.Group, args []string) error {
	batch, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	o := Options{BatchSize: batch, Workers: 2, Group: g, Log: slog.New(slog.DiscardHandler)}
	for _, table := range args[1:] {
		d, err := dataset.Open(dataset.Source{Path: table})
		if err != nil {
			return err
		}
		reads := new(atomic.Int64)
		r, err := Retrieve(ctx, cliptest.Model(disttest.TB{}, 1), Captions{Name: "c", Data: counted{d, reads}, ByKey: true}, o)
		if err != nil {
			return err
		}
		fmt.Fprintln(os.Stderr, "encoded", reads.Load()-int64(d.Len()))
		fmt.Println(printed(r))
		for _, n := range []int{0, 7} {
			r, err := Drift(ctx, cliptest.Model(disttest.TB{}, 1), cliptest.Model(disttest.TB{}, 2), d, n, o)
			if err != nil {
				return err
			}
			fmt.Println(printed(r))
		}
	}
	return nil
}

// printed has all digits, so that equal texts are equal bits.
func printed(r any) string {
	data, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// captionTable writes n pictures with one to three captions each, those of broken
// no pictures.
func captionTable(t *testing.T, n int, broken ...int) string {
	t.Helper()
	dir := t.TempDir()
	var b strings.Builder
	b.WriteString("filepath,title\n")
	for i := range n {
		color, shape := cliptest.Colors[i%5], cliptest.Shapes[i/5%5]
		name := fmt.Sprintf("%03d.png", i)
		if err := os.WriteFile(filepath.Join(dir, name), cliptest.Picture(t, color, shape, uint64(i)), 0o644); err != nil {
			t.Fatal(err)
		}
		// Some that many have, some of one picture.
		for k := range 1 + i%3 {
			own := []string{"a " + color + " " + shape, "the " + strings.Repeat("and ", i/25%9) + shape + " photo no. " + cliptest.Colors[i/7%5], color + " drawing"}[k]
			fmt.Fprintf(&b, "%s,%s\n", name, own)
		}
	}
	for _, i := range broken {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%03d.png", i)), []byte("no picture"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	table := filepath.Join(dir, "captions.csv")
	if err := os.WriteFile(table, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return table
}

// Any number of processes gives the bits of one: where the batches don't divide,
// where processes have none, and where all of a process's images are broken.
func TestProcessesMeasureWhatOneDoes(t *testing.T) {
	for name, c := range map[string]struct {
		batch   int
		tables  []string
		encoded [][]string // by number of processes and rank, of each table
	}{
		// 600 images are 3 blocks of rows to rank.
		"many": {37, []string{captionTable(t, 600, 5, 80, 81, 599)}, [][]string{{"600"}, {"304", "296"}, {"222", "193", "185"}, {"156", "148", "148", "148"}}},
		// The second batch of three has no picture: its process sees that it is read well (once more).
		"few": {1, []string{captionTable(t, 3, 1), captionTable(t, 1)}, [][]string{{"3 1"}, {"2 1", "2 0"}, {"1 1", "2 0", "1 0"}, {"1 1", "2 0", "1 0", "0 0"}}},
	} {
		t.Run(name, func(t *testing.T) {
			var want string
			for n := 1; n <= 4; n++ {
				rs := disttest.Start(t, n, "measures", append([]string{strconv.Itoa(c.batch)}, c.tables...)...)
				rs.Wait(t, 2*time.Minute)
				for i, r := range rs {
					if r.Status != nil {
						t.Fatalf("rank %d of %d: %v\n%s", i, n, r.Status, r.Err.String())
					}
					if n == 1 {
						want = r.Out.String()
						t.Log(want)
					}
					if got := r.Out.String(); got != want {
						t.Errorf("rank %d of %d measures\n%swant\n%s", i, n, got, want)
					}
					var encoded []string
					for line := range strings.Lines(r.Err.String()) {
						if count, ok := strings.CutPrefix(line, "encoded "); ok {
							encoded = append(encoded, strings.TrimSpace(count))
						}
					}
					if got := strings.Join(encoded, " "); got != c.encoded[n-1][i] {
						t.Errorf("rank %d of %d encoded %s images, want %s", i, n, got, c.encoded[n-1][i])
					}
				}
			}
			if strings.Count(want, "\n") != 3*len(c.tables) || !strings.Contains(want, `"image_cosine"`) || !strings.Contains(want, `"image_retrieval_recall@1"`) {
				t.Errorf("one process printed %s", want)
			}
		})
	}
}

// eachOwn measures args[2+rank] in batches of args[1] by what args[0] names.
func eachOwn(ctx context.Context, g *dist.Group, args []string) error {
	batch, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	o := Options{BatchSize: batch, Workers: 1, Group: g, Log: slog.New(slog.DiscardHandler)}
	d, err := dataset.Open(dataset.Source{Path: args[2+g.Rank()]})
	if err != nil {
		return err
	}
	m := cliptest.Model(disttest.TB{}, 1)
	switch args[0] {
	case "classes":
		_, err = Evaluate(ctx, m, Suite{Name: "s", Data: d, Classes: Classes("bar", "disc"), Templates: templates}, o)
	case "retrieval":
		_, err = Retrieve(ctx, m, Captions{Name: "c", Data: d, ByKey: true}, o)
	case "drift":
		_, err = Drift(ctx, m, m, d, 0, o)
	}
	return err
}

// What one process alone can't read, or has otherwise, ends all with that
// process's message, and soon.
func TestAProcessWithoutItsShareEndsAll(t *testing.T) {
	whole := captionTable(t, 12)
	copied := func(change func(dir string)) string {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(filepath.Dir(whole))); err != nil {
			t.Fatal(err)
		}
		change(dir)
		return filepath.Join(dir, "captions.csv")
	}
	remove := func(dir, pattern string) {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("no %s: %v", pattern, err)
		}
		for _, path := range found {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	folder := func(broken bool) string {
		dir := t.TempDir()
		cliptest.Folder(t, dir, []string{"bar", "disc"}, 4, 0)
		if broken { // a link stays in the list, but leads nowhere
			for _, path := range []string{"bar/002.png", "bar/003.png"} {
				if err := os.Remove(filepath.Join(dir, path)); err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink("nowhere", filepath.Join(dir, path)); err != nil {
					t.Fatal(err)
				}
			}
		}
		return dir
	}
	// The same captions in the same lines, of two images the other way round.
	swapped := copied(func(dir string) {
		table := filepath.Join(dir, "captions.csv")
		text, err := os.ReadFile(table)
		if err != nil {
			t.Fatal(err)
		}
		other := strings.NewReplacer("000.png", "009.png", "009.png", "000.png").Replace(string(text))
		if err := os.WriteFile(table, []byte(other), 0o644); err != nil {
			t.Fatal(err)
		}
	})
	for name, c := range map[string]struct {
		kind, batch string
		bad         string // rank 1's
		good        string
		want        string
	}{
		"retrieval":         {"retrieval", "4", copied(func(dir string) { remove(dir, "*.png") }), whole, "none of this process's 4 images can be read"},
		"drift":             {"drift", "4", copied(func(dir string) { remove(dir, "*.png") }), whole, "none of this process's 8 images can be read"},
		"other captions":    {"retrieval", "4", captionTable(t, 11), whole, "rank 1 has other images, texts or batch size than rank 0"},
		"other pairs":       {"drift", "4", captionTable(t, 11), whole, "rank 1 has other images, texts or batch size than rank 0"},
		"other keys":        {"retrieval", "4", swapped, whole, "rank 1 has other images, texts or batch size than rank 0"},
		"other pairs' keys": {"drift", "4", swapped, whole, "rank 1 has other images, texts or batch size than rank 0"},
		"no table":          {"drift", "4", copied(func(dir string) { remove(dir, "*.csv") }), whole, "captions.csv"},
		"classes":           {"classes", "2", folder(true), folder(false), "none of this process's 2 images can be read"},
	} {
		t.Run(name, func(t *testing.T) {
			rs := disttest.Start(t, 3, "each its own", c.kind, c.batch, c.good, c.bad, c.good)
			rs.Wait(t, 30*time.Second)
			for i, r := range rs {
				text := r.Err.String()
				if r.Status == nil || !strings.Contains(text, c.want) || i != 1 && !strings.Contains(text, "rank 1") {
					t.Errorf("rank %d: %v, %q", i, r.Status, text)
				}
			}
			t.Log(strings.TrimSpace(rs[0].Err.String()))
		})
	}
}
