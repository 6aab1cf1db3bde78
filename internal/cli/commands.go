package cli

import (
	"cmp"
	"maps"
	"slices"

	"arf/pipeline"

	"github.com/spf13/cobra"
)

// commands lists what arf can do, in the order of its help.
func commands(s *settings) []*cobra.Command {
	const steps = "Steps that it needs and that aren't done yet are done first."
	return []*cobra.Command{
		newDemo(s),
		newRun(s, "run", "Run a config: captions, pairs, finetuning, evaluation, report",
			"Run all that a config says. Steps whose result is there are skipped; an interrupted run goes on.",
			"  arf run configs/own-data.yaml\n  arf run configs/own-data.yaml --set train.lr=1e-5 --set name=lower-lr", ""),
		newRun(s, "caption", "Write captions of the finetune images (text-compensated anchors)",
			"Write anchors/captions.jsonl: several captions an image, with log-probability and CLIP score; and say how good they\n"+
				"are: length, vocabulary, share that name the class, CLIP scores as a histogram, speed.",
			"  arf caption configs/own-data.yaml", pipeline.Captions),
		newRun(s, "retrieve", "Retrieve image-text pairs for the finetune images (image-text-pair anchors)",
			"Write anchors/pairs.parquet: the nearest pairs of the pool, with scores and provenance.\n"+steps,
			"  arf retrieve configs/own-data.yaml --set anchors.pairs.k=20", pipeline.Pairs),
		newFinetune(s),
		newLaunch(),
		newEval(s),
		newClassify(s),
		newEmbed(s),
		newConvert(s),
		newInterpolate(s),
		newAnchors(),
		newReport(),
		newCompare(),
		newResults(),
		newData(),
		newPretrain(s),
		newDoctor(s),
	}
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
