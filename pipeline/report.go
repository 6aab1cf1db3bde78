package pipeline

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"

	"arf/config"
	"arf/report"
)

const noPictures = "the page has no pictures, as the run's config can't be read"

// Report writes report.html, results.json and results.csv of a run folder from
// the files in it, and its table to out where that isn't nil. It returns the
// page's path. The gallery's pictures come from the data that the run's config
// names; where that is gone, the gallery has none. ctx ends the reading of them.
func Report(ctx context.Context, dir string, out io.Writer) (string, error) {
	run, err := report.Load(dir)
	if err != nil {
		return "", err
	}
	cfg, err := config.Load(filepath.Join(dir, "config.yaml"))
	switch {
	case err == nil:
		run.Images = newPictures(ctx, cfg)
		run.GalleryImages, run.Template = gallery(cfg.Report.Gallery), trained(cfg)
	case !errors.Is(err, fs.ErrNotExist):
		slog.Warn(noPictures, "error", err)
	}
	page := filepath.Join(dir, "report.html")
	if err := run.WriteHTML(page); err != nil {
		return "", err
	}
	if ctx.Err() != nil { // the page lacks pictures
		return "", context.Cause(ctx)
	}
	if err := run.WriteJSON(filepath.Join(dir, "results.json")); err != nil {
		return "", err
	}
	if err := run.WriteCSV(filepath.Join(dir, "results.csv")); err != nil {
		return "", err
	}
	if out == nil {
		return page, nil
	}
	return page, run.Table(out)
}

// trained is the first class prompt of training.
func trained(cfg *config.Config) string {
	templates, err := readTemplates(cfg.Train.Templates)
	if err != nil || len(templates) == 0 {
		return ""
	}
	return templates[0]
}

// gallery turns the config's number, where 0 is none, into the report's, where
// 0 is its default.
func gallery(images int) int {
	if images == 0 {
		return -1
	}
	return images
}

// Anchors writes anchors.html of a run folder: each finetune image with its class
// prompt, captions and pairs, and what was left out. pictured is how many images
// have their pictures on it; negative is all. It returns the page's path.
func Anchors(ctx context.Context, dir string, pictured int) (string, error) {
	o := report.AnchorsOptions{Pictured: pictured, LeastCaption: -1}
	cfg, err := config.Load(filepath.Join(dir, "config.yaml"))
	switch {
	case err == nil:
		o.Images, o.LeastCaption, o.Template = newPictures(ctx, cfg), cfg.Anchors.Captions.MinClipScore, trained(cfg)
	case !errors.Is(err, fs.ErrNotExist):
		slog.Warn(noPictures, "error", err)
	}
	path := filepath.Join(dir, "anchors.html")
	if err := report.WriteAnchors(dir, path, o); err != nil {
		return "", err
	}
	return path, context.Cause(ctx)
}
