package config

import (
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// maxWeight bounds what a mix takes, as package anchor does.
const maxWeight = 1e6

var (
	// A run's and a suite's name become file names.
	nameForm       = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	collectionForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)
	deviceForm     = regexp.MustCompile(`^(auto|cpu|cuda(:[0-9]+)?)$`)
)

// Validate checks the values against each other and their ranges, without looking at files. All mistakes are
// reported together, joined; each is an *Error.
func (c *Config) Validate() error {
	v := validator{origin: c.origin}
	v.check(nameForm.MatchString(c.Name), "name", "%q can't name a run folder; use letters, digits, dot, dash and underscore", c.Name)
	v.check(c.Output != "", "output", "is empty; give the folder for runs, such as runs")
	v.check(c.Model != "", "model", "is missing; give the folder or checkpoint of a pretrained CLIP")
	v.check(deviceForm.MatchString(c.Device), "device", "%q is no device; use auto, cpu, cuda or cuda:1", c.Device)
	v.min("threads", c.Threads, 0)
	nonEmptySet(&v, "methods", c.Methods)
	nonEmptySet(&v, "seeds", c.Seeds)

	v.required("data.finetune", c.Data.Finetune, "the labelled images to finetune on")
	v.source("data.validation", c.Data.Validation)
	if c.NeedsPairs() {
		v.required("data.pool", c.Data.Pool, "the image-text pairs to retrieve from, or leave out the methods with pairs (flyp+ita, arf, those with class-text or random)")
	} else {
		v.source("data.pool", c.Data.Pool)
	}
	v.anchors(c)
	v.train(c.Train)
	v.eval(c)
	v.min("report.gallery", c.Report.Gallery, 0)
	return errors.Join(v.errs...)
}

func (v *validator) anchors(c *Config) {
	captions := c.Anchors.Captions
	if c.NeedsCaptions() {
		v.check(captions.Captioner != "" || captions.Endpoint.URL != "", "anchors.captions.captioner", "is missing; give a captioner's folder, \"retrieval\" or an endpoint, or leave out the methods with captions (flyp+tca, arf, arf+class-text, arf+random) and anchors.pairs' caption-text")
		v.check(!captions.Retrieves() || c.Data.Pool.Path != "", "anchors.captions.captioner", "is retrieval, which takes its texts from the pool; set data.pool")
	}
	v.min("anchors.captions.per_image", captions.PerImage, 1)
	v.atLeast("anchors.captions.temperature", captions.Temperature, 0)
	v.check(captions.TopP > 0 && captions.TopP <= 1, "anchors.captions.top_p", "is %g; give a probability above 0 and up to 1", captions.TopP)
	v.min("anchors.captions.max_length", captions.MaxLength, 1)
	v.between("anchors.captions.min_clip_score", captions.MinClipScore, -1, 1)
	v.min("anchors.captions.batch_size", captions.BatchSize, 1)
	v.check(captions.Beams >= 1 && captions.Beams <= 64, "anchors.captions.beams", "is %d; give 1 (no search) to 64", captions.Beams)
	v.check(captions.Beams <= 1 || captions.Temperature == 0, "anchors.captions.beams", "is %d, but beam search draws nothing; set temperature to 0, or beams to 1", captions.Beams)
	v.check(captions.Beams <= 1 || captions.PerImage <= captions.Beams, "anchors.captions.per_image", "is %d of %d beams; give at most as many", captions.PerImage, captions.Beams)
	if captions.Retrieves() {
		v.check(captions.Prompt == "", "anchors.captions.prompt", "is %q, but retrieval takes the pool's texts as they are; leave it empty", captions.Prompt)
		v.check(captions.Beams <= 1, "anchors.captions.beams", "is %d, but retrieval searches no words; set it to 1", captions.Beams)
	}
	v.check(captions.Temperature > 0 || captions.Beams > 1 || captions.PerImage == 1 || captions.Retrieves(), "anchors.captions.per_image", "is %d, but temperature 0 gives the same caption each time; set one of them to 1, or beams to more", captions.PerImage)
	v.endpoint(captions)

	p := c.Anchors.Pairs
	v.mix(p)
	v.min("anchors.pairs.k", p.K, 1)
	v.min("anchors.pairs.per_class_quota", p.PerClassQuota, 0)
	v.between("anchors.pairs.min_similarity", p.MinSimilarity, -1, 1)
	v.min("anchors.pairs.batch_size", p.BatchSize, 1)
	v.between("anchors.pairs.min_clip_score", p.MinClipScore, -1, 1)
	v.between("anchors.pairs.clip_score_weight", p.ClipScoreWeight, 0, 100)
	for i, e := range p.Exclude {
		column, _, ok := strings.Cut(e, "=")
		v.check(ok && column != "", fmt.Sprintf("anchors.pairs.exclude[%d]", i), "is %q; give column=value, such as license=CC-BY-NC-4.0", e)
	}
	v.between("anchors.pairs.duplicate_cosine", p.DuplicateCosine, 0, 1)
	v.between("anchors.pairs.leak_guard.near_duplicate_print", p.LeakGuard.NearDuplicatePrint, 0, 1)
	v.between("anchors.pairs.leak_guard.near_duplicate_cosine", p.LeakGuard.NearDuplicateCosine, 0, 1)
	v.check(p.Index != IndexMilvus || p.Milvus.Address != "", "anchors.pairs.milvus.address", "is missing; give the Milvus server's host and port, such as localhost:19530, or set index to exact")
	v.check(p.Milvus.Collection == "" || collectionForm.MatchString(p.Milvus.Collection), "anchors.pairs.milvus.collection", "%q can't name a collection; use letters, digits and underscore, not a digit first", p.Milvus.Collection)
	for i, s := range p.LeakGuard.Sources {
		v.required(fmt.Sprintf("anchors.pairs.leak_guard.sources[%d]", i), s, "the images to guard")
	}
}

func (v *validator) mix(p Pairs) {
	const key = "anchors.pairs.mix"
	v.between(key+".image", p.Mix.Image, 0, maxWeight)
	v.between(key+".image_text", p.Mix.ImageText, 0, maxWeight)
	v.between(key+".class_text", p.Mix.ClassText, 0, maxWeight)
	v.between(key+".caption_text", p.Mix.CaptionText, 0, maxWeight)
	v.check(p.Mix != Mix{}, key, "has no weight above 0; give one, such as class_text: 1, or leave mix out")
	v.check(p.Query == QueryMix || p.Mix == DefaultMix, key, "has weights, but anchors.pairs.query is %s; set query to mix, or leave mix out", p.Query)
}

func (v *validator) endpoint(c Captions) {
	const key = "anchors.captions.endpoint."
	e := c.Endpoint
	if e.URL != "" {
		u, err := url.Parse(e.URL)
		v.check(err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "", key+"url", "%q is no address; give the base of an OpenAI-compatible API, such as http://localhost:8000/v1", e.URL)
		v.check(e.Model != "", key+"model", "is missing; give the server's name for the model")
		v.check(c.Captioner == "", "anchors.captions.captioner", "is given beside an endpoint; leave out one of them")
		v.check(c.Beams <= 1, "anchors.captions.beams", "is %d, but an endpoint has no beam search; set it to 1", c.Beams)
	}
	v.between(key+"image_size", float64(e.ImageSize), 28, 1<<13)
	v.between(key+"concurrency", float64(e.Concurrency), 1, 1<<10)
	v.atLeast(key+"requests_per_minute", e.RequestsPerMinute, 0)
	v.between(key+"retries", float64(e.Retries), 0, 100)
	v.check(e.Timeout > 0 && e.Timeout <= 86400, key+"timeout", "is %g; give seconds above 0 and up to 86400", e.Timeout)
	v.atLeast(key+"price_input", e.PriceInput, 0)
	v.atLeast(key+"price_output", e.PriceOutput, 0)
	v.min(key+"max_requests", e.MaxRequests, 0)
	v.atLeast(key+"max_cost", e.MaxCost, 0)
	v.check(e.MaxCost == 0 || e.PriceInput > 0 || e.PriceOutput > 0, key+"max_cost", "is %g, but without price_input and price_output nothing has a cost; give them", e.MaxCost)
}

func (v *validator) train(t Train) {
	v.min("train.batch_size", t.BatchSize, 2) // one pair alone has nothing to contrast with
	v.min("train.epochs", t.Epochs, 1)
	v.check(t.LR > 0, "train.lr", "is %g; give a learning rate above 0, such as 1e-5", t.LR)
	v.min("train.warmup_steps", t.WarmupSteps, 0)
	v.atLeast("train.weight_decay", t.WeightDecay, 0)
	v.check(t.Beta1 > 0 && t.Beta1 < 1, "train.beta1", "is %g; give more than 0 and less than 1", t.Beta1)
	v.check(t.Beta2 > 0 && t.Beta2 < 1, "train.beta2", "is %g; give more than 0 and less than 1", t.Beta2)
	v.check(t.Eps > 0, "train.eps", "is %g; give more than 0, such as 1e-8", t.Eps)
	v.atLeast("train.grad_clip", t.GradClip, 0)
	v.atLeast("train.lambda_tca", t.LambdaTCA, 0)
	v.atLeast("train.lambda_ita", t.LambdaITA, 0)
	v.check(!t.Templates.IsZero(), "train.templates", "is empty; give at least one prompt, such as [a photo of a {}.]")
	v.templates("train.templates", t.Templates)
	v.templates("train.second_prompts", t.SecondPrompts)
	v.check(t.Augment.ScaleMin > 0 && t.Augment.ScaleMin <= t.Augment.ScaleMax && t.Augment.ScaleMax <= 1,
		"train.augment.scale_min", "to scale_max is %g to %g; give 0 < scale_min ≤ scale_max ≤ 1", t.Augment.ScaleMin, t.Augment.ScaleMax)
	v.between("train.augment.flip", t.Augment.Flip, 0, 1)
	v.min("train.micro_batch", t.MicroBatch, 0)
	v.min("train.checkpoint_every", t.CheckpointEvery, 0)
	v.min("train.keep_checkpoints", t.KeepCheckpoints, 1)
	v.min("train.workers", t.Workers, 0)
}

func (v *validator) eval(c *Config) {
	e := c.Eval
	v.templates("eval.templates", e.Templates)
	v.min("eval.batch_size", e.BatchSize, 1)
	v.min("eval.drift.samples", e.Drift.Samples, 0)
	v.source("eval.drift.source", e.Drift.Source)
	for i, a := range e.WiseAlphas {
		v.between(fmt.Sprintf("eval.wise_alphas[%d]", i), a, 0, 1)
	}
	names := map[string]bool{}
	for i, s := range e.Suites {
		key := fmt.Sprintf("eval.suites[%d]", i)
		if s.Suite != "" {
			v.published(key, s)
			continue
		}
		v.check(nameForm.MatchString(s.Name), key+".name", "%q can't name a result file; use letters, digits, dot, dash and underscore", s.Name)
		v.check(!names[s.Name], key+".name", "%q is taken by an earlier suite; give each its own name", s.Name)
		v.check(s.Name != SuiteValidation && s.Name != "drift", key+".name", "%q is the name of another result; choose another", s.Name)
		names[s.Name] = true
		v.check(s.Role != "", key+".role", "is missing; give %s", strings.Join(Role("").choices(), ", "))
		v.required(key+".source", s.Source, "the suite's labelled images")
		v.templates(key+".templates", s.Templates)
	}
}

// published checks a suite that brings its test sets along.
func (v *validator) published(key string, s Suite) {
	v.required(key+".source", s.Source, "the folder that the suite's test sets lie in")
	v.templates(key+".templates", s.Templates)
	v.check(s.Name == "", key+".name", "is given beside suite; leave it out, as the test sets of %s have names of their own", s.Suite)
	v.check(s.Role == "", key+".role", "is given beside suite; leave it out, as the test sets of %s have roles of their own", s.Suite)
	v.check(s.Classes.IsZero(), key+".classes", "is given beside suite; leave it out, as the test sets of %s have classes of their own", s.Suite)
	v.check(s.ClassMask.IsZero(), key+".class_mask", "is given beside suite; leave it out, as the test sets of %s have masks of their own", s.Suite)
	alone := Source{Path: s.Source.Path, Limit: s.Source.Limit}
	v.check(reflect.DeepEqual(s.Source, alone), key+".source", "has more than path and limit, which is all that suite %s takes", s.Suite)
}

// validator gathers mistakes.
type validator struct {
	origin map[string]string
	errs   []error
}

func (v *validator) check(ok bool, key, format string, args ...any) {
	if ok {
		return
	}
	v.errs = append(v.errs, &Error{Where: whereIs(v.origin, key), Key: key, Problem: fmt.Sprintf(format, args...)})
}

// whereIs is the place of the key, of the section that lacks it, or of the file.
func whereIs(origin map[string]string, key string) string {
	for {
		if where, ok := origin[key]; ok {
			return where
		}
		i := strings.LastIndexAny(key, ".[")
		if i < 0 {
			break
		}
		key = key[:i]
	}
	if file := origin[""]; file != "" {
		return file
	}
	return "config"
}

func (v *validator) min(key string, n, least int) {
	v.check(n >= least, key, "is %d; give %d or more", n, least)
}

func (v *validator) atLeast(key string, f, least float64) {
	v.check(f >= least, key, "is %g; give %g or more", f, least)
}

func (v *validator) between(key string, f, low, high float64) {
	v.check(f >= low && f <= high, key, "is %g; give %g to %g", f, low, high)
}

func (v *validator) required(key string, s Source, what string) {
	v.check(s.Path != "", key+".path", "is missing; give %s", what)
	v.source(key, s)
}

func (v *validator) source(key string, s Source) {
	v.min(key+".limit", s.Limit, 0)
	v.min(key+".shots", s.Shots, 0)
	v.min(key+".shots_seed", s.ShotsSeed, 0)
	for i, w := range s.Weights {
		v.check(w > 0, fmt.Sprintf("%s.weights[%d]", key, i), "is %g; give more than 0, or leave the source out", w)
	}
	parts := len(s.Paths())
	switch {
	case len(s.Weights) == 0 || s.Path == "":
	case parts == 1:
		v.check(false, key+".weights", "is for several sources, joined by :: in path; leave it out")
	default:
		v.check(len(s.Weights) == parts, key+".weights", "has %d numbers for the %d sources of path; give one each", len(s.Weights), parts)
	}
	if len(s.Weights) > 0 && (s.Limit > 0 || s.Shots > 0) {
		v.check(false, key+".weights", "can't go with limit or shots, which choose samples without regard to them; leave one out")
	}
	if s.Split != "" && slices.Contains([]SourceType{SourceImageFolder, SourceCSV, SourceImages}, s.Type) {
		v.check(false, key+".split", "is %q, but type %s has no splits; leave it out and give the split's own path", s.Split, s.Type)
	}
	v.check(len([]rune(s.Separator)) <= 1 || s.Separator == "tab", key+".separator", `%q is more than one character; give one, such as ";", or tab`, s.Separator)
}

// templates checks prompts that stand in the config itself; those of a file are checked when it is read.
func (v *validator) templates(key string, l List) {
	for i, t := range l.Items {
		if err := CheckTemplate(t); err != nil {
			v.check(false, fmt.Sprintf("%s[%d]", key, i), "%v", err)
		}
	}
}

// CheckTemplate tells whether a prompt has its place for the class name.
func CheckTemplate(t string) error {
	if strings.Count(t, "{}") != 1 {
		return fmt.Errorf("%q needs {} once, where the class name goes, such as \"a photo of a {}.\"", t)
	}
	return nil
}

// PromptsInWords names prompts for people, long lists by their first ones.
func PromptsInWords(templates []string) string {
	const most = 3
	var quoted []string
	for _, t := range templates[:min(most, len(templates))] {
		quoted = append(quoted, strconv.Quote(t))
	}
	text := strings.Join(quoted, ", ")
	if more := len(templates) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// nonEmptySet checks that a list has elements, and none twice.
func nonEmptySet[T comparable](v *validator, key string, list []T) {
	v.check(len(list) > 0, key, "is empty; give at least one")
	seen := map[T]bool{}
	for i, e := range list {
		v.check(!seen[e], fmt.Sprintf("%s[%d]", key, i), "%v is there twice", e)
		seen[e] = true
	}
}
