'use strict';
// Figures are drawn when they come near the screen; their text and grid follow the page, light or dark.
const dark = matchMedia('(prefers-color-scheme: dark)');
const boxes = [...document.querySelectorAll('.plotly-graph-div')];
const drawn = new Set();

function ofPage(name) {
  return getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();
}

function content(box, ink = ofPage('ink'), line = ofPage('line')) {
  const { data, layout } = JSON.parse(JSON.stringify(figures.get(box.id)).replaceAll('var(--ink)', ink));
  Object.assign(layout, { paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)', autosize: true });
  layout.font = { color: ink, size: 13, family: 'system-ui, sans-serif' };
  for (const axis of ['xaxis', 'yaxis']) {
    layout[axis] = { gridcolor: line, linecolor: line, zerolinecolor: line, automargin: true, ...layout[axis] };
  }
  return { data, layout };
}

function draw(box) {
  const { data, layout } = content(box);
  Plotly.react(box, data, layout, { displayModeBar: false, responsive: true });
  drawn.add(box);
}

// Paper is narrower than most screens: figures are drawn to its width first, in dark ink.
const PAPER = '860px'; // at the zoom of page.css

function toPaper() {
  document.body.style.width = PAPER;
  document.querySelectorAll('details').forEach((part) => { part.open = true; });
  for (const box of boxes.filter((b) => b.clientWidth)) {
    const { data, layout } = content(box, '#1d2430', '#d7dce3');
    Plotly.react(box, data, { ...layout, autosize: false, width: box.clientWidth }, { displayModeBar: false });
    drawn.add(box);
  }
}

function toScreen() {
  document.body.style.width = '';
  drawn.forEach(draw);
}

const near = new IntersectionObserver((entries) => {
  for (const entry of entries.filter((e) => e.isIntersecting)) {
    near.unobserve(entry.target);
    draw(entry.target);
  }
}, { rootMargin: '400px' });

// Values of a plot as rows: one for each point, or for each cell of a heat map.
function values(box) {
  const { data, layout } = content(box);
  const plain = (text) => new DOMParser().parseFromString(String(text), 'text/html').documentElement.textContent;
  const title = (axis, other) => layout[axis].title?.text || other;
  const rows = [['series', title('xaxis', 'x'), title('yaxis', 'y'), 'value']];
  for (const trace of data.filter((t) => t.hoverinfo !== 'skip')) {
    if (trace.z) {
      trace.z.forEach((row, i) => row.forEach((z, j) => rows.push([trace.name, trace.x[j], trace.y[i], z ?? ''])));
    } else {
      trace.x.forEach((x, i) => rows.push([trace.name, x, trace.y[i], trace.text?.[i] ?? '']));
    }
  }
  const last = rows.slice(1).some((row) => row[3] !== '') ? 4 : 3;
  return rows.map((row) => row.slice(0, last).map((cell) => plain(cell ?? '')));
}

function save(url, name) {
  const link = Object.assign(document.createElement('a'), { href: url, download: name });
  link.click();
}

function csv(rows) {
  const quoted = (cell) => (/[",\n]/.test(cell) ? '"' + cell.replaceAll('"', '""') + '"' : cell);
  return rows.map((row) => row.map(quoted).join(',') + '\r\n').join('');
}

async function picture(box, format) {
  const { data, layout } = content(box, '#1d2430', '#d7dce3');
  const size = { width: Math.max(480, box.clientWidth), height: box.clientHeight };
  const figure = { data, layout: { ...layout, paper_bgcolor: '#ffffff' } };
  return Plotly.toImage(figure, { format, scale: format === 'png' ? 2 : 1, ...size });
}

function showValues(button, box) {
  const place = box.closest('figure').querySelector('.values');
  place.hidden = !place.hidden;
  button.setAttribute('aria-expanded', String(!place.hidden));
  if (place.childElementCount) return;
  const rows = values(box);
  const table = place.appendChild(document.createElement('table'));
  rows.slice(0, 501).forEach((row, i) => {
    const line = table.insertRow();
    for (const text of row) line.appendChild(document.createElement(i ? 'td' : 'th')).textContent = text;
  });
  if (rows.length > 501) table.createCaption().textContent = 'The first 500 values; the CSV file has all.';
}

async function tool(button) {
  const box = button.closest('figure').querySelector('.plotly-graph-div');
  const name = document.title.replace(/[^\w-]+/g, '-') + '-' + box.id;
  const what = button.dataset.tool;
  if (what === 'values') return showValues(button, box);
  if (what === 'csv') return save('data:text/csv;charset=utf-8,' + encodeURIComponent(csv(values(box))), name + '.csv');
  save(await picture(box, what), `${name}.${what}`);
}

function sort(button) {
  const head = button.parentElement;
  const column = head.cellIndex;
  const falling = head.getAttribute('aria-sort') === 'descending' ? 1 : -1;
  for (const other of head.parentElement.cells) other.setAttribute('aria-sort', 'none');
  head.setAttribute('aria-sort', falling < 0 ? 'descending' : 'ascending');
  const body = head.closest('table').tBodies[0];
  const key = (row) => row.cells[column]?.dataset.value ?? row.cells[column]?.textContent ?? '';
  const compare = (a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === '' || y === '') return (x === '') - (y === ''); // without a value: last, whichever way
    const numbers = [Number(x), Number(y)];
    return falling * (numbers.some(Number.isNaN) ? x.localeCompare(y) : numbers[0] - numbers[1]);
  };
  body.append(...[...body.rows].sort(compare));
}

function choose(panel) {
  for (const part of document.querySelectorAll('[data-panel]')) part.hidden = part.dataset.panel !== panel;
}

addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (button?.dataset.tool) tool(button);
  else if (button?.closest('thead')) sort(button);
});
addEventListener('change', (event) => { if (event.target.matches('.choose select')) choose(event.target.value); });
addEventListener('beforeprint', toPaper);
addEventListener('afterprint', toScreen);
dark.addEventListener('change', () => drawn.forEach(draw));
const first = document.querySelector('.choose select');
if (first) choose(first.value);
boxes.forEach((box) => near.observe(box));
