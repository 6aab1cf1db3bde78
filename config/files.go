package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// hubID is the form of a model on the Hugging Face hub; package hub looks for it, here first.
var hubID = regexp.MustCompile(`^(hf-hub:.*|[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?)$`)

// CheckFiles reports every input of the run that doesn't exist, so that a run doesn't stop in its third hour over a
// misspelt path. Like Validate it joins *Errors.
func (c *Config) CheckFiles() error {
	v := validator{origin: c.origin}
	if !hubID.MatchString(c.Model) {
		v.exists("model", c.Model)
	}
	v.exists("data.finetune.path", c.Data.Finetune.Paths()...)
	v.exists("data.validation.path", c.Data.Validation.Paths()...)
	v.exists("data.classes", c.Data.Classes.Ref)
	if c.NeedsPool() {
		v.exists("data.pool.path", c.Data.Pool.Paths()...)
		for i, s := range c.Anchors.Pairs.LeakGuard.Sources {
			v.exists(fmt.Sprintf("anchors.pairs.leak_guard.sources[%d].path", i), s.Paths()...)
		}
	}
	if captioner := c.Anchors.Captions.Captioner; c.NeedsCaptions() && captioner != "" && !c.Anchors.Captions.Retrieves() && !hubID.MatchString(captioner) {
		v.exists("anchors.captions.captioner", captioner)
	}
	v.exists("train.templates", c.Train.Templates.Ref)
	v.exists("eval.templates", c.Eval.Templates.Ref)
	v.exists("eval.drift.source.path", c.Eval.Drift.Source.Paths()...)
	for i, s := range c.Eval.Suites {
		key := fmt.Sprintf("eval.suites[%d]", i)
		v.exists(key+".source.path", s.Source.Paths()...)
		v.exists(key+".templates", s.Templates.Ref)
		if s.Classes.Ref != ClassesFinetune && s.Classes.Ref != ClassesFolder && s.Classes.Ref != ClassesTexts {
			v.exists(key+".classes", s.Classes.Ref)
		}
		if s.ClassMask.Ref != MaskPresent {
			v.exists(key+".class_mask", s.ClassMask.Ref)
		}
	}
	return errors.Join(v.errs...)
}

// Paths are the parts of a path that joins several sources by "::".
func (s Source) Paths() []string { return strings.Split(s.Path, "::") }

// exists checks paths, of each the folder before its first pattern ({000..099}, *).
func (v *validator) exists(key string, paths ...string) {
	for _, path := range paths {
		if path == "" || strings.Contains(path, "://") { // a server's, asked when it is opened
			continue
		}
		concrete := path
		if i := strings.IndexAny(path, "{*?["); i >= 0 {
			concrete = filepath.Dir(path[:i] + "x")
		}
		_, err := os.Stat(concrete)
		if errors.Is(err, fs.ErrNotExist) {
			v.check(false, key, "%s does not exist; correct the path (relative to the current folder) or put the data there", concrete)
		} else if err != nil {
			v.check(false, key, "%v", err)
		}
	}
}
