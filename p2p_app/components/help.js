// Hover help in plain words, and names for what shows only a sign. Gradio's own components take no title.
const HELP = {
  '#words-tab-button, [data-tab-id=words]': 'start from a picture that the model draws',
  '#yours-tab-button, [data-tab-id=yours]': 'start from a picture of your own',
  '#source-prompt textarea': 'the picture to start from, in words (Ctrl+Enter: Generate)',
  '#seed input':
    'which noise the picture grows from: the same seed, words and settings give the same picture',
  '#dice': 'another seed, and generate',
  '#steps input': 'how many steps it takes from noise to the picture: more are finer and slower',
  '#guidance input': 'how closely the picture follows the words: low is free, high is literal and harsh',
  '#negative-fold > button': 'words for what the picture should not show',
  '#negative textarea, #negative input': 'words for what the picture should not show',
  '#generate': 'draw the source picture',
  '#invert': 'find the noise that your picture grows from, so that it can be edited',
  '#yours-method input': 'how the noise behind your picture is looked for',
  '#yours-fit input': 'the model sees squares: cut your picture to one, or fill it up to one',
  '#yours-x input[type=range]': 'which part of a wide picture is kept',
  '#yours-y input[type=range]': 'which part of a tall picture is kept',
  '#yours-prompt textarea': 'what your picture shows: the words that can be edited later',
  '#edit-prompt textarea, #edit-prompt input': 'the same picture in other words (Enter: Apply)',
  '#apply': 'draw the edit: only what the words change is drawn anew (Enter)',
  '#download':
    'the edit as a PNG that holds its whole recipe: drop it under Take away to have everything back',
  '#card': 'before and after side by side, over their prompts, to show to others',
  '#line .text': 'recomputed: steps drawn anew for this edit; reused: steps that were known already',
  '#picture input': 'drag to compare before and after',
  '#use-paint': 'only what is painted may change',
  '#wipe-paint': 'forget what is painted',
  '#close-paint': 'leave the region as it was',
  '[data-tab-id=explore]': 'one control, or two, over a range of values as a row or grid of pictures',
  '[data-tab-id=attention]': 'where each word looks in the picture',
  '[data-tab-id=take]': 'recipes: take one with you, or bring one back',
  '#draw': 'draw the maps again for the edit as it is now',
  '#maps-layers input':
    'which layers of the model are averaged: coarse ones place things, fine ones draw them',
  '#sheet-png': 'all the pictures with their captions in one PNG',
  '#sheet-gif': 'the pictures as an animation',
  '#sheet-webp': 'the pictures as an animation, smaller and finer than a GIF',
  '#paste': 'make everything as the recipe says',
};
const NAMES = { '#dice': 'another seed, and generate' };
let due = 0;
function help() {
  due = 0;
  for (const [where, text] of Object.entries(HELP))
    for (const el of document.querySelectorAll(where)) if (el.title !== text) el.title = text;
  for (const [where, text] of Object.entries(NAMES))
    document.querySelector(where)?.setAttribute('aria-label', text);
}
new MutationObserver(() => {
  if (!due) due = requestAnimationFrame(help);
}).observe(document.body, { childList: true, subtree: true });
help();
