package remote

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "gocloud.dev/blob/gcsblob"
	_ "gocloud.dev/blob/s3blob"

	"arf/internal/buckettest"
)

// clouds runs a test against S3's protocol and Google's; url gives the URL of a key.
func clouds(t *testing.T, objects map[string][]byte, test func(t *testing.T, s *buckettest.Server, url func(key string) string)) {
	for _, cloud := range []string{"s3", "gs"} {
		t.Run(cloud, func(t *testing.T) {
			s := buckettest.New(t, objects)
			t.Setenv("AWS_ACCESS_KEY_ID", "key")
			t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
			t.Setenv("STORAGE_EMULATOR_HOST", s.Emulator())
			url := s.S3
			if cloud == "gs" {
				url = s.GS
			}
			test(t, s, url)
		})
	}
}

func TestClouds(t *testing.T) {
	data := content(100_000, 20)
	objects := map[string][]byte{"cc/0.tar": data, "cc/1 a.tar": data, "cc/2.tar": data, "cc/a.txt": data, "cc/deep/3.tar": data, "other/4.tar": data}
	clouds(t, objects, func(t *testing.T, s *buckettest.Server, url func(string) string) {
		for pattern, want := range map[string][]string{"cc/": {"0", "1 a", "2"}, "cc/*.tar": {"0", "1 a", "2"}, "cc/[12]*": {"1 a", "2"}, "cc/deep/*": {"deep/3"}} {
			got, err := List(t.Context(), url(pattern), impatient)
			var found []string
			for _, g := range got { // each can be opened as it is
				path, _, _ := strings.Cut(strings.TrimPrefix(g, url("")[:5]+s.Bucket+"/cc/"), "?")
				found = append(found, strings.ReplaceAll(strings.TrimSuffix(path, ".tar"), "%20", " "))
				if f, err := cache(t, 1<<20).Open(t.Context(), g); err != nil || f.Size() != 100_000 {
					t.Errorf("%s is listed: %v", g, err)
				}
			}
			if err != nil || !slices.Equal(found, want) {
				t.Errorf("%s: %q, %v", pattern, found, err)
			}
		}
		if _, err := List(t.Context(), url("cc/*.zip"), impatient); err == nil || !strings.Contains(err.Error(), "no file") {
			t.Errorf("an empty list: %v", err)
		}
		f := open(t, cache(t, 1<<20), url("cc/2.tar"))
		s.Fault(nil)
		p := make([]byte, 100)
		if _, err := f.ReadAt(p, 7000); err != nil || !bytes.Equal(p, data[7000:7100]) {
			t.Error(err)
		}
		if _, sent := s.Calls(); sent > 200 {
			t.Errorf("%d bytes were sent for 100", sent)
		}
		if got := whole(t, f); !bytes.Equal(got, data) {
			t.Error("another file came")
		}
		// Replaced by a longer one.
		f = open(t, cache(t, 1<<20), url("cc/0.tar"))
		s.Set("cc/0.tar", content(100_001, 21))
		if err := f.Fetch(); !errors.Is(err, errChanged) {
			t.Errorf("changed meanwhile: %v", err)
		}
	})
}

// Answers that no further try mends are told at once, with what does.
func TestCloudsRefuse(t *testing.T) {
	clouds(t, map[string][]byte{"a.tar": content(1000, 22)}, func(t *testing.T, s *buckettest.Server, url func(string) string) {
		c := cache(t, 1<<20)
		profiles := filepath.Join(t.TempDir(), "config")
		if err := os.WriteFile(profiles, []byte("[profile secret]\naws_access_key_id = key\naws_secret_access_key = secret\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		t.Setenv("AWS_CONFIG_FILE", profiles)
		credentials := map[bool]string{true: "AWS_PROFILE", false: "GOOGLE_APPLICATION_CREDENTIALS"}[strings.HasPrefix(url(""), "s3")]
		refuse := func(status int, code string) func(buckettest.Call, http.ResponseWriter) bool {
			return func(_ buckettest.Call, w http.ResponseWriter) bool {
				buckettest.Refuse(w, status, code)
				return true
			}
		}
		for _, x := range []struct {
			name, key, bucket string
			fault             func(buckettest.Call, http.ResponseWriter) bool
			open, list        []string // in the messages; a missing file is none of a list
		}{
			{name: "no file", key: "b.tar", open: []string{"no such file"}, list: []string{"no file"}},
			{name: "no bucket", key: "a.tar", bucket: "others", open: []string{"no such bucket"}, list: []string{"no such bucket"}},
			{"denied", "a.tar", "", refuse(403, "AccessDenied"), []string{"access is denied", credentials}, []string{"access is denied", credentials}},
			{"another key", "a.tar", "", refuse(403, "SignatureDoesNotMatch"), []string{"access is denied", credentials}, []string{"access is denied", "SignatureDoesNotMatch"}},
			{"not signed in", "a.tar", "", refuse(401, "Unauthorized"), []string{"access is denied", credentials}, []string{"access is denied", credentials}},
			{"another region", "a.tar", "", refuse(301, "PermanentRedirect"), []string{"another region"}, []string{"another region"}},
			{"bad request", "a.tar", "", refuse(400, "BadRequest"), []string{"400"}, []string{"400"}},
		} {
			at := url(x.key)
			if strings.HasPrefix(at, "s3") {
				at += "&profile=secret" // nothing behind a ? may be shown
			} else if x.name == "another region" {
				continue // Google's buckets have one address
			}
			if x.bucket != "" {
				at = strings.Replace(at, "//"+s.Bucket+"/", "//"+x.bucket+"/", 1)
			}
			s.Fault(x.fault)
			_, err := c.Open(t.Context(), at)
			tell(t, x.name, err, append(x.open, Redacted(at))...)
			calls, _ := s.Calls()
			_, err = List(t.Context(), strings.Replace(at, x.key, x.key[:1]+"*", 1), impatient)
			tell(t, x.name+", listed", err, x.list...)
			if all, _ := s.Calls(); len(calls) > 2 || len(all)-len(calls) > 1 {
				t.Errorf("%s: asked again: %v", x.name, all)
			}
			s.Fault(nil)
			if strings.Contains(x.name, "file") || x.bucket != "" {
				continue
			}
			// Once it was opened, too.
			f := open(t, c, at)
			s.Fault(x.fault)
			tell(t, x.name+", fetched", f.Fetch(), append(x.open, Redacted(at))...)
		}
	})
}

func tell(t *testing.T, name string, err error, wants ...string) {
	t.Helper()
	if err == nil || strings.Contains(err.Error(), "secret") || errors.Is(err, ErrUnavailable) {
		t.Errorf("%s: %v", name, err)
		return
	}
	for _, want := range wants {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", name, err, want)
		}
	}
}

// A shard whose reading is disturbed comes whole in the end, and what was there
// isn't sent again; where it doesn't, the server is named.
func TestCloudsFail(t *testing.T) {
	data := content(400_000, 23)
	clouds(t, map[string][]byte{"a.tar": data}, func(t *testing.T, s *buckettest.Server, url func(string) string) {
		first := true
		c := cache(t, 1<<20)
		c.Tries.Idle = 20 * time.Second
		fetch := func(name string, fault func(buckettest.Call, http.ResponseWriter) bool) ([]buckettest.Call, int64) {
			t.Helper()
			c.Dir = t.TempDir()
			f := open(t, c, url("a.tar"))
			first = true
			s.Fault(fault)
			if got := whole(t, f); !bytes.Equal(got, data) {
				t.Errorf("%s: another file came", name)
			}
			return s.Calls()
		}
		calls, _ := fetch("503 once", func(_ buckettest.Call, w http.ResponseWriter) bool {
			if first {
				buckettest.Refuse(w, http.StatusServiceUnavailable, "SlowDown")
			}
			was := first
			first = false
			return was
		})
		if len(calls) != 2 {
			t.Errorf("503 once: %v", calls)
		}
		// Cut in the middle, then a 503, then the rest.
		n := 0
		calls, sent := fetch("cut", func(c buckettest.Call, w http.ResponseWriter) bool {
			switch n++; n {
			case 1:
				s.Cut(c, w, 150_000)
			case 2:
				buckettest.Refuse(w, http.StatusServiceUnavailable, "SlowDown")
				return true
			}
			return false
		})
		if sent > 400_000 || len(calls) != 3 || calls[2].From < 100_000 {
			t.Errorf("cut: %d bytes were sent: %v", sent, calls)
		}
		// Gone for good after a part.
		c.Dir, c.Tries.Count = t.TempDir(), 2 // each of S3's is three
		if strings.HasPrefix(url(""), "gs") {
			c.Tries.Idle = 2 * time.Second // for which Google's library tries
		}
		f := open(t, c, url("a.tar"))
		down := false
		s.Fault(func(c buckettest.Call, w http.ResponseWriter) bool {
			if !down {
				down = true
				s.Cut(c, w, 150_000)
			}
			buckettest.Refuse(w, http.StatusServiceUnavailable, "SlowDown")
			return true
		})
		if err := f.Fetch(); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), Redacted(url("a.tar"))) || !strings.Contains(err.Error(), "503") || strings.Contains(err.Error(), "endpoint") {
			t.Errorf("down: %v", err)
		}
		if _, err := List(t.Context(), url("*.tar"), c.Tries); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "503") {
			t.Errorf("down, listed: %v", err)
		}
		s.Fault(nil)
		if got := whole(t, f); !bytes.Equal(got, data) {
			t.Error("another file came")
		}
		if calls, sent := s.Calls(); sent > 300_000 || calls[0].From < 100_000 {
			t.Errorf("%d bytes were sent again: %v", sent, calls)
		}
	})
}

// What is wrong before a server is asked.
func TestCloudsNeedCredentials(t *testing.T) {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "STORAGE_EMULATOR_HOST"} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", t.TempDir())
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(t.TempDir(), "none.json"))
	c := cache(t, 1<<20)
	for at, wants := range map[string][]string{
		"s3://b/a.tar?region=us-east-1":                        {"s3://b/a.tar", "no credentials", "AWS_ACCESS_KEY_ID"},
		"s3://b/a.tar?anonymous=true":                          {"s3://b/a.tar", "region", "AWS_REGION"},
		"s3://b/a.tar?endpoint=127.0.0.1:1&region=us-east-1":   {"s3://b", "endpoint=127.0.0.1:1", "http://"},
		"s3://b/a.tar?token=secret":                            {"s3://b", "token"},
		"s3://key:secret@b/a.tar":                              {"credentials don't go into the URL", "AWS_PROFILE"},
		"gs://b/a.tar":                                         {"gs://b", "no credentials", "gcloud auth", "none.json"},
		"gs://b/a.tar?anonymous=true&endpoint=secret":          {"gs://b", "endpoint"},
		"s3://b/?endpoint=http://127.0.0.1:1&region=us-east-1": {"names no file", "s3://b/*.tar"},
	} {
		_, err := c.Open(t.Context(), at)
		tell(t, at, err, wants...)
	}
}
