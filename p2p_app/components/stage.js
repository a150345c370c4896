// Over the picture: a word where it isn't that of the edit prompt, and Apply lights up. `history.js` undoes.
const fieldOf = (name) => document.querySelector(`#${name} :is(textarea, input)`);
const plain = (text) => text.trim().replace(/\s+/g, ' ');
function compareWords() {
  const shown = document.querySelector('#picture img.over');
  const typed = fieldOf('edit-prompt');
  if (!shown?.alt || !typed) return;
  const now = plain(typed.value);
  const behind = !!now && plain(shown.alt.replace(/^edit: /, '')) !== now;
  document.querySelector('#apply').classList.toggle('lit', behind);
  const says = behind ? 'This is still the picture of the old prompt: Apply draws the new one.' : '';
  const note = document.querySelector('#behind');
  if (note.textContent !== says) note.textContent = says;
}
document.addEventListener('input', (e) => {
  if (e.target.closest?.('#edit-prompt')) compareWords();
});
let asked = 0;
new MutationObserver(() => {
  if (!asked)
    asked = setTimeout(() => {
      asked = 0;
      compareWords();
    }, 120);
}).observe(document.querySelector('#edit'), {
  childList: true,
  subtree: true,
  attributes: true,
  attributeFilter: ['alt', 'value', 'src'],
});
