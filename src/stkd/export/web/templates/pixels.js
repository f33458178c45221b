// From an image file to the model's pixels, as stkd's own `decode_square` makes them: decoded in full and upright, without
// colour management, transparency on white, then resized by resize.js. A canvas only hands the pixels out; its own resizing
// is another.
import { alongRows, downColumns } from './resize.js';

const LONGEST = 4; // of a longer image, in shorter sides, the middle is resized
const STRIP = 2 ** 22; // pixels on the canvas at once: some browsers have none for a whole photo

const AS_IT_IS = { imageOrientation: 'from-image', premultiplyAlpha: 'none', colorSpaceConversion: 'none' };

// The decoded image; to be closed.
export function decoded(blob) {
  return createImageBitmap(blob, AS_IT_IS);
}

// Which box of the image is resized to which size, and which box of that is cut out; all as [top, left, height, width].
export function geometry(height, width, steps) {
  let box = [0, 0, height, width], size = null, cut = null;
  for (const step of steps) {
    const [, , h, w] = cut ?? (size ? [0, 0, ...size] : box);
    if (step.do === 'centre crop') {
      const [ch, cw] = Array.isArray(step.to) ? step.to : [Math.min(h, w), Math.min(h, w)];
      const place = step.offset === 'rounded down' ? Math.floor : halfToEven;
      const cropped = [place((h - ch) / 2), place((w - cw) / 2), ch, cw];
      if (size) cut = cropped;
      else box = cropped;
    } else if (step.to) {
      size = step.to;
    } else {
      const side = Math.min(h, w), shorter = step['shorter side to'];
      const [top, left] = [h, w].map((length) => Math.floor(Math.max(0, length - LONGEST * side) / 2));
      box = [box[0] + top, box[1] + left, h - 2 * top, w - 2 * left];
      size = [box[2], box[3]].map((length) => Math.trunc(shorter * length / side));
    }
  }
  size ??= [box[2], box[3]];
  return { box, size, cut: cut ?? [0, 0, ...size] };
}

function halfToEven(value) {
  const below = Math.floor(value), rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2) ? below + 1 : below;
}

// The square that the model sees, as whole levels, height x width x channels.
export function square(bitmap, { resize, input }) {
  const channels = input.colour === 'grey' ? 1 : 3;
  const { box: [top, left, height, width], size: [toHeight, toWidth], cut } = geometry(bitmap.height, bitmap.width, resize.steps);
  const interpolation = resize.interpolation;
  const rows = new Uint8ClampedArray(height * toWidth * channels);
  const strip = Math.max(1, Math.min(height, Math.floor(STRIP / width)));
  const canvas = new OffscreenCanvas(width, strip).getContext('2d', { willReadFrequently: true });
  if (!canvas) throw new Error('this browser has no canvas for it');
  canvas.fillStyle = 'white';
  for (let y = 0; y < height; y += strip) {
    const count = Math.min(strip, height - y);
    canvas.fillRect(0, 0, width, strip);
    canvas.drawImage(bitmap, -left, -top - y);
    const levels = plain(canvas.getImageData(0, 0, width, count).data, channels);
    rows.set(alongRows(levels, count, width, toWidth, channels, interpolation), y * toWidth * channels);
  }
  return cropped(downColumns(rows, height, toHeight, toWidth, channels, interpolation), toWidth, channels, cut);
}

// RGBA as RGB, or as grey by the weights of ITU-R 601-2, as Pillow rounds them.
function plain(rgba, channels) {
  const levels = new Uint8ClampedArray(rgba.length / 4 * channels);
  for (let from = 0, to = 0; from < rgba.length; from += 4) {
    const r = rgba[from], g = rgba[from + 1], b = rgba[from + 2];
    if (channels === 1) {
      levels[to++] = (19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16;
    } else {
      levels[to++] = r;
      levels[to++] = g;
      levels[to++] = b;
    }
  }
  return levels;
}

function cropped(levels, rowLength, channels, [top, left, height, width]) {
  const target = new Uint8ClampedArray(height * width * channels);
  for (let y = 0; y < height; y++) {
    const from = ((top + y) * rowLength + left) * channels;
    target.set(levels.subarray(from, from + width * channels), y * width * channels);
  }
  return target;
}

// Levels, height x width x channels, as the model takes them: channels x height x width, in 0..1.
export function scaled(levels, channels) {
  const count = levels.length / channels, values = new Float32Array(levels.length);
  for (let c = 0; c < channels; c++) for (let i = 0; i < count; i++) values[c * count + i] = levels[i * channels + c] / 255;
  return values;
}

// What the model sees, as a picture.
export function picture(levels, channels, side) {
  const shown = new ImageData(side, side);
  for (let i = 0; i < side * side; i++) {
    for (let c = 0; c < 3; c++) shown.data[i * 4 + c] = levels[i * channels + (channels === 1 ? 0 : c)];
    shown.data[i * 4 + 3] = 255;
  }
  return shown;
}
