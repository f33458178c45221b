// A card for each picture: its file's name, then its classes, or why there are none.

const TOP = 5;

const template = document.getElementById('card');

const percent = (value) => `${(100 * value).toFixed(value < 0.9995 ? 1 : 0)} %`;

export function waitingCard(name) {
  const card = template.content.firstElementChild.cloneNode(true);
  card.classList.add('waiting');
  card.querySelector('h2').textContent = '...';
  card.querySelector('.name').textContent = name;
  return card;
}

export function fail(card, reason) {
  card.classList.remove('waiting');
  card.classList.add('failed');
  card.querySelector('h2').textContent = `This file ${reason}`;
}

// Returns the answer in words.
export function fill(card, { probabilities, ms, size, thumbnail, seen }, { classes }) {
  const name = card.querySelector('.name').textContent;
  const best = probabilities.map((p, i) => [p, classes[i]]).sort(([a], [b]) => b - a).slice(0, TOP);
  draw(card.querySelector('.photo'), thumbnail).setAttribute('aria-label', name);
  const view = card.querySelector('.seen');
  view.width = seen.width;
  view.height = seen.height;
  view.getContext('2d').putImageData(seen, 0, 0);
  card.querySelector('h2').textContent = best[0][1];
  card.querySelector('.name').textContent = `${name}, ${size.join(' x ')}`;
  card.querySelector('.bars').append(...best.map(([p, label]) => row(p, label)));
  card.querySelector('.time').textContent = `${milliseconds(ms.model)} in the model, ${milliseconds(ms.reading)} to read and resize`;
  card.dataset.probabilities = JSON.stringify(probabilities);
  card.classList.remove('waiting');
  return `${name}: ${best[0][1]}, ${percent(best[0][0])}`;
}

function draw(canvas, bitmap) {
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.getContext('bitmaprenderer').transferFromImageBitmap(bitmap);
  return canvas;
}

function row(p, label) {
  const [line, bar, name, share] = ['li', 'span', 'span', 'span'].map((tag) => document.createElement(tag));
  bar.className = 'bar';
  bar.style.width = `${100 * p}%`;
  name.textContent = label;
  share.className = 'share';
  share.textContent = percent(p);
  line.append(bar, name, share);
  return line;
}

function milliseconds(value) {
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
}
