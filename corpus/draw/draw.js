// Draws SVG icons for corpus.Build. Requests: one JSON object {"id", "svg"} a line on stdin.
// Answers, in the same order on stdout: id and byte count (uint32 little-endian each), then
// that many bytes of RGB, SIZE x SIZE x 3 on white; a count of 0 means "can't be drawn".
// Usage: node draw.js <path of @resvg/resvg-js> <size>
'use strict';
const fs = require('fs');
const readline = require('readline');
const { Resvg } = require(process.argv[2]);
const size = Number(process.argv[3]);
const options = { background: '#ffffff', font: { loadSystemFonts: false }, logLevel: 'off' };

function draw(svg) {
  const image = new Resvg(svg, options).render();
  if (image.width !== size || image.height !== size) return Buffer.alloc(0);
  const rgba = image.pixels;
  const rgb = Buffer.allocUnsafe(size * size * 3);
  for (let i = 0, o = 0; i < rgba.length; i += 4, o += 3) {
    rgb[o] = rgba[i];
    rgb[o + 1] = rgba[i + 1];
    rgb[o + 2] = rgba[i + 2];
  }
  return rgb;
}

// Synchronous writes: when an icon aborts the process, the answers before it are out already.
function write(buffer) {
  for (let done = 0; done < buffer.length;) {
    try {
      done += fs.writeSync(1, buffer, done);
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
    }
  }
}

readline.createInterface({ input: process.stdin, crlfDelay: Infinity }).on('line', (line) => {
  const { id, svg } = JSON.parse(line);
  let rgb;
  try {
    rgb = draw(svg);
  } catch (error) {
    rgb = Buffer.alloc(0);
  }
  const head = Buffer.alloc(8);
  head.writeUInt32LE(id, 0);
  head.writeUInt32LE(rgb.length, 4);
  write(Buffer.concat([head, rgb]));
});
