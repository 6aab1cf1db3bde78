package index

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"arf/torch"
)

// Small tensors gain nothing from threads, and lose much on a busy machine.
func TestMain(m *testing.M) {
	if err := torch.Load(); err == nil {
		torch.SetThreads(1)
	}
	os.Exit(m.Run())
}

func TestOpenReadsClipRetrieval(t *testing.T) {
	s, err := Open("testdata/clip-retrieval")
	if err != nil {
		t.Fatal(err)
	}
	if s.Len() != 5 || s.Dim() != 8 {
		t.Fatalf("%d rows of %d", s.Len(), s.Dim())
	}
	images, err := Load(s.Images())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if images.Row(i)[0] != float32(i) {
			t.Errorf("row %d begins with %v", i, images.Row(i)[0])
		}
	}
	if texts, err := Load(s.Texts()); err != nil || texts.Data[0] == images.Data[0] {
		t.Errorf("texts: %v, %v", texts.Data[:1], err)
	}
	rows, err := s.Rows()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 5 || rows[3].Key != "/images/00003.jpg" || rows[3].Caption != "caption 3 – ü" || rows[3].URL != "https://example.org/3.jpg" {
		t.Errorf("rows %+v", rows)
	}
	if rows[1].Caption != "" || len(rows[3].PixelHash) != 0 || rows[3].Number != 0 {
		t.Errorf("columns that aren't there: %+v", rows[1])
	}
	part := make([]float32, 3*8)
	if err := s.Images().Read(part, 2); err != nil || part[0] != 2 || part[8] != 3 || part[16] != 4 {
		t.Errorf("rows 2 to 4: %v, %v", part, err)
	}
	if err := s.Images().Read(part, 3); err == nil {
		t.Error("rows beyond the end are read")
	}
}

func TestMatrixRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.npy")
	want := random(37, 12, 1)
	if err := writeMatrix(path, want.Data, 12); err != nil {
		t.Fatal(err)
	}
	m, err := openMatrix(path)
	if err != nil {
		t.Fatal(err)
	}
	if m.rows != 37 || m.dim != 12 || m.dtype != torch.Float16 || m.offset%64 != 0 {
		t.Errorf("%+v", m)
	}
	got := make([]float32, 10*12)
	if err := m.Read(got, 20); err != nil {
		t.Fatal(err)
	}
	for i, v := range got {
		if d := v - want.Data[20*12+i]; d > 1e-3 || d < -1e-3 {
			t.Fatalf("element %d is %v, want %v", i, v, want.Data[20*12+i])
		}
	}
	// NumPy's own header of another type.
	if m, err := openMatrix("testdata/float32.npy"); err != nil || m.rows != 2 || m.dim != 3 || m.dtype != torch.Float32 {
		t.Errorf("float32: %+v, %v", m, err)
	}
	if err := writeMatrix(path, nil, 12); err != nil {
		t.Fatal(err)
	}
	if m, err := openMatrix(path); err != nil || m.rows != 0 {
		t.Errorf("empty: %+v, %v", m, err)
	}
}

func TestOpenNamesWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(dir string) error
		want   []string
	}{
		{"no metadata", func(d string) error { return os.RemoveAll(filepath.Join(d, "metadata")) }, []string{"metadata_0.parquet"}},
		{"no features", func(d string) error {
			os.RemoveAll(filepath.Join(d, "text_emb"))
			return os.RemoveAll(filepath.Join(d, "img_emb"))
		}, []string{"img_emb"}},
		{"gap", func(d string) error { return os.Remove(filepath.Join(d, "img_emb/img_emb_0.npy")) }, []string{"img_emb", "number 0"}},
		{"shard missing", func(d string) error { return os.Remove(filepath.Join(d, "text_emb/text_emb_1.npy")) }, []string{"text_emb", "1 files"}},
		{"other rows", func(d string) error {
			return os.Rename(filepath.Join(d, "text_emb/text_emb_0.npy"), filepath.Join(d, "text_emb/text_emb_1.npy"))
		}, []string{"text_emb"}},
		{"swapped shards", func(d string) error {
			return os.Rename(filepath.Join(d, "img_emb/img_emb_1.npy"), filepath.Join(d, "img_emb/img_emb_0.npy"))
		}, []string{"img_emb"}},
		{"other model", func(d string) error {
			return writeMatrix(filepath.Join(d, "img_emb/img_emb_1.npy"), make([]float32, 2*9), 9)
		}, []string{"columns", "img_emb_1.npy"}},
		{"rows differ", func(d string) error {
			return writeMatrix(filepath.Join(d, "img_emb/img_emb_1.npy"), make([]float32, 3*8), 8)
		}, []string{"img_emb_1.npy", "3", "metadata_1.parquet", "2"}},
		{"cut short", func(d string) error { return os.Truncate(filepath.Join(d, "img_emb/img_emb_1.npy"), 150) }, []string{"img_emb_1.npy", "150 bytes"}},
		{"no npy", func(d string) error {
			return os.WriteFile(filepath.Join(d, "img_emb/img_emb_1.npy"), []byte("hello, world, this is text"), 0o644)
		}, []string{"img_emb_1.npy", "not a .npy file"}},
		{"broken parquet", func(d string) error {
			return os.Truncate(filepath.Join(d, "metadata/metadata_1.parquet"), 99)
		}, []string{"metadata_1.parquet"}},
		{"incomplete", func(d string) error { return writeManifest(d, Manifest{Hash: "x"}) }, []string{"aren't complete"}},
		{"manifest", func(d string) error { return os.WriteFile(filepath.Join(d, manifestName), []byte("{"), 0o644) }, []string{manifestName}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS("testdata/clip-retrieval")); err != nil {
				t.Fatal(err)
			}
			if err := c.damage(dir); err != nil {
				t.Fatal(err)
			}
			_, err := Open(dir)
			if err == nil {
				t.Fatal("opened")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q doesn't say %q", err, w)
				}
			}
		})
	}
}

func FuzzNpyHeader(f *testing.F) {
	for _, path := range []string{"testdata/float32.npy", "testdata/clip-retrieval/img_emb/img_emb_0.npy"} {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(bytes.Replace(data, []byte("False"), []byte("True "), 1))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := readHeader(bytes.NewReader(data), int64(len(data)))
		if err == nil && m.offset+int64(m.rows)*int64(m.dim)*int64(m.dtype.Size()) != int64(len(data)) {
			t.Errorf("%+v doesn't fit %d bytes", m, len(data))
		}
	})
}
