package anchor

// fit compares captions with what chance gives: the same captions shuffled
// among the images. Of an interrupted run it has the captions since.
type fit struct {
	own               float64   // sum of the captions' CLIP scores
	imageSum, textSum []float64 // of the features, [dim]
	images, texts     int
}

// add takes the features of images and their captions, rows of dim.
func (f *fit) add(images, texts []float32, dim int) {
	if f.imageSum == nil {
		f.imageSum, f.textSum = make([]float64, dim), make([]float64, dim)
	}
	for i, v := range images {
		f.imageSum[i%dim] += float64(v)
	}
	for i, v := range texts {
		f.textSum[i%dim] += float64(v)
	}
	f.images, f.texts = f.images+len(images)/dim, f.texts+len(texts)/dim
}

// scores are the mean cosines of the captions with their own image and with any
// image of the set.
func (f *fit) scores() (own, any float64) {
	if f.images == 0 || f.texts == 0 {
		return 1, 0
	}
	for i, v := range f.imageSum {
		any += v * f.textSum[i]
	}
	return f.own / float64(f.texts), any / float64(f.images) / float64(f.texts)
}
