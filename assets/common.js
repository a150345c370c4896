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
  if (event) trigger(event);
}
function arrived() {
  if (performance.now() - touched < (down ? 60000 : 500)) props.value = { ...props.value, ...mine };
  draw();
}
