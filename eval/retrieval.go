package eval

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"arf/clip"
	"arf/dataset"
	"arf/dist"
	"arf/torch"
)

// Captions is a set of images with one or more captions each.
type Captions struct {
	Name string // names the result's file
	Role string // only passed on
	// Data gives the captions as Texts; samples without any are left out.
	Data dataset.Dataset
	// ByKey makes samples of one key one image, as a table has a line for each
	// caption.
	ByKey bool
}

// RetrievalResult is one model on one caption set: clip_benchmark's JSON and
// what a comparison needs besides.
type RetrievalResult struct {
	Dataset    string           `json:"dataset"`
	Model      string           `json:"model"`      // set by the caller
	Pretrained string           `json:"pretrained"` // set by the caller
	DataSHA256 string           `json:"data_sha256,omitempty"`
	Task       string           `json:"task"`
	Metrics    RetrievalMetrics `json:"metrics"`
	Language   string           `json:"language"`

	Images     int    `json:"num_images"`
	Texts      int    `json:"num_texts"`
	LeftOut    int    `json:"num_without_text,omitempty"`
	Broken     int    `json:"num_broken,omitempty"` // that couldn't be decoded
	Activation string `json:"activation"`
	Precision  string `json:"precision,omitempty"`
	MainMetric string `json:"main_metric"`
	Inputs     string `json:"inputs,omitempty"` // set by the caller
	Role       string `json:"role"`
}

// RetrievalMetrics are recalls at RecallAt, each in [0, 1].
type RetrievalMetrics struct {
	Image [3]float64 // captions whose image is among the first
	Text  [3]float64 // images one of whose captions is among the first
}

// MarshalJSON names the numbers as clip_benchmark does: image_retrieval_recall@1
// and so on.
func (m RetrievalMetrics) MarshalJSON() ([]byte, error) {
	out := map[string]float64{}
	for i, k := range RecallAt {
		out[fmt.Sprintf("image_retrieval_recall@%d", k)] = m.Image[i]
		out[fmt.Sprintf("text_retrieval_recall@%d", k)] = m.Text[i]
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (m *RetrievalMetrics) UnmarshalJSON(data []byte) error {
	var in map[string]float64
	if err := json.Unmarshal(data, &in); err != nil {
		return err
	}
	for i, k := range RecallAt {
		m.Image[i], m.Text[i] = in[fmt.Sprintf("image_retrieval_recall@%d", k)], in[fmt.Sprintf("text_retrieval_recall@%d", k)]
	}
	return nil
}

// LoadRetrievalResult reads what Save wrote.
func LoadRetrievalResult(path string) (*RetrievalResult, error) {
	r := &RetrievalResult{}
	return r, load(path, r)
}

// Save writes the JSON atomically and makes the folder.
func (r *RetrievalResult) Save(path string) error { return save(path, r) }

// Retrieve ranks all captions for each image and all images for each caption by
// cosine (CLIP_benchmark, zeroshot_retrieval: recall@k of an image is 1 if any of
// its captions is among the first k). Among equal scores, as of one caption of
// two images, the order counts as drawn at random: a recall is then the
// probability, where clip_benchmark takes any order. In a group (Options) all
// processes call it and have the result. Each encodes its batches and ranks its
// part; it holds the features of all images and different captions.
func Retrieve(ctx context.Context, model *clip.Model, set Captions, o Options) (*RetrievalResult, error) {
	r := &RetrievalResult{
		Dataset: set.Name, Task: "zeroshot_retrieval", Language: "en", Role: set.Role, MainMetric: "text_retrieval_recall@1",
		Activation: string(model.Config.Text.Activation), Precision: precisionName(o.Precision),
	}
	err := r.measure(ctx, model, set, o)
	if err != nil {
		return nil, fmt.Errorf("suite %s: %w", set.Name, err)
	}
	return r, nil
}

func (r *RetrievalResult) measure(ctx context.Context, model *clip.Model, set Captions, o Options) error {
	if set.Data == nil || set.Data.Len() == 0 {
		return errors.New("no images")
	}
	rows, keys, captions := r.group(set)
	if len(rows) == 0 {
		return fmt.Errorf("none of %d samples has a caption and can be read", set.Data.Len())
	}
	data, err := dataset.Subset(set.Data, rows)
	if err != nil {
		return err
	}
	if o.BatchSize == 0 {
		o.BatchSize = 256
	}
	g := o.Group
	err = sameSet(g, func(write func(string, ...any)) {
		write("%d", o.BatchSize)
		for i, row := range rows {
			write(" %d %q %q", row, keys[i], captions[i])
		}
	})
	if err != nil {
		return err
	}
	images, own, err := encodeImages(ctx, g, data, []*clip.Model{model}, o)
	if err != nil {
		return err
	}
	var names []string // different captions
	number := map[string]int{}
	var textOf, imageOf []int // of a caption
	for k, i := range images.all {
		for _, t := range captions[i] {
			if _, known := number[t]; !known {
				number[t] = len(names)
				names = append(names, t)
			}
			textOf, imageOf = append(textOf, number[t]), append(imageOf, k)
		}
	}
	r.Images, r.Texts, r.Broken = len(images.all), len(textOf), r.Broken+data.Len()-len(images.all)
	texts, ownTexts, err := encodeTexts(ctx, g, model, names, o)
	if err != nil {
		return err
	}
	dim := model.Config.EmbedDim
	allImages, err := images.join(own[0], dim)
	if err != nil {
		return err
	}
	allTexts, err := texts.join(ownTexts, dim)
	if err != nil {
		return err
	}
	r.Metrics, err = recallOfCaptions(ctx, g, model.Device(), allImages, allTexts, textOf, imageOf, dim)
	if o.Progress != nil {
		o.Progress(data.Len(), data.Len())
	}
	return err
}

// group finds each image's key and captions; rows are the images' numbers.
func (r *RetrievalResult) group(set Captions) (rows []int, keys []string, captions [][]string) {
	at := map[string]int{}
	for i := range set.Data.Len() {
		s, err := dataset.Describe(set.Data, i)
		if err != nil {
			r.Broken++
			continue
		}
		texts := s.Texts
		if len(texts) == 0 && s.Text != "" {
			texts = []string{s.Text}
		}
		if len(texts) == 0 {
			r.LeftOut++
			continue
		}
		if k, known := at[s.Key]; known && set.ByKey {
			captions[k] = append(captions[k], texts...)
			continue
		}
		at[s.Key] = len(rows)
		rows, keys, captions = append(rows, i), append(keys, s.Key), append(captions, texts)
	}
	return rows, keys, captions
}

// recallOfCaptions takes features of images [n, dim] and texts [m, dim]; caption
// j is text textOf[j] and belongs to image imageOf[j].
func recallOfCaptions(ctx context.Context, g *dist.Group, device torch.Device, images, texts []float32, textOf, imageOf []int, dim int) (m RetrievalMetrics, err error) {
	n := len(images) / dim
	captionsOf, captionsWith := make([][]int, n), make([][]int, len(texts)/dim)
	for j, i := range imageOf {
		captionsOf[i] = append(captionsOf[i], j)
		captionsWith[textOf[j]] = append(captionsWith[textOf[j]], j)
	}
	m.Image, err = ranked(ctx, g, device, texts, images, dim, func(t int, scores []float32, sum *[3]float64) {
		for _, j := range captionsWith[t] {
			own := rank{own: scores[imageOf[j]]}
			for i, s := range scores {
				own.add(s, i == imageOf[j])
			}
			own.count(sum)
		}
	})
	if err != nil {
		return m, err
	}
	m.Text, err = ranked(ctx, g, device, images, texts, dim, func(i int, scores []float32, sum *[3]float64) {
		best := scores[textOf[captionsOf[i][0]]]
		for _, j := range captionsOf[i] {
			best = max(best, scores[textOf[j]])
		}
		own := rank{own: best}
		for j, t := range textOf {
			own.add(scores[t], imageOf[j] == i)
		}
		own.count(sum)
	})
	for k := range RecallAt {
		m.Image[k] /= float64(len(imageOf))
		m.Text[k] /= float64(n)
	}
	return m, err
}

// rank is the place of right answers with the score own.
type rank struct {
	own                  float32
	before, right, wrong int // wrong ones above own; those of equal score
}

func (r *rank) add(score float32, right bool) {
	switch {
	case right && score == r.own:
		r.right++
	case right:
	case score > r.own:
		r.before++
	case score == r.own:
		r.wrong++
	}
}

// count adds the probability of a right answer among the first k.
func (r *rank) count(recall *[3]float64) {
	for i, k := range RecallAt {
		left := k - r.before // places for those of equal score
		if left <= 0 {
			continue
		}
		missed := 1.0 // all of them go to wrong ones
		for d := range min(left, r.wrong+1) {
			missed *= float64(r.wrong-d) / float64(r.wrong+r.right-d)
		}
		recall[i] += 1 - missed
	}
}

func precisionName(d torch.DType) string {
	if d == 0 {
		d = torch.Float32
	}
	return d.String()
}
