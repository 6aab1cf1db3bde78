package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// Hash is a short fingerprint of a value's exported content, 16 hexadecimal digits. A step of a run keeps the Hash
// of what it was made from, and is done again when that differs. v must be marshalable as JSON.
func Hash(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("config: hash of %T: %v", v, err))
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}
