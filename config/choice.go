package config

import "slices"

// choice is a text that has only a few valid values.
type choice interface{ choices() []string }

// Method is a way to finetune, a preset of loss terms.
type Method string

const (
	MethodZeroShot Method = "zeroshot" // the pretrained model as it is
	MethodFT       Method = "ft"       // cross-entropy, classifier started from the class prompts' features
	MethodFLYP     Method = "flyp"     // contrastive loss with class prompts
	MethodFLYPTCA  Method = "flyp+tca" // flyp and captions
	MethodFLYPITA  Method = "flyp+ita" // flyp and retrieved pairs
	MethodARF      Method = "arf"      // flyp, captions and retrieved pairs

	// Beyond the paper: pairs whose texts are near the class prompt, whatever their images look like.
	MethodFLYPClassText Method = "flyp+class-text"
	MethodARFClassText  Method = "arf+class-text"

	// Controls: each takes away one thing that could explain a method's gain.
	MethodFLYPRandom        Method = "flyp+random"          // flyp+ita with random pairs of the pool
	MethodARFRandom         Method = "arf+random"           // arf with random pairs of the pool
	MethodFLYPRandomMatched Method = "flyp+random-matched"  // with random pairs of the retrieved pairs' classes
	MethodPairsOnly         Method = "pairs-only"           // retrieved pairs without the class term
	MethodFLYP2x            Method = "flyp-2x"              // flyp for twice the epochs, to see as many images as arf
	MethodSecondPrompt      Method = "caption=class-prompt" // arf with a second class prompt in place of the caption
)

// Methods are all methods, the controls last.
var Methods = []Method{
	MethodZeroShot, MethodFT, MethodFLYP, MethodFLYPTCA, MethodFLYPITA, MethodARF, MethodFLYPClassText, MethodARFClassText,
	MethodFLYPRandom, MethodFLYPRandomMatched, MethodARFRandom, MethodPairsOnly, MethodFLYP2x, MethodSecondPrompt,
}

// Trains reports whether the method changes the model.
func (m Method) Trains() bool { return m != MethodZeroShot }

// TCA reports whether the method has the caption term.
func (m Method) TCA() bool { return m.Captions() || m == MethodSecondPrompt }

// Captions reports whether the method uses a captioner's captions.
func (m Method) Captions() bool {
	return m == MethodFLYPTCA || m == MethodARF || m == MethodARFClassText || m == MethodARFRandom
}

// PairSource says where the pairs of a method's pair term (ITA) come from.
type PairSource string

const (
	PairsNone          PairSource = ""
	PairsRetrieved     PairSource = "retrieved"
	PairsClassText     PairSource = "class-text" // retrieved by class prompt, whatever anchors.pairs.query says
	PairsRandom        PairSource = "random"
	PairsRandomMatched PairSource = "random-matched"
	PairsCaptions      PairSource = "captions" // of no method: those whose texts [CaptionerRetrieval] takes
)

// Pairs is where the method's pairs come from.
func (m Method) Pairs() PairSource {
	switch m {
	case MethodFLYPITA, MethodARF, MethodPairsOnly, MethodSecondPrompt:
		return PairsRetrieved
	case MethodFLYPClassText, MethodARFClassText:
		return PairsClassText
	case MethodFLYPRandom, MethodARFRandom:
		return PairsRandom
	case MethodFLYPRandomMatched:
		return PairsRandomMatched
	}
	return PairsNone
}

// Epochs is how often the method goes through the finetune set when others do so n times.
func (m Method) Epochs(n int) int {
	if m == MethodFLYP2x {
		return 2 * n
	}
	return n
}

func (Method) choices() []string {
	var names []string
	for _, m := range Methods {
		names = append(names, string(m))
	}
	return names
}

// Precision is the number format of the forward and backward pass.
type Precision string

const (
	PrecisionAuto Precision = "auto" // bf16 where the hardware computes in it, else fp32
	PrecisionBF16 Precision = "bf16"
	PrecisionFP32 Precision = "fp32"
)

func (Precision) choices() []string { return []string{"auto", "bf16", "fp32"} }

// SourceType says how a Source lies on disk.
type SourceType string

const (
	SourceAuto        SourceType = ""             // by the path: folder, .csv or .tsv, .tar, .json, .parquet
	SourceImageFolder SourceType = "image-folder" // <path>/<class name>/*.png
	SourceCSV         SourceType = "csv"          // a table with a header
	SourceWebDataset  SourceType = "webdataset"   // tars of key.jpg, key.txt, key.json, key.cls; also clip_benchmark's folders
	SourceCoOp        SourceType = "coop"         // split_zhou_<Name>.json
	SourceParquet     SourceType = "parquet"      // Hugging Face's Parquet files
	SourceImages      SourceType = "images"       // images without classes, captions beside them
	SourceEmbeddings  SourceType = "embeddings"   // features in clip-retrieval's layout
)

func (SourceType) choices() []string {
	return []string{"", "image-folder", "csv", "webdataset", "coop", "parquet", "images", "embeddings"}
}

// Half is a half of the classes, as in CoOp's base-to-new experiments.
type Half string

const (
	HalfAll  Half = ""
	HalfBase Half = "base" // the first half of the labels, rounded up
	HalfNew  Half = "new"  // the rest
)

func (Half) choices() []string { return []string{"", "base", "new"} }

// Query says which feature of a finetune image is compared with which feature of the pool's pairs.
type Query string

const (
	QueryImage       Query = "image"        // image with image
	QueryImageText   Query = "image-text"   // image with text
	QueryClassText   Query = "class-text"   // class prompt with text
	QueryCaptionText Query = "caption-text" // captions with text
	QueryMix         Query = "mix"          // weighted mean of these (Pairs.Mix)
	QueryRandom      Query = "random"       // none: pairs at random, a control
)

func (Query) choices() []string {
	return []string{"image", "image-text", "class-text", "caption-text", "mix", "random"}
}

// DefaultMix is what query mix is without weights.
var DefaultMix = Mix{Image: 1, ImageText: 1, ClassText: 1}

// ClassText reports whether pairs are retrieved by class prompts.
func (p Pairs) ClassText() bool {
	return p.Query == QueryClassText || p.Query == QueryMix && p.Mix.ClassText > 0
}

// CaptionText reports whether pairs are retrieved by captions.
func (p Pairs) CaptionText() bool {
	return p.Query == QueryCaptionText || p.Query == QueryMix && p.Mix.CaptionText > 0
}

// Index says how the nearest pairs of the pool are found.
type Index string

const (
	IndexExact  Index = "exact"  // compares every query with every pair
	IndexFAISS  Index = "faiss"  // approximately, through an index of FAISS
	IndexMilvus Index = "milvus" // approximately, through a Milvus server
)

func (Index) choices() []string { return []string{"exact", "faiss", "milvus"} }

// MilvusIndex is the kind of index that a Milvus server builds, in Milvus's words.
type MilvusIndex string

// MilvusAuto has the server choose.
const MilvusAuto MilvusIndex = "AUTOINDEX"

func (MilvusIndex) choices() []string {
	return []string{"AUTOINDEX", "FLAT", "HNSW", "IVF_FLAT", "IVF_SQ8", "DISKANN"}
}

// Negatives says what the contrastive loss does with pairs of one batch that share their class or text.
type Negatives string

const (
	NegativesDiag Negatives = "diag" // they count as negatives, as in CLIP and FLYP
	NegativesMask Negatives = "mask" // they are left out
	NegativesSoft Negatives = "soft" // they share the target
)

func (Negatives) choices() []string { return []string{"diag", "mask", "soft"} }

// Role is what a suite shows.
type Role string

const (
	RoleID       Role = "id"        // the task's own distribution
	RoleShift    Role = "shift"     // the same classes, other images
	RoleZeroShot Role = "zero-shot" // other classes
	// RoleValidation is of data.validation, which is measured without being a suite.
	RoleValidation Role = "validation"
)

func (Role) choices() []string { return []string{"id", "shift", "zero-shot"} }

// CaptionerRetrieval as a captioner takes the texts of the pool that are nearest to an image for its captions.
const CaptionerRetrieval = "retrieval"

// Retrieves reports whether captions are the pool's texts.
func (c Captions) Retrieves() bool { return c.Captioner == CaptionerRetrieval }

// NeedsCaptions reports whether any method, or the retrieval for any method, uses captions.
func (c *Config) NeedsCaptions() bool {
	return slices.ContainsFunc(c.Methods, Method.Captions) ||
		c.NeedsPairs() && c.Anchors.Pairs.CaptionText()
}

// NeedsPairs reports whether any method uses retrieved pairs.
func (c *Config) NeedsPairs() bool { return len(c.PairSources()) > 0 }

// NeedsPool reports whether anything comes out of the pool.
func (c *Config) NeedsPool() bool {
	return c.NeedsPairs() || c.NeedsCaptions() && c.Anchors.Captions.Retrieves()
}

// PairSources are the sources of pairs that the methods need, those that others are made from first.
func (c *Config) PairSources() []PairSource {
	needs := func(s PairSource) bool {
		return slices.ContainsFunc(c.Methods, func(m Method) bool { return m.Pairs() == s })
	}
	var out []PairSource
	if needs(PairsRetrieved) || needs(PairsRandomMatched) {
		out = append(out, PairsRetrieved)
	}
	for _, s := range []PairSource{PairsClassText, PairsRandom, PairsRandomMatched} {
		if needs(s) {
			out = append(out, s)
		}
	}
	return out
}

// On reports whether anything is guarded.
func (g LeakGuard) On() bool { return g.NearDuplicateCosine > 0 || g.NearDuplicatePrint > 0 }
