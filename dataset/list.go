package dataset

import "slices"

// Item is an image of a [List].
type Item struct {
	Path  string // below the root, with slashes, or absolute
	Class string // "" if there is none
	Text  string // "" if there is none
}

// List is a dataset of images that a program lists itself, below a folder.
// classes are the class names by label; an item of another class has label −1.
func List(root string, items []Item, classes []string) Dataset {
	label := make(map[string]int, len(classes))
	for i, c := range classes {
		label[c] = i
	}
	d := &table{root: root, classes: slices.Clone(classes), rows: make([]tableRow, len(items))}
	for i, item := range items {
		d.rows[i] = tableRow{image: item.Path, text: item.Text, class: item.Class, label: -1}
		if n, ok := label[item.Class]; ok {
			d.rows[i].label = n
		}
	}
	return d
}
