// The model's state in the header. Value: {state, text, detail}.
function draw() {
  const { state = 'loading', text = '', detail = '' } = props.value || {};
  const pill = make('span', `pill ${state}`, null, { role: 'status' });
  pill.append(make('i', 'dot'), make('span', '', text));
  pill.title = detail;
  board()?.replaceChildren(pill);
}
watch('value', draw);
draw();
