package clip

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"arf/torch"
)

// ConvertOptions say how a model is read and written anew.
type ConvertOptions struct {
	Load LoadOptions
	// Save: a DType of 0 keeps the source's.
	Save SaveOptions
	// Force writes into a folder that isn't empty. A model in it is replaced, its
	// card too; other files stay.
	Force bool
}

// Convert reads the model at in and writes it into the folder out, which is
// made whole or not at all; where out isn't empty, which needs Force, that holds
// for each file. It gives the model and the options that it was written with.
func Convert(in, out string, o ConvertOptions) (*Model, SaveOptions, error) {
	empty, err := mayWrite(in, out, o.Force)
	if err != nil {
		return nil, o.Save, err
	}
	m, err := LoadWith(in, torch.CPU, o.Load)
	if err != nil {
		return nil, o.Save, err
	}
	if o.Save.DType == 0 {
		o.Save.DType = m.Source.DType
	}
	if o.Save.Layout == "" {
		o.Save.Layout = m.Config.layout()
	}
	if o.Save.Layout == HuggingFace {
		if err := m.Config.checkHF(); err != nil {
			return nil, o.Save, fmt.Errorf("convert %s: %w", in, err)
		}
	}
	if !empty {
		return m, o.Save, m.SaveWith(out, o.Save)
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return nil, o.Save, err
	}
	part, err := os.MkdirTemp(filepath.Dir(out), "."+filepath.Base(out)+"-*")
	if err != nil {
		return nil, o.Save, err
	}
	defer os.RemoveAll(part)
	if err := os.Chmod(part, 0o755); err != nil {
		return nil, o.Save, err
	}
	if err := m.SaveWith(part, o.Save); err != nil {
		return nil, o.Save, err
	}
	if err := os.Remove(out); err != nil && !errors.Is(err, fs.ErrNotExist) { // an empty folder
		return nil, o.Save, err
	}
	return m, o.Save, os.Rename(part, out)
}

// mayWrite tells whether out is missing or empty, and refuses what would be
// lost or mixed up.
func mayWrite(in, out string, force bool) (empty bool, err error) {
	info, err := os.Stat(out)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	if !info.IsDir() {
		return false, fmt.Errorf("%s is a file; give a folder to write the model into", out)
	}
	if source, err := os.Stat(in); err == nil {
		if !source.IsDir() {
			source, err = os.Stat(filepath.Dir(in))
		}
		if err == nil && os.SameFile(source, info) {
			return false, fmt.Errorf("%s is where the source is; give another folder, so that nothing is lost", out)
		}
	}
	entries, err := os.ReadDir(out)
	if err != nil {
		return false, err
	}
	if len(entries) == 0 {
		return true, nil
	}
	if !force {
		return false, fmt.Errorf("%s is not empty; give a new folder, or --force to write the model among its files, in the place of one that is there", out)
	}
	return false, nil
}
