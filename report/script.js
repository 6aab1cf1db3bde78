'use strict';
const $ = (id) => document.getElementById(id);
const el = (tag, className, text) => {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
};

// Colours: as the system, light, dark.
const themes = [['', 'Auto', 'as the system'], ['light', 'Light', 'light'], ['dark', 'Dark', 'dark']];
let theme = 0;
$('theme').addEventListener('click', () => {
  theme = (theme + 1) % themes.length;
  const [scheme, label, words] = themes[theme];
  document.documentElement.style.colorScheme = scheme;
  $('theme').querySelector('span').textContent = label;
  $('theme').setAttribute('aria-label', 'Colours: ' + words);
});

// Tooltips: the first line is the name.
const tip = $('tip');
const showTip = (text, x, y) => {
  const [name, ...rest] = text.split('\n');
  tip.replaceChildren(el('b', '', name), rest.join('\n'));
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  const left = x + 14 + box.width > innerWidth - 8 ? x - 14 - box.width : x + 14;
  const top = y + 14 + box.height > innerHeight - 8 ? y - 14 - box.height : y + 14;
  tip.style.left = Math.max(8, left) + 'px';
  tip.style.top = Math.max(8, top) + 'px';
};
const hideTip = () => { tip.hidden = true; };
addEventListener('pointermove', (event) => {
  const at = event.target.closest?.('[data-tip], [data-hover]');
  if (at?.dataset.tip) showTip(at.dataset.tip, event.clientX, event.clientY);
  else if (!at) hideTip();
});
addEventListener('focusin', (event) => {
  if (!event.target.dataset?.tip || !event.target.matches(':focus-visible')) return hideTip();
  const box = event.target.getBoundingClientRect();
  showTip(event.target.dataset.tip, box.right, box.bottom);
});
addEventListener('focusout', hideTip);
addEventListener('scroll', hideTip, { passive: true });
addEventListener('keydown', (event) => { if (event.key === 'Escape') hideTip(); });

// Crosshair of the training curves: the values of all methods at one step.
for (const svg of document.querySelectorAll('svg[data-hover]')) {
  const data = JSON.parse(svg.dataset.hover);
  const cross = svg.querySelector('.cross');
  svg.addEventListener('pointermove', (event) => {
    const x = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse()).x;
    let i = 0;
    for (let j = 1; j < data.x.length; j++) if (Math.abs(data.x[j] - x) < Math.abs(data.x[i] - x)) i = j;
    cross.setAttribute('x1', data.x[i]);
    cross.setAttribute('x2', data.x[i]);
    cross.removeAttribute('hidden');
    showTip([data.labels[i], ...data.series.map((s) => s.name + ': ' + s.values[i])].join('\n'), event.clientX, event.clientY);
  });
  svg.addEventListener('pointerleave', () => { cross.setAttribute('hidden', ''); hideTip(); });
}

// Results: one metric at a time.
for (const button of document.querySelectorAll('[data-metric]')) {
  button.addEventListener('click', () => {
    for (const b of document.querySelectorAll('[data-metric]')) b.setAttribute('aria-pressed', String(b === button));
    for (const t of document.querySelectorAll('.metric')) t.hidden = t.id !== 'metric-' + button.dataset.metric;
  });
}

// Gains and losses: one method on one test set.
if ($('classes')) {
  const choose = () => {
    let found = false;
    for (const block of document.querySelectorAll('div.classes')) {
      block.hidden = block.dataset.method !== $('class-method').value || block.dataset.suite !== $('class-suite').value;
      found ||= !block.hidden;
    }
    $('no-classes').hidden = found;
  };
  $('class-method').addEventListener('change', choose);
  $('class-suite').addEventListener('change', choose);
  choose(); // a browser may have kept an older choice over a reload
}

// Gallery: only the cards of one page exist, and only their chunks are parsed.
if ($('anchors')) {
  const index = JSON.parse($('gallery-index').textContent);
  const sources = document.querySelectorAll('.gallery-chunk');
  const parsed = new Map();
  const cardData = (i) => {
    const n = Math.floor(i / index.chunk);
    if (!parsed.has(n)) {
      if (parsed.size > 8) parsed.clear();
      parsed.set(n, JSON.parse(sources[n].textContent));
    }
    return parsed.get(n)[i % index.chunk];
  };
  const picture = (source, alt) => {
    if (!source) return el('span', 'pic none', 'no picture');
    const img = el('img', 'pic');
    img.alt = alt;
    img.decoding = 'async';
    img.src = source;
    return img;
  };
  const card = (data) => {
    const li = el('li', 'card');
    const words = el('div');
    words.append(el('h3', '', data.class));
    if (data.prompt) words.append(el('p', 'prompt', '“' + data.prompt + '”'));
    if (data.captions) {
      const ul = el('ul', 'captions');
      for (const c of data.captions) {
        const item = el('li', '', '');
        item.append(el('span', '', c.text), el('small', '', c.note));
        ul.append(item);
      }
      words.append(el('h4', '', 'captions (TCA)'), ul);
    }
    li.append(picture(data.image, 'Finetune image of class ' + data.class), words);
    if (data.pairs) {
      const box = el('div', 'pairs');
      const ul = el('ul');
      for (const p of data.pairs) {
        const item = el('li');
        const frame = el('div', 'frame');
        frame.append(picture(p.image, 'Retrieved image: ' + p.text), el('span', 'score', p.score));
        item.dataset.tip = p.note;
        item.append(frame, el('div', 'text', p.text));
        ul.append(item);
      }
      box.append(el('h4', '', 'retrieved pairs (ITA)'), ul);
      li.append(box);
    }
    return li;
  };
  const perPage = 8;
  let page = 0;
  const show = () => {
    const wanted = $('gallery-filter').value.trim().toLowerCase();
    const hits = [];
    index.classes.forEach((c, i) => { if (c.toLowerCase().includes(wanted)) hits.push(i); });
    const pages = Math.max(1, Math.ceil(hits.length / perPage));
    page = Math.min(Math.max(page, 0), pages - 1);
    const from = page * perPage;
    const shown = hits.slice(from, from + perPage);
    $('cards').replaceChildren(...shown.map((i) => card(cardData(i))));
    $('page-status').textContent = hits.length ? `${from + 1}–${from + shown.length} of ${hits.length}` : 'no such class';
    $('prev').disabled = page === 0;
    $('next').disabled = page === pages - 1;
  };
  const turn = (by) => { page += by; show(); };
  $('prev').addEventListener('click', () => turn(-1));
  $('next').addEventListener('click', () => turn(1));
  $('gallery-filter').addEventListener('input', () => { page = 0; show(); });
  show();
}

// Paper shows what the screen folds away.
addEventListener('beforeprint', () => {
  for (const d of document.querySelectorAll('details')) {
    d.dataset.was = d.open ? '1' : '';
    d.open = true;
  }
});
addEventListener('afterprint', () => {
  for (const d of document.querySelectorAll('details')) d.open = Boolean(d.dataset.was);
});
