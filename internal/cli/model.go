package cli

import (
	"context"
	"fmt"
	"os"
	"time"

	"arf/clip"
	"arf/hub"
	"arf/torch"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// findModel gives the path of a model that was named on the command line: it is
// here, or fetched from the hub.
func findModel(ctx context.Context, ref string) (string, error) {
	return hub.Resolve(ctx, ref, hub.Options{Progress: downloads()})
}

// loadModel loads a model that was named on the command line; dir is where it lies.
func (s *settings) loadModel(ctx context.Context, ref, precision string, o clip.LoadOptions) (model *clip.Model, dir string, dtype torch.DType, err error) {
	device, err := s.engine()
	if err != nil {
		return nil, "", 0, err
	}
	if dtype, err = parsePrecision(precision, device); err != nil {
		return nil, "", 0, err
	}
	if dir, err = findModel(ctx, ref); err != nil {
		return nil, "", 0, err
	}
	if model, err = clip.LoadWith(dir, device, o); err != nil {
		return nil, "", 0, err
	}
	return model, dir, dtype, nil
}

// downloads shows what is fetched: a bar on a terminal, else a line every few
// seconds.
func downloads() func(file string, done, total int64) {
	var current string
	var bar *progressbar.ProgressBar
	var last time.Time
	onTerminal := term.IsTerminal(int(os.Stderr.Fd()))
	return func(file string, done, total int64) {
		begins := file != current
		current = file
		if onTerminal {
			if begins {
				length := total
				if length == 0 {
					length = -1
				}
				bar = progressbar.NewOptions64(length, progressbar.OptionSetWriter(os.Stderr), progressbar.OptionSetDescription("fetch "+file),
					progressbar.OptionShowBytes(true), progressbar.OptionSetPredictTime(true), progressbar.OptionThrottle(200*time.Millisecond),
					progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(24))
			}
			_ = bar.Set64(done)
			return
		}
		switch now := time.Now(); {
		case begins && total > 0:
			last = now
			fmt.Fprintf(os.Stderr, "fetch %s (%s)\n", file, humanize.Bytes(uint64(total)))
		case begins:
			last = now
			fmt.Fprintf(os.Stderr, "fetch %s\n", file)
		case now.Sub(last) >= lineEvery:
			last = now
			fmt.Fprintf(os.Stderr, "fetch %s: %s\n", file, humanize.Bytes(uint64(max(done, 0))))
		}
	}
}
