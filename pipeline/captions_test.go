package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"arf/anchor"
)

// A BLIP of the hub captions a run, by search and with a prompt; the run names
// it as the config does.
func TestCaptionsOfBLIP(t *testing.T) {
	dir := prepare(t)
	t.Setenv("HF_HUB_CACHE", filepath.Join(dir, "cache"))
	t.Setenv("HF_HUB_OFFLINE", "1")
	cfg := load(t, dir, "anchors.captions.captioner=org/blip", "anchors.captions.temperature=0", "anchors.captions.beams=3",
		"anchors.captions.per_image=2", "anchors.captions.prompt=a picture of", "anchors.captions.max_length=6")
	if err := cfg.CheckFiles(); err != nil {
		t.Fatal(err)
	}
	if err := Run(context.Background(), cfg, Captions, Options{}); err == nil || !strings.Contains(err.Error(), "anchors.captions.captioner") {
		t.Errorf("without the captioner: %v", err)
	}
	repo := filepath.Join(dir, "cache", "models--org--blip")
	commit := strings.Repeat("b", 40)
	write(t, filepath.Join(repo, "refs", "main"), []byte(commit))
	if err := os.CopyFS(filepath.Join(repo, "snapshots", commit), os.DirFS("../captioner/testdata/blip/base")); err != nil {
		t.Fatal(err)
	}
	if err := Run(context.Background(), cfg, Captions, Options{}); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(filepath.Join(Dir(cfg), "anchors", "captions.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	count := 0
	for lines := json.NewDecoder(file); lines.More(); count++ {
		var r anchor.CaptionRecord
		if err := lines.Decode(&r); err != nil {
			t.Fatal(err)
		}
		if r.Captioner != "org/blip" || len(r.Captions) != 2 || r.Captions[0].Text == r.Captions[1].Text {
			t.Errorf("%+v", r)
		}
		for _, c := range r.Captions {
			if !strings.HasPrefix(c.Text, "a picture of") || c.LogProb == nil || !(*c.LogProb < 0) {
				t.Errorf("%s: %+v", r.Key, c)
			}
		}
	}
	if count != 18 {
		t.Errorf("%d records", count)
	}
}

// An endpoint captions a run: the key comes from the environment and goes
// nowhere else, and what it costs is told before. How it's asked doesn't make
// captions stale; what it's asked does.
func TestCaptionsOfAnEndpoint(t *testing.T) {
	dir := prepare(t)
	requests := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests++
		if r.Header.Get("Authorization") != "Bearer open sesame" {
			http.Error(w, `{"error":{"message":"who are you?"}}`, http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"There is a red disc, %d."}}],"usage":{"prompt_tokens":90,"completion_tokens":8}}`, requests)
	}))
	defer server.Close()
	sets := []string{"anchors.captions.captioner=", "anchors.captions.drop_boilerplate=true", "anchors.captions.per_image=2"}
	for key, value := range map[string]string{"url": server.URL + "/v1", "model": "m", "api_key_env": "ARF_TEST_KEY", "concurrency": "1", "price_input": "1000", "max_cost": "50"} {
		sets = append(sets, "anchors.captions.endpoint."+key+"="+value)
	}
	var out bytes.Buffer
	run := func(more ...string) error {
		out.Reset()
		return Run(context.Background(), load(t, dir, append(sets, more...)...), Captions, Options{Out: &out})
	}
	if err := run(); err == nil || !strings.Contains(err.Error(), "who are you?") || !strings.Contains(err.Error(), "ARF_TEST_KEY") || requests != 1 {
		t.Errorf("without the key: %v after %d requests", err, requests)
	}
	t.Setenv("ARF_TEST_KEY", "open sesame")
	if err := run("anchors.captions.endpoint.max_cost=1"); err == nil || !strings.Contains(err.Error(), "max_cost is 1.00") || requests != 1 {
		t.Errorf("a cap below the estimate: %v after %d requests", err, requests)
	}
	requests = 0
	if err := run(); err != nil {
		t.Fatal(err)
	}
	if requests != 36 || !strings.Contains(out.String(), "36 requests to come; by a guess, ") || !strings.Contains(out.String(), "cost 13.93") {
		t.Errorf("%d requests; it said: %s", requests, out.String())
	}
	path := filepath.Join(dir, "runs", "run", "anchors", "captions.jsonl")
	summary, err := anchor.ReadCaptionSummary(path)
	if err != nil || summary.Boilerplate != 36 || summary.Usage.InputTokens != 36*90 || summary.Captioner != "m at "+server.URL+"/v1" {
		t.Errorf("%+v, %v", summary, err)
	}
	err = filepath.WalkDir(filepath.Join(dir, "runs"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte("open sesame")) {
			t.Errorf("%s has the key", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := run("anchors.captions.endpoint.concurrency=3", "anchors.captions.endpoint.max_cost=60", "anchors.captions.drop_duplicates=true"); err != nil || requests != 36 {
		t.Errorf("asked %d times in another way: %v", requests-36, err)
	}
	if err := run("anchors.captions.prompt=What is it?"); err != nil || requests != 72 {
		t.Errorf("another question was asked %d times: %v", requests-36, err)
	}
	// Both answers were paid for; one more each is asked as that.
	if err := run(); err != nil || requests != 72 {
		t.Errorf("what was asked before was asked %d times more: %v", requests-72, err)
	}
	if again, err := anchor.ReadCaptionSummary(path); err != nil || again.Prompt != "" || again.Captions != 36 {
		t.Errorf("%+v, %v", again, err)
	}
	if err := run("anchors.captions.prompt=What is it?"); err != nil || requests != 72 {
		t.Errorf("the other question was asked %d times more: %v", requests-72, err)
	}
	if err := run("anchors.captions.per_image=3"); err != nil || requests != 90 || !strings.Contains(out.String(), "captions: 36 were had before and are used again\ncaptions: 18 requests to come; by earlier requests") {
		t.Errorf("a third caption each was asked %d times: %v; it said: %s", requests-72, err, out.String())
	}
}

// Retrieval captioning: an image's captions are the different texts of the
// pairs nearest to it.
func TestCaptionsOfRetrieval(t *testing.T) {
	dir := prepare(t)
	sets := []string{"anchors.captions.captioner=retrieval", "methods=[flyp+tca]"}
	var out bytes.Buffer
	run := func(more ...string) error {
		out.Reset()
		return Run(context.Background(), load(t, dir, append(sets, more...)...), Captions, Options{Out: &out})
	}
	if err := run(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "runs", "run", "anchors", "captions.jsonl")
	got, err := anchor.CaptionTexts(path, anchor.CaptionFilter{MinScore: -1})
	if err != nil || len(got) != 18 {
		t.Fatalf("captions of %d images (%v)", len(got), err)
	}
	pairs, err := anchor.ReadPairs(filepath.Join(dir, "runs", "run", "anchors", "pairs-captions.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	nearest := map[string][]string{}
	for _, p := range pairs {
		if texts := nearest[p.QueryKey]; len(texts) < 2 && !slices.Contains(texts, p.Text) {
			nearest[p.QueryKey] = append(texts, p.Text)
		}
	}
	if !reflect.DeepEqual(got, nearest) {
		t.Errorf("captions %v, want %v", got, nearest)
	}
	summary, err := anchor.ReadCaptionSummary(path)
	if err != nil || summary.Captioner != "retrieval" {
		t.Errorf("%+v (%v)", summary, err)
	}
	if err := run(); err != nil || strings.Contains(out.String(), "captions pairs") {
		t.Errorf("the same run again (%v) says %s", err, out.String())
	}
	if err := run("anchors.captions.per_image=3"); err != nil || !strings.Contains(out.String(), "captions pairs") {
		t.Errorf("more captions (%v): %s", err, out.String())
	}
	// Limits are for pairs; what draws captions says nothing to retrieval.
	if err := run("anchors.captions.per_image=3", "anchors.pairs.min_similarity=0.999999", "anchors.pairs.min_clip_score=0.999999", "anchors.captions.temperature=0", "anchors.captions.max_length=3"); err != nil || strings.Contains(out.String(), "captions pairs") {
		t.Errorf("limits of pairs (%v): %s", err, out.String())
	}
	cfg := load(t, dir, sets...)
	cfg.Anchors.Captions.Prompt = "a photo of"
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "anchors.captions.prompt") {
		t.Errorf("with a prompt: %v", err)
	}
	cfg.Data.Pool.Path = ""
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "data.pool") {
		t.Errorf("without a pool: %v", err)
	}
}
