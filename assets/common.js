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
// A new object, or Gradio doesn't see the change.
function put(changes, event) {
  props.value = { ...(props.value || {}), ...changes };
  draw();
  if (event) trigger(event);
}
