// The handles between two pictures for the keyboard: a range that moves Gradio's handle and follows it.
// On the stage it is also said which side is which.
const text = (id) => document.querySelector(`${id} :is(textarea, input)`)?.value || '';
const set = (el, name, value) => { if (el.getAttribute(name) !== value) el.setAttribute(name, value); };

function move(picture, at) { // as a press on the handle's rail does it
  const handle = picture.querySelector('.outer');
  if (!handle) return;
  const box = handle.parentNode.getBoundingClientRect();
  const there = { bubbles: true, cancelable: true, view: window, clientX: box.left + (box.width * at) / 100, clientY: box.top + box.height / 2 };
  handle.dispatchEvent(new MouseEvent('mousedown', there));
  document.dispatchEvent(new MouseEvent('mouseup', there));
}
function tie(picture, range, told) {
  const follow = () => {
    const [before, after] = picture.querySelectorAll('img');
    range.hidden = !after;
    if (after) {
      const at = Math.round(Number(/([\d.]+)%\)/.exec(after.style.clipPath)?.[1] ?? 50));
      if (Number(range.value) !== at) range.value = at;
      const [left, right, altLeft, altRight] = told(at, before, after);
      set(range, 'aria-valuetext', `${at} % ${left}, ${100 - at} % ${right}`);
      set(before, 'alt', altLeft);
      set(after, 'alt', altRight);
    } else told(0);
  };
  range.addEventListener('input', () => move(picture, Number(range.value)));
  new MutationObserver(follow).observe(picture, { subtree: true, childList: true, attributes: true, attributeFilter: ['style', 'src'] });
  follow();
  return follow;
}
function start() {
  const [main, shelf, picture] = ['#main', '#history', '#picture'].map((id) => document.querySelector(id));
  if (!main || !shelf || !picture) { requestAnimationFrame(start); return; } // Gradio is still building the page
  const [left, right] = element.querySelectorAll('.side');
  const follow = tie(picture, element.querySelector('input'), (at, before, after) => {
    left.hidden = !before || at < 18;
    right.hidden = !before || at > 82 || before.src === after.src;
    if (!before) return [];
    const other = shelf.querySelector('.shot.against');
    const yours = main.dataset.source === 'picture';
    const name = other ? 'the other edit' : yours ? 'your picture' : 'source';
    left.textContent = name;
    right.textContent = 'edit';
    return [name, 'edit', other ? other.title : `${name}: ${text(yours ? '#yours-prompt' : '#source-prompt')}`, `edit: ${text('#edit-prompt')}`];
  });
  new MutationObserver(follow).observe(main, { attributes: true, attributeFilter: ['data-source'] });
  new MutationObserver(follow).observe(shelf, { subtree: true, childList: true, attributes: true, attributeFilter: ['class'] });
}
function compare() { // your picture and how it comes back: the tab is built when it is first opened
  const range = document.querySelector('#yours-split input');
  const picture = document.querySelector('#yours-compare');
  if (!range || !picture || range.dataset.tied) return;
  range.dataset.tied = '1';
  tie(picture, range, () => ['your picture', 'as it comes back', 'your picture', 'your picture as the model gives it back']);
}
new MutationObserver(compare).observe(document.body, { childList: true, subtree: true });
start();
