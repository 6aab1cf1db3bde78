package corpus

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/binary"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"arf/internal/atomicfile"

	"golang.org/x/sync/errgroup"
)

//go:embed draw/draw.js
var drawScript []byte

// defaultPatience is how long one icon may take; they take a millisecond.
const defaultPatience = 30 * time.Second

// drawn is what drawing finds out about an icon. The PNG stays in the cache.
type drawn struct {
	Failed string // why there's no picture
	Sum    [32]byte
	Look   look
	Print  fingerprint
	blob   string
	Offset int64
	Length int
}

// png reads the picture back from the cache.
func (d *drawn) png() ([]byte, error) {
	f, err := os.Open(d.blob)
	if err != nil {
		return nil, fmt.Errorf("reading a drawn icon: %w", err)
	}
	defer f.Close()
	data := make([]byte, d.Length)
	if _, err := f.ReadAt(data, d.Offset); err != nil {
		return nil, fmt.Errorf("reading a drawn icon from %s: %w; remove the folder to draw again", d.blob, err)
	}
	return data, nil
}

// drawAll draws every icon, set by set, and returns those that have a picture.
func drawAll(ctx context.Context, icons []*icon, counts Dropped, opts Options) ([]*icon, error) {
	if err := os.MkdirAll(opts.CacheDir, 0o755); err != nil {
		return nil, fmt.Errorf("drawing icons: %w", err)
	}
	workers := opts.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	var sets [][]*icon
	for start, i := 0, 1; i <= len(icons); i++ {
		if i == len(icons) || icons[i].Set != icons[start].Set {
			sets = append(sets, icons[start:i])
			start = i
		}
	}
	// The largest first, so that the cores end together.
	slices.SortStableFunc(sets, func(a, b []*icon) int { return len(b) - len(a) })
	var mu sync.Mutex
	done := 0
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for _, set := range sets {
		group.Go(func() error {
			if err := drawSet(ctx, set, opts); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			done += len(set)
			opts.Progress("draw", done, len(icons))
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var kept []*icon
	for _, ic := range icons {
		switch {
		case ic.Failed != "":
			counts.add(ic.Family.Role, "can't be drawn")
		case ic.Look.blank():
			counts.add(ic.Family.Role, "blank")
		default:
			kept = append(kept, ic)
		}
	}
	return kept, nil
}

// drawSet fills in the pictures of one set, from the cache if it was drawn before.
func drawSet(ctx context.Context, icons []*icon, opts Options) error {
	h := sha256.New()
	h.Write(drawScript)
	fmt.Fprintln(h, drawVersion)
	for _, ic := range icons {
		fmt.Fprintf(h, "%s %d %s\n", ic.Icon, len(ic.SVG), ic.SVG)
	}
	base := filepath.Join(opts.CacheDir, icons[0].Set+"-"+hex.EncodeToString(h.Sum(nil)[:8]))
	if results, err := loadDrawn(base, len(icons)); err == nil {
		for i, ic := range icons {
			ic.drawn = results[i]
			ic.SVG = ""
		}
		return nil
	}
	blob, err := atomicfile.Create(base + ".png")
	if err != nil {
		return fmt.Errorf("drawing %s: %w", icons[0].Set, err)
	}
	defer blob.Cleanup()
	out := bufio.NewWriterSize(blob, 1<<20)
	offset := int64(0)
	results := make([]drawn, len(icons))
	d := &drawer{modules: filepath.Join(opts.PackageDir, "..", ".."), size: Size}
	defer d.close()
	var encoded bytes.Buffer
	err = d.draw(ctx, len(icons), func(i int) string { return icons[i].SVG }, func(i int, rgb []byte, failed string) error {
		r := &results[i]
		r.blob = base + ".png"
		if failed != "" {
			r.Failed = failed
			return nil
		}
		r.Sum = sha256.Sum256(rgb)
		r.Look = measure(rgb)
		r.Print = fingerprintOf(rgb)
		encoded.Reset()
		if err := encodePNG(&encoded, rgb); err != nil {
			return err
		}
		r.Offset, r.Length = offset, encoded.Len()
		offset += int64(encoded.Len())
		_, err := out.Write(encoded.Bytes())
		return err
	})
	if err != nil {
		return fmt.Errorf("drawing %s: %w", icons[0].Set, err)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("drawing %s: %w", icons[0].Set, err)
	}
	if err := blob.CloseAtomicallyReplace(); err != nil {
		return fmt.Errorf("drawing %s: %w", icons[0].Set, err)
	}
	var index bytes.Buffer
	if err := gob.NewEncoder(&index).Encode(results); err != nil {
		return fmt.Errorf("drawing %s: %w", icons[0].Set, err)
	}
	if err := atomicfile.Write(base+".gob", index.Bytes(), 0o644); err != nil {
		return fmt.Errorf("drawing %s: %w", icons[0].Set, err)
	}
	for i, ic := range icons {
		ic.drawn = results[i]
		ic.SVG = ""
	}
	return nil
}

func loadDrawn(base string, n int) ([]drawn, error) {
	data, err := os.ReadFile(base + ".gob")
	if err != nil {
		return nil, err
	}
	var results []drawn
	if err := gob.NewDecoder(bytes.NewReader(data)).Decode(&results); err != nil {
		return nil, err
	}
	info, err := os.Stat(base + ".png")
	if err != nil {
		return nil, err
	}
	size := int64(0)
	for i := range results {
		results[i].blob = base + ".png"
		size += int64(results[i].Length)
	}
	if len(results) != n || info.Size() != size {
		return nil, errors.New("cached drawings are incomplete")
	}
	return results, nil
}

var pngEncoder = png.Encoder{CompressionLevel: png.BestSpeed, BufferPool: &pngBuffers{}}

type pngBuffers struct{ sync.Pool }

func (p *pngBuffers) Get() *png.EncoderBuffer {
	b, _ := p.Pool.Get().(*png.EncoderBuffer)
	return b
}
func (p *pngBuffers) Put(b *png.EncoderBuffer) { p.Pool.Put(b) }

// encodePNG writes Size×Size RGB pixels as an 8-bit RGB PNG.
func encodePNG(w io.Writer, rgb []byte) error {
	img := image.NewNRGBA(image.Rect(0, 0, Size, Size))
	for i, o := 0, 0; i < len(rgb); i, o = i+3, o+4 {
		img.Pix[o], img.Pix[o+1], img.Pix[o+2], img.Pix[o+3] = rgb[i], rgb[i+1], rgb[i+2], 255
	}
	return pngEncoder.Encode(w, img)
}

// drawer runs the drawing script in a child process, and starts another when an icon kills it.
type drawer struct {
	modules  string // folder that holds @resvg/resvg-js
	size     int
	script   []byte        // drawScript, unless a test puts another here
	patience time.Duration // how long one icon may take; 0 = defaultPatience
	child    *child
}

type child struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	stderr  bytes.Buffer
	written chan error
}

// draw sends icons 0…n-1 and gives every answer to each, in order; rgb is reused. failed tells why
// an icon has no picture. An icon that ends the child, or stops it for long, fails alone.
func (d *drawer) draw(ctx context.Context, n int, svg func(int) string, each func(i int, rgb []byte, failed string) error) error {
	rgb := make([]byte, d.size*d.size*3)
	deaths := 0
	for next := 0; next < n; {
		if err := d.start(ctx, next, n, svg); err != nil {
			return err
		}
		answered := 0
		var cause error
		for next < n {
			length, err := d.child.answer(next, rgb, cmp.Or(d.patience, defaultPatience))
			if err != nil {
				cause = err
				break
			}
			answered++
			failed := ""
			if length == 0 {
				failed = "not an SVG that can be drawn"
			}
			if err := each(next, rgb[:length], failed); err != nil {
				return err
			}
			next++
		}
		stderr := d.stop()
		if next == n {
			break
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if deaths++; answered == 0 && deaths > 20 {
			return fmt.Errorf("the drawing process dies on every icon: %w: %s", cause, stderr)
		}
		if answered > 0 {
			deaths = 0
		}
		if bytes.Contains(stderr, []byte("Cannot find module")) {
			return fmt.Errorf("@resvg/resvg-js isn't installed in %s; run `npm ci --prefix corpus/draw`", d.modules)
		}
		if err := each(next, nil, fmt.Sprintf("ended the drawing process: %v", cause)); err != nil {
			return err
		}
		next++
	}
	return nil
}

// start runs a child and feeds it the icons from first on.
func (d *drawer) start(ctx context.Context, first, n int, svg func(int) string) error {
	script := d.script
	if script == nil {
		script = drawScript
	}
	modules, err := filepath.Abs(d.modules)
	if err != nil {
		return err
	}
	c := &child{written: make(chan error, 1)}
	c.cmd = exec.CommandContext(ctx, "node", "-e", string(script), "--", "draw", filepath.Join(modules, "@resvg", "resvg-js"), fmt.Sprint(d.size))
	c.cmd.Stderr = &c.stderr
	c.cmd.WaitDelay = 5 * time.Second
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	c.out = bufio.NewReaderSize(out, 1<<18)
	if err := c.cmd.Start(); err != nil {
		return fmt.Errorf("starting node, which draws the icons: %w; install it with `apt-get install nodejs npm`", err)
	}
	d.child = c
	go func() {
		w := bufio.NewWriterSize(c.in, 1<<16)
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		var err error
		for i := first; i < n && err == nil; i++ {
			err = enc.Encode(struct {
				ID  int    `json:"id"`
				SVG string `json:"svg"`
			}{i, svg(i)})
		}
		err = errors.Join(err, w.Flush())
		c.in.Close()
		c.written <- err
	}()
	return nil
}

// answer reads the picture of icon id into rgb and returns its length, 0 for none.
func (c *child) answer(id int, rgb []byte, patience time.Duration) (int, error) {
	stuck := time.AfterFunc(patience, func() { c.cmd.Process.Kill() })
	defer stuck.Stop()
	var head [8]byte
	if _, err := io.ReadFull(c.out, head[:]); err != nil {
		return 0, err
	}
	got, length := int(binary.LittleEndian.Uint32(head[:])), int(binary.LittleEndian.Uint32(head[4:]))
	if got != id || length != 0 && length != len(rgb) {
		return 0, fmt.Errorf("answer for icon %d with %d bytes, want icon %d", got, length, id)
	}
	_, err := io.ReadFull(c.out, rgb[:length])
	return length, err
}

// stop ends the child and returns what it said.
func (d *drawer) stop() []byte {
	c := d.child
	if c == nil {
		return nil
	}
	d.child = nil
	// It was killed: how its pipes and it ended says nothing.
	_ = c.cmd.Process.Kill()
	_ = c.in.Close()
	<-c.written //nolint:errcheck // it says no more than they
	_ = c.cmd.Wait()
	return c.stderr.Bytes()
}

func (d *drawer) close() { d.stop() }
