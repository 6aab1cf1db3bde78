package pipeline

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"arf/anchor"
	"arf/internal/disttest"
)

// Every captioner writes with several processes, bit for bit, what it writes
// with one, whether or not there are batches for all.
func TestProcessesCaptionAsOne(t *testing.T) {
	dir := prepare(t)
	write(t, filepath.Join(dir, "train", "blue", "2.png"), []byte("no picture"))
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"a drawing no. %x"}}],"usage":{"prompt_tokens":90,"completion_tokens":8}}`,
			sha256.Sum256(body))
	}))
	defer server.Close()
	blip, err := filepath.Abs("../captioner/testdata/blip/base")
	if err != nil {
		t.Fatal(err)
	}
	set := func(values ...string) (sets []string) {
		for _, v := range values {
			sets = append(sets, "anchors.captions."+v)
		}
		return sets
	}
	for name, c := range map[string]struct {
		sets      []string
		processes []int
	}{
		"decoder, sampling": {nil, []int{2, 3}},              // five batches
		"decoder, idle":     {set("batch_size=7"), []int{4}}, // three
		"decoder, search":   {set("temperature=0", "beams=3"), []int{3}},
		"BLIP, sampling":    {set("captioner="+blip, "temperature=1"), []int{3}},
		"BLIP, search":      {set("captioner="+blip, "temperature=0", "beams=3", "prompt=a picture of", "drop_boilerplate=true"), []int{2}},
		"retrieval":         {set("captioner=retrieval"), []int{3}},
		"endpoint":          {set("captioner=", "endpoint.url="+server.URL+"/v1", "endpoint.model=m"), []int{3}},
	} {
		t.Run(name, func(t *testing.T) {
			out := t.TempDir()
			run := func(sets ...string) []string { return append(slices.Clone(c.sets), sets...) }
			if err := Run(context.Background(), load(t, dir, append(slices.Clone(small), run("output="+out+"/1")...)...), Captions, Options{}); err != nil {
				t.Fatal(err)
			}
			read := func(n int) string {
				data, err := os.ReadFile(filepath.Join(out, fmt.Sprint(n), "run", "anchors", "captions.jsonl"))
				if err != nil {
					t.Fatal(err)
				}
				return string(data)
			}
			want, asked := read(1), requests.Swap(0)
			if strings.Count(want, "\n") != 17 || strings.Count(want, `"text":`) < 17 {
				t.Fatalf("one process wrote\n%s", want)
			}
			for _, n := range c.processes {
				disttest.Run(t, n, "captions", append([]string{dir}, run(fmt.Sprintf("output=%s/%d", out, n))...)...)
				if got := read(n); got != want {
					t.Errorf("%d processes wrote\n%swant\n%s", n, got, want)
				}
			}
			// What costs money is asked for once, not by each.
			if got := requests.Swap(0); got != asked || (asked > 0) != (name == "endpoint") {
				t.Errorf("%d requests, %d of one process", got, asked)
			}
		})
	}
}

// The pairs of all kinds are those of one process.
func TestProcessesRetrieveAsOne(t *testing.T) {
	dir := prepare(t)
	write(t, filepath.Join(dir, "train", "blue", "2.png"), []byte("no picture"))
	sets := []string{"methods=[arf, arf+class-text, arf+random, flyp+random-matched]", "anchors.pairs.query=caption-text"}
	read := func(n int) map[string][]anchor.Pair {
		all := map[string][]anchor.Pair{}
		found, _ := filepath.Glob(filepath.Join(dir, fmt.Sprint(n), "run", "anchors", "pairs*.parquet"))
		for _, path := range found {
			pairs, err := anchor.ReadPairs(path)
			if err != nil {
				t.Fatal(err)
			}
			all[filepath.Base(path)] = pairs
		}
		return all
	}
	if err := Run(context.Background(), load(t, dir, append(slices.Clone(small), append(sets, "output="+dir+"/1")...)...), Pairs, Options{}); err != nil {
		t.Fatal(err)
	}
	want := read(1)
	if len(want) != 4 || len(want["pairs.parquet"]) == 0 {
		t.Fatalf("one process retrieved %v", want)
	}
	for n := 2; n <= 4; n++ {
		disttest.Run(t, n, "pairs", append([]string{dir, fmt.Sprintf("output=%s/%d", dir, n)}, sets...)...)
		if got := read(n); !reflect.DeepEqual(got, want) {
			t.Errorf("%d processes retrieved\n%v\nwant\n%v", n, got, want)
		}
	}
}
