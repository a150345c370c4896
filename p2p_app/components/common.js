// Shared by every board. Text from prompts goes in by textContent only.
const board = () => element.querySelector('.board');
function make(tag, cls, text, attributes) {
  const el = document.createElement(tag);
  if (cls) el.className = cls;
  if (text !== undefined && text !== null) el.textContent = text;
  for (const [name, value] of Object.entries(attributes || {})) el.setAttribute(name, value);
  if (tag === 'button') el.type = 'button';
  return el;
}
// What somebody has set wins over what was wished for before: the value of a run that began earlier, say.
// A value knows by "at" when that was (`ui/board.py`); one that follows from a later act replaces all.
const clock = () => performance.timeOrigin + performance.now();
let mine = {}, touched = -1e9, down = false;
element.addEventListener('pointerdown', () => { down = true; });
for (const end of ['pointerup', 'pointercancel']) window.addEventListener(end, () => { down = false; });
// A new object, or Gradio doesn't see the change.
function put(changes, event) {
  mine = { ...mine, ...changes };
  touched = clock();
  props.value = { ...(props.value || {}), ...changes };
  draw();
  if (event) fire(event);
}
// A drag gives sixty inputs a second: the first goes at once, then one each 90 ms, and always the last.
let fired = -1e9, pending = null;
function fire(event) {
  const go = () => { element.removeAttribute('data-pending'); fired = performance.now(); window.p2pAct?.(); trigger(event); };
  clearTimeout(pending);
  const wait = event === 'input' ? 90 - (performance.now() - fired) : 0;
  if (wait > 0) { element.setAttribute('data-pending', ''); pending = setTimeout(go, wait); } else go();
}
function arrived() {
  const { at = -1 } = props.value || {};
  if (at >= touched && !down) mine = {};
  else if (Object.keys(mine).length) props.value = { ...props.value, ...mine };
  draw();
}
