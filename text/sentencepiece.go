package text

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// sentencePiece is what a unigram spiece.model says (google/sentencepiece,
// sentencepiece_model.proto).
type sentencePiece struct {
	pieces     []piece
	unk        int32
	bytes      *[256]int32 // pieces of single bytes, with byte_fallback, else nil
	charsmap   *charsmap   // nil: characters stay
	trimSpaces bool        // remove_extra_whitespaces
}

type piece struct {
	text  string
	score float32
	kind  pieceKind
}

// pieceKind is SentencePiece.Type of the proto.
type pieceKind int

const (
	normalPiece  pieceKind = 1
	unknownPiece pieceKind = 2
	controlPiece pieceKind = 3
	userPiece    pieceKind = 4
	unusedPiece  pieceKind = 5
	bytePiece    pieceKind = 6
)

// spaceMark stands for the space in SentencePiece's vocabularies.
const spaceMark = "▁"

// parseSentencePiece reads a ModelProto. Models of another type than unigram,
// and options that SigLIP's doesn't use, are errors.
func parseSentencePiece(content []byte) (*sentencePiece, error) {
	m := &sentencePiece{unk: -1, trimSpaces: true}
	modelType, escape := uint64(1), uint64(1) // unigram; escape_whitespaces
	var treatAsSuffix, byteFallback uint64
	err := fields(content, func(field protowire.Number, number uint64, bytes []byte) error {
		switch field {
		case 1: // pieces
			if len(m.pieces) == maxID {
				return fmt.Errorf("more than %d pieces", maxID)
			}
			p := piece{kind: normalPiece}
			err := fields(bytes, func(field protowire.Number, number uint64, bytes []byte) error {
				switch field {
				case 1:
					p.text = string(bytes)
				case 2:
					p.score = math.Float32frombits(uint32(number))
				case 3:
					p.kind = pieceKind(number)
				}
				return nil
			})
			if err != nil {
				return fmt.Errorf("piece %d: %w", len(m.pieces), err)
			}
			m.pieces = append(m.pieces, p)
		case 2: // trainer_spec
			return fields(bytes, func(field protowire.Number, number uint64, _ []byte) error {
				switch field {
				case 3:
					modelType = number
				case 24:
					treatAsSuffix = number
				case 35:
					byteFallback = number
				}
				return nil
			})
		case 3: // normalizer_spec
			return fields(bytes, func(field protowire.Number, number uint64, bytes []byte) error {
				var err error
				switch field {
				case 2:
					if len(bytes) > 0 {
						m.charsmap, err = newCharsmap(bytes)
					}
				case 4:
					m.trimSpaces = number != 0
				case 5:
					escape = number
				}
				return err
			})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if modelType != 1 || treatAsSuffix != 0 || escape != 1 {
		return nil, errors.New("only SentencePiece unigram models without treat_whitespace_as_suffix and with escape_whitespaces are supported")
	}
	if byteFallback != 0 {
		m.bytes = &[256]int32{}
	}
	return m, m.check()
}

// maxPieceBytes bounds the text of all pieces together; SigLIP's have 0.3 MB.
const maxPieceBytes = 1 << 23

func (m *sentencePiece) check() error {
	size, bytes := 0, 0
	for i, p := range m.pieces {
		if size += len(p.text); size > maxPieceBytes {
			return fmt.Errorf("the pieces have more than %d bytes", maxPieceBytes)
		}
		switch p.kind {
		case unknownPiece:
			if m.unk >= 0 {
				return fmt.Errorf("pieces %d and %d are both the unknown one", m.unk, i)
			}
			m.unk = int32(i)
		case bytePiece:
			var b byte
			if n, _ := fmt.Sscanf(p.text, "<0x%02X>", &b); n != 1 || m.bytes == nil {
				return fmt.Errorf("piece %d (%q) has the type of a byte; want <0x00> to <0xFF>, and byte_fallback in the trainer_spec", i, p.text)
			}
			m.bytes[b] = int32(i)
			bytes++
		case userPiece:
			// mT5's <extra_id_0> and the like, which SigLIP's multilingual models have.
			if !strings.ContainsAny(p.text, asciiPunctuation) {
				return fmt.Errorf("piece %d (%q) is user-defined; only such with punctuation, which SigLIP's texts lose, are supported", i, p.text)
			}
		case normalPiece, unusedPiece, controlPiece:
		default:
			return fmt.Errorf("piece %d (%q) has type %d; types are 1 to 6", i, p.text, p.kind)
		}
		if p.text == "" {
			return fmt.Errorf("piece %d is empty", i)
		}
		if s := float64(p.score); math.IsNaN(s) || math.IsInf(s, 0) {
			return fmt.Errorf("piece %d (%q) has the score %g", i, p.text, s)
		}
	}
	if m.bytes != nil && bytes != 256 {
		return fmt.Errorf("byte_fallback with %d pieces of bytes; want 256", bytes)
	}
	if m.unk < 0 {
		return errors.New("no unknown piece; not a SentencePiece model")
	}
	return nil
}

// fields calls each with the fields of a message in their order: number is the
// value of a numeric one, bytes that of another.
func fields(message []byte, each func(field protowire.Number, number uint64, bytes []byte) error) error {
	for len(message) > 0 {
		field, wire, n := protowire.ConsumeTag(message)
		if n < 0 {
			return fmt.Errorf("not a SentencePiece model: %w", protowire.ParseError(n))
		}
		message = message[n:]
		var number uint64
		var bytes []byte
		switch wire {
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(message)
		case protowire.Fixed32Type:
			var v uint32
			v, n = protowire.ConsumeFixed32(message)
			number = uint64(v)
		case protowire.BytesType:
			bytes, n = protowire.ConsumeBytes(message)
		default:
			n = protowire.ConsumeFieldValue(field, wire, message)
		}
		if n < 0 {
			return fmt.Errorf("not a SentencePiece model: %w", protowire.ParseError(n))
		}
		message = message[n:]
		if err := each(field, number, bytes); err != nil {
			return err
		}
	}
	return nil
}
