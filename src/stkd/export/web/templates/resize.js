// Resizing as torch does it: interpolate(uint8, antialias=True), in 16-bit integers, first along the rows, then down the
// columns, each rounded to whole levels.

const FILTERS = {
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: { support: 2, weight: cubic },
};

function cubic(value) {
  const x = Math.abs(value), a = -0.5;
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

// For each of `to` pixels: the first of `from` pixels that it is made of, how many, and their weights times 2^precision.
export function weights(from, to, interpolation) {
  const { support: width, weight } = FILTERS[interpolation];
  const scale = from / to, stretch = Math.max(1, scale), support = width * stretch;
  const pieces = [];
  let largest = 0;
  for (let i = 0; i < to; i++) {
    const centre = scale * (i + 0.5);
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const count = Math.min(from, Math.trunc(centre + support + 0.5)) - first;
    const values = Array.from({ length: count }, (_, j) => weight((first + j - centre + 0.5) / stretch));
    const total = values.reduce((sum, value) => sum + value, 0);
    pieces.push({ first, values: values.map((value) => value / total) });
    largest = Math.max(largest, ...pieces[i].values);
  }
  let precision = 0;
  while (precision < 22 && Math.trunc(0.5 + largest * 2 ** (precision + 1)) < 2 ** 15) precision++;
  const whole = (value) => Math.trunc(value * 2 ** precision + (value < 0 ? -0.5 : 0.5));
  return { precision, pieces: pieces.map(({ first, values }) => ({ first, weights: Int32Array.from(values, whole) })) };
}

// Resizes rows (height x from x channels, whole levels) along each row.
export function alongRows(source, height, from, to, channels, interpolation) {
  if (from === to) return source;
  const { precision, pieces } = weights(from, to, interpolation);
  const half = 1 << (precision - 1), target = new Uint8ClampedArray(height * to * channels);
  for (let y = 0, at = 0; y < height; y++) {
    const row = y * from * channels;
    for (const { first, weights: factors } of pieces) {
      for (let c = 0; c < channels; c++, at++) {
        let sum = half;
        for (let j = 0, k = row + first * channels + c; j < factors.length; j++, k += channels) sum += factors[j] * source[k];
        target[at] = sum >> precision;
      }
    }
  }
  return target;
}

// Resizes rows (from x width x channels, whole levels) down each column.
export function downColumns(source, from, to, width, channels, interpolation) {
  if (from === to) return source;
  const { precision, pieces } = weights(from, to, interpolation);
  const length = width * channels, sums = new Int32Array(length), target = new Uint8ClampedArray(to * length);
  pieces.forEach(({ first, weights: factors }, y) => {
    sums.fill(1 << (precision - 1));
    for (let j = 0; j < factors.length; j++) {
      const factor = factors[j], row = (first + j) * length;
      for (let x = 0; x < length; x++) sums[x] += factor * source[row + x];
    }
    for (let x = 0; x < length; x++) target[y * length + x] = sums[x] >> precision;
  });
  return target;
}
