package report

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

//go:embed anchors.gohtml
var anchorsSource string

var anchorsTemplate = template.Must(template.Must(pageTemplate.Clone()).New("anchors").Parse(anchorsSource))

// AnchorsOptions say what of a run's anchors a page shows.
type AnchorsOptions struct {
	Images Images // pictures; nil shows none
	// Pictured is how many finetune images have their pictures on the page, in turn
	// from each class; all others have their texts. Negative is all.
	Pictured int
	// Template is the class prompt shown, "{}" standing for the name; "" is that of
	// the evaluations, if any.
	Template string
	// LeastCaption is the CLIP score below which captions aren't trained on; −1 is none.
	LeastCaption float64
}

// WriteAnchors writes a page of all anchors of a run folder as one file that
// needs nothing else: each finetune image with its class prompt, captions and
// retrieved pairs, and what was left out and why. It replaces path in one step.
// The run needs no evaluation; one without captions and pairs is an error.
func WriteAnchors(runDir, path string, o AnchorsOptions) error {
	r, err := newRun(runDir)
	if err != nil {
		return err
	}
	for _, load := range []func() error{r.loadInfo, r.loadEvals, r.loadAnchors} {
		if err := load(); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	r.order()
	r.Images, r.leastCaption, r.Template = o.Images, o.LeastCaption, o.Template
	p := anchorsPage{Run: r, Style: template.CSS(styleSource), Script: template.JS(scriptSource), Made: time.Now()}
	hash := sha256.Sum256([]byte(scriptSource))
	p.ScriptHash = "sha256-" + base64.StdEncoding.EncodeToString(hash[:])
	if p.Dropped, err = r.dropped(); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	pictured := o.Pictured
	if pictured < 0 {
		pictured = math.MaxInt
	}
	if p.Gallery, err = r.galleryView(math.MaxInt, pictured); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if p.Gallery == nil {
		return fmt.Errorf("report: %s has no anchors yet; run arf caption or arf retrieve first", filepath.Join(runDir, "anchors"))
	}
	return writePage(path, func(w io.Writer) error { return anchorsTemplate.Execute(w, &p) })
}

// anchorsPage is what the template shows.
type anchorsPage struct {
	Run        *Run
	Style      template.CSS
	Script     template.JS
	ScriptHash string
	Made       time.Time
	Gallery    *galleryView
	Dropped    *droppedView
}

// droppedView is what retrieval left out.
type droppedView struct {
	Pool, Eligible          int // pairs
	Images, Silent, Without int // finetune images, those that asked nothing, those without a pair
	Reasons                 []droppedReason
	Examples                []droppedExample
	MinSimilarity           float64
	Notes                   []string
	Short, K                int // images with fewer than K pairs
}

type droppedReason struct {
	Reason string
	Count  int
	Why    string
	Guards []guardCount
}

type guardCount struct {
	Guard string
	Count int
}

type droppedExample struct {
	Reason, Key, Text, Why string
	Image                  string // data URI
	Similarity             float64
}

// pairSummaryRecord is the part of anchors/pairs.json that the page shows.
type pairSummaryRecord struct {
	Options struct {
		K             int     `json:"k"`
		MinSimilarity float64 `json:"min_similarity"`
		MinCLIPScore  float64 `json:"min_clip_score"`
		Duplicate     float64 `json:"duplicate_cosine"`
		Guard         struct {
			Cosine float64 `json:"cosine"`
			Print  float64 `json:"print"`
		} `json:"guard"`
	} `json:"options"`
	By       string                    `json:"by"`
	Pool     int                       `json:"pool"`
	Eligible int                       `json:"eligible"`
	Queries  int                       `json:"queries"`
	Silent   int                       `json:"queries_silent"`
	Without  int                       `json:"queries_without"`
	Short    int                       `json:"queries_short"`
	Dropped  map[string]int            `json:"dropped"`
	Leaks    map[string]map[string]int `json:"leaks"`
	Leaked   []struct {
		PairKey    string  `json:"pair_key"`
		Text       string  `json:"text"`
		Guard      string  `json:"guard"`
		GuardKey   string  `json:"guard_key"`
		Reason     string  `json:"reason"`
		Similarity float64 `json:"similarity"`
	} `json:"leak_examples"`
	Examples []struct {
		PairKey    string  `json:"pair_key"`
		Text       string  `json:"text"`
		Reason     string  `json:"reason"`
		Kept       string  `json:"kept"`
		Similarity float64 `json:"similarity"`
	} `json:"dropped_examples"`
}

// pairSummary reads the summary beside the pairs; nil where there is none.
func (r *Run) pairSummary() (*pairSummaryRecord, error) {
	if r.pairs == "" {
		return nil, nil
	}
	path := strings.TrimSuffix(r.pairs, ".parquet") + ".json"
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var s pairSummaryRecord
	if err := decode(path, 1, data, &s); err != nil {
		return nil, err
	}
	return &s, nil
}

// dropped is what the summary says was left out; nil where there is none.
func (r *Run) dropped() (*droppedView, error) {
	s, err := r.pairSummary()
	if err != nil || s == nil {
		return nil, err
	}
	v := &droppedView{
		Pool: s.Pool, Eligible: s.Eligible, Images: s.Queries, Silent: s.Silent, Without: s.Without, Short: s.Short, K: s.Options.K,
		MinSimilarity: s.Options.MinSimilarity,
	}
	why := map[string]string{
		"leak_pixels":      "the same pixels as a guarded image",
		"leak_print":       fmt.Sprintf("16×16 grey values that correlate with a guarded image's by %g or more", s.Options.Guard.Print),
		"leak_cosine":      fmt.Sprintf("image features with a cosine of %g or more to a guarded image's", s.Options.Guard.Cosine),
		"no_text":          "no text to learn from",
		"excluded":         "metadata that anchors.pairs.exclude names",
		"low_clip_score":   fmt.Sprintf("image and text fit with a cosine below %g", s.Options.MinCLIPScore),
		"duplicate_pixels": "the same pixels as another pair's, whose text fits better",
		"duplicate_cosine": fmt.Sprintf("image features with a cosine of %g or more to another retrieved pair's", s.Options.Duplicate),
	}
	for reason, n := range s.Dropped {
		one := droppedReason{Reason: strings.ReplaceAll(reason, "_", " "), Count: n, Why: cmp.Or(why[reason], reason)}
		for guard, byReason := range s.Leaks {
			if byReason[reason] > 0 {
				one.Guards = append(one.Guards, guardCount{guard, byReason[reason]})
			}
		}
		slices.SortFunc(one.Guards, func(a, b guardCount) int {
			return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Guard, b.Guard))
		})
		v.Reasons = append(v.Reasons, one)
	}
	slices.SortFunc(v.Reasons, func(a, b droppedReason) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Reason, b.Reason))
	})
	pictures := thumbnails{}
	add := func(e droppedExample) {
		if r.Images != nil {
			e.Image = pictures.of(r.Images.PoolImage, e.Key)
		}
		e.Reason = strings.ReplaceAll(e.Reason, "_", " ")
		v.Examples = append(v.Examples, e)
	}
	for _, l := range s.Leaked {
		add(droppedExample{Reason: l.Reason, Key: l.PairKey, Text: l.Text, Why: l.GuardKey + " of " + l.Guard, Similarity: l.Similarity})
	}
	for _, d := range s.Examples {
		e := droppedExample{Reason: d.Reason, Key: d.PairKey, Text: d.Text, Similarity: d.Similarity}
		if d.Kept != "" {
			e.Why = "repeats " + d.Kept
		}
		add(e)
	}
	v.Notes = pictures.notes()
	return v, nil
}
