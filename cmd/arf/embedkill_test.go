package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// An embedding that is killed at random moments, by SIGKILL, keeps every shard
// that was written and ends with the files of one that was left alone.
func TestEmbedKilledAtRandom(t *testing.T) {
	dir := small(t)
	args := func(out string) []string {
		return []string{"embed", "vit", "pool/{00000..00001}.tar", "--shard-size", "1", "--workers", "1", "--quiet", "--out", out}
	}
	mustRun(t, dir, args("whole")...)
	whole, killed := filepath.Join(dir, "whole"), filepath.Join(dir, "killed")
	const images = 24
	shards := func() map[string]os.FileInfo {
		found, err := filepath.Glob(filepath.Join(killed, "metadata", "metadata_*.parquet")) // the last file of a shard
		if err != nil {
			t.Fatal(err)
		}
		infos := map[string]os.FileInfo{}
		for _, path := range found {
			if infos[path], err = os.Stat(path); err != nil {
				t.Fatal(err)
			}
		}
		return infos
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	midway := 0
	for range 6 {
		before := shards()
		target := len(before) + rng.IntN(4)
		c := command(dir, args("killed")...)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		for began := time.Now(); len(shards()) < target && time.Since(began) < time.Minute; {
			time.Sleep(100 * time.Microsecond)
		}
		time.Sleep(time.Duration(rng.Int64N(int64(5 * time.Millisecond))))
		_ = c.Process.Kill()
		_ = c.Wait()
		after := shards()
		for path, info := range before {
			if now, ok := after[path]; !ok || !os.SameFile(info, now) || !now.ModTime().Equal(info.ModTime()) {
				t.Errorf("%s was written again", path)
			}
		}
		if len(after) > 0 && len(after) < images {
			midway++
		}
	}
	if midway == 0 {
		t.Error("no kill came between the first shard and the last")
	}
	mustRun(t, dir, args("killed")...)
	nothingHalf(t, killed)
	files := []string{"features.json"}
	for i := range images {
		files = append(files, fmt.Sprintf("img_emb/img_emb_%02d.npy", i), fmt.Sprintf("text_emb/text_emb_%02d.npy", i), fmt.Sprintf("metadata/metadata_%02d.parquet", i))
	}
	for _, name := range files {
		if !bytes.Equal(read(t, filepath.Join(whole, name)), read(t, filepath.Join(killed, name))) {
			t.Errorf("%s isn't that of an embedding that was left alone", name)
		}
	}
}
