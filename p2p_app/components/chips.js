// How the two prompts align. Value: {spans: [{kind, source, target, cut}], notes, weighted}.
import { board, make, shows } from './common.js';

const TITLES = {
  kept: 'in both prompts',
  swapped: 'takes the place of the crossed-out word',
  added: 'new in the edit',
  removed: 'only in the source',
};
function draw() {
  const row = make('div', 'row', null, { 'aria-label': 'how the prompts align' });
  for (const span of props.value?.spans || []) {
    const chip = make('span', `chip ${span.kind}${span.cut ? ' cut' : ''}`);
    chip.title = span.cut ? 'past the model\u2019s length limit: no effect' : TITLES[span.kind] || '';
    if (span.kind === 'swapped' || span.kind === 'removed') chip.append(make('s', '', span.source));
    if (span.kind === 'swapped') chip.append(make('i', '', '\u2192'));
    if (span.kind === 'added') chip.append(make('i', '', '+'));
    if (span.kind !== 'removed') chip.append(make('b', '', span.target));
    row.append(chip);
  }
  for (const note of props.value?.notes || []) row.append(make('span', 'note', note));
  if (props.value?.weighted)
    row.append(
      make('button', 'quiet read', 'read the weights as faders', {
        title: 'brackets and signs go out of the prompt, and the faders stand where they said',
      }),
    );
  board()?.replaceChildren(row);
}
element.addEventListener('click', (e) => {
  if (e.target.closest('.read')) trigger('apply');
});
shows(draw);
