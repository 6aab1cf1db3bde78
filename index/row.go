package index

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"

	"arf/dataset"

	"github.com/google/renameio/v2"
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
}

func rowOf(s dataset.Sample, number int, pixels []uint8, size int) Row {
	hash := sha256.Sum256(pixels)
	return Row{
		Key: s.Key, Caption: s.Text, Texts: s.Texts, Class: s.Class,
		Set: s.Meta["set"], License: s.Meta["license"], URL: s.Meta["url"],
		Number: int64(number) + 1, PixelHash: hash[:], Print: PrintOf(pixels, size),
	}
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

func writeRows(path string, rows []Row) error {
	f, err := renameio.NewPendingFile(path, renameio.WithPermissions(0o644))
	if err != nil {
		return err
	}
	defer f.Cleanup()
	w := parquet.NewGenericWriter[Row](f, parquet.Compression(&parquet.Zstd))
	if _, err = w.Write(rows); err == nil {
		err = w.Close()
	}
	if err == nil {
		err = f.CloseAtomicallyReplace()
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// countRows reads only the file's footer.
func countRows(path string) (n int, err error) {
	err = withParquet(path, func(f *parquet.File) error {
		n = int(f.NumRows())
		return nil
	})
	return n, err
}

func readRows(path string) (rows []Row, err error) {
	err = withParquet(path, func(f *parquet.File) error {
		if _, ok := f.Schema().Lookup("image_path"); !ok {
			if _, ok := f.Schema().Lookup("caption"); !ok {
				return errors.New("neither a column image_path nor caption; is it clip-retrieval's metadata?")
			}
		}
		r := parquet.NewGenericReader[Row](f)
		defer r.Close()
		rows = make([]Row, f.NumRows())
		for n := 0; n < len(rows); {
			m, err := r.Read(rows[n:])
			if n += m; n < len(rows) && (err != nil || m == 0) {
				return errors.Join(fmt.Errorf("%d rows of %d are readable", n, len(rows)), err)
			}
		}
		return nil
	})
	return rows, err
}

// withParquet opens a file; the library panics on some broken ones.
func withParquet(path string, do func(*parquet.File) error) (err error) {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("broken Parquet: %v", p)
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		}
	}()
	f, err := parquet.OpenFile(file, info.Size())
	if err != nil {
		return err
	}
	return do(f)
}
