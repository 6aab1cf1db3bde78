package dataset

import (
	"errors"
	"fmt"
)

// ErrLabel is wrapped by errors about a sample whose class or label isn't among
// its dataset's classes, or whose class and label disagree.
var ErrLabel = errors.New("the list of classes (classnames.txt, --classes, or classes in the config) must be the one that the samples were labelled with")

// checkLabels reads all descriptions of a dataset with classes. A wrong list of
// classes is no broken sample: left out as one, a whole class would be missing
// from the accuracy.
func checkLabels(d Dataset) error {
	if len(Classes(d)) == 0 {
		return nil
	}
	wrong := 0
	var first error
	for i := range d.Len() {
		if _, err := Describe(d, i); errors.Is(err, ErrLabel) {
			if wrong++; first == nil {
				first = err
			}
		}
	}
	if wrong > 1 {
		return fmt.Errorf("%d of %d samples have a wrong class, the first: %w", wrong, d.Len(), first)
	}
	return first
}
