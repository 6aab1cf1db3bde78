package anchor

import (
	"os"
	"path/filepath"
	"testing"

	"arf/captioner"
	"arf/internal/cliptest"
)

// paid captions dir/data with an endpoint of its own, as each run has one, and
// checks that it asked as often as it said, for `asked` captions, and used the
// others again.
func paid(t *testing.T, dir string, server *chat, o CaptionOptions, asked int) *CaptionSummary {
	t.Helper()
	data := openData(t, filepath.Join(dir, "data"))
	before := server.all
	var planned captioner.Estimate
	o.Planned = func(e captioner.Estimate) { planned = e }
	s, err := Caption(t.Context(), filepath.Join(dir, "captions.jsonl"), data, endpoint(t, server.URL, dir, captioner.EndpointOptions{}), cliptest.Model(t, 1), o)
	if err != nil {
		t.Fatal(err)
	}
	all := data.Len() * o.Generate.N
	if got := server.all - before; got != asked || planned.Requests != asked || planned.Reused != all-asked || s.Captions != all {
		t.Errorf("%d requests, want %d; planned %+v of %d captions; there are %d", got, asked, planned, all, s.Captions)
	}
	return s
}

// texts are the captions by key.
func texts(t *testing.T, dir string) map[string][]string {
	t.Helper()
	got, err := CaptionTexts(filepath.Join(dir, "captions.jsonl"), CaptionFilter{MinScore: -1})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// addPictures writes n pictures that no other call with another first has.
func addPictures(t *testing.T, dir string, n int, first uint64) {
	t.Helper()
	for i := range n {
		name := filepath.Join(dir, "data", "disc", "000"+string(rune('a'+i))+".png") // among the others
		if err := os.WriteFile(name, cliptest.Picture(t, cliptest.Colors[i], "disc", first+uint64(i)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func remove(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.Remove(filepath.Join(dir, "data", name)); err != nil {
			t.Fatal(err)
		}
	}
}

// What was paid for isn't asked for again, whatever changes but the question.
func TestAnswersArePaidForOnce(t *testing.T) {
	dir := t.TempDir()
	cliptest.Folder(t, filepath.Join(dir, "data"), []string{"disc", "bar"}, 5, 0)
	server := newChat(t)
	o := captionOptions()
	o.Generate.N = 1
	paid(t, dir, server, o, 10)
	first := texts(t, dir)

	addPictures(t, dir, 3, 100)
	s := paid(t, dir, server, o, 3)
	if s.Images != 13 || s.Usage.Requests != 13 {
		t.Errorf("with three more images %+v", s)
	}
	remove(t, dir, "disc/000a.png", "bar/002.png")
	if s = paid(t, dir, server, o, 0); s.Images != 11 || s.Usage.Requests != 13 {
		t.Errorf("with two images less %+v", s)
	}
	if err := os.Rename(filepath.Join(dir, "data", "disc", "000.png"), filepath.Join(dir, "data", "bar", "zero.png")); err != nil {
		t.Fatal(err)
	}
	paid(t, dir, server, o, 0)
	first["bar/zero.png"] = first["disc/000.png"]
	one := texts(t, dir)
	for key, was := range one {
		if want := first[key]; want != nil && was[0] != want[0] {
			t.Errorf("%s: %q, before %q", key, was, want)
		}
	}

	o.Generate.N = 2
	paid(t, dir, server, o, 11)
	for key, both := range texts(t, dir) {
		if len(both) != 2 || both[0] != one[key][0] || both[1] == both[0] {
			t.Errorf("%s: %q, before %q", key, both, one[key])
		}
	}
	o.Generate.N = 1
	paid(t, dir, server, o, 0)
	for key, again := range texts(t, dir) {
		if len(again) != 1 || again[0] != one[key][0] {
			t.Errorf("%s: %q, before %q", key, again, one[key])
		}
	}

	// Another question is another account; going back costs nothing.
	other := o
	other.Generate.Prompt = "What is it?"
	if s = paid(t, dir, server, other, 11); s.Usage.Requests != 11 || s.Prompt != "What is it?" {
		t.Errorf("another prompt: %+v", s)
	}
	if s = paid(t, dir, server, o, 0); s.Usage.Requests != 24 {
		t.Errorf("the first prompt again: %+v", s)
	}
	paid(t, dir, server, other, 0)
	other.DropBoilerplate, other.BatchSize = true, 3 // these aren't asked
	paid(t, dir, server, other, 0)
	other.Generate.Temperature = 0.5
	paid(t, dir, server, other, 11)
}

// A refusal may be the server's fault, so what it refused is asked again when
// captions are made anew; nothing else is.
func TestRefusedImagesAreAskedAgain(t *testing.T) {
	dir := t.TempDir()
	cliptest.Folder(t, filepath.Join(dir, "data"), []string{"disc"}, 8, 0)
	server := newChat(t)
	server.refused = func(n int) bool { return n == 3 }
	o := captionOptions()
	o.Generate.N = 1
	path := filepath.Join(dir, "captions.jsonl")
	s, err := Caption(t.Context(), path, openData(t, filepath.Join(dir, "data")), endpoint(t, server.URL, dir, captioner.EndpointOptions{}), cliptest.Model(t, 1), o)
	if err != nil || s.Refused != 1 || server.all != 8 {
		t.Fatalf("%d requests, %+v, %v", server.all, s, err)
	}
	addPictures(t, dir, 1, 100)
	paid(t, dir, server, o, 2)
}

// What a killed run was answered is used though the data change before the next.
func TestKilledThenDataChanged(t *testing.T) {
	dir := t.TempDir()
	server := newChat(t)
	killed(t, dir, server)
	answered := answers(t, dir)
	addPictures(t, dir, 3, 100)
	remove(t, dir, "bar/000.png", "bar/001.png") // of the first batch, so that they have captions
	o := captionOptions()
	paid(t, dir, server, o, 3*(24-2+3)-(answered-3*2))
}
