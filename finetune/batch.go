package finetune

import (
	"encoding/binary"

	"arf/text"
)

// Batch is the data of one step: B finetune images and P pairs of the pool, and
// the step's U different texts.
type Batch struct {
	Step    int
	Pixels  []uint8   // [B+P, S, S, 3]: the finetune images, then the pairs'
	Samples []int     // [B] numbers in the finetune set
	Labels  []int64   // [B]
	Rows    []int64   // [P] numbers in the pool
	Tokens  [][]int32 // [U] the different texts

	// Rows of Tokens; nil without an objective that needs them.
	Prompts   []int64 // [B]
	Captions  []int64 // [B]
	PairTexts []int64 // [P]

	drawn  int   // pairs that the images drew, whether or not they could be read
	unread error // why the first that couldn't could not
}

// texts numbers the different texts of a step. Texts are the same when their
// tokens are: the text tower sees no more.
type texts struct {
	tokenizer text.Tokenizer
	truncated *truncation
	number    map[string]int64
	tokens    [][]int32
	key       []byte
}

func (t *texts) reset() {
	clear(t.number)
	t.tokens = nil // the batch keeps them
}

func (t *texts) add(s string) int64 {
	ids := t.tokenizer.Encode(s)
	t.truncated.look(s, len(ids))
	t.key = t.key[:0]
	for _, id := range ids {
		t.key = binary.LittleEndian.AppendUint32(t.key, uint32(id))
	}
	n, ok := t.number[string(t.key)]
	if !ok {
		n = int64(len(t.tokens))
		t.number[string(t.key)] = n
		t.tokens = append(t.tokens, ids)
	}
	return n
}
