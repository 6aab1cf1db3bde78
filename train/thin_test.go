package train

import (
	"os"
	"path/filepath"
	"testing"
)

func TestThinMetrics(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "metrics.jsonl"), filepath.Join(dir, "log.jsonl")
	content := `{"step":1,"loss":5}
{"step":2,"loss":4}
{"step":3,"loss":3,"held_out_top1":0.2}
{"step":4,"loss":2,"held_out_loss":2.1}
{"step":5,"loss":1}
`
	if err := os.WriteFile(from, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	for every, want := range map[int]string{
		1: content,
		2: "{\"step\":2,\"loss\":4}\n{\"step\":3,\"loss\":3,\"held_out_top1\":0.2}\n{\"step\":4,\"loss\":2,\"held_out_loss\":2.1}\n{\"step\":5,\"loss\":1}\n",
		5: "{\"step\":3,\"loss\":3,\"held_out_top1\":0.2}\n{\"step\":4,\"loss\":2,\"held_out_loss\":2.1}\n{\"step\":5,\"loss\":1}\n",
	} {
		if err := ThinMetrics(from, to, every); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(to); string(got) != want {
			t.Errorf("every %d: %q, want %q", every, got, want)
		}
	}
	if err := ThinMetrics(filepath.Join(dir, "none"), to, 1); err == nil {
		t.Error("a missing log is no error")
	}
}
