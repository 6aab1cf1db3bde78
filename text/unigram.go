package text

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// unigram splits a text into the pieces whose scores have the greatest sum
// (Kudo 2018, Subword regularization, §3), as SentencePiece's EncodeOptimized
// does, in its float32 arithmetic and with its choice between equals.
type unigram struct {
	scores   []float32
	trie     map[uint64]int32 // node<<8 | byte → node; 0 is the root
	ends     []int32          // by node: the piece that ends there, or −1
	unk      int32
	unkScore float32
	bytes    *[256]int32 // what unknown characters are written in, or nil
}

// unkPenalty is how much less than the worst piece an unknown character scores.
const unkPenalty = 10

func newUnigram(m *sentencePiece) *unigram {
	u := &unigram{scores: make([]float32, len(m.pieces)), trie: map[uint64]int32{}, ends: []int32{-1}, unk: m.unk, bytes: m.bytes}
	lowest := float32(math.Inf(1))
	for id, p := range m.pieces {
		u.scores[id] = p.score
		if p.kind != normalPiece {
			continue
		}
		lowest = min(lowest, p.score)
		node := int32(0)
		for i := range len(p.text) {
			key := uint64(node)<<8 | uint64(p.text[i])
			next, ok := u.trie[key]
			if !ok {
				next = int32(len(u.ends))
				u.trie[key], u.ends = next, append(u.ends, -1)
			}
			node = next
		}
		u.ends[node] = int32(id)
	}
	u.unkScore = lowest - unkPenalty
	return u
}

func (u *unigram) pieces(ids []int32, s string) []int32 {
	// best[i] is the best way to split s[:i].
	type node struct {
		score float32
		from  int32 // −1: no way yet
		id    int32
	}
	best := make([]node, len(s)+1)
	for i := range best {
		best[i].from = -1
	}
	for at := 0; at < len(s); {
		_, size := utf8.DecodeRuneInString(s[at:])
		single := false
		till := best[at].score
		try := func(end int, score float32, id int32) {
			if n := &best[end]; n.from < 0 || till+score > n.score {
				*n = node{till + score, int32(at), id}
			}
		}
		node := int32(0)
		for end := at + 1; end <= len(s); end++ {
			next, ok := u.trie[uint64(node)<<8|uint64(s[end-1])]
			if !ok {
				break
			}
			node = next
			if id := u.ends[node]; id >= 0 {
				try(end, u.scores[id], id)
				single = single || end == at+size
			}
		}
		if !single {
			try(at+size, u.unkScore, u.unk)
		}
		at += size
	}
	start := len(ids)
	for end := int32(len(s)); end > 0; end = best[end].from {
		if best[end].id == u.unk && u.bytes != nil {
			for i := end; i > best[end].from; i-- {
				ids = append(ids, u.bytes[s[i-1]])
			}
			continue
		}
		// A run of unknown characters is one piece.
		if id := best[end].id; id != u.unk || len(ids) == start || ids[len(ids)-1] != u.unk {
			ids = append(ids, id)
		}
	}
	slices.Reverse(ids[start:])
	return ids
}

// decode writes each byte that isn't UTF-8 as U+FFFD.
func (u *unigram) decode(pieces []string) string {
	var b strings.Builder
	for _, p := range pieces {
		var c byte
		if n, _ := fmt.Sscanf(p, "<0x%02X>", &c); u.bytes != nil && n == 1 && len(p) == len("<0x00>") {
			b.WriteByte(c)
		} else {
			b.WriteString(p)
		}
	}
	text := string([]rune(b.String()))
	return strings.TrimSpace(strings.ReplaceAll(text, spaceMark, " "))
}
