package checkpoint

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// Steps of pickles, written by hand.

func text(s string) string {
	return "X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s
}

func integer(i int64) string {
	return "\x8a\x08" + string(binary.LittleEndian.AppendUint64(nil, uint64(i)))
}

func tuple(parts ...string) string { return "(" + strings.Join(parts, "") + "t" }

// dict has keys and values in turn.
func dict(items ...string) string { return "}(" + strings.Join(items, "") + "u" }

func call(module, name, args string) string { return "c" + module + "\n" + name + "\n" + args + "R" }

func floats(key string, n int64) string {
	return tuple(text("storage"), "ctorch\nFloatStorage\n", text(key), text("cpu"), integer(n)) + "Q"
}

func viewOf(storage string, offset int64, shape, stride string) string {
	return call("torch._utils", "_rebuild_tensor_v2", tuple(storage, integer(offset), shape, stride, "\x89", call("collections", "OrderedDict", ")")))
}

func pickleOf(root string) string { return "\x80\x02" + root + "." }

// zipped makes an archive of entries that are stored as they are.
func zipped(t testing.TB, entries map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, entries[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func readBytes(data []byte) (Tensors, error) {
	return readArchive(bytes.NewReader(data), int64(len(data)))
}

func model(t testing.TB, pickle string) []byte {
	return zipped(t, map[string]string{"m/data.pkl": pickle, "m/data/0": strings.Repeat("\x00\x00\x80\x3f", 6), "m/byteorder": "little"})
}

func TestMaliciousPickles(t *testing.T) {
	canary := filepath.Join(t.TempDir(), "ran")
	command := tuple(text("touch " + canary))
	one := tuple(integer(1))
	// A module that holds itself, and modules that each hold the next one twice.
	loop := "c__torch__\nM\n)\x81q\x01" + dict(text("a"), "h\x01") + "b"
	bomb := "c__torch__\nM\n)\x81"
	for range 40 {
		bomb += "q\x01" + "0c__torch__\nM\n)\x81" + dict(text("a"), "h\x01", text("b"), "h\x01") + "b"
	}
	deep := "c__torch__\nM\n)\x81"
	for range 200 {
		deep += "q\x01" + "0c__torch__\nM\n)\x81" + dict(text("a"), "h\x01") + "b"
	}
	for name, c := range map[string]struct{ pickle, want string }{
		"command":            {pickleOf(call("posix", "system", command)), "holds posix.system in place"},
		"command as tensor":  {pickleOf(dict(text("w"), viewOf(floats("0", 6), 0, one, one), text("x"), call("os", "system", command))), "tensor x is made by os.system, which is not run"},
		"eval in a tensor":   {pickleOf(dict(text("w"), call("torch._utils", "_rebuild_parameter", tuple(call("builtins", "eval", command), "\x88", "N")))), "tensor w: a parameter made from builtins.eval"},
		"eval as function":   {pickleOf(dict(text("w"), call("torch._tensor", "_rebuild_from_type_v2", tuple("cbuiltins\neval\n", "N", command, "N")))), "tensor w: a tensor made by builtins.eval"},
		"result called":      {pickleOf(dict(text("w"), viewOf(floats("0", 6), 0, one, one), text("x"), call("builtins", "getattr", command)+command+"R")), "tensor x is made by builtins.getattr"},
		"function of itself": {pickleOf(dict(text("w"), call("torch._tensor", "_rebuild_from_type_v2", tuple("ctorch._tensor\n_rebuild_from_type_v2\nq\x01", "N", tuple("h\x01", "N", ")"), "N")))), "function of functions"},
		"inst":               {"\x80\x02(" + text("x") + "ios\nsystem\n.", "holds os.system in place"},
		"long string":        {"\x80\x02\x8d" + "\xff\xff\xff\xff\xff\x00\x00\x00.", "ends too early"},
		"longest string":     {"\x80\x02\x8d" + "\xff\xff\xff\xff\xff\xff\xff\xff.", "ends too early"},
		"long bytes":         {"\x80\x02B\xff\xff\xff\x7f.", "ends too early"},
		"long frame":         {"\x80\x04\x95\x00\x00\x00\x00\x01\x00\x00\x00.", "ends too early"},
		"large integer":      {"\x80\x02\x8b\x00\x00\x01\x00" + strings.Repeat("x", 1<<16) + ".", "an integer of 65536 bytes"},
		"empty integer":      {"\x80\x02\x8a\x00.", "an integer of 0 bytes"},
		"many digits":        {"L" + strings.Repeat("9", 5000) + "L\n.", "a number of 5002 digits"},
		"deep lists":         {"\x80\x02" + strings.Repeat("(", 5000) + strings.Repeat("l", 5000) + ".", "objects within each other"},
		"many objects":       {"\x80\x02" + strings.Repeat("}", 2<<20) + ".", "a pickle of over 1048576 objects"},
		"many memos":         {"\x80\x02N" + strings.Repeat("\x94", 8<<20) + ".", "a pickle of over 2097152 steps"},
		"unknown step":       {"\xff.", "no such step"},
		"extension":          {"\x80\x02\x82\x01.", "no such step"},
		"persistent line":    {"Pstorage\n.", "no such step"},
		"buffer":             {"\x80\x05\x97.", "no such step"},
		"empty stack":        {"\x80\x02R.", "damaged pickle"},
		"list as a key":      {"\x80\x02" + call("collections", "OrderedDict", ")") + "(C\x01aK\x01u.", "damaged pickle"},
		"odd dictionary":     {"\x80\x02(K\x01d.", "damaged pickle"},
		"no end":             {"\x80\x02}", "ends too early"},
		"empty":              {"", "ends too early"},
		"other persistent":   {pickleOf(text("x") + "Q"), "persistent id"},
		"module in itself":   {pickleOf(loop), "modules within each other"},
		"modules twice":      {pickleOf(bomb), "over 262144 modules"},
		"modules too deep":   {pickleOf(deep), "modules within each other"},
		"long name":          {pickleOf(dict(text(strings.Repeat("x", 2000)), viewOf(floats("0", 6), 0, one, one))), "a name of over 1000 bytes"},
		"wrapped in itself":  {pickleOf("}q\x01(" + text("state_dict") + "h\x01u"), "weights within weights"},

		"too large":       {pickleOf(dict(text("w"), viewOf(floats("0", 1<<40), 0, tuple(integer(1<<30)), one))), "tensor w: its shape [1073741824]"},
		"overflow":        {pickleOf(dict(text("w"), viewOf(floats("0", 6), 0, tuple(integer(1<<31-1), integer(1<<31-1), integer(1<<31-1)), tuple(integer(1<<62), integer(1<<62), integer(1))))), "tensor w: shape"},
		"expanded":        {pickleOf(dict(text("w"), viewOf(floats("0", 6), 0, tuple(integer(1<<30)), tuple(integer(0))))), "many times the file's size"},
		"negative size":   {pickleOf(dict(text("w"), viewOf(floats("0", 6), 0, tuple(integer(-1)), one))), "tensor w: shape [-1]"},
		"negative stride": {pickleOf(dict(text("w"), viewOf(floats("0", 6), 5, tuple(integer(2)), tuple(integer(-1))))), "strides [-1]"},
		"negative offset": {pickleOf(dict(text("w"), viewOf(floats("0", 6), -1, one, one))), "offset -1"},
		"large offset":    {pickleOf(dict(text("w"), viewOf(floats("0", 6), 1<<62, one, one))), "offset 4611686018427387904"},
		"beyond":          {pickleOf(dict(text("w"), viewOf(floats("0", 6), 4, tuple(integer(3)), one))), "beyond its storage of 24 bytes"},
		"no such storage": {pickleOf(dict(text("w"), viewOf(floats("../../x", 6), 0, one, one))), "tensor w: its storage data/../../x is missing"},
		"many dimensions": {pickleOf(dict(text("w"), viewOf(floats("0", 6), 0, tuple(slices.Repeat([]string{integer(1)}, 20)...), tuple(slices.Repeat([]string{integer(1)}, 20)...)))), "20 dimensions"},
		"fewer strides":   {pickleOf(dict(text("w"), viewOf(floats("0", 6), 0, one, ")"))), "don't fit"},
		"text as a size":  {pickleOf(dict(text("w"), viewOf(floats("0", 6), 0, tuple(text("1")), one))), "tensor w: shape: text in place of an integer"},
		"no storage":      {pickleOf(dict(text("w"), viewOf("N", 0, one, one))), "tensor w: a tensor without a storage"},
		"conjugate":       {pickleOf(dict(text("w"), call("torch._utils", "_rebuild_tensor_v2", tuple(floats("0", 6), integer(0), one, one, "\x89", "N", dict(text("neg"), "\x88"))))), "kept as its neg"},
		"kind of storage": {pickleOf(dict(text("w"), viewOf(tuple(text("storage"), "cos\nsystem\n", text("0"), text("cpu"), integer(6))+"Q", 0, one, one))), "element type os.system is not supported"},
	} {
		t.Run(name, func(t *testing.T) {
			tensors, err := readBytes(model(t, c.pickle))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, %v, want an error about %q", tensors.Names(), err, c.want)
			} else if len(err.Error()) > 1000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		})
	}
	if _, err := os.Stat(canary); err == nil {
		t.Error("a command of a pickle was run")
	}
}

// The same steps, not abused, give a tensor: the cases above fail for their
// reasons only. Objects beside the weights do no harm.
func TestHandmadePickle(t *testing.T) {
	root := pickleOf(dict(
		text("epoch"), call("numpy.core.multiarray", "scalar", tuple("N", "N")),
		text("args"), "cargparse\nNamespace\n)\x81"+dict(text("lr"), "K\x01")+"b",
		text("optimizer"), dict(integer(0), viewOf(floats("77", 1<<40), 0, tuple(integer(1<<40)), tuple(integer(1)))),
		text("state_dict"), dict(
			text("module._orig_mod.w"), viewOf(floats("0", 6), 1, tuple(integer(2)), tuple(integer(3))),
			text("module._orig_mod.empty"), viewOf(floats("0", 6), 100, tuple(integer(0)), tuple(integer(1)))),
	))
	path := filepath.Join(t.TempDir(), "m.pt")
	if err := os.WriteFile(path, model(t, root), 0o644); err != nil {
		t.Fatal(err)
	}
	tensors, _, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(tensors["w"].Data); got != "\x00\x00\x80\x3f\x00\x00\x80\x3f" || len(tensors) != 2 {
		t.Errorf("got %v", tensors)
	}
}

// Forms that newer versions of PyTorch write than the one of testdata.
func TestNewerForms(t *testing.T) {
	one := tuple(integer(1))
	two := tuple(integer(2))
	bytesOf := tuple(text("storage"), "ctorch.storage\nUntypedStorage\n", text("0"), text("cpu"), integer(24)) + "Q"
	v3 := func(dtype string) string {
		return call("torch._utils", "_rebuild_tensor_v3", tuple(bytesOf, integer(1), two, one, "\x89", "N", "ctorch\n"+dtype+"\n", "N"))
	}
	plain := tuple(floats("0", 6), integer(1), two, one, "\x89", "N")
	want := "\x00\x00\x80\x3f\x00\x00\x80\x3f"
	tensors, err := readBytes(model(t, pickleOf(dict(
		text("v3"), v3("float32"),
		text("subclass"), call("torch._tensor", "_rebuild_from_type_v2", tuple("ctorch._utils\n_rebuild_tensor_v2\n", "ctorch.nn.parameter\nBuffer\n", plain, dict(text("x"), "N"))),
		text("state"), call("torch._utils", "_rebuild_parameter_with_state", tuple(viewOf(floats("0", 6), 1, two, one), "\x88", "N", "}")),
	))))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"v3", "subclass", "state"} {
		if got := tensors[name]; string(got.Data) != want || !slices.Equal(got.Shape, []int{2}) {
			t.Errorf("%s: %v", name, got)
		}
	}
	if _, err := readBytes(model(t, pickleOf(dict(text("w"), v3("float8_e4m3fn"))))); err == nil || !strings.Contains(err.Error(), "tensor w: element type torch.float8_e4m3fn is not supported") {
		t.Errorf("got %v", err)
	}
}

func TestOverlappingTensors(t *testing.T) {
	var items []string
	for i := range int64(40) {
		items = append(items, text("w"+string(rune('a'+i))), viewOf(floats("0", 1<<17), i, tuple(integer(1<<16)), tuple(integer(1))))
	}
	data := zipped(t, map[string]string{"m/data.pkl": pickleOf(dict(items...)), "m/data/0": strings.Repeat("x", 4<<17)})
	if _, err := readBytes(data); err == nil || !strings.Contains(err.Error(), "many times the file's size") {
		t.Errorf("got %v", err)
	}
}

func TestMaliciousArchives(t *testing.T) {
	good := pickleOf(dict(text("w"), viewOf(floats("0", 6), 0, tuple(integer(6)), tuple(integer(1)))))
	storage := strings.Repeat("\x00\x00\x80\x3f", 6)
	if _, err := readBytes(zipped(t, map[string]string{"m/data.pkl": good, "m/data/0": storage})); err != nil {
		t.Fatal(err)
	}
	compressed := func(name string, size int) []byte {
		var out bytes.Buffer
		z := zip.NewWriter(&out)
		for entry, content := range map[string]string{"m/data.pkl": good, "m/data/0": storage} {
			method := zip.Store
			if entry == name {
				method, content = zip.Deflate, strings.Repeat("\x00", size)
			}
			w, err := z.CreateHeader(&zip.FileHeader{Name: entry, Method: method})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(w, content); err != nil {
				t.Fatal(err)
			}
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	// The bomb says that it is small.
	liar := compressed("m/data.pkl", 40<<20)
	for at := 0; ; {
		i := bytes.Index(liar[at:], []byte("PK\x01\x02"))
		if i < 0 {
			break
		}
		at += i
		if bytes.HasPrefix(liar[at+46:], []byte("m/data.pkl")) {
			binary.LittleEndian.PutUint32(liar[at+24:], 100)
		}
		at += 46
	}
	whole := zipped(t, map[string]string{"m/data.pkl": good, "m/data/0": storage})
	long := bytes.Clone(whole) // its storage is longer than the file
	at := bytes.LastIndex(long, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(long[at+20:], 1<<30)
	binary.LittleEndian.PutUint32(long[at+24:], 1<<30)
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"no pickle":          {zipped(t, map[string]string{"m/data/0": storage}), "without a data.pkl"},
		"two pickles":        {zipped(t, map[string]string{"m/data.pkl": good, "n/data.pkl": good}), "two data.pkl"},
		"big-endian":         {zipped(t, map[string]string{"m/data.pkl": good, "m/data/0": storage, "m/byteorder": "big"}), "little-endian machine"},
		"storage missing":    {zipped(t, map[string]string{"m/data.pkl": good}), "data/0 is missing"},
		"storage compressed": {compressed("m/data/0", 24), "is compressed"},
		"bomb":               {compressed("m/data.pkl", 40<<20), "at most 16777216 are read"},
		"lying bomb":         {liar, ""},
		"cut off":            {whole[:len(whole)-30], "damaged or cut off"},
		"beyond the end":     {long, "goes beyond the end"},
		"large pickle":       {zipped(t, map[string]string{"m/data.pkl": strings.Repeat("N", 17<<20)}), "at most 16777216 are read"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := readBytes(c.data); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error about %q", err, c.want)
			}
		})
	}
	var twice bytes.Buffer
	z := zip.NewWriter(&twice)
	for range 2 {
		if _, err := z.Create("m/data.pkl"); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := readBytes(twice.Bytes()); err == nil || !strings.Contains(err.Error(), "there twice") {
		t.Errorf("got %v", err)
	}
}

func TestMaliciousLegacy(t *testing.T) {
	good, err := os.ReadFile(filepath.Join("testdata", "views_legacy.pt"))
	if err != nil {
		t.Fatal(err)
	}
	changed := func(old, new string) []byte {
		if !bytes.Contains(good, []byte(old)) {
			t.Fatalf("no %q in the file", old)
		}
		return bytes.Replace(good, []byte(old), []byte(new), 1)
	}
	// The last storage: 20 numbers, 0 to 19.
	count := "\x14\x00\x00\x00\x00\x00\x00\x00" + strings.Repeat("\x00", 8)
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"cut in the pickle":       {good[:200], "ends too early"},
		"cut in a storage":        {good[:len(good)-8], "cut off"},
		"cut before a storage":    {good[:len(good)-20*8-4], "cut off"},
		"long storage":            {changed(count, "\xff\xff\xff\xff\xff\xff\xff\x7f"+count[8:]), "goes beyond the end"},
		"negative storage":        {changed(count, "\xff\xff\xff\xff\xff\xff\xff\xff"+count[8:]), "goes beyond the end"},
		"other version":           {changed("\x80\x02M\xe9\x03.", "\x80\x02M\xea\x03."), "no checkpoint of PyTorch that is known"},
		"big-endian":              {changed("little_endianq\x02\x88", "little_endianq\x02\x89"), "big-endian machine"},
		"storage of no tensor":    {append(bytes.Clone(good[:bytes.LastIndex(good, []byte("\x80\x02]"))]), "\x80\x02]X\x01\x00\x00\x00xa."...), "is of no tensor"},
		"list that is no list":    {append(bytes.Clone(good[:bytes.LastIndex(good, []byte("\x80\x02]"))]), "\x80\x02K\x01."...), "list of storages is damaged"},
		"fewer than all storages": {append(bytes.Clone(good[:bytes.LastIndex(good, []byte("\x80\x02]"))]), "\x80\x02]."...), "is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			data := bytes.Clone(c.data)
			if _, err := readLegacy(bytes.NewReader(data), int64(len(data))); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error about %q", err, c.want)
			}
		})
	}
}

// The worst pickles that the limits let through.
func TestPickleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some hundred MB")
	}
	for name, pickle := range map[string]string{
		"dictionaries": "\x80\x02]" + "ccollections\nOrderedDict\nq\x01" + strings.Repeat("h\x01)R", maxPickleContainers/2-10) + ".",
		"lists":        "\x80\x02" + strings.Repeat("]", maxPickleContainers-10) + ".",
		"memos":        "\x80\x02N" + strings.Repeat("\x94", maxPickleSteps-10) + ".",
		"numbers":      "\x80\x02" + strings.Repeat("M\xff\xff", maxPickleSteps-10) + ".",
	} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		_, err := unpickle([]byte(pickle))
		runtime.ReadMemStats(&after)
		grown := (after.TotalAlloc - before.TotalAlloc) >> 20
		t.Logf("%s: %d MB, %v", name, grown, err)
		if grown > 300 {
			t.Errorf("%s: %d MB", name, grown)
		}
	}
}

// sparse is a file that doesn't keep its zeros.
type sparse struct {
	size   int64
	chunks map[int64][]byte
}

func (s *sparse) Write(p []byte) (int, error) {
	if slices.ContainsFunc(p[:min(len(p), 64)], func(b byte) bool { return b != 0 }) || len(p) < 1<<20 {
		s.chunks[s.size] = bytes.Clone(p)
	}
	s.size += int64(len(p))
	return len(p), nil
}

func (s *sparse) ReadAt(p []byte, at int64) (int, error) {
	if at >= s.size {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), s.size-at))
	clear(p[:n])
	for from, chunk := range s.chunks {
		if from < at+int64(n) && at < from+int64(len(chunk)) {
			if from >= at {
				copy(p[from-at:n], chunk)
			} else {
				copy(p[:n], chunk[at-from:])
			}
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Storages over 4 GiB, and storages behind them, need zip64.
func TestZip64(t *testing.T) {
	file := &sparse{chunks: map[int64][]byte{}}
	z := zip.NewWriter(file)
	const large = 5 << 30
	raw := func(name string, size uint64, blocks func(io.Writer)) {
		w, err := z.CreateRaw(&zip.FileHeader{Name: name, Method: zip.Store, CompressedSize64: size, UncompressedSize64: size, CRC32: crc32.ChecksumIEEE(nil)})
		if err != nil {
			t.Fatal(err)
		}
		blocks(w)
	}
	last := []byte("\x00\x00\x80\x3f\x00\x00\x00\x40")
	raw("m/data/0", large, func(w io.Writer) {
		block := make([]byte, 64<<20)
		for range large/len(block) - 1 {
			w.Write(block)
		}
		w.Write(block[:len(block)-1<<20])
		block = block[:1<<20]
		copy(block, last)
		w.Write(block)
	})
	pickle := pickleOf(dict(
		text("far"), viewOf(floats("0", large/4), (large-1<<20)/4, tuple(integer(2)), tuple(integer(1))),
		text("behind"), viewOf(floats("1", 2), 0, tuple(integer(2)), tuple(integer(1)))))
	raw("m/data/1", 8, func(w io.Writer) { w.Write(last) })
	raw("m/data.pkl", uint64(len(pickle)), func(w io.Writer) { io.WriteString(w, pickle) })
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	tensors, err := readArchive(file, file.size)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"far", "behind"} {
		if !bytes.Equal(tensors[name].Data, last) {
			t.Errorf("%s is %x", name, tensors[name].Data)
		}
	}
}
