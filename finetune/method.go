package finetune

import (
	"fmt"
	"slices"

	"arf/config"
)

// Method is a preset of objectives, as ARF's tables compare them; the config
// names them.
type Method = config.Method

// The methods, by short names.
const (
	ZeroShot = config.MethodZeroShot
	FT       = config.MethodFT
	FLYP     = config.MethodFLYP
	FLYPTCA  = config.MethodFLYPTCA
	FLYPITA  = config.MethodFLYPITA
	ARF      = config.MethodARF

	FLYPClassText     = config.MethodFLYPClassText
	ARFClassText      = config.MethodARFClassText
	FLYPRandom        = config.MethodFLYPRandom
	ARFRandom         = config.MethodARFRandom
	FLYPRandomMatched = config.MethodFLYPRandomMatched
	PairsOnly         = config.MethodPairsOnly
	FLYP2x            = config.MethodFLYP2x
	SecondPrompt      = config.MethodSecondPrompt
)

// presets has the objectives of each method, by their names in objectives.
var presets = map[Method][]string{
	ZeroShot: nil,
	FT:       {"ce"},
	FLYP:     {"class"},
	FLYPTCA:  {"class", "tca"},
	FLYPITA:  {"class", "ita"},
	ARF:      {"class", "tca", "ita"},

	FLYPClassText:     {"class", "ita"},
	ARFClassText:      {"class", "tca", "ita"},
	FLYPRandom:        {"class", "ita"},
	FLYPRandomMatched: {"class", "ita"},
	ARFRandom:         {"class", "tca", "ita"},
	PairsOnly:         {"ita"},
	FLYP2x:            {"class"},
	SecondPrompt:      {"class", "tca", "ita"},
}

// Objectives names the terms of a method's loss; none for zeroshot.
func Objectives(m Method) []string { return slices.Clone(presets[m]) }

func checkMethod(m Method) error {
	if _, ok := presets[m]; !ok {
		return fmt.Errorf("method %q is not known; known are %v", m, config.Methods)
	}
	return nil
}
