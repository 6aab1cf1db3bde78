package pipeline

import (
	"context"
	"encoding/json"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"arf/checkpoint"
	"arf/dist"
	"arf/internal/disttest"
	"arf/torch"
)

func TestMain(m *testing.M) {
	until := func(last Step) disttest.Worker {
		return func(ctx context.Context, g *dist.Group, args []string) error {
			return Run(ctx, load(disttest.TB{}, args[0], append(small, args[1:]...)...), last, Options{Group: g})
		}
	}
	disttest.Main(map[string]disttest.Worker{"run": until(""), "captions": until(Captions), "pairs": until(Pairs)})
	os.Exit(m.Run())
}

// small makes several batches of the little data; a larger Eps keeps gradients
// that are 0 but for rounding from moving weights (see package finetune).
var small = []string{
	"anchors.captions.batch_size=4", "anchors.pairs.batch_size=7", "eval.batch_size=4", "train.eps=1e-4",
	"methods=[zeroshot, ft, arf]",
}

// Rank 0 finds the pairs whose texts all processes then take for captions.
func TestProcessesRetrieveCaptions(t *testing.T) {
	dir := prepare(t)
	sets := append(slices.Clone(small), "anchors.captions.captioner=retrieval")
	if err := Run(context.Background(), load(t, dir, append(sets, "output="+dir+"/one")...), Captions, Options{}); err != nil {
		t.Fatal(err)
	}
	disttest.Run(t, 2, "captions", dir, "anchors.captions.captioner=retrieval", "output="+dir+"/two")
	var got [2]string
	for i, run := range []string{"one", "two"} {
		data, err := os.ReadFile(filepath.Join(dir, run, "run", "anchors", "captions.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		got[i] = string(data)
	}
	if got[0] != got[1] || !strings.Contains(got[0], `"captioner":"retrieval"`) {
		t.Errorf("one process:\n%s\ntwo:\n%s", got[0], got[1])
	}
}

// A run of several processes leaves what a run of one does.
func TestProcessesMakeTheRunOfOne(t *testing.T) {
	dir := prepare(t)
	// Broken images: a batch of one process, and single ones.
	for i := range 4 {
		write(t, filepath.Join(dir, "train", "blue", string(rune('0'+i))+".png"), []byte("no picture"))
	}
	write(t, filepath.Join(dir, "test", "red", "1.png"), []byte("no picture"))
	if err := Run(context.Background(), load(t, dir, append(small, "output="+dir+"/one")...), "", Options{}); err != nil {
		t.Fatal(err)
	}
	disttest.Run(t, 3, "run", dir, "output="+dir+"/three")
	one, three := filepath.Join(dir, "one"), filepath.Join(dir, "three")
	compared := map[string]int{}
	err := filepath.WalkDir(one, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(one, path)
		got, err := os.ReadFile(filepath.Join(three, name))
		if err != nil {
			t.Error(err)
			return nil
		}
		want, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		switch base := filepath.Base(name); {
		case base == "captions.jsonl", filepath.Ext(base) == ".npy", strings.HasPrefix(name, "features/") && filepath.Ext(base) == ".parquet":
			compared["same"]++
			if string(got) != string(want) {
				t.Errorf("%s differs", name)
			}
		case strings.HasSuffix(name, "model/model.safetensors"):
			compared["weights"]++
			if d := weightsApart(t, filepath.Join(three, name), path); d > 1e-5 {
				t.Errorf("%s: weights differ by %g", name, d)
			}
		case strings.HasPrefix(name, "run/eval/") && base != ".done" && base != ".begun":
			compared["results"]++
			sameNumbers(t, name, got, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if compared["same"] < 5 || compared["weights"] != 2 || compared["results"] < 10 {
		t.Errorf("compared %v", compared)
	}
	// Done is done.
	before := stamps(t, three)
	disttest.Run(t, 2, "run", dir, "output="+dir+"/three")
	if after := stamps(t, three); !reflect.DeepEqual(before, after) {
		t.Errorf("a finished run is done again: %v, then %v", before, after)
	}
}

func stamps(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != stampFile {
			return err
		}
		data, err := os.ReadFile(path)
		all[path] = string(data)
		return err
	})
	if err != nil || len(all) == 0 {
		t.Fatalf("no stamps in %s: %v", dir, err)
	}
	return all
}

func weightsApart(t *testing.T, a, b string) float64 {
	t.Helper()
	got, _, err := checkpoint.ReadSafetensors(a)
	if err != nil {
		t.Fatal(err)
	}
	want, _, err := checkpoint.ReadSafetensors(b)
	if err != nil || len(got) != len(want) {
		t.Fatalf("%d and %d tensors, %v", len(got), len(want), err)
	}
	most := 0.0
	for name := range want {
		torch.Scope(func() {
			x, y := got[name].ToTorch(torch.CPU), want[name].ToTorch(torch.CPU)
			if d := math.Sqrt(x.Sub(y).Mul(x.Sub(y)).Sum().Item()); !(d <= most) {
				most = d // of a whole tensor, which is at least that of an element
			}
		})
	}
	return most
}

// sameNumbers compares JSON files: numbers to 1e-4, the hash of the weights not at all.
func sameNumbers(t *testing.T, name string, a, b []byte) {
	t.Helper()
	var got, want any
	if err := json.Unmarshal(a, &got); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	var same func(path string, a, b any)
	same = func(path string, a, b any) {
		switch b := b.(type) {
		case map[string]any:
			a, ok := a.(map[string]any)
			if !ok || len(a) != len(b) {
				t.Errorf("%s %s: %v, want %v", name, path, a, b)
				return
			}
			for k := range b {
				if k != "pretrained" {
					same(path+"."+k, a[k], b[k])
				}
			}
		case float64:
			if x, ok := a.(float64); !ok || math.Abs(x-b) > 1e-4 {
				t.Errorf("%s %s: %v, want %v", name, path, a, b)
			}
		default:
			if !reflect.DeepEqual(a, b) {
				t.Errorf("%s %s: %v, want %v", name, path, a, b)
			}
		}
	}
	same("", got, want)
}
