// Reads pictures and answers them, one after the other, away from the page, which stays awake meanwhile.
import { open, softmax, webGpu } from './model.js';
import { decoded, picture, scaled, square } from './pixels.js';

const THUMBNAIL = 640; // pixels of its longer side

let model = null;
let queue = Promise.resolve();

async function opening({ backend }) {
  try {
    const gpu = await webGpu();
    model = await open(backend, gpu);
    const { contract, backend: name, threads, failed } = model;
    postMessage({ opened: { contract, backend: name, threads, failed, gpu: gpu.offered } });
  } catch (error) {
    model = null;
    postMessage({ failed: error.message });
  }
}

async function answering({ id, blob }) {
  const began = performance.now();
  let bitmap;
  try {
    bitmap = await decoded(blob);
  } catch {
    postMessage({ id, error: 'is broken, or no picture that this browser reads' });
    return;
  }
  try {
    const { contract } = model, [, channels, side] = contract.input.shape;
    const levels = square(bitmap, contract);
    const read = performance.now();
    const probabilities = softmax(await model.answer(scaled(levels, channels)));
    const answered = performance.now();
    const scale = Math.min(1, THUMBNAIL / Math.max(bitmap.width, bitmap.height));
    const [resizeWidth, resizeHeight] = [bitmap.width, bitmap.height].map((length) => Math.max(1, Math.round(length * scale)));
    const thumbnail = await createImageBitmap(bitmap, { resizeWidth, resizeHeight, resizeQuality: 'high' });
    const seen = picture(levels, channels, side);
    const ms = { reading: read - began, model: answered - read };
    postMessage({ id, probabilities, ms, size: [bitmap.width, bitmap.height], thumbnail, seen }, [thumbnail]);
  } catch (error) {
    postMessage({ id, error: `cannot be answered: ${error.message}` });
  } finally {
    bitmap.close();
  }
}

onmessage = ({ data }) => {
  queue = queue.then(() => (data.blob ? answering(data) : opening(data)));
};
