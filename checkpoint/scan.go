package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// What a pickle may ask for. A model's takes some thousand steps; the limits
// keep one that was made to exhaust memory below about 300 MB.
const (
	maxPickleBytes      = 16 << 20
	maxPickleSteps      = 2 << 20
	maxPickleContainers = 1 << 20
	maxPickleMarks      = 1000 // lists within lists, and so on
	maxPickleNumber     = 1024 // bytes of an integer
)

// argument says what follows an opcode.
type argument int

const (
	unknown argument = iota
	none
	line
	twoLines
	numberLine
	fixed1
	fixed2
	fixed4
	fixed8
	counted1 // a count of one byte, and as many bytes
	counted4
	counted8
	number1 // the same, of an integer
	number4
	frame // a count of eight bytes, and steps of about as many bytes
)

// opcodes of protocols 0 to 5 (Python's pickletools), without those that need
// what a checkpoint doesn't have: the extension registry, persistent ids as
// lines, and buffers out of band.
var opcodes = func() (table [256]argument) {
	for arg, ops := range map[argument]string{
		none:       "(.012NQRabd}elo]t)su\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x94",
		line:       "SV",
		twoLines:   "ci",
		numberLine: "FILgp",
		fixed1:     "Khq\x80",
		fixed2:     "M",
		fixed4:     "Jjr",
		fixed8:     "G",
		counted1:   "UC\x8c",
		counted4:   "TXB",
		counted8:   "\x8d\x8e\x96",
		number1:    "\x8a",
		number4:    "\x8b",
		frame:      "\x95",
	} {
		for i := range len(ops) {
			table[ops[i]] = arg
		}
	}
	return table
}()

const (
	containerOps = "}])tdlRoic\x81\x85\x86\x87\x8f\x91\x92\x93\x96"
	popMarkOps   = "tdlue1oi\x90\x91"
)

var errCut = errors.New("the pickle ends too early; the file is cut off or damaged")

// scanPickle goes through the steps of a pickle without taking them and gives
// its length. Afterwards its counts are known to lie within data and its work to
// be bounded, which the unpickler doesn't check itself.
func scanPickle(data []byte) (int, error) {
	var containers, marks int
	at := 0
	for steps := 0; ; steps++ {
		if at >= len(data) {
			return 0, errCut
		}
		if steps == maxPickleSteps {
			return 0, fmt.Errorf("a pickle of over %d steps; this is no model", maxPickleSteps)
		}
		op := data[at]
		at++
		if strings.IndexByte(containerOps, op) >= 0 {
			if containers++; containers > maxPickleContainers {
				return 0, fmt.Errorf("a pickle of over %d objects; this is no model", maxPickleContainers)
			}
		}
		switch {
		case op == '(':
			if marks++; marks > maxPickleMarks {
				return 0, fmt.Errorf("a pickle of over %d objects within each other; this is no model", maxPickleMarks)
			}
		case marks > 0 && strings.IndexByte(popMarkOps, op) >= 0:
			marks--
		}
		n, err := argumentLen(opcodes[op], data[at:])
		if err != nil {
			return 0, fmt.Errorf("byte %d, opcode %#02x: %w", at-1, op, err)
		}
		at += n
		if op == '.' {
			return at, nil
		}
	}
}

// argumentLen is the number of bytes that an opcode's argument takes from the
// start of data.
func argumentLen(arg argument, data []byte) (int, error) {
	var count, size uint64
	switch arg {
	case unknown:
		return 0, errors.New("a pickle of a model has no such step; the file is damaged or is no model")
	case none:
		return 0, nil
	case line, numberLine, twoLines:
		n := 0
		for range map[argument]int{line: 1, numberLine: 1, twoLines: 2}[arg] {
			i := bytes.IndexByte(data[n:], '\n')
			if i < 0 {
				return 0, errCut
			}
			n += i + 1
		}
		if arg == numberLine && n > maxPickleNumber {
			return 0, fmt.Errorf("a number of %d digits", n)
		}
		return n, nil
	case fixed1:
		size = 1
	case fixed2:
		size = 2
	case fixed4:
		size = 4
	case fixed8:
		size = 8
	case counted1, number1:
		size = 1
		if len(data) >= 1 {
			count = uint64(data[0])
		}
	case counted4, number4:
		size = 4
		if len(data) >= 4 {
			count = uint64(binary.LittleEndian.Uint32(data))
		}
	case counted8, frame:
		size = 8
		if len(data) >= 8 {
			count = binary.LittleEndian.Uint64(data)
		}
	}
	if uint64(len(data)) < size || uint64(len(data))-size < count {
		return 0, errCut
	}
	switch {
	case arg == frame:
		return int(size), nil
	case (arg == number1 || arg == number4) && (count == 0 || count > maxPickleNumber):
		return 0, fmt.Errorf("an integer of %d bytes", count)
	}
	return int(size + count), nil
}
