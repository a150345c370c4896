// Shared by every board. Text from prompts goes in by textContent only. `board.py` puts this text before a
// board's own; together they are one function that Gradio calls with `element`, `props`, `trigger`, `watch`.
export const board = () => element.querySelector('.board');
export function make(tag, cls, text, attributes) {
  const el = document.createElement(tag);
  if (cls) el.className = cls;
  if (text !== undefined && text !== null) el.textContent = text;
  for (const [name, value] of Object.entries(attributes || {})) el.setAttribute(name, value);
  if (tag === 'button') el.type = 'button';
  return el;
}
export const setText = (el, text) => {
  if (el.textContent !== text) el.textContent = text;
};

let redraw = () => {};
// A board that only shows its value.
export function shows(draw) {
  watch('value', draw);
  draw();
}
// A board whose value somebody sets by `put`. receive: what is done with a value that comes from the server.
export function interactive(draw, receive = arrived) {
  redraw = draw;
  watch('value', receive);
  draw();
}

// What somebody has set wins over what was wished for before: the value of a run that began earlier, say.
// A value knows by "at" when that was (`Board.postprocess`); one that follows from a later act replaces all.
const clock = () => performance.timeOrigin + performance.now();
let changed = {};
let changedAt = -1e9;
let pressed = false;
export const isPressed = () => pressed;
element.addEventListener('pointerdown', () => {
  pressed = true;
});
for (const end of ['pointerup', 'pointercancel'])
  window.addEventListener(end, () => {
    pressed = false;
  });
function arrived() {
  const { at = -1 } = props.value || {};
  if (at >= changedAt && !pressed) changed = {};
  else if (Object.keys(changed).length) props.value = { ...props.value, ...changed };
  redraw();
}
// Sets a part of the value, in a new object, or Gradio doesn't see the change.
export function put(changes, event) {
  changed = { ...changed, ...changes };
  changedAt = clock();
  props.value = { ...(props.value || {}), ...changes };
  redraw();
  if (event) fire(event);
}

// A drag gives sixty inputs a second: the first goes at once, then one each 90 ms, and always the last.
const MIN_INPUT_MS = 90;
let firedAt = -1e9;
let waiting = null;
function fire(event) {
  const go = () => {
    element.removeAttribute('data-pending');
    firedAt = performance.now();
    window.p2pAct?.();
    trigger(event);
  };
  clearTimeout(waiting);
  const wait = event === 'input' ? MIN_INPUT_MS - (performance.now() - firedAt) : 0;
  if (wait > 0) {
    element.setAttribute('data-pending', '');
    waiting = setTimeout(go, wait);
  } else go();
}
