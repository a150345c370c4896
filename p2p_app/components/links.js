// The header's buttons and the page's keys. Gradio's own footer is hidden; its API page opens from here.
// All that follows from one act carries the time of that act: what runs for an earlier one stops.
const now = () => performance.timeOrigin + performance.now();
let acted = now();
window.p2pActed = () => acted;
window.p2pAct = () => {
  acted = now();
};
for (const act of ['click', 'keydown', 'input', 'drop', 'paste'])
  window.addEventListener(act, window.p2pAct, true);
const $ = (selector) => document.querySelector(selector);
$('#theme').addEventListener('click', (e) =>
  e.currentTarget.setAttribute('aria-pressed', String(document.body.classList.toggle('dark'))),
);
$('#theme').setAttribute('aria-pressed', String(document.body.classList.contains('dark')));
$('#api').addEventListener('click', () => $('footer .show-api')?.click());
$('#guide-button').addEventListener('click', () => window.dispatchEvent(new Event('p2p-guide')));
// Single keys can be turned off in the guide, which remembers it.
function singleKeys() {
  try {
    return JSON.parse(localStorage.getItem('p2p-guide'))?.keys !== false;
  } catch {
    return true;
  }
}
// A layout of another script has no g, e or [: there the key counts that stands where theirs does.
const CODES = { KeyG: 'g', KeyE: 'e', Digit0: '0', BracketLeft: '[', BracketRight: ']' };
function latin(e) {
  if (e.code === 'Slash' && e.shiftKey && /^[^a-z]$/i.test(e.key)) return '?';
  return /^[^ -~]$/.test(e.key) ? CODES[e.code] : undefined;
}
const field = (id) => $(`${id} textarea, ${id} input`);
window.addEventListener('keydown', (e) => {
  if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) {
    // in the source card its own button, else Apply
    const mine =
      e.target.closest?.('#source') &&
      [...document.querySelectorAll('#generate, #invert')].find((button) => button.offsetParent);
    (mine || $('#apply'))?.click();
    e.preventDefault();
    return;
  }
  const typing = e.target.closest?.('input:not([type=range]), textarea, select, [contenteditable]');
  if ((e.ctrlKey || e.metaKey) && e.code === 'KeyZ' && !typing) {
    $(e.shiftKey ? '#redo' : '#undo')?.click();
    e.preventDefault();
    return;
  }
  if (e.ctrlKey || e.metaKey || e.altKey || typing) return;
  if (!singleKeys()) return;
  const shots = [...document.querySelectorAll('#history .shot')];
  const at = shots.findIndex((shot) => shot.classList.contains('on'));
  const keys = {
    '?': () => window.dispatchEvent(new Event('p2p-guide')),
    g: () => field('#source-prompt')?.focus(),
    e: () => field('#edit-prompt')?.focus(),
    0: () => $('#desk .all')?.click(),
    '[': () => shots[at - 1]?.click(),
    ']': () => shots[at + 1]?.click(),
  };
  const press = keys[e.key] || keys[latin(e)];
  if (press) {
    press();
    e.preventDefault();
  }
});
// Gradio's code fields scroll but can't be reached by Tab; the keyboard needs that to scroll them.
new MutationObserver(() => {
  for (const scroller of document.querySelectorAll('.cm-scroller[tabindex="-1"]')) scroller.tabIndex = 0;
}).observe(document.body, { childList: true, subtree: true });
