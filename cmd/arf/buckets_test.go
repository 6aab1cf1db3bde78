package main

import (
	"bytes"
	"net/http"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"arf/anchor"
	"arf/internal/buckettest"
)

// A pool in a bucket of S3's or Google's gives the pairs that it gives from
// disk, though a shard's first reading ends in its middle and the next call is
// refused; and who may not read it is told so, without the URL's options.
func TestPoolInABucket(t *testing.T) {
	dir := small(t)
	mustRun(t, dir, smallArgs("retrieve", "disk", "methods=[arf]")...)
	want, err := anchor.ReadPairs(filepath.Join(dir, "runs/disk/anchors/pairs.parquet"))
	if err != nil || len(want) == 0 {
		t.Fatal(len(want), err)
	}
	shards := map[string][]byte{}
	for _, name := range []string{"00000.tar", "00001.tar"} {
		shards["cc/"+name] = read(t, filepath.Join(dir, "pool", name))
	}
	s := buckettest.New(t, shards)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("STORAGE_EMULATOR_HOST", s.Emulator())
	for name, path := range map[string]string{
		"s3-range": s.S3("cc/{00000..00001}.tar"), "s3-pattern": s.S3("cc/*.tar"), "gs-range": s.GS("cc/{00000..00001}.tar"), "gs-folder": s.GS("cc/"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("ARF_CACHE", t.TempDir())
			args := smallArgs("retrieve", name, "methods=[arf]", "data.pool.path="+path)
			if strings.HasPrefix(path, "s3") {
				t.Setenv("AWS_ACCESS_KEY_ID", "")
				out, err := arf(dir, args...)
				mustFail(t, out, err, "data.pool", "s3://"+s.Bucket, "no credentials", "AWS_PROFILE")
				t.Setenv("AWS_ACCESS_KEY_ID", "key")
				t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
			}
			s.Fault(func(_ buckettest.Call, w http.ResponseWriter) bool {
				buckettest.Refuse(w, http.StatusForbidden, "AccessDenied")
				return true
			})
			out, err := arf(dir, args...)
			mustFail(t, out, err, "data.pool", path[:5]+s.Bucket+"/cc/", "access is denied")
			if strings.Contains(out, "endpoint") {
				t.Errorf("the URL's options are shown:\n%s", out)
			}
			faults := 0
			s.Fault(func(c buckettest.Call, w http.ResponseWriter) bool {
				whole := int64(len(shards["cc/00001.tar"]))
				if c.What != "get" || c.Key != "cc/00001.tar" {
					return false
				}
				switch faults++; faults {
				case 2: // after the look at the first byte
					s.Cut(c, w, whole/2)
				case 3:
					buckettest.Refuse(w, http.StatusServiceUnavailable, "SlowDown")
					return true
				}
				return false
			})
			mustRun(t, dir, args...)
			_, sent := s.Calls()
			if all := int64(len(shards["cc/00000.tar"]) + len(shards["cc/00001.tar"])); faults < 4 || sent > all+1000 {
				t.Errorf("%d calls for the second shard; %d bytes were sent of %d", faults, sent, all)
			}
			got, err := anchor.ReadPairs(filepath.Join(dir, "runs", name, "anchors/pairs.parquet"))
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%d pairs, want %d of the same: %v", len(got), len(want), err)
			}
			if info := read(t, filepath.Join(dir, "runs", name, "run.json")); bytes.Contains(info, []byte("endpoint")) {
				t.Errorf("run.json shows the URL's options:\n%s", info)
			}
		})
	}
}
