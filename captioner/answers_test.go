package captioner

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// Answers come back from their file as they were, and a torn end of it costs no
// more than what it had.
func TestAnswersComeBack(t *testing.T) {
	v := newVLM(t)
	dir := filepath.Join(t.TempDir(), "answers")
	o := GenerateOptions{N: 2, Temperature: 1, MaxLength: 10}
	have := func(o GenerateOptions, logProbs bool, asked int) [][]Caption {
		t.Helper()
		e := v.endpoint(t, EndpointOptions{Answers: dir, LogProbs: logProbs})
		before := v.count()
		plan, err := e.Plan(t.Context(), 4, files(4).File, o)
		if err != nil || plan.Requests != asked || plan.Reused != 8-asked {
			t.Errorf("%+v, %v, want %d requests", plan, err, asked)
		}
		got, err := e.Caption(t.Context(), files(4), o)
		if n := v.count() - before; err != nil || n != asked {
			t.Fatalf("%d requests, want %d: %v", n, asked, err)
		}
		return got
	}
	first := have(o, true, 8)
	if again := have(o, true, 0); !reflect.DeepEqual(again, first) || first[0][0].LogProb == 0 {
		t.Errorf("%+v, before %+v", again, first)
	}
	have(o, false, 8)
	paths, err := filepath.Glob(filepath.Join(dir, "answers-*.jsonl"))
	if err != nil || len(paths) != 2 {
		t.Fatalf("%v, %v", paths, err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, data[:len(data)-10], 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	have(o, true, 1)
	if again := have(o, true, 0); len(again) != 4 {
		t.Errorf("%+v", again)
	}

	// A file that is damaged inside is named, and nothing is asked.
	whole := map[string]string{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		whole[path] = string(data)
	}
	for want, change := range map[string][2]string{
		"line 2":  {"\n{", "\n}"},
		"image":   {`{"image":"`, `{"image":"z`},
		"another": {`"see"`, `"hear"`},
	} {
		for path, text := range whole {
			if err := os.WriteFile(path, []byte(strings.Replace(text, change[0], change[1], 1)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		before := v.count()
		if _, err := v.endpoint(t, EndpointOptions{Answers: dir}).Plan(t.Context(), 4, files(4).File, o); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%v, want %q", err, want)
		}
		if _, err := v.endpoint(t, EndpointOptions{Answers: dir}).Caption(t.Context(), files(4), o); err == nil || v.count() != before {
			t.Errorf("asked %d times, %v", v.count()-before, err)
		}
	}
}

func FuzzAnswers(f *testing.F) {
	var q question
	f.Add([]byte(`{"image":"00","sample":0,"text":"a"}` + "\n"))
	f.Add([]byte("{}\n" + `{"image":"` + strings.Repeat("0a", 32) + `","sample":1,"text":"a disc","usage":{"requests":2}}` + "\n{"))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "answers.jsonl")
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		a := answers{question: q, path: path, known: map[wanted]Caption{}}
		spent, err := a.read()
		if err != nil {
			return
		}
		b := answers{question: q, path: path, known: map[wanted]Caption{}}
		if again, err := b.read(); err != nil || again != spent || len(a.known) != len(b.known) {
			t.Errorf("read again: %+v, %v; before %+v", again, err, spent)
		}
	})
}
