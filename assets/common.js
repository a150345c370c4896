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
// What somebody has just set wins over an older value that a run still brings along.
let mine = {}, touched = -1e9, down = false;
element.addEventListener('pointerdown', () => { down = true; });
for (const end of ['pointerup', 'pointercancel']) window.addEventListener(end, () => { down = false; });
// A new object, or Gradio doesn't see the change.
function put(changes, event) {
  mine = performance.now() - touched < 500 || down ? { ...mine, ...changes } : changes;
  touched = performance.now();
  props.value = { ...(props.value || {}), ...changes };
  draw();
  if (event) fire(event);
}
// A drag gives sixty inputs a second: the first goes at once, then one each 90 ms, and always the last.
let fired = -1e9, pending = null;
function fire(event) {
  const go = () => { fired = performance.now(); window.p2pAct?.(); trigger(event); };
  clearTimeout(pending);
  const wait = event === 'input' ? 90 - (performance.now() - fired) : 0;
  if (wait > 0) pending = setTimeout(go, wait); else go();
}
function arrived() {
  if (performance.now() - touched < (down ? 60000 : 500)) props.value = { ...props.value, ...mine };
  draw();
}
