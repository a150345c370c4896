// The one line that says what happened. Value: {kind, parts: [{text, strong}], step, total}, see ui/widgets.py.
function draw() {
  const b = board();
  if (!b) return;
  const { kind = 'idle', parts = [], step = 0, total = 0 } = props.value || {};
  b.dataset.kind = kind;
  const meter = make('div', 'meter');
  meter.append(make('i'));
  meter.firstChild.style.width = kind === 'busy' && total ? `${(100 * step) / total}%` : '0';
  const text = make('p', 'text', null, { role: kind === 'error' ? 'alert' : 'status' });
  for (const part of parts) text.append(make(part.strong ? 'b' : 'span', '', part.text));
  if (kind === 'busy') text.append(make('button', 'quiet stop', 'stop'));
  b.replaceChildren(meter, text);
}
element.addEventListener('click', (e) => { if (e.target.closest('.stop')) trigger('stop'); });
watch('value', draw);
draw();
