package imaging

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// bombs are small files whose headers promise two gigapixels or more, of every
// format that is read.
func bombs(t testing.TB) map[string][]byte {
	t.Helper()
	const side = 46341 // its square is above 2³¹
	files := map[string][]byte{
		"png":         pngHeader(side, side),
		"png chunks":  pngChunks(side),
		"png line":    pngHeader(MaxPixels, 1),
		"jpeg":        bigJPEG(t),
		"gif":         []byte("GIF89a\xff\xff\xff\xff\x00\x00\x00;"),
		"webp":        webpCanvas(side, false),
		"webp moving": webpCanvas(16384, true), // the most that a frame can have
		"tiff strips": tiff(side, side, false),
		"tiff tiles":  tiff(1<<20, 1<<20, true),
		"tiff one":    tiff(1<<31-1, 2, false),
	}
	bmp := bytes.Clone(read(t, "rgb.bmp"))
	binary.LittleEndian.PutUint32(bmp[18:], side)
	binary.LittleEndian.PutUint32(bmp[22:], side)
	files["bmp"] = bmp
	avif := bytes.Clone(read(t, "photo.avif"))
	changed := 0
	for at := 0; ; {
		i := bytes.Index(avif[at:], []byte("ispe"))
		if i < 0 {
			break
		}
		at += i + 4
		binary.BigEndian.PutUint32(avif[at+4:], side)
		binary.BigEndian.PutUint32(avif[at+8:], side)
		changed++
	}
	if changed == 0 {
		t.Fatal("photo.avif has no ispe box")
	}
	files["avif"] = avif
	return files
}

// pngChunks has, before its pixels, a text of 64 MiB, deflated.
func pngChunks(side uint32) []byte {
	out := pngHeader(side, side)
	zeros := deflatedZeros(64 << 20)
	chunk := append([]byte("zTXtbomb\x00\x00"), zeros...)
	out = binary.BigEndian.AppendUint32(out, uint32(len(chunk)-4))
	out = append(out, chunk...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(chunk))
}

// deflatedZeros is a zlib stream of n zeros in a thousandth of the bytes.
func deflatedZeros(n int) []byte {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	block := make([]byte, 1<<20)
	for ; n > 0; n -= len(block) {
		_, _ = w.Write(block[:min(n, len(block))])
	}
	_ = w.Close()
	return b.Bytes()
}

// webpCanvas is a WebP of the extended form (RFC 9649, section 2.7) with a large
// canvas and, moving, a frame of that size.
func webpCanvas(side uint32, moving bool) []byte {
	u24 := func(v uint32) []byte { return []byte{byte(v), byte(v >> 8), byte(v >> 16)} }
	chunk := func(name string, body []byte) []byte {
		return append(binary.LittleEndian.AppendUint32([]byte(name), uint32(len(body))), body...)
	}
	flags := byte(0)
	if moving {
		flags = 2
	}
	head := append([]byte{flags, 0, 0, 0}, u24(side-1)...)
	body := chunk("VP8X", append(head, u24(side-1)...))
	if moving {
		body = append(body, chunk("ANIM", make([]byte, 6))...)
		frame := append(make([]byte, 6), u24(side-1)...)
		frame = append(append(frame, u24(side-1)...), 0, 0, 0, 0)
		pixels := chunk("VP8L", []byte{0x2f, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0})
		body = append(body, chunk("ANMF", append(frame, pixels...))...)
		body = append(body, chunk("ANMF", append(frame, pixels...))...)
	}
	return append(binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(len(body)+4)), append([]byte("WEBP"), body...)...)
}

// tiff is a baseline TIFF of RGB pixels that aren't there.
func tiff(width, height uint32, tiles bool) []byte {
	type field struct {
		tag, kind    uint16
		count, value uint32
	}
	fields := []field{{256, 4, 1, width}, {257, 4, 1, height}, {258, 3, 1, 8}, {259, 3, 1, 1}, {262, 3, 1, 1}}
	if tiles {
		fields = append(fields, field{277, 3, 1, 1}, field{322, 4, 1, width}, field{323, 4, 1, height}, field{324, 4, 1, 8}, field{325, 4, 1, 1 << 31})
	} else {
		fields = append(fields, field{273, 4, 1, 8}, field{277, 3, 1, 1}, field{278, 4, 1, height}, field{279, 4, 1, 1 << 31})
	}
	out := []byte{'I', 'I', 42, 0, 8, 0, 0, 0}
	out = binary.LittleEndian.AppendUint16(out, uint16(len(fields)))
	for _, f := range fields {
		out = binary.LittleEndian.AppendUint16(out, f.tag)
		out = binary.LittleEndian.AppendUint16(out, f.kind)
		out = binary.LittleEndian.AppendUint32(out, f.count)
		out = binary.LittleEndian.AppendUint32(out, f.value)
	}
	return append(out, make([]byte, 64)...)
}

// TestBombs: headers of gigapixels are refused, and cost no memory. Each is
// decoded by a process of its own, whose peak is measured.
func TestBombs(t *testing.T) {
	const child = "ARF_TEST_BOMB"
	if path := os.Getenv(child); path != "" {
		if _, err := Decode(read(t, "420.jpg")); err != nil { // starts libvips
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		before := peakKB(t)
		_, err = Decode(data)
		fmt.Printf("grew %d KB; too large: %v; %v\n", peakKB(t)-before, errors.Is(err, ErrTooLarge), err)
		return
	}
	dir := t.TempDir()
	for name, data := range bombs(t) {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
			if err := os.WriteFile(path, data, 0o644); err != nil {
				t.Fatal(err)
			}
			c := exec.Command(os.Args[0], "-test.run=^TestBombs$", "-test.count=1")
			c.Env = append(os.Environ(), child+"="+path)
			out, err := c.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			var grew int
			if _, err := fmt.Sscanf(string(out), "grew %d KB", &grew); err != nil {
				t.Fatalf("%v in %s", err, out)
			}
			line, _, _ := strings.Cut(string(out), "\n")
			t.Log(line)
			if grew > 32<<10 || strings.HasSuffix(line, "<nil>") {
				t.Error(line)
			}
		})
	}
}

// Pictures near the limit are decoded one after another, whatever the workers.
func TestLargePicturesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, err := reserve(13000, 13000)
		if err != nil {
			t.Fatal(err)
		}
		small, err := reserve(1000, 1000)
		if err != nil {
			t.Fatal(err)
		}
		var second time.Duration
		began := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			release, err := reserve(13000, 13000)
			if err != nil {
				t.Error(err)
				return
			}
			second = time.Since(began)
			release()
		})
		time.Sleep(time.Minute)
		small()
		time.Sleep(time.Minute)
		first()
		wg.Wait()
		if second != 2*time.Minute {
			t.Errorf("the second one began after %v, want 2m", second)
		}
	})
	for _, size := range [][2]int{{0, 5}, {5, -1}, {1 << 20, 1 << 20}, {MaxPixels/1000 + 1, 1000}, {MaxSide + 1, 1}} {
		if _, err := reserve(size[0], size[1]); err == nil {
			t.Errorf("%v is accepted", size)
		}
	}
	release, err := reserve(MaxPixels/1000, 1000) // the largest fits
	if err != nil {
		t.Fatal(err)
	}
	release()
}

// peakKB is the most memory that the process has had.
func peakKB(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kb
}
