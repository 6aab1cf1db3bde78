package faiss

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// TestParity is this library's part of `make parity`; scripts/golden/faiss_parity.py
// is Python's, runs it and compares. In $ARF_FAISS_PARITY it finds cases.json, rows,
// queries and Python's indexes <case>.theirs; it writes its own as <case>.ours, and
// what it finds in both to found.json.
func TestParity(t *testing.T) {
	dir := os.Getenv("ARF_FAISS_PARITY")
	if dir == "" {
		t.Skip("needs Python's faiss; run it by make parity")
	}
	var cases struct {
		Dim, K int
		Cases  []struct {
			Name, Kind string
			Search     map[string]int // parameters
		}
	}
	data, err := os.ReadFile(filepath.Join(dir, "cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	vectors := func(name string) []float32 {
		data, err := os.ReadFile(filepath.Join(dir, name+".f32"))
		if err != nil {
			t.Fatal(err)
		}
		out := make([]float32, len(data)/4)
		if _, err := binary.Decode(data, binary.LittleEndian, out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	rows, queries := vectors("rows"), vectors("queries")
	type found struct {
		Scores []float32 `json:"scores"`
		Rows   []int64   `json:"rows"`
	}
	results := map[string]map[string]found{}
	for _, c := range cases.Cases {
		x, err := New(cases.Dim, c.Kind)
		if err != nil {
			t.Fatal(err)
		}
		if !x.Trained() {
			err = x.Train(t.Context(), rows)
		}
		if err == nil {
			err = x.Add(t.Context(), rows, nil)
		}
		if err == nil {
			err = x.Write(filepath.Join(dir, c.Name+".ours"))
		}
		x.Close()
		if err != nil {
			t.Fatalf("%s: %v", c.Kind, err)
		}
		results[c.Name] = map[string]found{}
		for _, of := range []string{"ours", "theirs"} {
			x, err := Open(filepath.Join(dir, c.Name+"."+of), false)
			if err != nil {
				t.Fatal(err)
			}
			defer x.Close()
			for name, value := range c.Search {
				if err := x.Set(name, value); err != nil {
					t.Fatal(err)
				}
			}
			scores, at, err := x.Search(t.Context(), queries, cases.K)
			if err != nil {
				t.Fatal(err)
			}
			results[c.Name][of] = found{scores, at}
		}
	}
	data, err = json.Marshal(map[string]any{"faiss": Version(), "found": results})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "found.json"), data, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}
