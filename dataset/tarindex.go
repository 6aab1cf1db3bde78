package dataset

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// part is where an entry's content lies in its tar.
type part struct {
	offset int64
	size   int64
}

// tarSample is the entries of one key.
type tarSample struct {
	key                      string
	shard                    int32
	image, text, info, class part // size −1: none
}

var textExtensions = map[string]bool{"txt": true, "text": true, "caption": true}

// maxEntry bounds one entry: what is larger isn't an image that we would read.
// maxSidecar bounds the texts and JSONs beside images, which are read whole and
// parsed.
const (
	maxEntry   = 1 << 30
	maxSidecar = 16 << 20
)

// tarBlock is what a tar is made of.
const tarBlock = 512

// splitKey splits an entry's name at the first dot after the last slash, as
// webdataset does.
func splitKey(name string) (key, ext string) {
	base := strings.LastIndexByte(name, '/') + 1
	if dot := strings.IndexByte(name[base:], '.'); dot >= 0 {
		return name[:base+dot], strings.ToLower(name[base+dot+1:])
	}
	return name, ""
}

// indexTar reads the headers of a tar and groups its entries by key. What is
// found before damage is kept; the damage is a problem.
func indexTar(r io.ReaderAt, size int64, name string, shard int32, problems *Problems) []tarSample {
	window := &windowReader{r: r, size: size}
	entries := tar.NewReader(window)
	var samples []tarSample
	var current *tarSample
	finish := func() {
		if current != nil && current.image.size < 0 {
			problems.add("%s: %s: no image", name, current.key)
			samples = samples[:len(samples)-1]
		}
		current = nil
	}
	end := int64(0) // of the entries so far
	for {
		h, err := entries.Next()
		if errors.Is(err, io.EOF) {
			// A tar ends with blocks of zeros; what is cut between entries looks whole but for them.
			if end > 0 && end > size-tarBlock {
				problems.add("%s: it has no end mark, so it may be cut short after %d samples, and the last one may lack its text", name, len(samples))
			}
			break
		}
		if err != nil {
			if errors.Is(err, io.ErrUnexpectedEOF) {
				err = errors.New("the file is cut short")
			}
			problems.add("%s: after %d samples: %v", name, len(samples), err)
			// The last sample may lack its end.
			if current != nil {
				samples, current = samples[:len(samples)-1], nil
			}
			break
		}
		end = window.at
		switch h.Typeflag {
		case tar.TypeReg:
		case tar.TypeDir, tar.TypeXGlobalHeader:
			continue
		default:
			problems.add("%s: %s: neither file nor folder (a link or device): left out", name, h.Name)
			continue
		}
		if why := refuse(h); why != "" {
			problems.add("%s: %s: %s: left out", name, h.Name, why)
			continue
		}
		// Of what was refused the size may be another than in the tar, as of sparse files.
		end += (h.Size + tarBlock - 1) / tarBlock * tarBlock
		p := part{window.at, h.Size}
		key, ext := splitKey(strings.TrimPrefix(h.Name, "./"))
		if p.offset+p.size > size {
			problems.add("%s: %s: the file is cut short", name, h.Name)
			if current != nil && current.key == key {
				samples, current = samples[:len(samples)-1], nil
			}
			break
		}
		if key == "" || strings.HasSuffix(key, "/") {
			continue // hidden files
		}
		if p.size > maxSidecar && (textExtensions[ext] || ext == "json" || ext == "cls") {
			problems.add("%s: %s: %d bytes, too many for a text: left out", name, h.Name, p.size)
			continue
		}
		if current == nil || current.key != key {
			finish()
			none := part{size: -1}
			samples = append(samples, tarSample{key: key, shard: shard, image: none, text: none, info: none, class: none})
			current = &samples[len(samples)-1]
		}
		switch {
		case imageExtensions["."+ext]:
			current.image = p
		case textExtensions[ext]:
			current.text = p
		case ext == "json":
			current.info = p
		case ext == "cls":
			current.class = p
		}
	}
	finish()
	return samples
}

func refuse(h *tar.Header) string {
	switch {
	case path.IsAbs(h.Name) || strings.HasPrefix(h.Name, `\`):
		return "absolute path"
	case strings.Contains("/"+strings.ReplaceAll(h.Name, `\`, "/")+"/", "/../"):
		return `path with ".."`
	case h.Size > maxEntry:
		return fmt.Sprintf("%d bytes", h.Size)
	}
	for record := range h.PAXRecords {
		if strings.HasPrefix(record, "GNU.sparse.") {
			return "sparse file"
		}
	}
	return ""
}

// windowReader reads r through a window, so that scanning thousands of small
// entries isn't a system call each, while large entries are jumped over.
type windowReader struct {
	r      io.ReaderAt
	size   int64
	at     int64
	window []byte
	start  int64
}

func (w *windowReader) Read(p []byte) (int, error) {
	if w.at >= w.size {
		return 0, io.EOF
	}
	if w.at < w.start || w.at >= w.start+int64(len(w.window)) {
		if w.window == nil {
			w.window = make([]byte, 256<<10)
		}
		w.window = w.window[:cap(w.window)]
		n, err := w.r.ReadAt(w.window, w.at)
		w.window, w.start = w.window[:n], w.at
		if n == 0 {
			if err == nil {
				err = io.ErrNoProgress
			}
			return 0, err
		}
	}
	n := copy(p, w.window[w.at-w.start:])
	w.at += int64(n)
	return n, nil
}

func (w *windowReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += w.at
	case io.SeekEnd:
		offset += w.size
	}
	if offset < 0 {
		return 0, errors.New("seek before the start")
	}
	w.at = offset
	return offset, nil
}
