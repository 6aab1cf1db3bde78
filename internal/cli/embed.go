package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"arf/anchor"
	"arf/clip"
	"arf/dataset"
	"arf/dist"
	"arf/faiss"
	"arf/index"
	"arf/torch"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
)

func newEmbed(s *settings) *cobra.Command {
	var source dataset.Source
	var out, precision string
	var limit int
	var o index.EmbedOptions
	var noTexts, indexes, quiet bool
	c := &cobra.Command{
		Use:   "embed MODEL SOURCE",
		Short: "Write the features of images and texts, in clip-retrieval's layout",
		Long: `Write to --out, in clip-retrieval's layout:

  img_emb/img_emb_0.npy        float16, a row of length 1 for each image
  text_emb/text_emb_0.npy      the same for the captions, if SOURCE has any
  metadata/metadata_0.parquet  image_path, caption, class, and what else is known

SOURCE is a folder of images, with or without a folder for each class, a CSV or
TSV, tars, Parquet files, or CoOp's split_zhou_<Name>.json. Where x.txt lies
beside x.jpg, folders are no classes (--type image-folder: they are). Images that
can't be read are left out and counted. An interrupted run goes on; shards that
are done are kept. autofaiss and clip-retrieval index the folder as it is;
--faiss writes the indexes (image.index, text.index) that they would.`,
		Example: `  arf embed models/icon-clip "data/icons/pool/{00000..00009}.tar" --out features
  arf embed openai/clip-vit-base-patch32 photos/ --out photos-features --precision auto`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return errors.New("give a MODEL and a SOURCE of images, as in: arf embed MODEL photos/ --out features")
			}
			return nil
		},
		Annotations: map[string]string{together: "yes"},
		RunE: func(cmd *cobra.Command, args []string) error {
			if indexes { // hours of embedding later, this would come late
				if err := faiss.Load(); err != nil {
					return err
				}
			}
			source.Path = args[1]
			data, err := dataset.OpenPairs(cmd.Context(), source)
			if err != nil {
				return err
			}
			data = dataset.Limit(data, limit)
			o.Texts = !noTexts && dataset.HasTexts(data)
			return inGroup(cmd.Context(), s.device, s.threads, func(ctx context.Context, g *dist.Group) error {
				if err := fetchOnce(ctx, g, args[0]); err != nil {
					return err
				}
				model, _, dtype, err := s.in(g).loadModel(ctx, args[0], precision, clip.LoadOptions{})
				if err != nil {
					return err
				}
				o.Group = g
				if !quiet && g.Leads() {
					show := stages()
					o.Progress = func(done, total int) { show("embed", done, total) }
				}
				store, err := index.Embed(ctx, out, data, anchor.Encoder{Model: model, Precision: dtype}, o)
				if err != nil {
					return err
				}
				// However long the indexes take, the others wait.
				return g.Lead(func() error {
					printEmbedded(out, store.Manifest)
					if !indexes {
						return nil
					}
					return buildIndexes(ctx, store, quiet)
				})
			})
		},
	}
	f := c.Flags()
	f.StringVar(&out, "out", "", "folder of the features")
	_ = c.MarkFlagRequired("out")
	f.IntVar(&o.ShardRows, "shard-size", 8192, "images in a shard, the most that an interruption loses")
	f.IntVar(&o.BatchSize, "batch-size", 256, "images at a time")
	f.IntVar(&o.Workers, "workers", 0, "image decoding in parallel (0 = all cores)")
	f.StringVar(&precision, "precision", "fp32", "of the towers: fp32, bf16, or auto (bf16 where the hardware computes in it)")
	f.IntVar(&limit, "limit", 0, "images, spread evenly over the source (0 = all)")
	f.BoolVar(&noTexts, "no-texts", false, "only the images")
	f.BoolVar(&indexes, "faiss", false, "also build FAISS indexes of the features")
	f.BoolVar(&quiet, "quiet", false, "no progress")
	f.StringVar(&source.Type, "type", "", "of the source: image-folder, csv, webdataset, coop, parquet, images or embeddings (default: by its path)")
	f.StringVar(&source.Split, "split", "", "of the source, where it has several")
	f.StringVar(&source.ImageColumn, "image-column", "", "of a table")
	f.StringVar(&source.TextColumn, "text-column", "", "of a table")
	f.StringVar(&source.ClassColumn, "class-column", "", "of a table")
	f.StringVar(&source.LabelColumn, "label-column", "", "of a table")
	f.StringVar(&source.Separator, "separator", "", "between the columns of a table")
	f.StringVar(&source.Root, "root", "", "folder that a table's image paths start in (default: the table's)")
	return c
}

func printEmbedded(out string, m index.Manifest) {
	skipped := ""
	if m.Skipped > 0 {
		skipped = fmt.Sprintf("; %d of %d images left out, see %s", m.Skipped, m.Samples, filepath.Join(out, "features.json"))
	}
	texts := ""
	if m.Texts {
		texts = " and texts"
	}
	fmt.Printf("%s: %d images%s, %d numbers each%s\n", out, m.Rows, texts, m.Dim, skipped)
}

// buildIndexes builds what isn't there of a store's FAISS indexes, and tells of
// each how well it finds the rows' own neighbours.
func buildIndexes(ctx context.Context, store *index.Store, quiet bool) error {
	for _, of := range []struct {
		name    string
		texts   bool
		vectors index.Vectors
	}{{"image.index", false, store.Images()}, {"text.index", true, store.Texts()}} {
		if of.vectors == nil {
			continue
		}
		var o index.FAISSOptions
		if !quiet {
			show := stages()
			o.Progress = func(done, total int) { show(of.name, done, total) }
		}
		x, info, err := store.FAISS(ctx, of.texts, o)
		if err != nil {
			return err
		}
		recall, err := measure(ctx, &index.Approximate{Vectors: of.vectors, Parts: []index.Part{{Index: x}}})
		x.Close()
		if err != nil {
			return err
		}
		fmt.Printf("%s: %s, %s, built in %.1f s; recall@%d %.3f on %d of the rows\n", filepath.Join(store.Dir, of.name),
			cmp.Or(info.Kind, "built elsewhere"), humanize.IBytes(uint64(info.Bytes)), info.TrainSeconds+info.AddSeconds, recall.K, recall.Recall, recall.Sample)
	}
	return nil
}

// measure takes a sample of the rows as queries.
func measure(ctx context.Context, a *index.Approximate) (index.Recall, error) {
	const sample = 200
	n := a.Vectors.Len()
	rows := make([]int, min(sample, n))
	for i := range rows {
		rows[i] = i * n / len(rows)
	}
	queries, err := index.Pick(a.Vectors, rows)
	if err != nil {
		return index.Recall{}, err
	}
	return a.Tune(ctx, queries, 20, 0.95, torch.CPU)
}
