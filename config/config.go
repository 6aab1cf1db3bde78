// Package config is a run's configuration: one YAML file says the whole experiment.
//
// Load reads a file over the defaults, applies `--set key=value` overrides and validates the result. Every key is
// known: a misspelt one is an error that names file, line, key and the key that was probably meant. configs/own-data.yaml
// explains each key. Paths are relative to the current folder.
//
// The package only describes; the packages above it act on the description.
package config

// Config is a whole run. Fields carry their YAML key; Default gives the value of a key that a file leaves out.
type Config struct {
	Name      string    `yaml:"name"`      // names the run folder, <output>/<name>
	Output    string    `yaml:"output"`    // folder of the run folders
	Model     string    `yaml:"model"`     // pretrained CLIP: a folder or checkpoint file, or organisation/name[@revision] of the Hugging Face hub
	Methods   []Method  `yaml:"methods"`   // what to train and compare
	Seeds     []int     `yaml:"seeds"`     // one training run a method and seed
	Device    string    `yaml:"device"`    // auto, cpu, cuda or cuda:N; auto takes the first GPU, else the CPU
	Threads   int       `yaml:"threads"`   // CPU threads of the engine; 0 = all cores
	Precision Precision `yaml:"precision"` // of the forward and backward pass; weights and optimiser stay fp32
	// Deterministic: the same bits on every run, also on a GPU, where it costs time; on the CPU they are anyway.
	Deterministic bool `yaml:"deterministic"`

	Data    Data    `yaml:"data"`
	Anchors Anchors `yaml:"anchors"`
	Train   Train   `yaml:"train"`
	Eval    Eval    `yaml:"eval"`
	Report  Report  `yaml:"report"`

	// Where each key was given ("file.yaml:12" or `--set "key=value"`), for messages.
	origin map[string]string
}

// Data are the samples that training may see.
type Data struct {
	Finetune   Source `yaml:"finetune"`   // labelled images of the task
	Validation Source `yaml:"validation"` // labelled images for choosing anything; empty path = none
	Pool       Source `yaml:"pool"`       // candidate image-text pairs; needed by flyp+ita and arf
	Classes    List   `yaml:"classes"`    // class names in label order, each optionally with a tab and its name in prompts; empty = the finetune set's own, sorted
}

// Source is a set of samples on disk.
type Source struct {
	Type                SourceType `yaml:"type"`                  // empty = told from the path
	Path                string     `yaml:"path"`                  // folder with a folder a class; CSV, TSV, Parquet or split file; tars; a::b joins several
	Weights             []float64  `yaml:"weights"`               // how often an epoch draws each part of a path with ::; empty = once
	Split               string     `yaml:"split"`                 // CoOp, clip_benchmark, Parquet: train, val, test …; empty = the only one
	Half                Half       `yaml:"half"`                  // base or new: half of the classes; empty = all
	Shots               int        `yaml:"shots"`                 // samples a class, drawn by seed; 0 = all
	ShotsSeed           int        `yaml:"shots_seed"`            // chooses the shots
	ImageColumn         string     `yaml:"image_column"`          // CSV, Parquet: the image or its path; empty = the usual names, such as image or filepath
	TextColumn          string     `yaml:"text_column"`           // CSV, Parquet: caption; empty = the usual names, such as caption or title
	ClassColumn         string     `yaml:"class_column"`          // CSV, Parquet: class name; empty = the usual names, such as class
	LabelColumn         string     `yaml:"label_column"`          // CSV, Parquet: class number; empty = the usual names, such as label
	Separator           string     `yaml:"separator"`             // CSV: one character or "tab"; empty = tab for .tsv or where the header has one, else comma
	Root                string     `yaml:"root"`                  // CSV, CoOp, Parquet, embeddings: where relative image paths start; empty = the file's folder
	AllowMissingClasses bool       `yaml:"allow_missing_classes"` // accept classes without images
	Limit               int        `yaml:"limit"`                 // at most so many samples, spread evenly over the source; 0 = all
}

// Anchors are the two sources of rich text that regularise finetuning (ARF §3).
type Anchors struct {
	Captions Captions `yaml:"captions"`
	Pairs    Pairs    `yaml:"pairs"`
}

// Captions describes the text-compensated anchors: captions of the finetune images by a pretrained captioner.
type Captions struct {
	Captioner       string   `yaml:"captioner"`                          // folder of a captioner, organisation/name[@revision] of the Hugging Face hub, or "retrieval"
	PerImage        int      `yaml:"per_image"`                          // captions an image
	Temperature     float64  `yaml:"temperature"`                        // of sampling; 0 = greedy
	TopP            float64  `yaml:"top_p"`                              // nucleus: smallest set of tokens with this probability, in (0,1]; 1 = all
	Beams           int      `yaml:"beams" json:",omitempty"`            // above 1: beam search of the per_image likeliest, at temperature 0
	Prompt          string   `yaml:"prompt" json:",omitempty"`           // what each caption begins with; of an endpoint, the instruction
	MaxLength       int      `yaml:"max_length"`                         // tokens a caption
	MinClipScore    float64  `yaml:"min_clip_score"`                     // drop captions whose cosine to their image is lower; −1 = keep all
	DropDuplicates  bool     `yaml:"drop_duplicates" json:",omitempty"`  // of equal captions of an image keep one
	DropBoilerplate bool     `yaml:"drop_boilerplate" json:",omitempty"` // take "a picture of", "there is" and the like off captions
	BatchSize       int      `yaml:"batch_size"`                         // images at a time
	Endpoint        Endpoint `yaml:"endpoint" json:",omitzero"`          // in place of Captioner
}

// Endpoint is a vision-language model behind an OpenAI-compatible API, which captions in place of a captioner's folder.
type Endpoint struct {
	URL               string  `yaml:"url"`                 // base of the API; empty = none
	Model             string  `yaml:"model"`               // as the server calls it
	APIKeyEnv         string  `yaml:"api_key_env"`         // environment variable that has the API key; empty = none is sent
	ImageSize         int     `yaml:"image_size"`          // larger images are shrunk to this longer side in pixels
	Concurrency       int     `yaml:"concurrency"`         // requests at a time
	RequestsPerMinute float64 `yaml:"requests_per_minute"` // most that are begun; 0 = no limit
	Retries           int     `yaml:"retries"`             // of a failed request
	Timeout           float64 `yaml:"timeout"`             // seconds of one try
	LogProbs          bool    `yaml:"logprobs"`            // ask for log-probabilities
	PriceInput        float64 `yaml:"price_input"`         // of a million input tokens; 0 = unknown
	PriceOutput       float64 `yaml:"price_output"`        // of a million output tokens; 0 = unknown
	MaxRequests       int     `yaml:"max_requests"`        // cap on all requests of the run; 0 = none
	MaxCost           float64 `yaml:"max_cost"`            // cap on their cost; 0 = none
}

// Pairs describes the image-text-pair anchors: pairs that each finetune image retrieves from the pool.
type Pairs struct {
	Query           Query     `yaml:"query"`                     // what is compared with what
	Mix             Mix       `yaml:"mix" json:",omitzero"`      // how much each comparison counts for query mix
	K               int       `yaml:"k"`                         // pairs an image
	PerClassQuota   int       `yaml:"per_class_quota"`           // most pairs that one class may use, counting each once; 0 = no limit
	MinSimilarity   float64   `yaml:"min_similarity"`            // lowest cosine of a retrieved pair; −1 = any
	MinClipScore    float64   `yaml:"min_clip_score"`            // lowest cosine of a pair's own image and text; −1 = any
	ClipScoreWeight float64   `yaml:"clip_score_weight"`         // rank by cosine + weight · the pair's own cosine
	CSLS            bool      `yaml:"csls"`                      // rank down pairs that are near everything (Conneau et al. 2018)
	Exclude         []string  `yaml:"exclude" json:",omitempty"` // column=value of the pool's metadata: such pairs are left out
	DuplicateCosine float64   `yaml:"duplicate_cosine"`          // of pairs this near to each other an image keeps one; 0 = only equal pixels count
	LeakGuard       LeakGuard `yaml:"leak_guard"`
	BatchSize       int       `yaml:"batch_size"`              // images at a time when encoding the pool
	Index           Index     `yaml:"index" json:",omitempty"` // how the nearest pairs are found
	Milvus          Milvus    `yaml:"milvus" json:",omitzero"` // the server of index: milvus
}

// Mix weighs the comparisons of query mix; the score is the weighted mean of the cosines. A file or --set that gives
// one weight gives all: those it leaves out are 0.
type Mix struct {
	Image       float64 `yaml:"image"`        // image with image
	ImageText   float64 `yaml:"image_text"`   // image with text
	ClassText   float64 `yaml:"class_text"`   // class prompt with text
	CaptionText float64 `yaml:"caption_text"` // captions with text
}

// Milvus is a vector database on other machines that the pool is searched through. The environment variable
// ARF_MILVUS_TOKEN has its API key or user:password.
type Milvus struct {
	Address    string      `yaml:"address"`    // host:port or http(s)://host:port[/database]; empty = none
	Collection string      `yaml:"collection"` // begins the collections' names; empty = arf_ and the features' fingerprint
	IndexType  MilvusIndex `yaml:"index_type"` // that the server builds
}

// LeakGuard keeps images of the evaluation out of the retrieved pairs. The validation set and all suites are
// always guarded.
type LeakGuard struct {
	NearDuplicateCosine float64  `yaml:"near_duplicate_cosine"` // pool images this near to a guarded image are dropped; 0 = off
	NearDuplicatePrint  float64  `yaml:"near_duplicate_print"`  // the same for the correlation of 16×16 grey values; 0 = off
	Sources             []Source `yaml:"sources"`               // further images to guard
}

// Train is the optimisation. The defaults are FLYP's for ViT-B/16 on ImageNet (Goyal et al., CVPR 2023).
type Train struct {
	BatchSize  int `yaml:"batch_size"`                    // finetune images a step; ARF adds as many retrieved pairs
	MicroBatch int `yaml:"micro_batch" json:",omitempty"` // images and texts through the towers at a time, with the whole batch's gradient; 0 = all
	// ActivationCheckpointing keeps of each block of the towers only its input, and computes it again for the gradient.
	ActivationCheckpointing bool `yaml:"activation_checkpointing" json:",omitempty"`

	Epochs          int       `yaml:"epochs"`            // passes over the finetune set
	LR              float64   `yaml:"lr"`                // peak learning rate, reached after the warm-up, then cosine to 0
	WarmupSteps     int       `yaml:"warmup_steps"`      // linear warm-up
	WeightDecay     float64   `yaml:"weight_decay"`      // decoupled; not on biases, norms and the logit scale
	Beta1           float64   `yaml:"beta1"`             // AdamW
	Beta2           float64   `yaml:"beta2"`             // AdamW
	Eps             float64   `yaml:"eps"`               // AdamW
	GradClip        float64   `yaml:"grad_clip"`         // largest norm of the whole gradient; 0 = no clipping
	LambdaTCA       float64   `yaml:"lambda_tca"`        // weight of the caption term
	LambdaITA       float64   `yaml:"lambda_ita"`        // weight of the retrieved-pair term
	Negatives       Negatives `yaml:"negatives"`         // what to do with pairs of a batch that share class or text
	Templates       List      `yaml:"templates"`         // class prompts, {} = class name; one drawn per image and step
	SecondPrompts   List      `yaml:"second_prompts"`    // of caption=class-prompt, in place of the captions; empty = templates
	Augment         Augment   `yaml:"augment"`           // of the training images
	FreezeBatchNorm bool      `yaml:"freeze_batch_norm"` // ModifiedResNet: keep the pretrained running statistics
	TrainLogitScale bool      `yaml:"train_logit_scale"` // also learn the temperature
	CheckpointEvery int       `yaml:"checkpoint_every"`  // steps; 0 = at each epoch's end
	KeepCheckpoints int       `yaml:"keep_checkpoints"`  // newest ones to keep for resuming
	Workers         int       `yaml:"workers"`           // image decoding in parallel; 0 = all cores
}

// Augment is torchvision's RandomResizedCrop and horizontal flip.
type Augment struct {
	ScaleMin float64 `yaml:"scale_min"` // smallest share of the image's area that a crop keeps, in (0,1]
	ScaleMax float64 `yaml:"scale_max"` // largest
	Flip     float64 `yaml:"flip"`      // probability of a horizontal flip
}

// Eval is what is measured on every trained model.
type Eval struct {
	Suites      []Suite   `yaml:"suites"`
	Templates   List      `yaml:"templates"` // prompts averaged into each class's text feature; empty = train.templates
	BatchSize   int       `yaml:"batch_size"`
	Drift       Drift     `yaml:"drift"`
	WiseAlphas  []float64 `yaml:"wise_alphas"`  // WiSE-FT: shares of the finetuned weights, 0 = pretrained; empty = none
	WiseMethods []Method  `yaml:"wise_methods"` // whose models are interpolated; empty = every method's
}

// Suite is one labelled test set, or with Suite all those of a published one.
type Suite struct {
	Suite     string `yaml:"suite"` // a published suite (arf eval --list), whose test sets lie below source.path; empty = one test set
	Name      string `yaml:"name"`
	Role      Role   `yaml:"role"` // shifts and zero-shot suites are averaged by role
	Source    Source `yaml:"source"`
	Classes   List   `yaml:"classes"`    // finetune (same classes as training), folder (the suite's own), texts (those of pairs), or a list or file; empty = by role
	Templates List   `yaml:"templates"`  // empty = eval.templates
	ClassMask List   `yaml:"class_mask"` // classes that compete: empty = all, present = those with images here, or a list or file
}

// Drift is the measurement of how far finetuning moved the feature space, on pairs held out from training.
type Drift struct {
	Source  Source `yaml:"source"`  // image-text pairs that training does not see; empty path = no measurement
	Samples int    `yaml:"samples"` // pairs measured; 0 = no measurement
}

// Report is the HTML page.
type Report struct {
	Gallery int `yaml:"gallery"` // finetune images shown with their anchors; 0 = no gallery
}

// Default is the configuration of an empty file.
func Default() Config {
	return Config{
		Output:    "runs",
		Methods:   []Method{MethodZeroShot, MethodFLYP, MethodARFClassText},
		Seeds:     []int{0},
		Device:    "auto",
		Precision: PrecisionAuto,
		Anchors: Anchors{
			Captions: Captions{
				PerImage: 5, Temperature: 1, TopP: 0.9, Beams: 1, MaxLength: 30, MinClipScore: -1, BatchSize: 64,
				Endpoint: Endpoint{ImageSize: 512, Concurrency: 4, Retries: 6, Timeout: 120},
			},
			Pairs: Pairs{
				Query: QueryImage, Mix: DefaultMix, K: 10, MinSimilarity: -1, MinClipScore: -1, BatchSize: 256, Index: IndexExact,
				Milvus:    Milvus{IndexType: MilvusAuto},
				LeakGuard: LeakGuard{NearDuplicateCosine: 0.98},
			},
		},
		Train: Train{
			BatchSize: 512, Epochs: 10, LR: 1e-5, WarmupSteps: 500,
			WeightDecay: 0.1, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8,
			LambdaTCA: 1, LambdaITA: 1, Negatives: NegativesDiag,
			Templates:       List{Items: []string{"a photo of a {}."}},
			Augment:         Augment{ScaleMin: 0.9, ScaleMax: 1},
			FreezeBatchNorm: true, TrainLogitScale: true,
			KeepCheckpoints: 2,
		},
		Eval: Eval{
			BatchSize: 256,
			Drift:     Drift{Samples: 2000},
		},
		Report: Report{Gallery: 24},
	}
}
