// An event that the server has no room for now is sent again by itself, less and less often.
const WAIT_SECONDS = [1, 2, 4, 8, 15, 30];
const send = window.fetch.bind(window);
window.fetch = async (input, options) => {
  let answer = await send(input, options);
  if (options?.method !== 'POST' || !String(input?.url ?? input).includes('/queue/join')) return answer;
  for (const seconds of WAIT_SECONDS) {
    if (answer.status !== 503 && answer.status !== 429) break;
    await new Promise((done) => setTimeout(done, 1000 * seconds));
    answer = await send(input, options);
  }
  return answer;
};
