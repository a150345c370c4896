// The header's buttons. Gradio's own footer is hidden; its API page opens from here.
element.querySelector('#theme').addEventListener('click', () => document.body.classList.toggle('dark'));
element.querySelector('#api').addEventListener('click', () => document.querySelector('footer .show-api')?.click());
