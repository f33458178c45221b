// The model in onnxruntime-web: by WebGPU where the browser offers it, else by WebAssembly. Whichever it is has to answer
// a known input as onnxruntime did in Python before it is used.

const HERE = new URL('./', import.meta.url);
const NEAR = 0.02; // of the largest logit, by which drivers may differ

const BACKENDS = { wasm: 'WebAssembly', webgpu: 'WebGPU' };

export async function read(name, as = 'json') {
  const answer = await fetch(new URL(name, HERE));
  if (!answer.ok) throw new Error(`${name} is missing on the server (${answer.status})`);
  return answer[as]();
}

// Whether the browser offers WebGPU, and whether it is more than the processor that plays it.
export async function webGpu() {
  try {
    const adapter = await navigator.gpu?.requestAdapter();
    return { offered: Boolean(adapter), fast: Boolean(adapter && !adapter.info?.isFallbackAdapter) };
  } catch {
    return { offered: false, fast: false };
  }
}

// Opens the first backend that works: the one that is given, or those that the model prefers.
export async function open(given, gpu) {
  const [contract, check, bytes] = await Promise.all([read('contract.json'), read('check.json'), read('model.onnx', 'arrayBuffer')]);
  const kinds = given ? [given] : check.backends.filter((kind) => kind !== 'webgpu' || gpu.fast);
  let last;
  for (const kind of kinds) {
    try {
      const model = await opened(kind, contract, new Uint8Array(bytes));
      await tried(model, check.logits);
      return { ...model, failed: last?.message };
    } catch (error) {
      last = new Error(`${BACKENDS[kind]} does not work here: ${error.message}`);
    }
  }
  throw last;
}

async function opened(kind, contract, bytes) {
  const runtime = await import(`./runtime/${kind}.js`);
  runtime.env.logLevel = 'error';
  runtime.env.wasm.wasmPaths = { wasm: new URL(`runtime/${kind}.wasm`, HERE).href };
  runtime.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency) : 1;
  const session = await runtime.InferenceSession.create(bytes, { executionProviders: [kind], logSeverityLevel: 3 });
  const { name, shape: [, channels, height, width] } = contract.input;
  async function answer(values) {
    const images = new runtime.Tensor('float32', values, [1, channels, height, width]);
    const answers = await session.run({ [name]: images });
    return answers[contract.output.name].data;
  }
  return { contract, backend: BACKENDS[kind], threads: kind === 'wasm' ? runtime.env.wasm.numThreads : null, answer };
}

// The first pass is slow, so that it is no loss.
async function tried({ contract, answer }, expected) {
  const [, channels, height, width] = contract.input.shape;
  const pattern = Float32Array.from({ length: channels * height * width }, (_, i) => (i * 37 % 256) / 255);
  const logits = await answer(pattern);
  const largest = Math.max(1, ...expected.map(Math.abs));
  if (!expected.every((value, i) => Math.abs(value - logits[i]) <= NEAR * largest)) {
    throw new Error('it answers otherwise than in Python');
  }
}

export function softmax(logits) {
  const highest = Math.max(...logits);
  const odds = Array.from(logits, (value) => Math.exp(value - highest));
  const total = odds.reduce((sum, value) => sum + value, 0);
  return odds.map((value) => value / total);
}
