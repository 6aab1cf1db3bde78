package corpus

import (
	"archive/tar"
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"arf/internal/atomicfile"
)

// shardPairs is how many pairs a tar holds.
const shardPairs = 10_000

// part is a folder of the corpus before it's written.
type part struct {
	folder string
	icons  []*icon
	tars   bool
}

func (p *plan) parts() []part {
	var out []part
	for _, role := range []Role{Pretrain, PretrainHeldout, Pool} {
		out = append(out, part{string(role), p.pairs[role], true})
	}
	for _, role := range []Role{Finetune, Validation, ID, ZeroShot} {
		out = append(out, part{string(role), p.images[role][""], false})
	}
	for _, role := range []Role{ValidationShift, Shift} {
		for _, style := range []Style{StyleLine, StyleDuotone, StyleColor, StyleEmoji, StylePixelHand} {
			if icons := p.images[role][style]; len(icons) > 0 || role == Shift {
				out = append(out, part{filepath.Join(string(role), string(style)), icons, false})
			}
		}
	}
	return out
}

// write puts the corpus on disk. The manifest comes last: a corpus with a manifest is complete.
func write(ctx context.Context, p *plan, r *rules, m *Manifest, opts Options) error {
	if err := os.MkdirAll(opts.Out, 0o755); err != nil {
		return fmt.Errorf("writing the icon corpus: %w", err)
	}
	if err := os.Remove(filepath.Join(opts.Out, "manifest.json")); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("writing the icon corpus: %w", err)
	}
	m.Parts = map[string]Part{}
	parts := p.parts()
	if err := removeOthers(opts.Out, parts); err != nil {
		return fmt.Errorf("writing the icon corpus: %w", err)
	}
	for i, part := range parts {
		opts.Progress("write", i, len(parts))
		info := part.describe(r)
		if err := writePart(ctx, part, info.SHA256, r, opts.Out); err != nil {
			return fmt.Errorf("writing %s of the icon corpus: %w", part.folder, err)
		}
		m.Parts[filepath.ToSlash(part.folder)] = info
	}
	opts.Progress("write", len(parts), len(parts))
	classes := Classes{Finetune: []Class{}, ZeroShot: []Class{}}
	for i, c := range r.classes {
		switch {
		case !p.kept[i]:
		case i < r.finetune:
			classes.Finetune = append(classes.Finetune, c)
		default:
			classes.ZeroShot = append(classes.ZeroShot, c)
		}
	}
	for _, list := range [][]Class{classes.Finetune, classes.ZeroShot} {
		slices.SortFunc(list, func(a, b Class) int { return cmp.Compare(a.Name, b.Name) })
	}
	if err := writeJSON(filepath.Join(opts.Out, "classes.json"), classes); err != nil {
		return err
	}
	if err := writeLicences(parts, r, filepath.Join(opts.Out, "licenses.csv")); err != nil {
		return err
	}
	return writeJSON(filepath.Join(opts.Out, "manifest.json"), m)
}

// removeOthers removes folders that an earlier version wrote and this one doesn't: those with a stamp.
func removeOthers(out string, parts []part) error {
	for _, pattern := range []string{"*/.sha256", "*/*/.sha256"} {
		stamps, err := fs.Glob(os.DirFS(out), pattern)
		if err != nil {
			return err
		}
		for _, stamp := range stamps {
			folder := path.Dir(stamp)
			if slices.ContainsFunc(parts, func(p part) bool { return filepath.ToSlash(p.folder) == folder }) {
				continue
			}
			if err := os.RemoveAll(filepath.Join(out, folder)); err != nil {
				return err
			}
		}
	}
	return nil
}

// describe counts and hashes a part.
func (pt part) describe(r *rules) Part {
	info := Part{Images: len(pt.icons), Styles: map[Style]int{}}
	sets, classes := map[string]bool{}, map[int]bool{}
	h := sha256.New()
	for _, ic := range pt.icons {
		sets[ic.Set] = true
		info.Styles[ic.Style]++
		fmt.Fprintf(h, "%s %x\n", ic.key(), ic.Sum)
		if pt.tars {
			fmt.Fprintf(h, "%q %s %s\n", wordings(ic), ic.License, ic.Heldout)
		} else {
			classes[ic.Class] = true
			fmt.Fprintln(h, r.classes[ic.Class].Name)
		}
	}
	info.Sets, info.Classes = len(sets), len(classes)
	info.SHA256 = hex.EncodeToString(h.Sum(nil))
	return info
}

// writePart writes one folder beside its place and moves it there. A stamp with the folder's hash says
// that it's there already.
func writePart(ctx context.Context, pt part, sum string, r *rules, out string) error {
	final := filepath.Join(out, pt.folder)
	stamp := filepath.Join(final, ".sha256")
	if data, err := os.ReadFile(stamp); err == nil && string(data) == sum+"\n" {
		return nil
	}
	temp := filepath.Join(out, ".writing")
	if err := os.RemoveAll(temp); err != nil {
		return err
	}
	if err := os.MkdirAll(temp, 0o755); err != nil {
		return err
	}
	if pt.tars {
		for shard := 0; shard*shardPairs < len(pt.icons); shard++ {
			icons := pt.icons[shard*shardPairs : min((shard+1)*shardPairs, len(pt.icons))]
			if err := writeShard(ctx, icons, filepath.Join(temp, fmt.Sprintf("%05d.tar", shard))); err != nil {
				return err
			}
		}
	} else {
		for _, ic := range pt.icons {
			if err := ctx.Err(); err != nil {
				return err
			}
			name := filepath.Join(temp, r.classes[ic.Class].Name, ic.key()+".png")
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				return err
			}
			data, err := ic.png()
			if err != nil {
				return err
			}
			if err := os.WriteFile(name, data, 0o644); err != nil {
				return err
			}
		}
	}
	if err := os.WriteFile(filepath.Join(temp, ".sha256"), []byte(sum+"\n"), 0o644); err != nil {
		return err
	}
	if err := os.RemoveAll(final); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(final), 0o755); err != nil {
		return err
	}
	return os.Rename(temp, final)
}

// pairMeta is <key>.json of a pair.
type pairMeta struct {
	Texts   []string `json:"texts"`
	Set     string   `json:"set"`
	License string   `json:"license"`
	Author  string   `json:"author"`
	Style   Style    `json:"style"`
	Heldout string   `json:"heldout,omitempty"` // "set": no icon of the set was trained on; "name": none of the name
}

func writeShard(ctx context.Context, icons []*icon, name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	buffer := bufio.NewWriterSize(f, 1<<20)
	w := tar.NewWriter(buffer)
	add := func(name string, data []byte) error {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data)), Format: tar.FormatUSTAR}); err != nil {
			return err
		}
		_, err := w.Write(data)
		return err
	}
	for _, ic := range icons {
		if err := ctx.Err(); err != nil {
			return err
		}
		png, err := ic.png()
		if err != nil {
			return err
		}
		texts := wordings(ic)
		meta, err := marshal(pairMeta{texts, ic.Set, ic.License, ic.Author, ic.Style, ic.Heldout}, "")
		if err != nil {
			return err
		}
		for _, file := range []struct {
			ext  string
			data []byte
		}{{".png", png}, {".txt", []byte(texts[0])}, {".json", meta}} {
			if err := add(ic.key()+file.ext, file.data); err != nil {
				return err
			}
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	if err := buffer.Flush(); err != nil {
		return err
	}
	return f.Close()
}

// writeLicences lists the licence of every image, by folder, set and icon.
func writeLicences(parts []part, r *rules, name string) error {
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	w.Write([]string{"path", "set", "icon", "license", "author"})
	for _, pt := range parts {
		for i, ic := range pt.icons {
			path := filepath.ToSlash(pt.folder)
			if pt.tars {
				path += fmt.Sprintf("/%05d.tar/%s.png", i/shardPairs, ic.key())
			} else {
				path += "/" + r.classes[ic.Class].Name + "/" + ic.key() + ".png"
			}
			w.Write([]string{path, ic.Set, ic.Icon, ic.License, ic.Author})
		}
	}
	w.Flush()
	if err := w.Error(); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if err := atomicfile.Write(name, out.Bytes(), 0o644); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}

func writeJSON(name string, v any) error {
	data, err := marshal(v, "  ")
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if err := atomicfile.Write(name, data, 0o644); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}

func marshal(v any, indent string) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	err := enc.Encode(v)
	return out.Bytes(), err
}
