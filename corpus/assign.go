package corpus

import (
	"cmp"
	"context"
	"slices"
)

// Limits of the evaluation sets. They keep one prolific set, or one easy style, from being the test.
const (
	perSet        = 2  // images of one class and style from one test set
	perSetWide    = 4  // … for finetuning and validation, and for colour, which few sets have
	perShiftClass = 12 // images of one class in one shift
	perZeroStyle  = 5  // images of one zero-shot class in one style
	minFinetune   = 4  // a finetune class with fewer finetuning images isn't one
	minID         = 2  // … or fewer ID images
	minZeroShot   = 4  // a zero-shot class with fewer images isn't one
	minStyle      = 20 // a style of the validation shift with fewer images isn't one
)

// plan is who goes where. Pairs are in the order in which they are written.
type plan struct {
	pairs  map[Role][]*icon           // pretrain, pretrain-heldout, pool
	images map[Role]map[Style][]*icon // finetune, validation, id, zero-shot under ""; shift and validation-shift by style
	kept   map[int]bool               // classes that are in the benchmark
}

// assign decides the role of every drawn icon and drops what would leak.
func assign(ctx context.Context, icons []*icon, r *rules, counts Dropped, opts Options) (*plan, error) {
	var train, pool, eval []*icon
	for _, ic := range icons {
		ic.Style = ic.Look.style(r.setStyle(ic.Set))
		switch ic.Family.Role {
		case Pretrain:
			train = append(train, ic)
		case Pool:
			pool = append(pool, ic)
		default:
			ic.Style = ic.Look.testStyle(r.setStyle(ic.Set), ic.Palette, declaredStyle(ic.Icon))
			eval = append(eval, ic)
		}
	}
	p := &plan{pairs: map[Role][]*icon{}, images: map[Role]map[Style][]*icon{}, kept: map[int]bool{}}
	if err := p.evaluation(ctx, eval, r, counts); err != nil {
		return nil, err
	}

	// Everything that looks like an image with a class leaves pretraining and pool, also where the
	// limits above left that image out: the tests may change without touching what was trained on.
	for _, part := range []struct {
		role  Role
		icons *[]*icon
	}{{Pretrain, &train}, {Pool, &pool}} {
		progress := func(done, total int) { opts.Progress("compare "+string(part.role), done, total) }
		kept, err := without(ctx, *part.icons, eval, progress, func() { counts.add(part.role, "looks like an evaluation image") })
		if err != nil {
			return nil, err
		}
		*part.icons = kept
	}

	seen := map[[32]byte]*icon{}
	once := func(role Role, icons []*icon) []*icon {
		var kept []*icon
		for _, ic := range icons {
			first := seen[ic.Sum]
			if first == nil {
				seen[ic.Sum] = ic
				kept = append(kept, ic)
				continue
			}
			if first.Family.Role == role { // one picture, one pair, all its names
				counts.add(role, "same picture as another")
				first.Texts = append(first.Texts, ic.Name)
			} else {
				counts.add(role, "same picture as one of the pretraining corpus")
			}
		}
		return kept
	}
	train, pool = once(Pretrain, train), once(Pool, pool)

	var heldout, rest []*icon
	for _, ic := range train {
		switch {
		case slices.Contains(r.Heldout, ic.Set):
			ic.Heldout = "set"
		case chance(join(ic.Name), "held out") < 1.0/128:
			ic.Heldout = "name"
		default:
			rest = append(rest, ic)
			continue
		}
		heldout = append(heldout, ic)
	}
	heldout, err := without(ctx, heldout, rest, nil, func() { counts.add(PretrainHeldout, "looks like a pretraining image") })
	if err != nil {
		return nil, err
	}
	p.pairs[Pretrain], p.pairs[PretrainHeldout], p.pairs[Pool] = shuffled(rest), shuffled(heldout), shuffled(pool)
	return p, p.validationShift(ctx, pool, train, r, counts)
}

// validationShift takes finetune classes in other styles from the pool's families that are set aside for choices. Nothing
// of them looks like a finetuning or test image, as that has left the pool, or like a pair that stays in the pool or was
// pretrained on.
func (p *plan) validationShift(ctx context.Context, pool, train []*icon, r *rules, counts Dropped) error {
	others := slices.Clone(train)
	groups := map[Style][]*icon{}
	for _, ic := range pool {
		style := ic.Look.testStyle(r.setStyle(ic.Set), ic.Palette, declaredStyle(ic.Icon))
		switch {
		case !ic.Family.ValidationShift:
			others = append(others, ic)
		case ic.Class < 0 || !p.kept[ic.Class] || ic.Class >= r.finetune || style == StyleSolid:
		case r.ruledOut(ic):
			counts.add(ValidationShift, "shows something else than its name")
		case style == StyleUnclear:
			counts.add(ValidationShift, "style unclear from the pixels")
		default:
			groups[style] = append(groups[style], ic)
		}
	}
	p.images[ValidationShift] = map[Style][]*icon{}
	for _, style := range sortedKeys(groups) {
		icons, err := without(ctx, groups[style], others, nil, func() { counts.add(ValidationShift, "looks like a pair of another family") })
		if err != nil {
			return err
		}
		icons = p.distinct(icons, func() { counts.add(ValidationShift, "looks like another of the same test") })
		icons = limit(icons, perSetWide, func(ic *icon) string { return ic.Set }, func() { counts.add(ValidationShift, "more of the same set and class") })
		if len(icons) < minStyle {
			for range icons {
				counts.add(ValidationShift, "of a style with too few images")
			}
			continue
		}
		p.images[ValidationShift][style] = r.byClass(icons)
	}
	return nil
}

// byClass orders images by class name, then by key.
func (r *rules) byClass(icons []*icon) []*icon {
	slices.SortFunc(icons, func(a, b *icon) int {
		return cmp.Or(cmp.Compare(r.classes[a.Class].Name, r.classes[b.Class].Name), cmp.Compare(a.key(), b.key()))
	})
	return icons
}

// without returns the icons that look like none of the others.
func without(ctx context.Context, icons, others []*icon, progress func(done, total int), dropped func()) ([]*icon, error) {
	near, err := nearDuplicates(ctx, icons, others, nearAlike, progress)
	if err != nil {
		return nil, err
	}
	kept := make([]*icon, 0, len(icons))
	for i, ic := range icons {
		if near[i] {
			dropped()
		} else {
			kept = append(kept, ic)
		}
	}
	return kept, nil
}

// shuffled orders pairs by a hash of their names, so that every shard holds every set.
func shuffled(icons []*icon) []*icon {
	out := slices.Clone(icons)
	slices.SortFunc(out, func(a, b *icon) int {
		return cmp.Or(cmp.Compare(chance(a.key(), "order"), chance(b.key(), "order")), cmp.Compare(a.key(), b.key()))
	})
	return out
}

// evaluation fills in finetune, validation, ID, shifts and zero-shot.
func (p *plan) evaluation(ctx context.Context, eval []*icon, r *rules, counts Dropped) error {
	groups := map[Role]map[Style][]*icon{Finetune: {}, Validation: {}, ID: {}, Shift: {}, ZeroShot: {}}
	for _, ic := range eval {
		from := ic.Family.Role
		zero := ic.Class >= r.finetune
		switch {
		case r.ruledOut(ic):
			counts.add(from, "shows something else than its name")
		case ic.Style == StyleUnclear:
			counts.add(from, "style unclear from the pixels")
		case from != Test && zero:
			counts.add(from, "of a zero-shot class")
		case from != Test && ic.Style != StyleSolid:
			counts.add(from, "not solid")
		case from != Test:
			groups[from][""] = append(groups[from][""], ic)
		case zero:
			groups[ZeroShot][ic.Style] = append(groups[ZeroShot][ic.Style], ic)
		case ic.Style == StyleSolid:
			groups[ID][""] = append(groups[ID][""], ic)
		default:
			groups[Shift][ic.Style] = append(groups[Shift][ic.Style], ic)
		}
	}
	// Earlier groups win: what looks like a finetuning image leaves validation, what looks like one
	// of either leaves the tests, and no test holds a picture twice.
	var own []*icon
	for _, role := range []Role{Finetune, Validation, ID, Shift, ZeroShot} {
		for _, style := range sortedKeys(groups[role]) {
			icons := groups[role][style]
			if len(own) > 0 {
				kept, err := without(ctx, icons, own, nil, func() { counts.add(role, "looks like a finetuning image") })
				if err != nil {
					return err
				}
				icons = kept
			}
			icons = p.distinct(icons, func() { counts.add(role, "looks like another of the same test") })
			most := perSet
			if role == Finetune || role == Validation || style == StyleColor {
				most = perSetWide
			}
			icons = limit(icons, most, func(ic *icon) string { return ic.Set }, func() { counts.add(role, "more of the same set and class") })
			switch role {
			case Shift:
				icons = limit(icons, perShiftClass, func(*icon) string { return "" }, func() { counts.add(role, "more of the same class") })
			case ZeroShot:
				icons = limit(icons, perZeroStyle, func(*icon) string { return "" }, func() { counts.add(role, "more of the same class") })
			}
			groups[role][style] = icons
		}
		if role == Finetune || role == Validation {
			own = append(own, groups[role][""]...)
		}
	}
	number := map[Role]map[int]int{}
	for role, styles := range groups {
		number[role] = map[int]int{}
		for _, icons := range styles {
			for _, ic := range icons {
				number[role][ic.Class]++
			}
		}
	}
	for c := range r.classes {
		if c < r.finetune {
			p.kept[c] = number[Finetune][c] >= minFinetune && number[ID][c] >= minID
		} else {
			p.kept[c] = number[ZeroShot][c] >= minZeroShot
		}
	}
	for role, styles := range groups {
		p.images[role] = map[Style][]*icon{}
		for style, icons := range styles {
			to := style
			if role == ZeroShot {
				to = ""
			}
			for _, ic := range icons {
				if p.kept[ic.Class] {
					p.images[role][to] = append(p.images[role][to], ic)
				} else {
					counts.add(role, "of a class with too few images")
				}
			}
		}
		for _, icons := range p.images[role] {
			r.byClass(icons)
		}
	}
	return nil
}

// distinct leaves one of the icons that look alike, the first.
func (p *plan) distinct(icons []*icon, dropped func()) []*icon {
	drop := map[*icon]bool{}
	place := map[*icon]int{}
	for i, ic := range icons {
		place[ic] = i
	}
	for _, v := range []view{canvasView, cutView} {
		index := newNearIndex(icons, v, nearAlike)
		for i, ic := range icons {
			if drop[ic] {
				continue
			}
			index.search(ic, func(other *icon) bool {
				if place[other] > i {
					drop[other] = true
				}
				return true
			})
		}
	}
	var kept []*icon
	for _, ic := range icons {
		if drop[ic] {
			dropped()
		} else {
			kept = append(kept, ic)
		}
	}
	return kept
}

// limit keeps at most n icons of every class and group: one of each set before a second of any, in an
// order that depends on nothing but their names.
func limit(icons []*icon, n int, group func(*icon) string, dropped func()) []*icon {
	type slot struct {
		class int
		group string
	}
	turn := map[*icon]int{} // how manieth of its class in its set
	bySet := map[slot]int{}
	order := shuffled(icons)
	for _, ic := range order {
		s := slot{ic.Class, ic.Set}
		turn[ic] = bySet[s]
		bySet[s]++
	}
	slices.SortStableFunc(order, func(a, b *icon) int { return turn[a] - turn[b] })
	taken := map[slot]int{}
	keep := map[*icon]bool{}
	for _, ic := range order {
		s := slot{ic.Class, group(ic)}
		if taken[s] < n {
			taken[s]++
			keep[ic] = true
		} else {
			dropped()
		}
	}
	return slices.DeleteFunc(slices.Clone(icons), func(ic *icon) bool { return !keep[ic] })
}
