// The model's state in the header. Value: {state, text, detail}.
import { board, make, shows } from './common.js';

function draw() {
  const { state = 'loading', text = '', detail = '' } = props.value || {};
  const b = board();
  if (!b) return;
  if (!b.children.length) {
    // built once: a live region that is replaced is not read out
    const pill = make('span', 'pill', null, { role: 'status' });
    pill.append(make('i', 'dot'), make('span'));
    b.append(pill);
  }
  const pill = b.firstChild;
  pill.className = `pill ${state}`;
  pill.title = detail;
  if (pill.lastChild.textContent !== text) pill.lastChild.textContent = text;
}
shows(draw);
