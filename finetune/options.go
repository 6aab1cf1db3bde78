package finetune

import (
	"cmp"
	"fmt"
	"math"

	"arf/config"
	"arf/dist"
	"arf/imaging"
	"arf/profile"
	"arf/torch"
	"arf/train"
)

// Options of a run. A zero takes the value in the comment, where it gives one.
type Options struct {
	Dir    string // run folder; "" keeps nothing
	Method Method // "" = arf

	// Weights of the terms. A term of weight 0 is not computed: then arf is flyp.
	LambdaTCA, LambdaITA float64
	Negatives            Negatives // "" = diag, as in FLYP

	BatchSize int // finetune images a step, at most all; 0 = 512. ita adds as many pairs
	// MicroBatch is how many images, and different texts, go through the towers at
	// a time, for batches whose activations don't fit into memory; 0 = all. The
	// gradient stays the whole batch's, at the cost of a second forward pass.
	MicroBatch int
	// ActivationCheckpointing keeps of each block of the towers only its input, and
	// computes it a second time for the gradient.
	ActivationCheckpointing bool

	Epochs       int // 0 = 10
	LR           float64
	WarmupSteps  int     // linear warm-up, then cosine to 0; 0 = none
	WeightDecay  float64 // on matrices and kernels only; 0 = none
	Beta1, Beta2 float64 // of AdamW; 0 = 0.9 and 0.999
	Eps          float64 // of AdamW; 0 = 1e-8
	GradClip     float64 // largest norm of the gradient; 0 = no clipping

	Augment imaging.Augment // of finetune and pool images; zero = none
	// TrainBatchNorm lets a ModifiedResNet use and move the statistics of its
	// batches, in which finetune and pool images are mixed. Otherwise it keeps
	// those of pretraining.
	TrainBatchNorm bool
	// FreezeLogitScale keeps the pretrained temperature, and SigLIP's bias.
	FreezeLogitScale bool

	// AllowMissingCaptions lets an image without captions take its class prompt
	// instead; AllowMissingPairs lets one without pairs bring none. Both are
	// counted and warned about. Otherwise they are errors.
	AllowMissingCaptions, AllowMissingPairs bool

	Precision torch.DType  // of the towers' products: Float32 (also 0) or BFloat16; the loss is in Float32
	Device    torch.Device // where to train; the model is moved there
	Seed      uint64
	// Group is the processes that train together, each on its share of every
	// batch; nil = this one alone. The weights don't depend on their number, but
	// for rounding. All must be given the same model, data and options.
	Group *dist.Group

	CheckpointEvery int   // steps; 0 = at each epoch's end; negative = only at the run's end and when it's stopped
	KeepCheckpoints int   // 0 = 2
	Workers         int   // goroutines that decode finetune images, and as many for the pool's; 0 = one a CPU
	CacheBytes      int64 // memory for decoded finetune images; 0 = 256 MiB, negative = none

	// Hash identifies what Run can't see: the pretrained weights and the bytes
	// of the images. With another Hash, other options or other anchors, a
	// checkpoint in Dir is refused.
	Hash      string
	Planned   func(steps int)     // told once how long the run is; may be nil
	Progress  func(train.Metrics) // after each step; may be nil
	Profile   *profile.Profile    // measures steps; nil measures none
	StopAfter int                 // ends after that many steps as an interruption would; 0 = never
}

// Defaults are FLYP's for ViT-B/16 on ImageNet (Goyal et al. 2023, appendix;
// locuslab/FLYP, README), and the plain sum of the terms.
func Defaults() Options {
	return Options{
		Method: ARF, LambdaTCA: 1, LambdaITA: 1, Negatives: Diag,
		BatchSize: 512, Epochs: 10, LR: 1e-5, WarmupSteps: 500, WeightDecay: 0.1, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8,
		Augment: imaging.Augment{ScaleMin: 0.9, ScaleMax: 1},
	}
}

func (o Options) filled() Options {
	o.Method = cmp.Or(o.Method, ARF)
	o.Negatives = cmp.Or(o.Negatives, Diag)
	o.BatchSize = cmp.Or(o.BatchSize, 512)
	o.Epochs = cmp.Or(o.Epochs, 10)
	o.Beta1, o.Beta2, o.Eps = cmp.Or(o.Beta1, 0.9), cmp.Or(o.Beta2, 0.999), cmp.Or(o.Eps, 1e-8)
	o.Precision = cmp.Or(o.Precision, torch.Float32)
	o.CacheBytes = max(0, cmp.Or(o.CacheBytes, 256<<20))
	return o
}

func (o Options) check() error {
	if err := checkMethod(o.Method); err != nil {
		return err
	}
	if err := o.Negatives.check(); err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		ok   bool
		got  any
		want string
	}{
		{"lambda_tca", finite(o.LambdaTCA) && o.LambdaTCA >= 0, o.LambdaTCA, "0 or more"},
		{"lambda_ita", finite(o.LambdaITA) && o.LambdaITA >= 0, o.LambdaITA, "0 or more"},
		{"batch_size", o.BatchSize > 0, o.BatchSize, "1 or more"},
		{"micro_batch", o.MicroBatch >= 0, o.MicroBatch, "0 or more"},
		{"epochs", o.Epochs > 0, o.Epochs, "1 or more"},
		{"lr", finite(o.LR) && o.LR > 0, o.LR, "a positive number, such as 1e-5"},
		{"warmup_steps", o.WarmupSteps >= 0, o.WarmupSteps, "0 or more"},
		{"weight_decay", finite(o.WeightDecay) && o.WeightDecay >= 0, o.WeightDecay, "0 or more"},
		{"beta1", o.Beta1 > 0 && o.Beta1 < 1, o.Beta1, "between 0 and 1"},
		{"beta2", o.Beta2 > 0 && o.Beta2 < 1, o.Beta2, "between 0 and 1"},
		{"eps", finite(o.Eps) && o.Eps > 0, o.Eps, "a positive number"},
		{"grad_clip", finite(o.GradClip) && o.GradClip >= 0, o.GradClip, "0 or more"},
		{"precision", o.Precision == torch.Float32 || o.Precision == torch.BFloat16, o.Precision, "float32 or bfloat16"},
		{"workers", o.Workers >= 0, o.Workers, "0 or more"},
	} {
		if !f.ok {
			return fmt.Errorf("%s is %v; want %s", f.name, f.got, f.want)
		}
	}
	return o.Augment.Validate()
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

func (o Options) checkpointEvery(stepsPerEpoch int) int {
	return max(0, cmp.Or(o.CheckpointEvery, stepsPerEpoch))
}

// hash covers all that the weights depend on.
func (o Options) hash(d *prepared) string {
	return config.Hash(struct {
		Method                                       Method
		LambdaTCA, LambdaITA                         float64
		Negatives                                    Negatives
		BatchSize, Epochs, WarmupSteps               int
		LR, WeightDecay, Beta1, Beta2, Eps, GradClip float64
		Augment                                      imaging.Augment
		TrainBatchNorm, FreezeLogitScale             bool
		Precision                                    string
		Seed                                         uint64
		Data, Caller                                 string
	}{
		o.Method, o.LambdaTCA, o.LambdaITA, o.Negatives, o.BatchSize, o.Epochs, o.WarmupSteps,
		o.LR, o.WeightDecay, o.Beta1, o.Beta2, o.Eps, o.GradClip, o.Augment, o.TrainBatchNorm, o.FreezeLogitScale,
		o.Precision.String(), o.Seed, d.digest, o.Hash,
	})
}
