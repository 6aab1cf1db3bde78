package anchor

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// hashOf identifies values by their JSON.
func hashOf(values ...any) string {
	data, err := json.Marshal(values)
	if err != nil {
		panic(fmt.Sprintf("anchor: hash: %v", err)) // only values that JSON has are passed
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}
