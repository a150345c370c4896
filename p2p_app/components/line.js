// The one line that says what happened. Value: {kind, parts: [{text, strong}], step, total, edited}.
import { board, make, shows } from './common.js';

function draw() {
  const b = board();
  if (!b) return;
  if (!b.children.length) {
    // built once: a button that is replaced under the finger loses its click
    const meter = make('div', 'meter');
    meter.append(make('i'));
    const acts = make('div', 'acts');
    acts.append(
      make('button', 'quiet details', 'details', { title: 'steps and memory', 'aria-expanded': 'false' }),
      make('button', 'quiet stop', 'stop', { title: 'what was computed is kept' }),
      make('button', 'quiet next', 'use as source', {
        title: 'the edit that is shown becomes the source of the next one',
      }),
    );
    b.append(meter, make('p', 'text words'), acts, make('p', 'unseen said', null, { role: 'status' }));
  }
  const {
    kind = 'idle',
    parts = [],
    fold = 0,
    step = 0,
    total = 0,
    edited = false,
    at = 0,
    source,
  } = props.value || {};
  b.dataset.kind = kind;
  b.dataset.runs = Number(b.dataset.runs || 0) + (kind === 'done'); // finished so far; the tests wait for it
  // the latest act that is answered
  if (kind !== 'busy') b.dataset.at = Math.max(at, Number(b.dataset.at || 0));
  b.querySelector('.meter i').style.width = kind === 'busy' && total ? `${(100 * step) / total}%` : '0';
  const spans = parts.map((part) => make(part.strong ? 'b' : 'span', '', part.text));
  const rest = make('span', 'rest'); // what few want to know
  if (fold) rest.append(...spans.splice(fold));
  b.querySelector('.words').replaceChildren(...spans, rest);
  b.querySelector('.details').hidden = !fold;
  // read out once it is final: not every step
  const said = b.querySelector('.said');
  const text = parts.map((part) => part.text).join('');
  if (kind !== 'busy' && said.textContent !== text) said.textContent = text;
  const had = b.querySelector('.acts').contains(document.activeElement);
  b.querySelector('.stop').hidden = kind !== 'busy';
  b.querySelector('.next').hidden = !edited;
  if (had && document.activeElement === document.body)
    document.querySelector('#edit-prompt :is(textarea, input)')?.focus({ preventScroll: true });
  if (source) document.querySelector('#main').dataset.source = source; // which tab's source is the live one
}
element.addEventListener('click', (e) => {
  const details = e.target.closest('.details');
  if (details) details.setAttribute('aria-expanded', String(board().classList.toggle('unfolded')));
  if (e.target.closest('.stop')) trigger('stop');
  if (e.target.closest('.next')) trigger('apply');
});
shows(draw);
