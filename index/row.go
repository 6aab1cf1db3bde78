package index

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"strings"

	"arf/dataset"
	"arf/internal/parquetfile"

	"github.com/parquet-go/parquet-go"
)

// Row is what metadata_*.parquet says of one sample. The first two columns are
// clip-retrieval's; files made elsewhere may lack the others, which then are
// empty.
type Row struct {
	Key     string   `parquet:"image_path,dict"` // the sample's key
	Caption string   `parquet:"caption"`
	Texts   []string `parquet:"texts,list"`
	Class   string   `parquet:"class,dict"`
	Set     string   `parquet:"set,dict"`
	License string   `parquet:"license,dict"`
	URL     string   `parquet:"url"`
	// Number is the sample's number in its dataset plus 1; 0 is unknown.
	Number int64 `parquet:"number"`
	// PixelHash is the SHA-256 of the preprocessed pixels, Print their look in
	// 16×16 grey values; see PrintOf.
	PixelHash []byte `parquet:"pixel_sha256"`
	Print     []byte `parquet:"print"`
	// Meta is more that the source says of the sample. Each name is a column of
	// texts, null where a sample lacks it; Rows doesn't read them back.
	Meta map[string]string `parquet:"-"`
}

func rowOf(s dataset.Sample, number int, pixels []uint8, size int) Row {
	hash := sha256.Sum256(pixels)
	return Row{
		Key: s.Key, Caption: s.Text, Texts: s.Texts, Class: s.Class,
		Set: s.Meta["set"], License: meta(s, "license"), URL: meta(s, "url"),
		Number: int64(number) + 1, PixelHash: hash[:], Print: PrintOf(pixels, size), Meta: s.Meta,
	}
}

// meta is what the source says under a name, or under that in capitals, as
// img2dataset writes it of LAION.
func meta(s dataset.Sample, name string) string {
	return cmp.Or(s.Meta[name], s.Meta[strings.ToUpper(name)])
}

// PrintSide is the side of a print in cells.
const PrintSide = 16

// PrintOf averages pixels [size, size, 3] down to 16×16 grey values. The prints
// of a picture and of its re-encoded or slightly changed copy correlate by
// nearly 1.
func PrintOf(pixels []uint8, size int) []byte {
	out := make([]byte, PrintSide*PrintSide)
	for gy := range PrintSide {
		y0, y1 := cell(gy, size)
		for gx := range PrintSide {
			x0, x1 := cell(gx, size)
			sum := 0
			for y := y0; y < y1; y++ {
				for p := pixels[(y*size+x0)*3 : (y*size+x1)*3]; len(p) > 0; p = p[3:] {
					sum += 299*int(p[0]) + 587*int(p[1]) + 114*int(p[2]) // Rec. 601 luma in thousandths
				}
			}
			n := 1000 * (y1 - y0) * (x1 - x0)
			out[gy*PrintSide+gx] = byte((sum + n/2) / n)
		}
	}
	return out
}

// cell gives the pixels of a print's row or column; at least one.
func cell(i, size int) (from, to int) {
	from = i * size / PrintSide
	return from, max((i+1)*size/PrintSide, from+1)
}

// countRows reads only the file's footer.
func countRows(path string) (n int, err error) {
	err = parquetfile.Open(path, func(f *parquet.File) error {
		n = int(f.NumRows())
		return nil
	})
	return n, err
}

func readRows(path string) ([]Row, error) {
	if err := parquetfile.Open(path, func(f *parquet.File) error {
		for _, column := range []string{"image_path", "caption"} {
			if _, ok := f.Schema().Lookup(column); ok {
				return nil
			}
		}
		return errors.New("neither a column image_path nor caption; is it clip-retrieval's metadata?")
	}); err != nil {
		return nil, err
	}
	return parquetfile.Read[Row](path)
}
