package pipeline

import (
	"io"
	"path/filepath"

	"arf/config"
	"arf/report"
)

// Report writes report.html, results.json and results.csv of a run folder from
// the files in it, and its table to out where that isn't nil. It returns the
// page's path. The gallery's pictures come from the data that the run's config
// names; where that is gone, the gallery has none.
func Report(dir string, out io.Writer) (string, error) {
	run, err := report.Load(dir)
	if err != nil {
		return "", err
	}
	if cfg, err := config.Load(filepath.Join(dir, "config.yaml")); err == nil {
		run.Images = newPictures(cfg)
		run.GalleryImages = gallery(cfg.Report.Gallery)
	}
	page := filepath.Join(dir, "report.html")
	if err := run.WriteHTML(page); err != nil {
		return "", err
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

// gallery turns the config's number, where 0 is none, into the report's, where
// 0 is its default.
func gallery(images int) int {
	if images == 0 {
		return -1
	}
	return images
}
