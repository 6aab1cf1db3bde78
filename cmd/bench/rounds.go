package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"arf/config"
	"arf/torch"
)

// round is one run of both sides.
type round struct {
	Row  string   `json:"row"`
	Key  string   `json:"key"` // hash of what was measured and by which programs
	Ours measured `json:"ours"`
	Peer measured `json:"peer"`
}

// journal keeps the rounds that are done, so that a call that was cut short
// goes on where it stopped.
type journal struct {
	path string
	done []round
}

func openJournal(quick, fresh bool) (*journal, error) {
	j := &journal{path: filepath.Join(dir, "rounds.jsonl")}
	if quick {
		j.path = filepath.Join(dir, "rounds-quick.jsonl")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if fresh {
		return j, os.RemoveAll(j.path)
	}
	file, err := os.Open(j.path)
	if errors.Is(err, os.ErrNotExist) {
		return j, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	scanner := bufio.NewScanner(file)
	for scanner.Scan() {
		var r round
		if json.Unmarshal(scanner.Bytes(), &r) == nil { // a line may have been cut short
			j.done = append(j.done, r)
		}
	}
	return j, scanner.Err()
}

func (j *journal) of(row, key string) []round {
	var found []round
	for _, r := range j.done {
		if r.Row == row && r.Key == key {
			found = append(found, r)
		}
	}
	return found
}

func (j *journal) add(r round) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	j.done = append(j.done, r)
	file, err := os.OpenFile(j.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	// The line before may have been cut short.
	_, err = fmt.Fprintf(file, "\n%s\n", text)
	return errors.Join(err, file.Close())
}

type runner struct {
	o       options
	s       scale
	journal *journal
}

// row runs the rounds of a row that are missing and gives all.
func (b *runner) row(ctx context.Context, r row) ([]round, error) {
	if err := prepare(ctx, r.needs, b.s); err != nil {
		return nil, err
	}
	key, err := b.key(r)
	if err != nil {
		return nil, err
	}
	if r.limit > 0 && len(b.journal.of(r.name, key)) < b.o.rounds {
		// Of a start-up only what comes after the first one has a warm cache.
		if _, err := b.round(ctx, r, key, 0); err != nil {
			return nil, err
		}
	}
	for {
		done := b.journal.of(r.name, key)
		if len(done) >= b.o.rounds {
			return done[:b.o.rounds], nil
		}
		next, err := b.round(ctx, r, key, len(done))
		if err != nil {
			return nil, err
		}
		if err := b.journal.add(next); err != nil {
			return nil, err
		}
		fmt.Fprintf(os.Stderr, "bench: %s, round %d of %d: ours %.4g, peer %.4g %s\n",
			r.name, len(done)+1, b.o.rounds, r.value(next.Ours), r.value(next.Peer), r.unit)
	}
}

// round runs both sides; who is first changes from round to round.
func (b *runner) round(ctx context.Context, r row, key string, number int) (done round, err error) {
	done = round{Row: r.name, Key: key}
	own := func() (err error) {
		done.Ours, err = b.ours(ctx, r.work)
		return err
	}
	other := func() (err error) {
		done.Peer, err = b.peer(ctx, r.work)
		return err
	}
	if number%2 == 1 {
		own, other = other, own
	}
	if err := own(); err != nil {
		return done, err
	}
	if err := other(); err != nil {
		return done, err
	}
	// The few samples of --quick draw other templates, captions and pairs.
	tolerance := 0.15
	if b.o.quick {
		tolerance = 0.4
	}
	return done, done.check(r.work, tolerance)
}

func (b *runner) ours(ctx context.Context, w work) (measured, error) {
	if w.Kind == "startup" {
		// The run's other steps stay done.
		if err := os.RemoveAll(filepath.Join(dir, "runs", runName(b.s), "train")); err != nil {
			return measured{}, err
		}
		return untilFirstStep(arfCommand(ctx, b.s, "finetune", w.Batch))
	}
	cmd, err := oursCommand(ctx, w)
	if err != nil {
		return measured{}, err
	}
	return side(cmd)
}

func (b *runner) peer(ctx context.Context, w work) (measured, error) {
	if w.Kind == "startup" {
		w.Kind = "arf"
		return untilFirstStep(peerCommand(ctx, b.o.python, w))
	}
	return side(peerCommand(ctx, b.o.python, w))
}

// check refuses rounds whose sides didn't do the same work; tolerance is that of
// the mean loss, as a share.
func (r *round) check(w work, tolerance float64) error {
	if a, b := r.Ours.Loss, r.Peer.Loss; math.Abs(a-b) > tolerance*math.Abs(b) {
		return fmt.Errorf("the sides don't do the same work: mean loss %.3f, the peer's %.3f", a, b)
	}
	// Random weights classify by chance.
	if a, b := r.Ours.Accuracy, r.Peer.Accuracy; w.Model != "" && math.Abs(a-b) > 0.02 {
		return fmt.Errorf("the sides don't do the same work: accuracy %.3f, the peer's %.3f", a, b)
	}
	return nil
}

// key identifies the work and the programs that do it.
func (b *runner) key(r row) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	parts := []any{r.work, b.o.python}
	programs := []string{self, torch.LibraryPath(), peerScripts + "/peer.py", peerScripts + "/clip_model.py"}
	if r.work.OpenCLIP {
		programs = append(programs, peerScripts+"/open_clip_model.py")
	}
	if r.work.Kind == "startup" {
		programs = append(programs, arf)
	}
	for _, path := range programs {
		data, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("%w; `make bench` builds what is needed", err)
		}
		parts = append(parts, sha256.Sum256(data))
	}
	return config.Hash(parts), nil
}

// value is what the row compares.
func (r row) value(m measured) float64 {
	if strings.HasSuffix(r.unit, "/s") {
		return m.Rate
	}
	return m.Seconds
}
