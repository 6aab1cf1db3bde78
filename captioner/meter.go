package captioner

import (
	"fmt"
	"sync"
)

// meter counts usage and keeps it below the caps. What is under way counts as
// what it may at most cost.
type meter struct {
	prices      Prices
	maxRequests int
	maxCost     float64

	mu       sync.Mutex
	used     Usage
	reserved Usage
	input    int // most tokens that a request had; guesses may be too low
}

func (m *meter) begin(spent Usage) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used = spent
}

// reserve takes the room for a request, or says that there's none; u is a guess
// of what it may cost.
func (m *meter) reserve(u Usage) (Usage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	u.InputTokens = max(u.InputTokens, m.input)
	all := m.used.Add(m.reserved).Add(u)
	if m.maxRequests > 0 && all.Requests > m.maxRequests {
		return u, fmt.Errorf("%w: %d requests were made, max_requests is %d; raise it, and the same command goes on", ErrCap, m.used.Requests, m.maxRequests)
	}
	if m.maxCost > 0 && m.prices.cost(all) > m.maxCost {
		return u, fmt.Errorf("%w: %.2f was spent, max_cost is %.2f; raise it, and the same command goes on", ErrCap, m.prices.cost(m.used), m.maxCost)
	}
	m.reserved = m.reserved.Add(u)
	return u, nil
}

// settle puts what was used in place of what was reserved.
func (m *meter) settle(reserved, used Usage) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reserved = m.reserved.Add(Usage{-reserved.Requests, -reserved.InputTokens, -reserved.OutputTokens})
	m.used = m.used.Add(used)
	m.input = max(m.input, used.InputTokens)
}
