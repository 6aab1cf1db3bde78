package imaging

/*
#cgo pkg-config: libjpeg
#include "jpeg.h"
*/
import "C"

import (
	"errors"
	"unsafe"
)

var jpegSignature = []byte{0xff, 0xd8, 0xff}

// decodeJPEG calls libjpeg-turbo itself, which is six times as fast on a small
// picture as through libvips (BenchmarkDecodeJPEG). CMYK stays with libvips.
func decodeJPEG(encoded []byte, background string) (*Image, error) {
	var file C.arf_jpeg
	data, size := (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(encoded))), C.size_t(len(encoded))
	if C.arf_jpeg_open(data, size, &file) != 0 {
		return nil, jpegError(&file)
	}
	img := &Image{Width: int(file.width), Height: int(file.height), Channels: int(file.components)}
	if img.Channels != 1 && img.Channels != 3 {
		return decodeVips(encoded, background)
	}
	release, err := reserve(img.Width, img.Height)
	if err != nil {
		return nil, err
	}
	defer release()
	img.Pix = make([]uint8, img.Width*img.Height*img.Channels)
	if C.arf_jpeg_decode(data, size, (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(img.Pix))), &file) != 0 {
		return nil, jpegError(&file)
	}
	return img, nil
}

func jpegError(file *C.arf_jpeg) error { return errors.New("jpeg: " + C.GoString(&file.message[0])) }
