package report

import "testing"

// The gallery shows what was trained on, also where other prompts were evaluated.
func TestGalleryShowsTheTrainingPrompt(t *testing.T) {
	r := Run{Template: "{}, drawn", Suites: []Suite{{Templates: []string{"a photo of a {}."}}}}
	if got := r.prompt()("cat"); got != "cat, drawn" {
		t.Errorf("%q", got)
	}
	r.Template = ""
	if got := r.prompt()("cat"); got != "a photo of a cat." {
		t.Errorf("%q", got)
	}
}
