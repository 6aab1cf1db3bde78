package imaging

import (
	"encoding/json"
	"path/filepath"
	"strconv"
	"testing"
)

// photos gives, for each size, the pictures of testdata/photos with what
// open_clip's transform makes of them (scripts/golden/preprocess.py).
func photos(t testing.TB) map[int]map[string][]uint8 {
	t.Helper()
	var golden struct{ Cases map[string][]string }
	if err := json.Unmarshal(read(t, filepath.Join("photos", "cases.json")), &golden); err != nil {
		t.Fatal(err)
	}
	out := map[int]map[string][]uint8{}
	for key, names := range golden.Cases {
		size, err := strconv.Atoi(key)
		if err != nil {
			t.Fatal(err)
		}
		pix, w, h := rgbOf(t, filepath.Join("photos", "golden-"+key+".png"))
		if w != size || h != size*len(names) {
			t.Fatalf("golden-%s.png is %d×%d for %d pictures", key, w, h, len(names))
		}
		out[size] = map[string][]uint8{}
		for i, name := range names {
			out[size][name] = pix[i*size*size*3 : (i+1)*size*size*3]
		}
	}
	return out
}

// TestParityPhotos compares resized and cropped photographs of every form with
// open_clip's transform: at most one grey level on average, six at worst.
func TestParityPhotos(t *testing.T) {
	all := photos(t)
	if len(all[64]) < 40 {
		t.Fatalf("only %d photographs", len(all[64]))
	}
	most, mean := 0, 0.0
	exact := 0
	for size, pictures := range all {
		for name, want := range pictures {
			got, err := CLIP(size).Eval(read(t, filepath.Join("photos", name)))
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			off, sum := 0, 0
			for i := range want {
				d := max(int(got[i])-int(want[i]), int(want[i])-int(got[i]))
				off, sum = max(off, d), sum+d
			}
			average := float64(sum) / float64(len(want))
			if off > 6 || average > 1 {
				t.Errorf("%s at %d: differs by %.3f on average, by %d at most", name, size, average, off)
			}
			if off == 0 {
				exact++
			} else {
				t.Logf("%s at %d: differs by %.4f on average, by %d at most", name, size, average, off)
			}
			most, mean = max(most, off), max(mean, average)
		}
	}
	t.Logf("%d of %d equal; worst mean %.4f, worst pixel %d", exact, len(all[64])+len(all[224]), mean, most)
}
