package dataset

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// imageFiles is images without classes. Beside x.jpg, x.txt may hold its caption
// and x.json more, as in the folders that img2dataset writes.
type imageFiles []string

// Images opens image files, and folders with all that is below them. Keys are
// the paths, folders' in order.
func Images(paths ...string) (Dataset, error) {
	var d imageFiles
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("open images: %w", err)
		}
		if !info.IsDir() {
			d = append(d, path) // whatever its name; decoding will tell
			continue
		}
		before := len(d)
		err = filepath.WalkDir(path, func(p string, e fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case strings.HasPrefix(e.Name(), ".") && p != path:
				if e.IsDir() {
					return filepath.SkipDir
				}
			case !e.IsDir() && imageExtensions[strings.ToLower(filepath.Ext(p))]:
				d = append(d, p)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("open images: %w", err)
		}
		if len(d) == before {
			return nil, fmt.Errorf("open images: %s has no images", path)
		}
	}
	if len(d) == 0 {
		return nil, errors.New("open images: none given")
	}
	return d, nil
}

// openImages expands globs and ranges, too.
func openImages(source Source) (Dataset, error) {
	paths := []string{source.Path}
	if _, err := os.Stat(source.Path); err != nil {
		if paths, err = shardPaths(source.Path); err != nil {
			return nil, err
		}
		paths = slices.DeleteFunc(paths, func(p string) bool { return strings.HasPrefix(filepath.Base(p), ".") })
	}
	return Images(paths...)
}

func (d imageFiles) Len() int { return len(d) }

func (d imageFiles) Sample(i int) (Sample, error) {
	s, err := d.describe(i)
	if err == nil {
		s.Image, err = readImage(d[i])
	}
	return s, err
}

func (d imageFiles) describe(i int) (Sample, error) {
	s := Sample{Key: d[i], Label: -1}
	stem := strings.TrimSuffix(d[i], filepath.Ext(d[i]))
	text, err := beside(stem + ".txt")
	if err != nil {
		return s, err
	}
	info, err := beside(stem + ".json")
	if err != nil {
		return s, err
	}
	if info != nil && !json.Valid(info) {
		info = nil // another program's
	}
	if err := s.fill(text, info, nil); err != nil {
		return s, fmt.Errorf("%s: %w", stem, err)
	}
	return s, nil
}

// beside reads a file that may be there.
func beside(path string) ([]byte, error) {
	data, err := readBounded(path, 1<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil && !strings.Contains(err.Error(), path) {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return data, err
}

// imagesAsked is of how many images a guess looks for texts.
const imagesAsked = 1000

// TextsBeside reports whether any image of a folder and those in it has a .txt file
// beside it, which only the type "images" reads.
func TextsBeside(dir string) bool { return textsBeside(dir, math.MaxInt) }

// textsBeside looks at the first images in order of their paths.
func textsBeside(dir string, images int) (found bool) {
	_ = filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return fs.SkipAll // opening it says why
		case strings.HasPrefix(e.Name(), ".") && p != dir:
			if e.IsDir() {
				return fs.SkipDir
			}
		case !e.IsDir() && imageExtensions[strings.ToLower(filepath.Ext(p))]:
			info, err := os.Stat(strings.TrimSuffix(p, filepath.Ext(p)) + ".txt")
			found = err == nil && info.Mode().IsRegular()
			if images--; found || images == 0 {
				return fs.SkipAll
			}
		}
		return nil
	})
	return found
}

// looseImages reports whether a folder has images and no folders.
func looseImages(dir string) bool {
	entries, err := os.ReadDir(dir)
	if err != nil || slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		return !strings.HasPrefix(e.Name(), ".") && (e.IsDir() || e.Type()&fs.ModeSymlink != 0)
	}) {
		return false
	}
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return imageExtensions[strings.ToLower(filepath.Ext(e.Name()))] })
}
