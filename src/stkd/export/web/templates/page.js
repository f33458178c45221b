// The page: takes pictures, and shows what the worker answers.
import { fail, fill, waitingCard } from './cards.js';
import { watchCamera } from './camera.js';

const MOST = 100; // pictures that are shown

const [state, results, choose, files, capture, camera, choice, backend, clear] = [
  'state', 'results', 'choose', 'files', 'capture', 'camera', 'choice', 'backend', 'clear',
].map((id) => document.getElementById(id));
const line = state.parentElement;

const worker = new Worker(new URL('worker.js', import.meta.url), { type: 'module' });
const waiting = new Map(); // cards by the number of their picture

let contract = null, ready = '', number = 0, answered = 0, broken = 0;

function say(text, wrong = false) {
  state.textContent = text;
  line.classList.toggle('wrong', wrong);
}

function use(able) {
  for (const part of [choose, camera]) part.disabled = !able;
  document.body.classList.toggle('ready', able);
}

function opened({ contract: read, backend: name, threads, failed, gpu }) {
  contract = read;
  choice.hidden = !gpu;
  backend.value = name === 'WebGPU' ? 'webgpu' : 'wasm';
  backend.disabled = false;
  ready = `${name}${threads > 1 ? `, ${threads} threads` : ''}`;
  say(`Ready: ${ready}.${failed ? ` ${failed}.` : ''}`);
  use(true);
}

function notOpened(reason) {
  backend.disabled = false;
  say(`The model does not run here: ${reason}`, true);
}

function show(given) {
  const pictures = [...given];
  if (!contract || !pictures.length) return;
  const taken = pictures.slice(0, MOST);
  const cards = taken.map((blob) => {
    const card = waitingCard(blob.name || 'pasted picture');
    waiting.set(++number, card);
    worker.postMessage({ id: number, blob });
    return card;
  });
  results.prepend(...cards);
  while (results.children.length > MOST) results.lastElementChild.remove();
  document.body.classList.add('answered');
  clear.hidden = false;
  answered = broken = 0;
  const more = pictures.length - taken.length;
  say(more ? `The first ${MOST} of ${pictures.length} pictures are answered.` : `Answering ${taken.length} ...`);
}

function answer({ id, error, ...values }) {
  const card = waiting.get(id);
  if (!card) return; // cleared meanwhile
  waiting.delete(id);
  const name = card.querySelector('.name').textContent;
  if (error) fail(card, error);
  const words = error ? `${name} ${error}` : fill(card, values, contract);
  if (error) broken++;
  else answered++;
  if (waiting.size) return;
  const many = `${answered} answered${broken ? `, ${broken} not` : ''}`;
  say(`${answered + broken > 1 ? many : words}. ${ready}.`, answered + broken === broken);
}

worker.onmessage = ({ data }) => {
  if (data.opened) opened(data.opened);
  else if (data.failed) notOpened(data.failed);
  else answer(data);
};
worker.onerror = () => say('The scripts of the page are not whole; export it again, and copy the whole folder.', true);

backend.addEventListener('change', () => {
  use(false);
  backend.disabled = true;
  say('Loading ...');
  worker.postMessage({ backend: backend.value });
});

choose.addEventListener('click', () => files.click());
for (const input of [files, capture]) {
  input.addEventListener('change', () => {
    show(input.files);
    input.value = '';
  });
}
clear.addEventListener('click', () => {
  waiting.clear();
  results.replaceChildren();
  document.body.classList.remove('answered');
  clear.hidden = true;
  say(`Ready: ${ready}.`);
  choose.focus();
});
watchCamera(camera, capture, (picture) => show([picture]));

const hasFiles = (event) => event.dataTransfer?.types.includes('Files');
for (const kind of ['dragenter', 'dragover']) {
  addEventListener(kind, (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    document.body.classList.add('over');
  });
}
addEventListener('dragleave', (event) => { if (!event.relatedTarget) document.body.classList.remove('over'); });
addEventListener('drop', (event) => {
  document.body.classList.remove('over');
  if (!hasFiles(event)) return;
  event.preventDefault();
  show(event.dataTransfer.files);
});
addEventListener('paste', (event) => {
  if (event.clipboardData.files.length) show(event.clipboardData.files);
});

worker.postMessage({ backend: null });
