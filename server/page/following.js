/**
 * The live end of the page: follows a workspace's changes by the long poll, as mounts do, and says what they touched.
 * A page that nobody sees asks nothing: a browser has six connections to a server for all of its tabs.
 */

const WAIT_S = 25;
const LONGEST_PAUSE_MS = 15_000;

export class Following {
  #workspace;
  #on;
  #ended = new AbortController();

  /**
   * `on` has news(touched), with the ids of all nodes and folders that changes touched, or null where it may be any;
   * and reached(isReached), told when the server stops answering and when it answers again.
   */
  constructor(workspace, on) {
    this.#workspace = workspace;
    this.#on = on;
  }

  /** Follow until `end`. */
  async run() {
    const { signal } = this.#ended;
    let after = this.#workspace.seq;
    let failures = 0;
    while (!signal.aborted) {
      await visible(signal);
      try {
        const news = await this.#workspace.changes(after, failures > 0 ? 0 : WAIT_S, signal);
        if (failures > 0) this.#on.reached(true);
        failures = 0;
        if (news.reset || (news.notices ?? []).length > 0) this.#on.news(news.reset ? null : touchedBy(news.notices));
        after = news.seq;
      } catch (error) {
        if (error.name === "AbortError" || error.status === 401) return;
        if (failures === 0) this.#on.reached(false);
        failures += 1;
        await pause(Math.min(LONGEST_PAUSE_MS, 500 * 2 ** failures), signal);
      }
    }
  }

  end() {
    this.#ended.abort();
  }
}

function touchedBy(notices) {
  const touched = new Set();
  for (const { nodes = [], entries = [] } of notices) {
    for (const [node] of [...nodes, ...entries]) touched.add(String(node));
  }
  return touched;
}

/** Wait until the page is seen. */
function visible(signal) {
  if (!document.hidden) return undefined;
  return new Promise((resolve) => {
    document.addEventListener("visibilitychange", resolve, { once: true, signal });
    signal.addEventListener("abort", resolve, { once: true });
  });
}

/** Wait, or until the browser says that it is online again. */
function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const go = () => {
      clearTimeout(timer);
      resolve();
    };
    const timer = setTimeout(go, milliseconds);
    addEventListener("online", go, { once: true, signal });
    signal.addEventListener("abort", go, { once: true });
  });
}
