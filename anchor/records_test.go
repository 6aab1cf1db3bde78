package anchor

// ReadCaptions reads captions.jsonl into memory. A torn last line, as an
// interruption may leave, is left out. Errors name file and line.
func ReadCaptions(path string) ([]CaptionRecord, error) {
	var records []CaptionRecord
	err := readCaptions(path, func(r CaptionRecord) { records = append(records, r) })
	if err != nil {
		return nil, err
	}
	return records, nil
}
