package index_test

import (
	"context"
	"crypto/sha256"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"arf/anchor"
	"arf/dataset"
	"arf/index"
	"arf/internal/cliptest"
)

// counting counts the images that are encoded, and can cancel.
type counting struct {
	anchor.Encoder
	images int
	after  func(images int)
}

func (c *counting) Images(ctx context.Context, pixels []uint8, n int) ([]float32, error) {
	c.images += n
	if c.after != nil {
		c.after(c.images)
	}
	return c.Encoder.Images(ctx, pixels, n)
}

func open(t *testing.T, path string) dataset.Dataset {
	t.Helper()
	d, err := dataset.Open(dataset.Source{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestEmbedHasTheModelsFeatures(t *testing.T) {
	work := t.TempDir()
	data := open(t, cliptest.Pairs(t, filepath.Join(work, "pool"), 23, 0))
	model := cliptest.Model(t, 1)
	last := 0
	s, err := index.Embed(t.Context(), filepath.Join(work, "features"), data, anchor.Encoder{Model: model}, index.EmbedOptions{
		BatchSize: 4, ShardRows: 10, Texts: true, Progress: func(done, total int) { last = done*1000 + total },
	})
	if err != nil {
		t.Fatal(err)
	}
	if s.Len() != 23 || last != 23023 || !s.Manifest.Complete {
		t.Fatalf("%d rows, progress %d, %+v", s.Len(), last, s.Manifest)
	}
	rows, err := s.Rows()
	if err != nil {
		t.Fatal(err)
	}
	images, _ := index.Load(s.Images())
	texts, _ := index.Load(s.Texts())
	for i, row := range rows {
		sample, err := data.Sample(i)
		if err != nil {
			t.Fatal(err)
		}
		if row.Key != sample.Key || row.Caption != sample.Text || row.Number != int64(i)+1 || !slices.Equal(row.Texts, sample.Texts) {
			t.Fatalf("row %d is %+v", i, row)
		}
		pixels, err := model.Preprocess.Eval(sample.Image)
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(pixels); string(row.PixelHash) != string(sum[:]) || !slices.Equal(row.Print, index.PrintOf(pixels, cliptest.Size)) {
			t.Errorf("row %d: pixel hash or print differ", i)
		}
		image, err := model.ImageFeatures(t.Context(), pixels, 1, 0)
		if err != nil {
			t.Fatal(err)
		}
		text, err := model.TextFeatures(t.Context(), []string{sample.Text}, 0)
		if err != nil {
			t.Fatal(err)
		}
		near(t, images.Row(i), image)
		near(t, texts.Row(i), text)
	}
}

func near(t *testing.T, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Abs(float64(got[i]-want[i])) > 1e-3 {
			t.Fatalf("%v, want %v", got, want)
		}
	}
}

func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, pattern := range []string{"*/*", "*.json"} {
		paths, _ := fs.Glob(os.DirFS(dir), pattern) // dir itself may look like a pattern
		for _, p := range paths {
			data, err := os.ReadFile(filepath.Join(dir, p))
			if err != nil {
				t.Fatal(err)
			}
			out[p] = string(data)
		}
	}
	return out
}

func TestEmbedGoesOnAndRedoes(t *testing.T) {
	work := t.TempDir()
	table := cliptest.Pairs(t, filepath.Join(work, "pool"), 40, 0)
	encoder := &counting{Encoder: anchor.Encoder{Model: cliptest.Model(t, 1)}}
	o := index.EmbedOptions{BatchSize: 7, ShardRows: 10, Texts: true}
	whole, part := filepath.Join(work, "part1"), filepath.Join(work, "part[1]") // which isn't a pattern
	if _, err := index.Embed(t.Context(), whole, open(t, table), encoder, o); err != nil {
		t.Fatal(err)
	}
	if encoder.images != 40 {
		t.Fatalf("%d images encoded", encoder.images)
	}

	ctx, cancel := context.WithCancel(t.Context())
	encoder.images, encoder.after = 0, func(n int) {
		if n >= 28 {
			cancel()
		}
	}
	if _, err := index.Embed(ctx, part, open(t, table), encoder, o); !errors.Is(err, context.Canceled) {
		t.Fatalf("interrupted: %v", err)
	}
	if _, err := index.Open(part); err == nil || !strings.Contains(err.Error(), "complete") {
		t.Errorf("an unfinished folder opens: %v", err)
	}
	for _, name := range []string{"img_emb/.img_emb_1.npy123", ".features.json45"} { // as SIGKILL leaves them
		if err := os.WriteFile(filepath.Join(part, name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	encoder.images, encoder.after = 0, nil
	if _, err := index.Embed(t.Context(), part, open(t, table), encoder, o); err != nil {
		t.Fatal(err)
	}
	if encoder.images != 20 {
		t.Errorf("after the interruption %d images are encoded, want the 20 of the unfinished shards", encoder.images)
	}
	got, want := files(t, part), files(t, whole)
	if len(got) != len(want) || len(want) != 13 {
		t.Errorf("%d files, want %d", len(got), len(want))
	}
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s differs from the uninterrupted run's", name)
		}
	}

	again := func(why string, images int) {
		t.Helper()
		encoder.images = 0
		if _, err := index.Embed(t.Context(), part, open(t, table), encoder, o); err != nil {
			t.Fatalf("%s: %v", why, err)
		}
		if encoder.images != images {
			t.Errorf("%s: %d images encoded, want %d", why, encoder.images, images)
		}
	}
	again("nothing changed", 0)
	if err := os.Truncate(filepath.Join(part, "img_emb/img_emb_2.npy"), 200); err != nil {
		t.Fatal(err)
	}
	again("a damaged shard", 10)
	if err := os.WriteFile(filepath.Join(work, "pool/0005.png"), cliptest.Picture(t, "red", "ring", 99), 0o644); err != nil {
		t.Fatal(err)
	}
	again("another image", 40)
	encoder.Model = cliptest.Model(t, 2)
	again("another model", 40)
	o.Texts = false
	again("other options", 40)
	if len(files(t, whole)) != len(want) {
		t.Error("features of another folder were removed")
	}
	if s, err := index.Open(part); err != nil || s.Texts() != nil {
		t.Errorf("old texts are still there: %v", err)
	}
}

// Two programs don't write to one folder; the second finds what the first made.
func TestEmbedWaitsForAnother(t *testing.T) {
	work := t.TempDir()
	data := open(t, cliptest.Pairs(t, filepath.Join(work, "pool"), 5, 0))
	dir := filepath.Join(work, "features")
	// Made one after the other: they draw from one generator.
	encoder, other := &counting{Encoder: anchor.Encoder{Model: cliptest.Model(t, 1)}}, &counting{Encoder: anchor.Encoder{Model: cliptest.Model(t, 1)}}
	foreign := anchor.Encoder{Model: cliptest.Model(t, 2)}
	first, second := make(chan struct{}), make(chan error)
	encoder.after = func(int) {
		close(first)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if _, err := index.Embed(ctx, dir, data, foreign, index.EmbedOptions{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("another program writes to the folder: %v", err)
		}
	}
	go func() {
		<-first
		_, err := index.Embed(t.Context(), dir, data, other, index.EmbedOptions{})
		if other.images > 0 {
			err = errors.Join(err, fmt.Errorf("%d images are encoded again", other.images))
		}
		second <- err
	}()
	if _, err := index.Embed(t.Context(), dir, data, encoder, index.EmbedOptions{}); err != nil {
		t.Error(err)
	}
	if err := <-second; err != nil {
		t.Error(err)
	}
}

func TestEmbedLeavesOutWhatIsBroken(t *testing.T) {
	work := t.TempDir()
	table := cliptest.Pairs(t, filepath.Join(work, "pool"), 12, 0)
	for _, name := range []string{"0003.png", "0011.png"} {
		if err := os.WriteFile(filepath.Join(work, "pool", name), []byte("no picture"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Create(table)
	if err != nil {
		t.Fatal(err)
	}
	w := csv.NewWriter(f)
	rows := [][]string{{"filepath", "title"}}
	for i, text := range []string{"a red square", "", "a red bar", "x", "y"} {
		rows = append(rows, []string{[]string{"0000.png", "0001.png", "0002.png", "0003.png", "0011.png"}[i], text})
	}
	if err := w.WriteAll(rows); err != nil {
		t.Fatal(err)
	}
	f.Close()
	s, err := index.Embed(t.Context(), filepath.Join(work, "features"), open(t, table), anchor.Encoder{Model: cliptest.Model(t, 1)}, index.EmbedOptions{ShardRows: 2, Texts: true})
	if err != nil {
		t.Fatal(err)
	}
	if s.Len() != 3 || s.Manifest.Skipped != 2 || len(s.Manifest.Broken) != 2 || !strings.Contains(s.Manifest.Broken[0], "0003.png") {
		t.Errorf("%d rows, %+v", s.Len(), s.Manifest)
	}
	texts, err := index.Load(s.Texts())
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []float64{1, 0, 1} {
		norm := 0.0
		for _, v := range texts.Row(i) {
			norm += float64(v) * float64(v)
		}
		if math.Abs(norm-want) > 1e-2 {
			t.Errorf("text %d has the squared length %v, want %v", i, norm, want)
		}
	}
}

func TestEmbedSparesForeignFeatures(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/clip-retrieval")); err != nil {
		t.Fatal(err)
	}
	before := files(t, dir)
	data := open(t, cliptest.Pairs(t, t.TempDir(), 3, 0))
	_, err := index.Embed(t.Context(), dir, data, anchor.Encoder{Model: cliptest.Model(t, 1)}, index.EmbedOptions{})
	if err == nil || !strings.Contains(err.Error(), "choose another folder") {
		t.Errorf("embedding over foreign features: %v", err)
	}
	if after := files(t, dir); len(after) != len(before) {
		t.Error("foreign features were removed")
	}
}

func TestEmbedOfNothingReadableIsAnError(t *testing.T) {
	work := t.TempDir()
	for _, name := range []string{"a.png", "b.png", "c.png"} {
		if err := os.WriteFile(filepath.Join(work, name), []byte("no picture"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	table := filepath.Join(work, "list.csv")
	if err := os.WriteFile(table, []byte("filepath,title\na.png,x\nb.png,y\nc.png,z\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second call doesn't take what the first left for features
		_, err := index.Embed(t.Context(), filepath.Join(work, "features"), open(t, table), anchor.Encoder{Model: cliptest.Model(t, 1)}, index.EmbedOptions{ShardRows: 2})
		if !errors.Is(err, dataset.ErrAllBroken) || !strings.Contains(err.Error(), "a.png") {
			t.Fatalf("error %v", err)
		}
	}
}

// Rows by number are those of all rows, from files in between that have none, too.
func TestRowsAt(t *testing.T) {
	work := t.TempDir()
	data := open(t, cliptest.Pairs(t, filepath.Join(work, "pool"), 10, 0))
	store, err := index.Embed(t.Context(), filepath.Join(work, "features"), data, anchor.Encoder{Model: cliptest.Model(t, 1)}, index.EmbedOptions{ShardRows: 3})
	if err != nil {
		t.Fatal(err)
	}
	all, err := store.Rows()
	if err != nil {
		t.Fatal(err)
	}
	got, err := store.RowsAt([]int{9, 0, 7, 0, 2}) // none of the second file
	if err != nil || len(got) != 4 {
		t.Fatalf("%d rows, %v", len(got), err)
	}
	for number, row := range got {
		if !reflect.DeepEqual(row, all[number]) {
			t.Errorf("row %d is %+v, want %+v", number, row, all[number])
		}
	}
	for _, number := range []int{-1, 10} {
		if _, err := store.RowsAt([]int{number}); err == nil {
			t.Errorf("row %d of 10 was read", number)
		}
	}
}
