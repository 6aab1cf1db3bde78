package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"arf/clip"
	"arf/config"
	"arf/dataset"
	"arf/dist"
	"arf/eval"
	"arf/pipeline"
	"arf/suite"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// evalFlags are those of arf eval MODEL.
type evalFlags struct {
	suites, baselines                                   []string
	data, out, csv, head, precision, classes, templates string
	metric, task, id                                    string
	batch, limit, workers, confusions                   int
	list, redo                                          bool
	source                                              dataset.Source
	load                                                clip.LoadOptions
}

func newEval(s *settings) *cobra.Command {
	var run runFlags
	var f evalFlags
	c := &cobra.Command{
		Use:   "eval MODEL|CONFIG",
		Short: "Evaluate a model on published suites or your own test set, or every model of a config",
		Long: `arf eval CONFIG (a .yaml file) evaluates every method and seed of a run: it writes
eval/<method>/seed-<s>/<suite>.json, feature drift and the WiSE-FT curve. Steps
that it needs and that aren't done yet are done first.

arf eval MODEL --suite NAME --data ROOT evaluates one model, zero-shot, on the
test sets of a suite that lie below ROOT; what is missing is listed with the path
expected. arf eval MODEL --data PATH evaluates it on your own test set: a folder
of images for each class, a CSV, a webdataset, Parquet; where images have captions
and no classes, retrieval is measured. Results are JSON files that clip_benchmark
build accepts. docs/evaluation.md has the suites, layouts and conventions.

MODEL is a folder in Hugging Face's or open_clip's layout, a checkpoint file, or a
model of the Hugging Face hub (organisation/name, with @revision if not main).`,
		Example: `  arf eval --list
  arf eval openai/clip-vit-base-patch16 --suite imagenet-robustness,vtab --data /data
  arf eval models/icon-clip --data data/icons/id --templates "an icon of a {}"
  arf eval configs/own-data.yaml`,
		Args:        cobra.MaximumNArgs(1),
		Annotations: map[string]string{together: "yes"},
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.list {
				return listSuites(cmd)
			}
			if len(args) != 1 {
				return errors.New("give a MODEL or a CONFIG, as in: arf eval MODEL --suite imagenet-robustness --data ROOT, or arf eval my.yaml; arf eval --list has the suites")
			}
			if ext := strings.ToLower(filepath.Ext(args[0])); ext == ".yaml" || ext == ".yml" {
				if _, err := os.Stat(args[0]); err != nil {
					return fmt.Errorf("config: %w", err)
				}
				if name := firstChanged(cmd, f.names()); name != "" {
					return fmt.Errorf("--%s is for arf eval MODEL; %s is a config, whose suites are in eval.suites", name, args[0])
				}
				return run.run(cmd, s, args[0], pipeline.Evaluate)
			}
			if name := firstChanged(cmd, []string{"set", "method"}); name != "" {
				return fmt.Errorf("--%s is for arf eval CONFIG; %s is not a .yaml file", name, args[0])
			}
			return inGroup(cmd.Context(), s.device, s.threads, func(ctx context.Context, g *dist.Group) error {
				return f.run(ctx, cmd, s.in(g), g, args[0], run.quiet || !g.Leads())
			})
		},
	}
	run.add(c)
	f.add(c)
	return c
}

func (f *evalFlags) add(c *cobra.Command) {
	p := c.Flags()
	p.BoolVar(&f.list, "list", false, "list the suites, their test sets and how these must lie on disk")
	p.StringSliceVar(&f.suites, "suite", nil, "suites to measure: "+strings.Join(suite.Names(), ", ")+" (comma-separated)")
	p.StringVar(&f.data, "data", "", "folder that the suites' test sets lie in; without --suite, your own test set")
	p.StringVar(&f.out, "out", "", "folder of the results (default runs/eval/<model>); what it has of the same model, data and prompts is not measured again")
	p.BoolVar(&f.redo, "redo", false, "measure again what --out has already")
	p.StringVar(&f.csv, "csv", "", "file for the table with all its digits")
	p.StringVar(&f.templates, "templates", "", "prompts in place of the suite's, or of those that MODEL was finetuned with: imagenet-80, imagenet-7, one prompt with {}, or a file with one a line")
	p.StringVar(&f.precision, "precision", "", "of the towers: fp32, bf16, or auto (bf16 where the hardware computes in it); default that of the run that finetuned MODEL, else fp32")
	p.StringVar(&f.head, "head", "", "linear classifier (safetensors) for the sets whose classes it has; default MODEL/head.safetensors if it is there")
	p.StringSliceVar(&f.baselines, "baseline", nil, "results of other models, a folder each: the difference, and with two or more effective robustness (repeatable)")
	p.StringVar(&f.id, "id", "", "test set that is in distribution, such as domainnet-sketch; the others are shifts")
	p.IntVar(&f.limit, "limit", 0, "images of each test set, spread evenly (0 = all)")
	p.IntVar(&f.batch, "batch-size", 256, "images at a time")
	p.IntVar(&f.workers, "workers", 0, "image decoding in parallel (0 = all cores)")
	p.IntVar(&f.confusions, "confusions", 5, "most frequent mistakes that are shown of each test set")
	p.StringVar(&f.load.Architecture, "architecture", "", "open_clip's name for a checkpoint file's, such as ViT-B-32-quickgelu")
	p.BoolVar(&f.load.ForceQuickGELU, "force-quick-gelu", false, "the checkpoint file was trained with OpenAI's activation")
	p.IntVar(&f.load.ImageSize, "image-size", 0, "pixels a side, where not MODEL's: a ViT's positions are interpolated")
	p.StringVar(&f.classes, "classes", "", `classes of your own test set: "cat,dog", or a file with one a line (name, or name and tab and name in prompts), or folder, its own (default: those that MODEL was finetuned with, where these have all of them, else its own)`)
	p.StringVar(&f.metric, "metric", "", "metric of your own test set: acc1 or mean_per_class_recall")
	p.StringVar(&f.task, "task", "", "of your own test set: classification or retrieval (default: by what the data has)")
	p.StringVar(&f.source.Type, "type", "", "of your own test set: image-folder, csv, webdataset, coop or parquet (default: by its path)")
	p.StringVar(&f.source.Split, "split", "", "of your own test set, where it has several")
	p.StringVar(&f.source.ImageColumn, "image-column", "", "of your own table")
	p.StringVar(&f.source.TextColumn, "text-column", "", "of your own table")
	p.StringVar(&f.source.ClassColumn, "class-column", "", "of your own table")
	p.StringVar(&f.source.LabelColumn, "label-column", "", "of your own table")
	p.StringVar(&f.source.Separator, "separator", "", "between the columns of your own table")
	p.StringVar(&f.source.Root, "root", "", "folder that the image paths of your own table start in (default: the table's)")
	p.BoolVar(&f.source.AllowMissing, "allow-missing-classes", false, "accept class folders without images in your own test set: these classes compete, too")
}

// names are the flags that a config doesn't have.
func (f *evalFlags) names() []string {
	var own cobra.Command
	new(evalFlags).add(&own)
	var names []string
	own.Flags().VisitAll(func(flag *pflag.Flag) { names = append(names, flag.Name) })
	return names
}

// ownFlags are those of a test set of the user's.
var ownFlags = []string{"classes", "metric", "task", "type", "split", "image-column", "text-column", "class-column", "label-column", "separator", "root", "allow-missing-classes"}

func (f *evalFlags) run(ctx context.Context, cmd *cobra.Command, s *settings, g *dist.Group, ref string, quiet bool) error {
	// What needs no engine comes first: mistakes are told at once.
	if err := checkPrecision(cmp.Or(f.precision, defaultPrecision)); err != nil {
		return err
	}
	switch {
	case f.limit < 0:
		return fmt.Errorf("--limit %d: must be at least 0 (all images)", f.limit)
	case f.batch < 1:
		return fmt.Errorf("--batch-size %d: must be at least 1", f.batch)
	case f.workers < 0:
		return fmt.Errorf("--workers %d: must be at least 0 (all cores)", f.workers)
	case f.confusions < 0:
		return fmt.Errorf("--confusions %d: must be at least 0", f.confusions)
	case f.load.ImageSize < 0:
		return fmt.Errorf("--image-size %d: must be at least 1, or 0 for MODEL's", f.load.ImageSize)
	}
	failures := 0
	failed := func(err error) {
		failures++
		fmt.Fprintln(os.Stderr, "arf: left out:", err)
	}
	like, err := eval.LoadZeroShot(ref) // of a folder here
	if err != nil {
		return err
	}
	opened, err := f.open(cmd, like, failed)
	if err != nil {
		return err
	}
	if g.Leads() {
		printMissing(opened)
	}
	if len(opened.Tests) == 0 && failures > 0 {
		return errors.New("none of the test sets that are there can be read; see above")
	}
	if len(opened.Tests) == 0 {
		return fmt.Errorf("none of the test sets is below %s; put them as listed above, or give another --data", f.data)
	}
	if err := fetchOnce(ctx, g, ref); err != nil {
		return err
	}
	model, dir, dtype, err := s.loadModel(ctx, ref, cmp.Or(f.precision, defaultPrecision), f.load)
	if err != nil {
		return err
	}
	if like == nil { // the hub's are here by now
		if like, err = eval.LoadZeroShot(dir); err != nil {
			return err
		}
		if like != nil && len(f.suites) == 0 {
			if opened, err = f.open(cmd, like, failed); err != nil {
				return err
			}
		}
	}
	if like != nil && f.precision == "" && like.Precision != "" {
		if dtype, err = parsePrecision(like.Precision, model.Device()); err != nil {
			return err
		}
	}
	o := suite.RunOptions{ModelName: ref, Out: f.out, Redo: f.redo}
	o.BatchSize, o.Workers, o.Precision, o.Group = f.batch, f.workers, dtype, g
	if o.Out == "" {
		o.Out = filepath.Join("runs", "eval", fileName(ref))
	}
	if o.ModelHash, err = model.Hash(); err != nil {
		return err
	}
	if o.Head, err = f.linearHead(dir); err != nil {
		return err
	}
	if !quiet {
		o.Stage = stages()
	}
	if len(opened.Tests) > 1 {
		o.Failed = failed
	}
	outcomes, err := suite.Run(ctx, model, opened.Tests, o)
	if err != nil {
		return err
	}
	if len(outcomes) > 0 && g.Leads() {
		if err := f.report(outcomes, like, o.Out); err != nil {
			return err
		}
	}
	if failures > 0 {
		return fmt.Errorf("test sets that could not be measured: %d; see above", failures)
	}
	return nil
}

// defaultPrecision is that of models that don't say what they were measured with.
const defaultPrecision = "fp32"

// open finds the test sets that the flags name.
// like is what the model was finetuned with, if it is known, for a test set of one's own.
func (f *evalFlags) open(cmd *cobra.Command, like *eval.ZeroShot, failed func(error)) (suite.Opened, error) {
	var out suite.Opened
	if f.data == "" {
		return out, errors.New("give --data, the folder that the test sets lie in, or your own test set; arf eval --list says how they must lie")
	}
	var templates []string
	if f.templates != "" {
		var err error
		if templates, err = suite.ReadTemplates(f.templates); err != nil {
			return out, err
		}
	}
	if len(f.suites) == 0 {
		own := suite.Own{Source: f.source, Templates: templates, Like: like, Metric: f.metric, Task: f.task, Limit: f.limit}
		own.Source.Path = f.data
		switch {
		case f.classes == config.ClassesFolder && like != nil:
			own.Like = &eval.ZeroShot{Templates: like.Templates}
		case f.classes != "" && f.classes != config.ClassesFolder:
			var err error
			if own.Classes, err = suite.ReadClasses(f.classes); err != nil {
				return out, err
			}
		}
		t, err := own.Open()
		out.Tests = append(out.Tests, t)
		return out, err
	}
	if name := firstChanged(cmd, ownFlags); name != "" {
		return out, fmt.Errorf("--%s is for a test set of your own, without --suite", name)
	}
	for i, name := range f.suites {
		if slices.Contains(f.suites[:i], name) {
			return out, fmt.Errorf("--suite names %s twice", name)
		}
		s, err := suite.Load(name)
		if err != nil {
			return out, err
		}
		part, err := s.Open(f.data, suite.Options{Templates: templates, Limit: f.limit, ID: f.id, Failed: failed})
		if err != nil {
			return out, err
		}
		out.Tests, out.Missing = append(out.Tests, part.Tests...), append(out.Missing, part.Missing...)
	}
	return out, nil
}

// linearHead is the one that was given, or the one beside the model; nil without.
func (f *evalFlags) linearHead(model string) (*eval.Head, error) {
	path := f.head
	if path == "" {
		path = filepath.Join(model, "head.safetensors")
		if _, err := os.Stat(path); err != nil {
			return nil, nil //nolint:nilerr // there is none
		}
	}
	head, err := eval.LoadHead(path)
	if err != nil {
		return nil, fmt.Errorf("head: %w", err)
	}
	return head, nil
}

// report prints the table and the mistakes, and writes the CSV.
func (f *evalFlags) report(outcomes []suite.Outcome, like *eval.ZeroShot, out string) error {
	table := suite.Tabulate(outcomes)
	var baselines []suite.Baseline
	for _, dir := range f.baselines {
		baselines = append(baselines, suite.Baseline{Dir: dir})
	}
	warn := func(text string) { fmt.Fprintln(os.Stderr, "arf:", text) }
	if err := table.Compare(baselines, warn); err != nil {
		return err
	}
	if err := table.Print(os.Stdout); err != nil {
		return err
	}
	f.printAsked(outcomes, like)
	printMistakes(outcomes, f.confusions)
	if f.csv != "" {
		if err := table.SaveCSV(f.csv); err != nil {
			return err
		}
	}
	reused := 0
	for _, o := range outcomes {
		if n := broken(o); n > 0 {
			fmt.Fprintf(os.Stderr, "arf: %s: images that could not be read and are left out: %d\n", o.Test.Name(), n)
		}
		if o.Reused {
			reused++
		}
	}
	if reused > 0 {
		fmt.Fprintf(os.Stderr, "arf: %d of %d results were there already; --redo measures them again\n", reused, len(outcomes))
	}
	fmt.Println("results: " + out)
	return nil
}

// printAsked tells which prompts and classes were measured with, and where the
// model's folder gave them. Sets of equal prompts stand together.
func (f *evalFlags) printAsked(outcomes []suite.Outcome, like *eval.ZeroShot) {
	type asked struct{ sets, templates []string }
	var all []asked
	for _, o := range outcomes {
		if o.Class == nil || o.Class.Head != "text" {
			continue
		}
		i := slices.IndexFunc(all, func(a asked) bool { return slices.Equal(a.templates, o.Class.Templates) })
		if i < 0 {
			i, all = len(all), append(all, asked{templates: o.Class.Templates})
		}
		all[i].sets = append(all[i].sets, o.Test.Name())
	}
	own := len(f.suites) == 0 && like != nil
	for _, a := range all {
		from := ""
		if own && f.templates == "" {
			from = " (from " + eval.ZeroShotFile + " beside the model; --templates gives others)"
		}
		fmt.Printf("prompts of %s: %s%s\n", strings.Join(a.sets, ", "), config.PromptsInWords(a.templates), from)
	}
	if like != nil && f.precision == "" && like.Precision != "" {
		fmt.Printf("precision: %s (from %s; --precision gives another)\n", like.Precision, eval.ZeroShotFile)
	}
	if own && f.classes == "" && len(all) > 0 && len(outcomes[0].Test.Class.Classes) == len(like.Classes) {
		fmt.Printf("classes: all %d that the model was finetuned with compete; --classes folder takes the test set's own\n", len(like.Classes))
	}
}

// broken is how many images of a test set were left out.
func broken(o suite.Outcome) int {
	if o.Captions != nil {
		return o.Captions.Broken
	}
	return o.Class.Broken
}

func printMistakes(outcomes []suite.Outcome, n int) {
	for _, o := range outcomes {
		if o.Class == nil {
			continue
		}
		top := o.Class.Confusions[:min(max(n, 0), len(o.Class.Confusions))]
		if len(top) == 0 {
			continue
		}
		fmt.Printf("\nmost frequent mistakes on %s:\n", o.Test.Name())
		for _, c := range top {
			fmt.Printf("  %4d × %s taken for %s\n", c.N, spokenClass(o.Class, c.Class), spokenClass(o.Class, c.Predicted))
		}
	}
	fmt.Println()
}

// spokenClass is a class's name in prompts.
func spokenClass(r *eval.Result, name string) string {
	if p := r.PerClass[name].Prompt; p != "" {
		return p
	}
	return name
}

// missingShown is how many missing sets are told with path, layout and archive.
const missingShown = 3

// printMissing tells what wasn't found: with all about it where nothing or much
// was found, else by name. A set of several suites is told once.
func printMissing(opened suite.Opened) {
	var missing []suite.Missing
	for _, m := range opened.Missing {
		if !slices.ContainsFunc(missing, func(other suite.Missing) bool { return other.String() == m.String() }) {
			missing = append(missing, m)
		}
	}
	var names []string
	for _, m := range missing {
		switch {
		case len(missing) <= missingShown || len(opened.Tests) == 0:
			fmt.Fprintln(os.Stderr, "missing: "+m.Details())
		case m.Also != "": // it's there in part
			fmt.Fprintln(os.Stderr, "missing: "+m.String())
		default:
			names = append(names, m.Set.Name)
		}
	}
	if len(names) > 0 {
		fmt.Fprintf(os.Stderr, "missing: %s; arf eval --list says where they are looked for\n", strings.Join(names, ", "))
	}
}

func listSuites(cmd *cobra.Command) error {
	out := cmd.OutOrStdout()
	for _, name := range suite.Names() {
		s, err := suite.Load(name)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: %s\n  source: %s\n", name, s.Title, s.Source)
		if s.Like != "" {
			fmt.Fprintf(out, "  test sets and layout: as %s\n\n", s.Like)
			continue
		}
		if s.Discover != "" {
			fmt.Fprintf(out, "  ROOT/%s/{%s}\n", s.Discover, suite.WebDatasetLayout)
		}
		for _, set := range s.Sets {
			fmt.Fprintf(out, "  %s (%s): ROOT/%s\n", set.Name, set.Title, strings.Join(set.Paths, " or ROOT/"))
			if set.Layout != "" {
				fmt.Fprintf(out, "      %s\n", set.Layout)
			}
			if set.Archive != "" {
				fmt.Fprintf(out, "      archive: %s\n", set.Archive)
			}
		}
		fmt.Fprintln(out)
	}
	return nil
}

// fileName makes a model's name usable as a folder's: its last two parts, as many
// models are called epoch_10.pt; of a run's models five, with the run's name,
// method and seed.
func fileName(ref string) string {
	ref = strings.TrimPrefix(filepath.ToSlash(filepath.Clean(ref)), "hf-hub:")
	parts := strings.Split(strings.Trim(ref, "/"), "/")
	n := 2
	switch base := parts[len(parts)-1]; {
	case base == "model" && len(parts) > 1 && strings.HasPrefix(parts[len(parts)-2], "seed-"):
		n = 5
	case strings.HasPrefix(base, "seed-"):
		n = 4
	}
	var name []string
	for _, part := range parts[max(0, len(parts)-n):] {
		if part = strings.Trim(part, "."); part != "" {
			name = append(name, part)
		}
	}
	return cmp.Or(strings.Join(name, "-"), "model")
}

// firstChanged is the first of the flags that was given; "" if none was.
func firstChanged(cmd *cobra.Command, names []string) string {
	for _, name := range names {
		if cmd.Flags().Changed(name) {
			return name
		}
	}
	return ""
}
