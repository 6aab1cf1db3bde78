package dataset

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzExpand: a pattern of braces makes a bounded list, of texts without them.
func FuzzExpand(f *testing.F) {
	for _, s := range []string{"pool/{00000..00009}.tar", "{a,b}{1..3}", "{0..1048575}{0,1}", "{1..", "{9..1}", "{99999999999999999999..1}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		paths, err := expand(pattern)
		if err != nil {
			return
		}
		if len(paths) == 0 || len(paths) > maxExpansion {
			t.Errorf("%q makes %d", pattern, len(paths))
		}
		if !strings.Contains(pattern, "{") && (len(paths) != 1 || paths[0] != pattern) {
			t.Errorf("%q makes %q", pattern, paths)
		}
	})
}

// FuzzSidecars: what stands beside an image is taken whole or not at all.
func FuzzSidecars(f *testing.F) {
	f.Add([]byte("a cat"), []byte(`{"caption":"x","texts":["a","b"],"label":2,"class":"cat","url":"http://x"}`), []byte("3\n"))
	f.Add([]byte("\xff"), []byte(`{"label":1e300,"texts":{}}`), []byte("-1"))
	f.Fuzz(func(t *testing.T, text, info, class []byte) {
		s := Sample{Label: -1}
		if err := s.fill(text, info, class); err != nil {
			return
		}
		if s.Label < -1 || !utf8.ValidString(s.Text) || len(s.Texts) > 0 && s.Texts[0] != s.Text || s.Text != "" && len(s.Texts) == 0 {
			t.Errorf("%+v", s)
		}
		_ = s.classify([]string{"cat", "dog"}, uniqueLabels([]string{"cat", "dog"}))
	})
}
