package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"arf/anchor"
	"arf/clip"
	"arf/config"
	"arf/dataset"
	"arf/imaging"
	"arf/text"
	"arf/torch"

	"golang.org/x/image/draw"
	"golang.org/x/sync/errgroup"
)

const (
	icons       = "data/icons"
	iconsConfig = "configs/icons.yaml"
	arf         = "bin/arf"
)

// prepare makes the data that a row needs, where it isn't there yet.
func prepare(ctx context.Context, need string, s scale) error {
	if need == "" {
		return nil
	}
	var parts []any
	for _, path := range []string{icons + "/manifest.json", iconsConfig, iconModel + "/tokenizer.json"} {
		data, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("%w; run in the repository's folder, after `%s data icons --out %s`", err, arf, icons)
		}
		parts = append(parts, string(data))
	}
	source := config.Hash(append(parts, s.full))
	names, build := []string{"arf.json"}, makeAnchors
	if need == needJPEG {
		names, build = []string{"flyp.json", "eval.json", "eval-vit.json"}, makeJPEG
	}
	done := true
	for _, name := range names {
		ok, err := fresh(s.file(name), source)
		if err != nil {
			return err
		}
		done = done && ok
	}
	if done {
		return nil
	}
	fmt.Fprintf(os.Stderr, "bench: preparing data (%s)\n", need)
	if err := build(ctx, s, source); err != nil {
		return fmt.Errorf("prepare data: %w", err)
	}
	return nil
}

// What --quick takes of the icon benchmark.
const (
	quickFinetune = 64
	quickPool     = 500
)

// arfCommand runs arf on the icon benchmark's config in the bench's own run folder.
func arfCommand(ctx context.Context, s scale, step string, batch int) *exec.Cmd {
	args := []string{
		step, iconsConfig, "--threads", fmt.Sprint(s.threads), "--set", "output=" + filepath.Join(dir, "runs"), "--set", "name=" + runName(s),
		"--set", "methods=[arf]", "--set", fmt.Sprintf("train.batch_size=%d", batch),
	}
	if !s.full {
		args = append(args, "--set", fmt.Sprintf("data.finetune.limit=%d", quickFinetune), "--set", fmt.Sprintf("data.pool.limit=%d", quickPool),
			"--set", "anchors.captions.per_image=1", "--set", "anchors.pairs.k=2")
	}
	return exec.CommandContext(ctx, arf, args...)
}

func runName(s scale) string {
	if s.full {
		return "bench"
	}
	return "bench-quick"
}

// makeAnchors has arf write captions and retrieve pairs for the icon benchmark,
// and lays out the pairs' images as files.
func makeAnchors(ctx context.Context, s scale, source string) error {
	cmd := arfCommand(ctx, s, "retrieve", s.pick(128, 16))
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", cmd, err)
	}
	anchors := filepath.Join(dir, "runs", runName(s), "anchors")
	captions, err := anchor.CaptionTexts(filepath.Join(anchors, "captions.jsonl"), anchor.CaptionFilter{MinScore: -1})
	if err != nil {
		return err
	}
	pairs, err := anchor.ReadPairs(filepath.Join(anchors, "pairs.parquet"))
	if err != nil {
		return err
	}
	finetune, err := dataset.Open(dataset.Source{Path: icons + "/finetune"})
	if err != nil {
		return err
	}
	pool, err := dataset.Open(dataset.Source{Path: icons + "/pool/*.tar"})
	if err != nil {
		return err
	}
	if !s.full {
		finetune, pool = dataset.Limit(finetune, quickFinetune), dataset.Limit(pool, quickPool)
	}
	model, err := clip.Load(iconModel, torch.CPU)
	if err != nil {
		return err
	}
	out, err := newManifest(source, dataset.Classes(finetune), "{}", model.Tokenizer)
	if err != nil {
		return err
	}
	of := map[string][]int{} // by image: numbers in out.Pool
	number := map[int64]int{}
	folder := s.file("pool")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, p := range pairs {
		n, ok := number[p.Row]
		if !ok {
			sample, err := pool.Sample(int(p.Row))
			if err != nil {
				return err
			}
			if sample.Key != p.PairKey {
				return fmt.Errorf("row %d of the pool is %s, pairs.parquet says %s; delete %s", p.Row, sample.Key, p.PairKey, anchors)
			}
			path := filepath.Join(folder, fmt.Sprintf("%d.png", p.Row))
			if err := os.WriteFile(path, sample.Image, 0o644); err != nil {
				return err
			}
			n = len(out.Pool)
			number[p.Row] = n
			out.Pool = append(out.Pool, manifestPair{Path: path, Text: p.Text, TextIDs: model.Tokenizer.Encode(p.Text)})
		}
		of[p.QueryKey] = append(of[p.QueryKey], n)
	}
	for i := range finetune.Len() {
		sample, err := dataset.Describe(finetune, i)
		if err != nil {
			return err
		}
		own := manifestImage{
			Path: filepath.Join(icons, "finetune", sample.Key), Label: sample.Label, Captions: captions[sample.Key], Pairs: of[sample.Key],
		}
		if len(own.Captions) == 0 || len(own.Pairs) == 0 {
			continue // the peer has no rule for images without anchors
		}
		for _, c := range own.Captions {
			own.CaptionIDs = append(own.CaptionIDs, model.Tokenizer.Encode(c))
		}
		out.Images = append(out.Images, own)
	}
	return out.write(s.file("arf.json"))
}

func newManifest(source string, classes []string, template string, t text.Tokenizer) (*manifest, error) {
	m := &manifest{Source: source, Classes: classes, Template: template, EOS: t.EOS()}
	for _, c := range classes {
		m.PromptIDs = append(m.PromptIDs, t.Encode(strings.ReplaceAll(template, "{}", c)))
	}
	if len(classes) == 0 {
		return nil, errors.New("no classes")
	}
	return m, nil
}

const jpegSide = 400

// makeJPEG draws the labelled icons at 400 × 400 pixels into JPEG files, in
// random order; where there are fewer icons than files are wanted, some come
// again at another quality.
func makeJPEG(ctx context.Context, s scale, source string) error {
	var classes []string
	type icon struct {
		path, class string
		finetune    bool
	}
	var found []icon
	for _, part := range []string{"finetune", "id", "validation", "zero-shot", "shift/*", "validation-shift/*"} {
		folders, err := filepath.Glob(filepath.Join(icons, part))
		if err != nil {
			return err
		}
		for _, folder := range folders {
			if strings.HasPrefix(filepath.Base(folder), ".") {
				continue // a hash beside the sets
			}
			d, err := dataset.Open(dataset.Source{Type: dataset.ImageFolder, Path: folder})
			if err != nil {
				return err
			}
			for i := range d.Len() {
				sample, err := dataset.Describe(d, i)
				if err != nil {
					return err
				}
				found = append(found, icon{filepath.Join(folder, sample.Key), sample.Class, part == "finetune"})
				classes = append(classes, sample.Class)
			}
		}
	}
	slices.Sort(classes)
	classes = slices.Compact(classes)
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(found), func(i, j int) { found[i], found[j] = found[j], found[i] })
	folder := s.file("jpeg")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	total := s.pick(10000, 500)
	images := make([]manifestImage, total)
	var finetune []manifestImage
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, s.threads))
	for i := range images {
		from := found[i%len(found)]
		label, _ := slices.BinarySearch(classes, from.class)
		images[i] = manifestImage{Path: filepath.Join(folder, fmt.Sprintf("%05d.jpg", i)), Label: label}
		if from.finetune && i < len(found) {
			finetune = append(finetune, images[i])
		}
		g.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return enlarge(images[i].Path, from.path, 90-10*(i/len(found)))
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	small, err := clip.Load(iconModel, torch.CPU)
	if err != nil {
		return err
	}
	openai, err := text.CLIP(77)
	if err != nil {
		return err
	}
	for name, of := range map[string]struct {
		images    []manifestImage
		template  string
		tokenizer text.Tokenizer
	}{
		"eval.json":     {images, "{}", small.Tokenizer},
		"eval-vit.json": {images, "a photo of a {}.", openai},
		"flyp.json":     {finetune, "a photo of a {}.", openai},
	} {
		m, err := newManifest(source, classes, of.template, of.tokenizer)
		if err != nil {
			return err
		}
		m.Images = of.images
		if err := m.write(s.file(name)); err != nil {
			return err
		}
	}
	return nil
}

// enlarge writes a picture at jpegSide × jpegSide pixels as JPEG.
func enlarge(to, from string, quality int) error {
	encoded, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	pix, w, h, err := imaging.DecodeRGB(encoded)
	if err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	small := image.NewRGBA(image.Rect(0, 0, w, h))
	for i := range w * h {
		copy(small.Pix[4*i:], pix[3*i:3*i+3])
		small.Pix[4*i+3] = 255
	}
	large := image.NewRGBA(image.Rect(0, 0, jpegSide, jpegSide))
	draw.CatmullRom.Scale(large, large.Rect, small, small.Rect, draw.Src, nil)
	var b bytes.Buffer
	if err := jpeg.Encode(&b, large, &jpeg.Options{Quality: quality}); err != nil {
		return err
	}
	return os.WriteFile(to, b.Bytes(), 0o644)
}
