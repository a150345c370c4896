// The brush by keys: the editor's canvas takes pointers only, so a pad that has the focus sends it some.
const pad = element.querySelector('.keybrush');
const [ring, said] = pad.querySelectorAll('i, .unseen');
const STEP = 0.04,
  SMALL = 0.01; // of the canvas
const WAYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
let [x, y] = [0.5, 0.5];
let down = false;
const canvas = () => document.querySelector('#painter canvas');
function send(...types) {
  const box = canvas().getBoundingClientRect();
  const where = { clientX: box.left + x * box.width, clientY: box.top + y * box.height };
  for (const type of types) {
    const button = type === 'pointermove' ? -1 : 0;
    canvas().dispatchEvent(
      new PointerEvent(type, {
        ...where,
        bubbles: true,
        cancelable: true,
        composed: true,
        view: window,
        pointerId: 1,
        pointerType: 'mouse',
        isPrimary: true,
        button,
        buttons: down ? 1 : 0,
      }),
    );
  }
}
function show() {
  const box = canvas()?.getBoundingClientRect();
  if (!box) return;
  ring.style.left = `${box.left + x * box.width}px`;
  ring.style.top = `${box.top + y * box.height}px`;
  ring.classList.toggle('down', down);
  const [across, downward] = [x, y].map((at) => Math.round(100 * at));
  const text = `${across} % across, ${downward} % down, ${down ? 'painting' : 'lifted'}`;
  if (said.textContent !== text) said.textContent = text;
}
function lift() {
  if (!down) return;
  down = false;
  if (canvas()) send('pointerup');
  show();
}
pad.addEventListener('keydown', (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || !canvas()) return;
  const way = WAYS[e.key];
  if (way) {
    const step = e.shiftKey ? SMALL : STEP;
    [x, y] = [x + step * way[0], y + step * way[1]].map((at) => Math.min(0.99, Math.max(0.01, at)));
    send('pointermove');
  } else if (e.key === ' ') {
    down = !down;
    if (down) send('pointerover', 'pointermove', 'pointerdown', 'pointermove');
    else send('pointerup');
  } else return;
  e.preventDefault();
  e.stopPropagation();
  show();
});
pad.addEventListener('focus', show);
pad.addEventListener('blur', lift);
