package anchor

// stages makes one progress of several searches, each a thousand units.
type stages struct {
	report func(done, total int)
	total  int
	begun  int
	done   int // so that it never falls
}

func newStages(o PairOptions) *stages {
	s := &stages{report: o.Progress, total: 1}
	if o.Guard.Print > 0 {
		s.total++
	}
	if o.Guard.Cosine > 0 {
		s.total++
	}
	if o.CSLS {
		s.total++
	}
	if o.FAISS || o.Milvus != nil {
		s.total++ // building
	}
	return s
}

// next begins a stage; more than were foreseen share the last one.
func (s *stages) next() func(done, total int) {
	s.begun = min(s.begun+1, s.total)
	if s.report == nil {
		return nil
	}
	before := (s.begun - 1) * 1000
	return func(done, total int) {
		s.done = max(s.done, before+1000*done/total)
		s.report(s.done, s.total*1000)
	}
}
