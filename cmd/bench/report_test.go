package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	folder := t.TempDir()
	r := &report{json: filepath.Join(folder, "b.json"), md: filepath.Join(folder, "b.md"), order: []string{"first", "fast", "fast-memory", "startup"}}
	rate := func(ours, peer float64, oursMB, peerMB int64) round {
		return round{Ours: measured{Rate: ours, PeakMemory: oursMB << 20}, Peer: measured{Rate: peer, PeakMemory: peerMB << 20}}
	}
	fast := row{name: "fast", unit: "images/s", bar: 1.5, memory: true, memBar: 1.25}
	if err := r.add(fast, []round{rate(30, 10, 100, 200), rate(20, 20, 100, 110), rate(40, 20, 100, 120)}); err != nil {
		t.Fatal(err)
	}
	startup := row{name: "startup", unit: "s", bar: 1, limit: 3}
	if err := r.add(startup, []round{{Ours: measured{Seconds: 4}, Peer: measured{Seconds: 8}}}); err != nil {
		t.Fatal(err)
	}
	// A row that is measured again takes its old place.
	if err := r.add(fast, []round{rate(30, 10, 100, 200), rate(20, 20, 100, 110), rate(40, 20, 100, 120)}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(r.json)
	if err != nil {
		t.Fatal(err)
	}
	var got []entry
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 {
		t.Fatalf("%d entries, want 3", len(got))
	}
	for i, want := range []struct {
		name              string
		ours, peer, ratio float64
		met               bool
	}{
		{"fast", 30, 20, 2, true},
		{"fast-memory", 100, 120, 1.2, false}, // below the bar
		{"startup", 4, 8, 2, false},           // above the limit
	} {
		e := got[i]
		if e.Name != want.name || e.Ours != want.ours || e.Peer != want.peer || e.Ratio != want.ratio || e.met() != want.met {
			t.Errorf("entry %d: %+v, met %v; want %+v", i, e, e.met(), want)
		}
	}
	page, err := os.ReadFile(r.md)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| 2.00 (1.00 – 3.00) | ≥ 1.5 | yes |", "≥ 1, ≤ 3 s | no |"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
}

func TestCheck(t *testing.T) {
	r := round{Ours: measured{Loss: 2, Accuracy: 0.5}, Peer: measured{Loss: 2.2, Accuracy: 0.51}}
	if err := r.check(work{Model: iconModel}, 0.15); err != nil {
		t.Error(err)
	}
	r.Peer.Accuracy = 0.6
	if r.check(work{Model: iconModel}, 0.15) == nil || r.check(work{}, 0.15) != nil {
		t.Error("accuracies must agree, except with random weights")
	}
	r.Peer.Loss = 3
	if r.check(work{}, 0.15) == nil {
		t.Error("losses that differ pass")
	}
}

// A journal that was cut short in a line gives the rounds before it.
func TestJournal(t *testing.T) {
	t.Chdir(t.TempDir())
	j, err := openJournal(false, false)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := j.add(round{Row: "a", Key: "k", Ours: measured{Rate: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	file, _ := os.OpenFile(j.path, os.O_APPEND|os.O_WRONLY, 0)
	file.WriteString(`{"row":"a","ke`)
	file.Close()
	if j, err = openJournal(false, false); err != nil || len(j.of("a", "k")) != 2 || len(j.of("a", "other")) != 0 {
		t.Errorf("%v, %v", j.done, err)
	}
	if err := j.add(round{Row: "a", Key: "k"}); err != nil {
		t.Fatal(err)
	}
	if j, err = openJournal(false, false); err != nil || len(j.of("a", "k")) != 3 {
		t.Errorf("after a line that was cut short: %v, %v", j.done, err)
	}
	if j, err = openJournal(false, true); err != nil || len(j.done) != 0 {
		t.Errorf("fresh: %v, %v", j.done, err)
	}
}
